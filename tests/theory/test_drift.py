"""Oracles for mmc.theory.drift: SciPy's integrator on weights and bias themselves, a convex solver, eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from scipy.special import expit

from mmc.theory import drift
from mmc.theory.numeric import numeric

#: x_0, x_1, c_0, c_1 with both points supporting; the bias counts, so it matters where the origin is.
PAIRS = [(0.0, 1.0, 0.5, 0.5), (0.0, 1.0, 0.9, 0.1), (-1.0, 1.0, 0.8, 0.2), (1.0, 4.0, 0.5, 0.5)]
pairs = pytest.mark.parametrize(("x_0", "x_1", "c_0", "c_1"), PAIRS)


def signed(x_0: float, x_1: float) -> np.ndarray:
    """Rows that give the two margins of (w, b)."""
    return np.array([[-x_0, -1.0], [x_1, 1.0]])


def forces(margins: np.ndarray, exponential: bool) -> np.ndarray:
    return np.exp(-margins) if exponential else expit(-margins)


def flow(x_0: float, x_1: float, weights: np.ndarray, log_times: np.ndarray, exponential: bool = False) -> np.ndarray:
    """Margins at the times, one row each, from (w, b) = (0.1, 0.3), integrated in log t."""
    rows = signed(x_0, x_1)

    def velocity(log_time: float, parameters: np.ndarray) -> np.ndarray:
        return np.exp(log_time) * (weights * forces(rows @ parameters, exponential)) @ rows

    span = (-12.0, log_times[-1])
    path = solve_ivp(velocity, span, [0.1, 0.3], t_eval=log_times, method="LSODA", rtol=1e-10, atol=1e-12).y
    return (rows @ path).T


def entries(x_0: float, x_1: float) -> tuple[float, float, float]:
    """g_00, g_01, g_11."""
    rows = signed(x_0, x_1)
    g = rows @ rows.T
    return g[0, 0], g[0, 1], g[1, 1]


def test_gram_is_that_of_signed_points_with_a_one() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2, 3))
    rows = np.array([[-1.0], [1.0]]) * np.hstack([points, np.ones((2, 1))])
    found = drift.gram(*(sp.Matrix(point.tolist()) for point in points))
    np.testing.assert_allclose(np.array(found, dtype=float), rows @ rows.T)


@pytest.mark.parametrize(("x_0", "x_1"), [(0.0, 1.0), (-2.0, 2.0), (1.0, 4.0)])
def test_support_makes_the_least_parameters_with_both_margins_one(x_0: float, x_1: float) -> None:
    g_00, g_01, g_11 = entries(x_0, x_1)
    alpha = np.array([numeric(drift.support)(g_00, g_01, g_11), numeric(drift.support)(g_11, g_01, g_00)])
    rows = signed(x_0, x_1)
    least = minimize(
        lambda v: v @ v / 2, [1.0, 0.0], constraints={"type": "ineq", "fun": lambda v: rows @ v - 1}, tol=1e-12
    ).x
    assert (alpha > 0).all()
    np.testing.assert_allclose(alpha @ rows, least, atol=1e-5)


@pairs
def test_share_velocity_is_that_of_the_flow_of_the_exponential_loss(x_0, x_1, c_0, c_1) -> None:
    g, margins = signed(x_0, x_1) @ signed(x_0, x_1).T, np.array([0.4, 1.1])
    weights = np.array([c_0, c_1])

    def share(m: np.ndarray) -> float:
        force = weights * np.exp(-m)
        return force[0] / force.sum()

    step = 1e-6
    force = weights * np.exp(-margins)
    moved = margins + step * g @ force / force.sum()  # a step in force applied
    back = margins - step * g @ force / force.sum()
    expected = (share(moved) - share(back)) / (2 * step)
    found = float(numeric(drift.share_velocity)(share(margins), *entries(x_0, x_1)))
    assert found == pytest.approx(expected, rel=1e-6)


@pairs
@pytest.mark.parametrize("exponential", [False, True])
def test_late_margins_and_offset_are_those_of_the_flow(x_0, x_1, c_0, c_1, exponential: bool) -> None:
    late = np.array([18.0, 23.0])
    margins = flow(x_0, x_1, np.array([c_0, c_1]), late, exponential)
    g_00, g_01, g_11 = entries(x_0, x_1)
    alpha = [float(numeric(drift.support)(*g)) for g in ((g_00, g_01, g_11), (g_11, g_01, g_00))]
    for column, (weight, part) in enumerate(zip((c_0, c_1), alpha, strict=True)):
        predicted = numeric(drift.late_margin)(late, weight, part)
        np.testing.assert_allclose(predicted, margins[:, column], atol=2e-3)
    offsets = (margins[:, 0] - margins[:, 1]) / (2 * margins.sum(1))
    predicted = numeric(drift.late_offset)(late, c_0, c_1, *alpha)
    np.testing.assert_allclose(predicted, offsets, atol=1e-4)


@pytest.mark.parametrize(("c_0", "c_1"), [(0.9, 0.1), (0.2, 0.8)])
def test_late_log_time_is_when_the_flow_gets_there(c_0: float, c_1: float) -> None:
    log_times = np.linspace(10, 25, 200)
    margins = flow(0.0, 1.0, np.array([c_0, c_1]), log_times)
    offsets = (margins[:, 0] - margins[:, 1]) / (2 * margins.sum(1))
    for goal in (offsets[60], offsets[150]):
        reached = np.interp(0, np.abs(goal) - np.abs(offsets), log_times)
        found = float(numeric(drift.late_log_time)(goal, c_0, c_1, 3.0, 2.0))
        assert found == pytest.approx(reached, abs=0.05)


@pytest.mark.parametrize(("x_0", "x_1"), [(-1.0, 10.0), (-0.5, 6.0)])
def test_lone_offset_is_where_the_flow_goes_when_one_point_supports(x_0: float, x_1: float) -> None:
    g_00, g_01, g_11 = entries(x_0, x_1)
    assert numeric(drift.support)(g_11, g_01, g_00) < 0
    least = minimize(
        lambda v: v @ v / 2,
        [1.0, 0.0],
        constraints={"type": "ineq", "fun": lambda v: signed(x_0, x_1) @ v - 1},
        tol=1e-12,
    ).x
    margins = signed(x_0, x_1) @ least  # the flow's direction, Soudry et al. 2018
    expected = (margins[0] - margins[1]) / (2 * margins.sum())
    assert float(numeric(drift.lone_offset)(g_00, g_01)) == pytest.approx(expected, abs=1e-5)
    log_times = np.array([20.0, 27.0])
    flown = flow(x_0, x_1, np.array([0.5, 0.5]), log_times)
    offsets = (flown[:, 0] - flown[:, 1]) / (2 * flown.sum(1))
    at_infinity = np.diff(log_times * offsets)[0] / np.diff(log_times)[0]  # what is left falls like 1 / log t
    assert at_infinity == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("half", [0.5, 1.5])
@pytest.mark.parametrize(("c_0", "c_1"), [(0.5, 0.5), (0.95, 0.05)])
def test_centred_difference_is_that_of_the_flow_of_the_exponential_loss(half: float, c_0: float, c_1: float) -> None:
    margins = flow(-half, half, np.array([c_0, c_1]), np.array([-1.0, 1.0, 4.0, 9.0]), exponential=True)
    total, difference = margins.sum(1), margins[:, 0] - margins[:, 1]
    start = signed(-half, half) @ [0.1, 0.3]
    found = numeric(drift.centred_difference)(total, half, np.log(c_0 / c_1), start.sum(), start[0] - start[1])
    np.testing.assert_allclose(found, difference, rtol=1e-6, atol=1e-8)


@pairs
def test_return_rate_is_the_slowest_of_the_linear_flow(x_0, x_1, c_0, c_1) -> None:
    rows, weights = signed(x_0, x_1), np.array([c_0, c_1])
    eigenvalues = np.linalg.eigvals(rows @ rows.T @ np.diag(weights))
    found = float(numeric(drift.return_rate)(0.7, c_0, c_1, *entries(x_0, x_1)))
    assert found == pytest.approx(0.7 * eigenvalues.min())
