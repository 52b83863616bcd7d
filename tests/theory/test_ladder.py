"""Oracles for mmc.theory.ladder: root finding along rays through real logits, random points of balls, quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq

from mmc.theory import ladder
from mmc.theory.numeric import numeric

# A failing mutant is not shrunk: that it fails is enough.
few = settings(max_examples=15, deadline=None, phases=(Phase.generate,))
seeds = st.integers(0, 10_000)
REACHES = {"own": ladder.own_reach, "other": ladder.other_reach, "pair": ladder.pair_reach}


def draw(seed: int, dim: int = 5):
    """Two centers of one norm and a feature that the own center, the first, is nearer to."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(2, dim))
    centers *= rng.uniform(0.5, 3) / np.linalg.norm(centers, axis=1, keepdims=True)
    while True:
        feature = centers[0] + rng.normal(size=dim) * rng.uniform(0.05, 1)
        if gap(feature, centers) > 1e-3:
            return centers, feature


def gap(feature, centers):
    """h_y - h_t, squares and all."""
    own, other = -np.square(feature - centers).sum(1) / 2
    return own - other


def terms(centers, feature):
    """Separation, residual and cosine."""
    way, residual = centers[1] - centers[0], feature - centers[0]
    lengths = np.linalg.norm(way), np.linalg.norm(residual)
    return *lengths, way @ residual / np.prod(lengths)


def directions(centers, feature):
    """Where each objective climbs: its gradient in the feature."""
    return {
        "own": feature - centers[0],
        "other": centers[1] - feature,
        "pair": centers[1] - centers[0],
    }


@few
@given(seed=seeds)
def test_reaches_are_where_the_logits_tie_along_the_ray(seed):
    centers, feature = draw(seed)
    found = {name: float(numeric(reach)(*terms(centers, feature))) for name, reach in REACHES.items()}
    assert float(numeric(ladder.pair_gap)(*terms(centers, feature))) == pytest.approx(gap(feature, centers))
    for name, way in directions(centers, feature).items():
        unit = way / np.linalg.norm(way)
        if np.isinf(found[name]):
            assert gap(feature + 1e3 * unit, centers) >= gap(feature, centers)
        else:
            root = brentq(lambda s, unit=unit: gap(feature + s * unit, centers), 0, 2 * found[name] + 1)
            assert found[name] == pytest.approx(root)
    assert found["own"] >= found["other"] * (1 - 1e-9) and found["other"] >= found["pair"] * (1 - 1e-9)


@few
@given(seed=seeds, share=st.floats(0.05, 0.9))
def test_no_point_of_the_ball_has_more_of_an_objective_than_the_end_of_its_ray(seed, share):
    centers, feature = draw(seed)
    radius = share * np.linalg.norm(feature - centers[1])
    steps = np.random.default_rng(seed).normal(size=(2000, len(feature)))
    steps *= radius / np.linalg.norm(steps, axis=1, keepdims=True)
    objectives = {
        "own": lambda z: np.square(z - centers[0]).sum(-1),
        "other": lambda z: -np.square(z - centers[1]).sum(-1),
        "pair": lambda z: z @ (centers[1] - centers[0]),
    }
    for name, way in directions(centers, feature).items():
        end = objectives[name](feature + radius * way / np.linalg.norm(way))
        assert (objectives[name](feature + steps) <= end + 1e-9).all()


@few
@given(seed=seeds)
def test_a_ray_is_as_long_as_its_heading_is_poor(seed):
    rng = np.random.default_rng(seed)
    normal, way = rng.normal(size=(2, 4))
    cosine = float(ladder.heading(sp.Matrix(normal), sp.Matrix(way)))
    assert cosine == pytest.approx(normal @ way / np.linalg.norm(normal) / np.linalg.norm(way))
    reach = float(ladder.ray_reach(sp.Float(2.5), sp.Matrix(normal), sp.Matrix(way)))
    if cosine <= 0:
        assert np.isinf(reach)
    else:
        assert 2.5 - reach * normal @ way / np.linalg.norm(way) == pytest.approx(0, abs=1e-9)


def test_sideways_is_no_way_at_all():
    assert ladder.ray_reach(sp.S.One, sp.Matrix([1, 0]), sp.Matrix([0, 1])) == sp.oo


@pytest.mark.parametrize("dim", [2, 3, 4, 9])
@pytest.mark.parametrize("cosine", [-1.0, -0.4, 0.0, 0.3, 0.8, 1.0])
def test_a_cap_is_the_part_of_the_sphere_that_quadrature_gives(cosine, dim):
    def part(angle):  # the circle of latitude at that angle has a sphere of two dimensions less
        return quad(lambda t: np.sin(t) ** (dim - 2), 0, angle)[0]

    share = part(np.arccos(cosine)) / part(np.pi)
    assert float(numeric(ladder.cap_share)(cosine, dim)) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("dim", [2, 3, 10])
@pytest.mark.parametrize(("separation", "residual", "radius"), [(2.0, 0.6, 0.5), (3.0, 1.2, 1.0), (2.0, 0.5, 1.7)])
def test_the_missed_share_is_counted(separation, residual, radius, dim):
    ways = np.random.default_rng(dim).normal(size=(40_000, dim))
    cosines = ways[:, 0] / np.linalg.norm(ways, axis=1)
    own, pair = (numeric(reach)(separation, residual, cosines) for reach in (ladder.own_reach, ladder.pair_reach))
    counted = np.mean((pair <= radius) & ~(own <= radius))
    assert float(numeric(ladder.missed_share)(separation, residual, radius, dim)) == pytest.approx(counted, abs=0.01)


def test_nothing_is_missed_where_nothing_is_in_reach():
    assert float(numeric(ladder.missed_share)(2.0, 0.3, 0.6, 5)) == 0


def test_the_ratio_of_differences():
    assert ladder.difference_ratio([sp.Integer(7), sp.Integer(4), sp.Integer(1)]) == -sp.Rational(3, 6)
