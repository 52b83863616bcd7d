"""Oracles for mmc.theory.gsce_density: features spread evenly in a ball have one density, whatever the loss is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp
from scipy import stats
from scipy.special import betainc

from mmc.theory import gsce_density
from mmc.theory.numeric import numeric

BALL = {1: 2, 2: math.pi, 3: 4 * math.pi / 3, 4: math.pi**2 / 2, 5: 8 * math.pi**2 / 15}
#: sigma_k, sigma_j, squared distance of the centers, bias gap
PAIRS = [(2.0, 1.0, 1.3, 0.2), (0.5, 1.5, 2.1, 0.4), (1.5, 1.1, 0.3, -0.1), (0.3, 1.1, 3.0, -0.5)]


def loss_at(radius, pair):
    """Two-class cross-entropy at distance `radius` from the contours' center, in one dimension: mu_k = 0."""
    sigma_k, sigma_j, squared, gap = pair
    mu = math.sqrt(squared)
    z = -sigma_j * mu / (sigma_k - sigma_j) + radius
    return np.logaddexp(0, -sigma_j * (z - mu) ** 2 + sigma_k * z**2 - gap)


def share_density(radius, pair, d, outer):
    """p(C) of features spread evenly in a ball of radius `outer` around the contours' center, by finite differences."""
    step = 1e-6
    inside = d * radius ** (d - 1) / outer**d
    return inside / abs((loss_at(radius + step, pair) - loss_at(radius - step, pair)) / (2 * step))


@pytest.mark.parametrize("d", BALL)
@pytest.mark.parametrize("pair", PAIRS)
def test_evenly_spread_features_have_one_density(pair, d):
    outer = 2.0
    for radius in (0.4, 1.1, 1.9):
        value = loss_at(radius, pair)
        p = share_density(radius, pair, d, outer)
        exact = float(numeric(gsce_density.gsce_density)(value, p, d, *pair, 10))
        assert exact == pytest.approx(10 / (BALL[d] * outer**d), rel=1e-6)


@pytest.mark.parametrize("d", [1, 2, 3, 6])
@pytest.mark.parametrize("pair", PAIRS)
def test_printed_form_is_a_power_of_the_radius(pair, d):
    for radius in (0.5, 1.7):
        printed = float(numeric(gsce_density.gsce_density_printed)(loss_at(radius, pair), 0.3, d, *pair, 4))
        assert printed == pytest.approx(4 * 0.3 / radius ** (d - 1))


@pytest.mark.parametrize("pair", PAIRS)
def test_printed_over_exact_is_area_times_thickness_over_area(pair):
    # Both divide p by the same area up to a constant, so their quotient drifts as the thickness, one over the slope.
    radii, step = np.array([0.5, 1.7]), 1e-6
    slopes = abs(loss_at(radii + step, pair) - loss_at(radii - step, pair)) / (2 * step)
    drift = numeric(gsce_density.printed_drift)(loss_at(radii, pair), radii**2)
    assert drift[1] / drift[0] == pytest.approx(slopes[0] / slopes[1], rel=1e-6)


@pytest.mark.parametrize("value", [0.1, math.log(2), 3.0])
def test_lead_rate_is_the_slope_of_the_lead(value):
    slope = (math.log(math.expm1(value + 1e-6)) - math.log(math.expm1(value - 1e-6))) / 2e-6
    assert float(numeric(gsce_density.lead_rate)(value)) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("d", [2, 3, 4, 10])
@pytest.mark.parametrize("angle", [0.3, 1.0, 1.5, 2.2, 3.0])
def test_cap_share_is_the_known_one(angle, d):
    # In terms of the angle, half a regularized incomplete beta function, or its complement past the equator.
    half = betainc((d - 1) / 2, 0.5, math.sin(angle) ** 2) / 2
    expected = half if angle <= math.pi / 2 else 1 - half
    assert float(numeric(gsce_density.cap_share)(math.cos(angle), d)) == pytest.approx(expected)


@pytest.mark.parametrize("angle", [0.4, 1.0, 2.5])
def test_cap_share_in_the_plane_and_in_space(angle):
    assert float(numeric(gsce_density.cap_share)(math.cos(angle), 2)) == pytest.approx(angle / math.pi)
    assert float(numeric(gsce_density.cap_share)(math.cos(angle), 3)) == pytest.approx((1 - math.cos(angle)) / 2)


@pytest.mark.parametrize("slope", [0.5, 3.0])
@pytest.mark.parametrize("value", [0.2, 1.4])
def test_slabs_are_as_thick_as_the_planes_are_apart(value, slope):
    # Along the normal the logit difference is slope * s, and the loss log(1 + e^(-slope s)).
    ends = [-math.log(math.expm1(value + shift)) / slope for shift in (-1e-6, 1e-6)]
    thickness = (ends[0] - ends[1]) / 2e-6
    assert float(numeric(gsce_density.slab_thickness)(value, slope)) == pytest.approx(thickness, rel=1e-6)
    across = float(numeric(gsce_density.depth_density)(value, 0.7, slope, 5))
    assert across == pytest.approx(5 * 0.7 / thickness, rel=1e-6)


@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize(("slope", "intercept"), [(2.0, 0.0), (1.5, 0.6)])
def test_evenly_spread_features_in_a_window_have_one_density(slope, intercept, d):
    radius, step = 1.5, 1e-6
    for height in (-1.2, 0.1, 0.9):
        value, *around = (math.log1p(math.exp(-(slope * (height + s) + intercept))) for s in (0, -step, step))
        disk = BALL[d - 1] * (radius**2 - height**2) ** ((d - 1) / 2)
        p = disk / (BALL[d] * radius**d) * 2 * step / (around[0] - around[1])
        law = float(numeric(gsce_density.window_density)(value, p, d, slope, intercept, radius, 6))
        assert law == pytest.approx(6 / (BALL[d] * radius**d), rel=1e-6)


@pytest.mark.parametrize(
    ("law", "arguments"),
    [("gsce_density", (1, 2, 3, 2, 1, 1, 0)), ("gsce_density_printed", (1, 2, 3, 2, 1, 1, 0)),
     ("depth_density", (1, 2, 3)), ("window_density", (1, 2, 3, 2, 0, 5))],
)  # fmt: skip
def test_one_feature_is_the_default(law, arguments):
    formula = getattr(gsce_density, law)
    arguments = [sp.Integer(value) for value in arguments]
    assert sp.simplify(formula(*arguments) - formula(*arguments, sp.S.One)) == 0


def test_cap_share_is_the_share_of_gaussian_directions():
    directions = stats.norm.rvs(size=(40_000, 5), random_state=0)
    first = directions[:, 0] / np.linalg.norm(directions, axis=1)
    for cosine in (-0.5, 0.2):
        assert float(numeric(gsce_density.cap_share)(cosine, 5)) == pytest.approx((first >= cosine).mean(), abs=0.01)
