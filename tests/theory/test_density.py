"""Oracles for mmc.theory.density: known volumes, SciPy, and features of known density (uniform, Gaussian)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from mmc.theory import density
from mmc.theory.numeric import numeric

C, r = sp.symbols("C r", positive=True)
UNIT_BALLS = {1: 2, 2: sp.pi, 3: 4 * sp.pi / 3, 4: sp.pi**2 / 2, 5: 8 * sp.pi**2 / 15, 6: sp.pi**3 / 6}
UNIT_SPHERES = {1: 2, 2: 2 * sp.pi, 3: 4 * sp.pi, 4: 2 * sp.pi**2, 5: 8 * sp.pi**2 / 3, 8: sp.pi**4 / 3}


@pytest.mark.parametrize("d", UNIT_SPHERES)
def test_sphere_areas_are_the_known_ones(d):
    assert sp.simplify(density.sphere_area(sp.Integer(d)) - UNIT_SPHERES[d]) == 0


@pytest.mark.parametrize("d", UNIT_BALLS)
def test_ball_volumes_are_the_known_ones(d):
    assert sp.simplify(density.ball_volume(r, sp.Integer(d)) - UNIT_BALLS[d] * r**d) == 0


@pytest.mark.parametrize("d", UNIT_BALLS)
def test_shell_volume_is_the_difference_of_two_balls(d):
    assert sp.simplify(density.shell_volume(r, 3 * r, sp.Integer(d)) - UNIT_BALLS[d] * r**d * (3**d - 1)) == 0


@pytest.mark.parametrize(
    ("thickness", "d", "share"), [("1/2", 2, "3/4"), ("1/2", 3, "7/8"), ("1/3", 1, "1/3"), (1, 9, 1)]
)
def test_shell_fraction(thickness, d, share):
    assert density.shell_fraction(sp.Rational(thickness), sp.Integer(d)) == sp.Rational(share)


@pytest.mark.parametrize("d", UNIT_BALLS)
@pytest.mark.parametrize("radius", [C**3, 1 / C, 2 + C / 5])
def test_volume_rate_is_the_derivative_of_the_known_volume(d, radius):
    # A contour that shrinks as C grows sweeps volume all the same: hence the absolute value.
    expected = sp.Abs(sp.diff(UNIT_BALLS[d] * radius**d, C))
    assert sp.simplify(density.volume_rate(radius, C, sp.Integer(d)) - expected) == 0


@pytest.mark.parametrize("d", UNIT_BALLS)
@pytest.mark.parametrize("radius", [C**2, 1 / C])
def test_radial_density_of_uniform_features_is_uniform(d, radius):
    # Uniform in a unit ball: the share within R is R^d, and N per unit volume is N / V whatever the contours.
    share = sp.Abs(sp.diff(radius**d, C))
    assert sp.simplify(density.radial_density(radius, C, share, sp.Integer(d), 7) - 7 / UNIT_BALLS[d]) == 0


@pytest.mark.parametrize("q", [1, 2, 3, sp.Rational(7, 2)])
def test_power_radius_gives_back_the_loss(q):
    assert sp.simplify(density.power_radius(r**q / q, sp.S(q)) - r) == 0


@pytest.mark.parametrize("d", UNIT_BALLS)
@pytest.mark.parametrize("q", [1, 2, 3])
def test_power_density_of_uniform_features_is_uniform(d, q):
    share = sp.diff((q * C) ** sp.Rational(d, q), C)
    law = density.power_density(C, share, sp.Integer(d), sp.Integer(q), 5)
    assert sp.simplify(law - 5 / UNIT_BALLS[d]) == 0


def test_mmc_radius_gives_back_the_loss():
    assert sp.simplify(density.mmc_radius(r**2 / 2) - r) == 0


@pytest.mark.parametrize("d", UNIT_BALLS)
def test_mmc_density_of_uniform_features_is_uniform(d):
    share = sp.diff((2 * C) ** sp.Rational(d, 2), C)
    assert sp.simplify(density.mmc_density(C, share, sp.Integer(d), 5) - 5 / UNIT_BALLS[d]) == 0


@pytest.mark.parametrize("d", [2, 3, 7, 10])
@pytest.mark.parametrize("std", [0.6, 1.7])
def test_mmc_density_of_gaussian_features_is_the_gaussian(d, std):
    losses = np.array([0.05, 0.9, 4.0])
    law = numeric(density.mmc_density)(losses, stats.gamma(d / 2, scale=std**2).pdf(losses), d, 11)
    points = np.sqrt(2 * losses)[:, None] * np.eye(d)[0]
    np.testing.assert_allclose(law, 11 * stats.multivariate_normal(np.zeros(d), std**2).pdf(points), rtol=1e-12)


@pytest.mark.parametrize(("loss_value", "d", "power"), [(4, 3, 4), (4, 2, 2), (2, 5, 4), (9, 1, 1)])
def test_mmc_density_as_printed(loss_value, d, power):
    law = density.mmc_density_printed(sp.Integer(loss_value), sp.Rational(1, 3), sp.Integer(d), 6)
    assert law == sp.Rational(2, power)


@pytest.mark.parametrize("gap", [0.2, 0.9, 1.4, 2.5])
def test_emc_density_of_uniform_features_is_uniform_in_space(gap):
    # tau = 1, uniform in a ball of radius 4: the share with | ||z|| - 1 | <= s, differentiated by C = s^2 / 2.
    swept = 6 + 6 * gap**2 if gap < 1 else 3 * (1 + gap) ** 2
    share = swept / gap / 4**3
    law = numeric(density.emc_density)(gap**2 / 2, share, 3, 1, 9)
    assert float(law) == pytest.approx(9 / (4 / 3 * math.pi * 4**3), rel=1e-12)


@pytest.mark.parametrize("gap", [0.3, 1.5])
def test_emc_density_in_the_plane_with_another_tau(gap):
    # tau = 2: both circles have total length 2 pi * 2 tau whatever the gap; density = N p s / length.
    law = numeric(density.emc_density)(gap**2 / 2, 0.7, 2, 2, 3)
    assert float(law) == pytest.approx(3 * 0.7 * gap / (2 * math.pi * 4), rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3, 8])
@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_gaussian_loss_density_is_scipys_gamma(d, std):
    losses = np.array([0.1, 1.0, 3.0])
    expected = stats.gamma(d / 2, scale=std**2).pdf(losses)
    np.testing.assert_allclose(numeric(density.gaussian_loss_density)(losses, d, std), expected, rtol=1e-12)


def test_log_slope_of_a_power_with_a_cutoff():
    assert sp.simplify(density.log_slope(5 * C ** sp.Rational(-3, 2) * sp.exp(-C), C) - (-sp.Rational(3, 2) - C)) == 0


@pytest.mark.parametrize(("k", "n"), [(3, 5), (3, 40), (10, 40), (25, 400), (8, 8)])
def test_knn_relative_variance_is_that_of_a_beta_order_statistic(k, n):
    # The share of evenly spread features inside the k-th ball is Beta(k, n - k + 1); the estimate goes as its inverse.
    share = stats.beta(k, n - k + 1)
    mean, square = share.expect(lambda u: 1 / u), share.expect(lambda u: 1 / u**2)
    assert float(numeric(density.knn_relative_variance)(k, n)) == pytest.approx(square / mean**2 - 1, rel=1e-5)


@pytest.mark.parametrize(
    ("law", "args"),
    [("mmc_density", (2, 1, 3)), ("mmc_density_printed", (2, 1, 3)), ("power_density", (2, 1, 3, 2)),
     ("emc_density", (2, 1, 3, 1)), ("radial_density", (C, C, 1, 3))],
)  # fmt: skip
def test_laws_count_one_feature_unless_told_and_scale_with_their_number(law, args):
    formula = getattr(density, law)
    args = [sp.S(value) for value in args]
    assert sp.simplify(formula(*args) - formula(*args, sp.S.One)) == 0
    assert sp.simplify(formula(*args, sp.Integer(12)) - 12 * formula(*args)) == 0


@pytest.mark.parametrize(("k", "radius", "d", "needed"), [(3, "1/2", 4, 48), (5, "1/10", 2, 500), (7, 1, 9, 7)])
def test_needed_features(k, radius, d, needed):
    assert density.needed_features(sp.Integer(k), sp.Rational(radius), sp.Integer(d)) == needed


@pytest.mark.parametrize("d", UNIT_BALLS)
@pytest.mark.parametrize("radius", [0.1, 1.0, 3.0])
def test_gaussian_ball_ratio_is_scipys_chi_square(d, radius):
    inside = stats.chi2(d).cdf(radius**2)
    expected = inside / (float(UNIT_BALLS[d]) * radius**d) / stats.multivariate_normal(np.zeros(d)).pdf(np.zeros(d))
    assert float(numeric(density.gaussian_ball_ratio)(radius, d)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("mean_loss", "d", "share", "bound"),
    [
        (1, 2, None, 3 / (2 * math.pi * 4)),
        (2, 2, "3/4", 3 * 0.75 / (math.pi * 16)),
        (1, 3, "1/3", 1 / (4 / 3 * math.pi * 3**1.5)),
        (2, 1, "1/2", 3 / 2 / (2 * math.sqrt(8))),
    ],
)
def test_mmc_mean_density_bound(mean_loss, d, share, bound):
    chosen = {} if share is None else {"share": sp.Rational(share)}
    got = density.mmc_mean_density_bound(sp.Integer(mean_loss), sp.Integer(d), num_features=3, **chosen)
    assert float(got) == pytest.approx(bound)
    alone = density.mmc_mean_density_bound(sp.Integer(mean_loss), sp.Integer(d), **chosen)
    assert float(alone) == pytest.approx(bound / 3)
