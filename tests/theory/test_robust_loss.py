"""Oracles for mmc.theory.robust_loss: all corners of the ball, quadrature, an optimiser, and drawn images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy as sp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

from mmc.theory import robust_loss as theory
from mmc.theory.numeric import numeric

# A failing mutant is not shrunk: that it fails is enough.
few = settings(max_examples=15, deadline=None, phases=(Phase.generate,))
seeds = st.integers(0, 10_000)


def corners(dim: int) -> np.ndarray:
    return np.array(list(itertools.product((-1.0, 1.0), repeat=dim)))


@few
@given(seed=seeds)
def test_inner_maxima_are_those_of_all_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, z, radius = rng.normal(size=6), rng.normal(), rng.uniform(0, 1)
    moved = z + radius * corners(6) @ weight
    slope = np.abs(weight).sum()
    assert np.logaddexp(0, -moved).max() == pytest.approx(float(numeric(theory.margin_inner)(z, slope, radius)))
    assert (np.square(moved) / 2).max() == pytest.approx(float(numeric(theory.square_inner)(z, slope, radius)))


def largest(hessian: np.ndarray, gradient: np.ndarray, radius: float) -> tuple[float, float]:
    """The largest value at a corner, and the value after one signed step."""

    def value(step: np.ndarray) -> np.ndarray:
        return radius**2 * np.einsum("ni,ij,nj->n", step, hessian, step) / 2 + radius * step @ gradient

    return value(corners(len(gradient))).max(), value(np.sign(gradient)[None])[0]


@few
@given(seed=seeds, dim=st.integers(2, 5))
def test_a_signed_step_is_exact_up_to_its_radius(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    jacobian, residual = rng.normal(size=(3, dim)), rng.normal(size=3)
    hessian, gradient = jacobian.T @ jacobian, jacobian.T @ residual
    radius = float(theory.sign_step_radius(sp.Matrix(hessian), sp.Matrix(gradient)))
    best, step = largest(hessian, gradient, 0.999 * radius)
    assert step == pytest.approx(best, abs=1e-12)
    if dim == 2 and hessian[0, 1] * np.prod(np.sign(gradient)) < 0:
        best, step = largest(hessian, gradient, 1.01 * radius)
        assert best > step


def test_a_signed_step_is_exact_at_every_radius_where_pixels_are_not_coupled() -> None:
    assert theory.sign_step_radius(sp.diag(2, 3), sp.Matrix([1, -1])) == sp.oo
    assert theory.sign_step_radius(sp.Matrix([[1, -1], [-1, 1]]), sp.Matrix([0, 0])) == 0
    chain = sp.Matrix([[2, -1, 0], [-1, 2, -1], [0, -1, 2]])
    assert theory.sign_step_radius(chain, sp.Matrix([6, 4, 3])) == 2


@few
@given(seed=seeds)
def test_a_feature_below_the_certified_loss_is_at_home(seed: int) -> None:
    rng = np.random.default_rng(seed)
    own, other = rng.normal(size=(2, 4))
    way = other - own
    separation = np.linalg.norm(way)
    limit = float(theory.certified_loss(sp.Float(separation)))
    for turn in [way, *rng.normal(size=(20, 4))]:
        for share in (0.999, 1.001):
            z = own + share * np.sqrt(2 * limit) * turn / np.linalg.norm(turn)
            at_home = ((z - own) ** 2).sum() < ((z - other) ** 2).sum()
            assert at_home or share > 1
    beyond = own + 1.001 * np.sqrt(2 * limit) * way / separation
    assert ((beyond - own) ** 2).sum() > ((beyond - other) ** 2).sum()  # and no larger limit will do


@few
@given(mean=st.floats(-3, 3), deviation=st.floats(0.1, 3), reach=st.floats(0, 3))
def test_population_is_the_integral(mean: float, deviation: float, reach: float) -> None:
    def expected(value) -> float:
        parts = [(-np.inf, 0), (0, np.inf)]
        density = norm(mean, deviation).pdf
        return sum(quad(lambda r: value(r) * density(r), *part, points=None)[0] for part in parts)

    assert expected(abs) == pytest.approx(float(numeric(theory.folded_mean)(mean, deviation)), abs=1e-6)
    loss = expected(lambda r: (abs(r) + reach) ** 2 / 2)
    assert loss == pytest.approx(float(numeric(theory.square_population)(mean, deviation, reach)), abs=1e-5)
    if mean < -0.05:
        fear, pull = expected(lambda r: abs(r) + reach), expected(lambda r: (abs(r) + reach) * np.sign(r))
        ratio = float(numeric(theory.threshold_ratio)(mean, deviation, reach))
        assert ratio == pytest.approx(-fear / pull, rel=1e-4) and ratio >= 1 - 1e-12


@pytest.mark.parametrize("radius", [0.05, 0.2, 0.5])
def test_minimisers_are_thresholds_at_the_radius_and_beyond(radius: float) -> None:
    signal, noise = np.array([1.0, 0.8, 0.6, 0.35, 0.15]), 0.7
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)

    def scores(w: np.ndarray) -> tuple[float, float, float]:
        return w @ signal, noise * np.linalg.norm(w), radius * np.abs(w).sum()

    def softmax(w: np.ndarray) -> float:
        mean, deviation, reach = scores(w)
        values = numeric(theory.margin_inner)(mean + deviation * nodes, reach, 1.0)
        return weights @ values / weights.sum()

    def square(w: np.ndarray) -> float:
        mean, deviation, reach = scores(w)
        return float(numeric(theory.square_population)(mean - 1, deviation, reach))

    def solved(loss) -> np.ndarray:
        fit = {"method": "L-BFGS-B", "bounds": [(0, None)] * len(signal), "options": {"ftol": 1e-14, "gtol": 1e-9}}
        return minimize(loss, 0.3 * signal, **fit).x

    def kept(radius: float) -> np.ndarray:
        found = numeric(theory.threshold)(signal, radius)
        return found / found.sum()

    by_softmax, by_square = solved(softmax), solved(square)
    np.testing.assert_allclose(by_softmax / by_softmax.sum(), kept(radius), atol=2e-3)
    mean, deviation, reach = scores(by_square)
    ratio = float(numeric(theory.threshold_ratio)(mean - 1, deviation, reach))
    assert ratio > 1.05
    np.testing.assert_allclose(by_square / by_square.sum(), kept(ratio * radius), atol=2e-3)
    robust = [float(numeric(theory.gaussian_robust)(*scores(w))) for w in (kept(radius), by_softmax, by_square)]
    assert robust[0] >= robust[1] - 1e-9 and robust[0] > robust[2]


def test_gaussian_robust_counts_drawn_images() -> None:
    rng = np.random.default_rng(0)
    signal, weight, noise, radius = np.array([1.0, 0.5, 0.2]), np.array([0.6, 0.4, -0.1]), 0.8, 0.3
    images = signal + noise * rng.normal(size=(200_000, 3))
    worst = images - radius * np.sign(weight)
    counted = (worst @ weight > 0).mean()
    exact = numeric(theory.gaussian_robust)(weight @ signal, noise * np.linalg.norm(weight), radius * 1.1)
    assert counted == pytest.approx(float(exact), abs=0.004)
