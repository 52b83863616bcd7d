"""Oracles for mmc.theory.flow: SciPy's integrator on losses written out in full, and finite differences of those."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import log_softmax

from mmc.theory import flow
from mmc.theory.numeric import numeric


def simplex(num_classes: int, norm: float) -> np.ndarray:
    """Corners of a regular simplex in R^L: the unit vectors, centered and scaled."""
    corners = np.eye(num_classes) - 1 / num_classes
    return norm * corners / np.linalg.norm(corners[0])


def cross_entropy(z: np.ndarray, weights: np.ndarray, label: int = 0) -> float:
    return float(-log_softmax(weights @ z)[label])


def gradient(function, z: np.ndarray, width: float = 1e-5) -> np.ndarray:
    steps = width * np.eye(len(z))
    return np.array([(function(z + step) - function(z - step)) / (2 * width) for step in steps])


def integrate(function, start, times) -> np.ndarray:
    """The flow dz/dt = -grad function, at the given times; one row per time."""
    flown = solve_ivp(lambda _, z: -gradient(function, z), (0, max(times)), start, t_eval=times, rtol=1e-9, atol=1e-11)
    return flown.y.T


TIMES = np.array([0.2, 1.0, 3.0])


@pytest.mark.parametrize("start", [1.0, 2.5])
def test_mmc_flow_is_that_of_half_the_squared_distance(start):
    flown = integrate(lambda z: float(z @ z) / 2, np.array([0.6 * start, 0.8 * start]), TIMES)
    np.testing.assert_allclose(numeric(flow.mmc_distance)(TIMES, start), np.linalg.norm(flown, axis=1), rtol=1e-6)
    np.testing.assert_allclose(numeric(flow.mmc_loss)(TIMES, start), (flown**2).sum(1) / 2, rtol=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.1, 1e-3])
def test_mmc_time_to_a_share(share):
    # The loss itself, read as e^{-2t}, crosses the share at that time.
    expected = brentq(lambda t: np.exp(-2 * t) - share, 0, 20)
    assert float(numeric(flow.mmc_time_to)(share)) == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("margin", [-1.0, 0.0, 2.0])
def test_softmax_loss_and_error_with_equal_margins(num_classes, margin):
    logits = np.zeros(num_classes)
    logits[0] = margin
    expected = -log_softmax(logits)[0]
    assert float(numeric(flow.softmax_loss)(margin, num_classes)) == pytest.approx(expected)
    assert float(numeric(flow.softmax_error)(margin, num_classes)) == pytest.approx(1 - np.exp(-expected))


@pytest.mark.parametrize("num_classes", [2, 4, 10])
def test_simplex_slope_is_margin_per_length_along_a_center(num_classes):
    centers = simplex(num_classes, 3.0)
    logits = centers @ (2.0 * centers[0] / 3.0)
    slope = float(numeric(flow.simplex_slope)(3.0, num_classes))
    np.testing.assert_allclose(logits[0] - logits[1:], 2.0 * slope)


@pytest.mark.parametrize(("spread", "start"), [(0.5, 2.0), (1.7, 0.3)])
def test_softmax_loss_floor_is_the_steepest_fall_that_the_gradient_allows(spread, start):
    expected = solve_ivp(
        lambda _, loss: -((spread * loss) ** 2), (0, max(TIMES)), [start], t_eval=TIMES, rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(numeric(flow.softmax_loss_floor)(TIMES, spread, start), expected.y[0], rtol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_no_softmax_flow_falls_below_the_floor(seed):
    generator = np.random.default_rng(seed)
    weights, start = generator.normal(size=(4, 3)), 2 * generator.normal(size=3)
    values = [cross_entropy(z, weights) for z in integrate(lambda z: cross_entropy(z, weights), start, TIMES)]
    spread = np.linalg.norm(weights[0] - weights, axis=1).max()
    assert (values >= numeric(flow.softmax_loss_floor)(TIMES, spread, cross_entropy(start, weights))).all()


@pytest.mark.parametrize(("num_classes", "norm", "start"), [(2, 1.0, 0.0), (3, 2.0, 0.4), (6, 0.8, -0.7)])
def test_softmax_margin_is_that_of_the_flow_in_feature_space(num_classes, norm, start):
    centers = simplex(num_classes, norm)
    slope = norm * num_classes / (num_classes - 1)
    flown = integrate(lambda z: cross_entropy(z, centers), start / slope * centers[0] / norm, TIMES)
    margins = flown @ (centers[0] - centers[1])
    np.testing.assert_allclose(numeric(flow.softmax_margin)(TIMES, slope, num_classes, start), margins, rtol=1e-6)
    np.testing.assert_allclose(numeric(flow.softmax_time)(margins, slope, num_classes, start), TIMES, rtol=1e-6)


@pytest.mark.parametrize(("num_classes", "start"), [(3, 0.0), (5, 1.0)])
def test_softmax_sideways_is_that_of_the_flow_in_feature_space(num_classes, start):
    centers = simplex(num_classes, 1.0)
    side = 1e-2 * (centers[1] - centers[2])
    begin = start * (num_classes - 1) / num_classes * centers[0] + side
    flown = integrate(lambda z: cross_entropy(z, centers), begin, TIMES)
    left = flown @ side / (side @ side)
    margins = flown @ (centers[0] - centers[1:].mean(0))
    np.testing.assert_allclose(numeric(flow.softmax_sideways)(margins, num_classes, start), left, rtol=1e-4)
    if start == 0:
        np.testing.assert_allclose(numeric(flow.softmax_sideways)(margins, num_classes), left, rtol=1e-4)


def test_flows_start_at_margin_zero_unless_told():
    for formula, value in [(flow.softmax_margin, 0.7), (flow.softmax_time, 0.7)]:
        assert float(numeric(formula)(value, 1.5, 3)) == pytest.approx(float(numeric(formula)(value, 1.5, 3, 0.0)))
    assert float(numeric(flow.softmax_margin)(0.0, 1.5, 3)) == pytest.approx(0)


@pytest.mark.parametrize("share", [0.6, 0.25])
def test_softmax_time_to_a_share(share):
    norm, num_classes = 1.5, 4
    centers = simplex(num_classes, norm)
    time = float(numeric(flow.softmax_time_to)(share, norm * num_classes / (num_classes - 1), num_classes))
    flown = integrate(lambda z: cross_entropy(z, centers), np.zeros(num_classes), [time])
    assert cross_entropy(flown[0], centers) == pytest.approx(share * np.log(num_classes), rel=1e-6)


def hessian(z: np.ndarray, centers: np.ndarray, width: float = 1e-3) -> np.ndarray:
    return np.array([
        (gradient(lambda v: cross_entropy(v, centers), z + step)
         - gradient(lambda v: cross_entropy(v, centers), z - step)) / (2 * width)
        for step in width * np.eye(len(z))
    ])  # fmt: skip


@pytest.mark.parametrize(("num_classes", "norm"), [(2, 1.0), (3, 2.0), (5, 1.5)])
def test_mmlda_curvature_at_the_origin_is_that_of_finite_differences(num_classes, norm):
    eigenvalues = np.linalg.eigvalsh(hessian(np.zeros(num_classes), simplex(num_classes, norm)))
    expected = float(numeric(flow.mmlda_curvature)(norm, num_classes))
    np.testing.assert_allclose(eigenvalues[1:], expected, rtol=1e-4)  # the first is the direction without a class
    assert abs(eigenvalues[0]) < 1e-4


@pytest.mark.parametrize(("num_classes", "norm"), [(2, 1.0), (3, 2.0), (5, 1.5)])
def test_mmlda_is_sharpest_half_way_between_two_centers(num_classes, norm):
    centers = simplex(num_classes, norm)
    top = [np.linalg.eigvalsh(hessian(far * (centers[0] + centers[1]), centers))[-1] for far in (0.0, 0.5, 12.0)]
    expected = float(numeric(flow.mmlda_sharpest)(norm, num_classes))
    assert max(top) <= expected * (1 + 1e-4)
    assert top[-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("num_classes", "norm", "weight", "center"), [(2, 1.0, 0.3, 0.5), (4, 2.0, 0.1, 1.5)])
def test_center_velocity_and_rate_are_those_of_the_loss_on_the_axis(num_classes, norm, weight, center):
    centers = simplex(num_classes, norm)
    axis = centers[0] / norm
    slope = norm * num_classes / (num_classes - 1)

    def loss(s):
        return cross_entropy(s[0] * axis, centers) + weight / 2 * (s[0] - center) ** 2

    def velocity(s):
        return -gradient(loss, np.array([s]))[0]

    for s in (-0.4, 0.3, 2.0):
        got = float(numeric(flow.center_velocity)(s, slope, num_classes, weight, center))
        assert got == pytest.approx(velocity(s), abs=1e-7)
        rate = (velocity(s - 1e-3) - velocity(s + 1e-3)) / 2e-3
        assert float(numeric(flow.center_rate)(s, slope, num_classes, weight)) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize(("slope", "center"), [(1.5, 1.0), (2.0, 4.0), (3.0, 4.0)])
def test_center_balances_just_below_the_bound(slope, center):
    num_classes, weight = 4, 0.01

    def velocity(s):
        return slope * 3 / (np.exp(slope * s) + 3) - weight * (s - center)

    beyond = brentq(velocity, 0, 100) - center
    bound = float(numeric(flow.center_overshoot_bound)(slope, num_classes, weight, center))
    # The bound drops the other classes' share L - 1 against e^{as}, so it is sharp up to that share.
    assert 0 < beyond < bound < beyond * (1 + 4 * np.exp(-slope * (center + beyond)))


@pytest.mark.parametrize(("weight", "pace"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.5)])
def test_moving_center_delays_the_softmax_by_the_derived_factor(weight, pace):
    def velocity(_, state):
        s, c = state
        return [2 / (np.exp(2 * s) + 1) - weight * (s - c), pace * (s - c)]

    end = 1e7
    s, _ = solve_ivp(velocity, (0, end), [0.0, 0.0], method="LSODA", rtol=1e-8, atol=1e-10).y[:, -1]
    alone = 4 * end  # e^m = a^2 t for the softmax alone, with a = 2
    assert alone / np.exp(2 * s) == pytest.approx(float(numeric(flow.moving_center_delay)(weight, pace)), rel=1e-3)
