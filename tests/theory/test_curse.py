"""Oracles for mmc.theory.curse: finite differences, singular values and constrained minimization of losses in full."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax

from mmc.theory import curse
from mmc.theory.numeric import numeric


def simplex(num_classes: int, norm: float) -> np.ndarray:
    corners = np.eye(num_classes) - 1 / num_classes
    return norm * corners / np.linalg.norm(corners[0])


def cross_entropy(z: np.ndarray, weights: np.ndarray, bias: np.ndarray | float = 0.0) -> float:
    """Of class 0."""
    return float(-log_softmax(weights @ z + bias)[0])


def gradient(function, z: np.ndarray, width: float = 1e-6) -> np.ndarray:
    return np.array([(function(z + step) - function(z - step)) / (2 * width) for step in width * np.eye(len(z))])


@pytest.mark.parametrize(("d", "num_classes"), [(6, 3), (4, 5), (3, 6), (2, 2), (9, 2)])
def test_free_directions_are_the_null_space_of_the_gradients(d, num_classes):
    rng = np.random.default_rng(d)
    weights = rng.normal(size=(num_classes, d))
    gradients = [gradient(lambda z: cross_entropy(z, weights), z, 1e-4) for z in rng.normal(size=(40, d))]
    supervised = np.linalg.matrix_rank(np.array(gradients), tol=1e-5)
    assert float(numeric(curse.free_directions)(d, num_classes)) == d - supervised


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (1.0, 1.25)])
def test_radius_growth_is_the_slope_of_measured_squared_radii(low, high):
    # Two classes with one center: the loss of class k at distance r is log(1 + exp((low - high) r^2)).
    def radius(value):
        return brentq(lambda r: np.log1p(np.exp((low - high) * r**2)) - value, 0, 60, xtol=1e-13)

    for value in (1e-3, 1e-8):
        got = float(numeric(curse.radius_growth)(value, low, high))
        assert got == pytest.approx(radius(value), rel=value)


@pytest.mark.parametrize("value", [0.05, 0.4, 1.5])
@pytest.mark.parametrize(("sigma", "distance"), [(1.0, 2.0), (0.6, 1.1)])
def test_plane_distance_is_where_the_loss_has_that_value(value, sigma, distance):
    # Centers at +-distance/2 on a line; the decision boundary is at 0.
    def loss(x):
        return np.log1p(np.exp(sigma * ((x - distance / 2) ** 2 - (x + distance / 2) ** 2)))

    expected = brentq(lambda x: loss(x) - value, -20, 20)
    assert float(numeric(curse.plane_distance)(value, sigma, distance)) == pytest.approx(expected, rel=1e-9)


def least_norm(value: float, weights: np.ndarray, bias: np.ndarray, start: np.ndarray) -> float:
    """min ||z|| with loss <= value: a convex problem."""
    found = minimize(
        lambda z: z @ z,
        start,
        jac=lambda z: 2 * z,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda z: value - cross_entropy(z, weights, bias)},
        options={"ftol": 1e-14, "maxiter": 300},
    )
    return float(np.linalg.norm(found.x))


@pytest.mark.parametrize("value", [0.05, 0.6])
@pytest.mark.parametrize(("num_classes", "scale", "gap"), [(2, 1.0, 0.0), (4, 1.5, 0.5), (5, 0.7, -0.4)])
def test_norm_bound_is_the_least_norm_for_a_simplex(value, num_classes, scale, gap):
    weights, bias = simplex(num_classes, scale), np.zeros(num_classes)
    bias[0] = gap
    spread = np.linalg.norm(weights[0] - weights[1:].mean(0))
    bound = float(numeric(curse.norm_bound)(value, num_classes, spread, gap))
    assert bound == pytest.approx(least_norm(value, weights, bias, 5 * weights[0]), rel=1e-4)
    if gap == 0:
        assert float(numeric(curse.norm_bound)(value, num_classes, spread)) == pytest.approx(bound)


def test_norm_bound_holds_for_weights_and_biases_of_any_kind():
    rng = np.random.default_rng(0)
    for _ in range(200):
        num_classes, d = rng.integers(2, 7), rng.integers(1, 6)
        weights, bias, z = rng.normal(size=(num_classes, d)), rng.normal(size=num_classes), 3 * rng.normal(size=d)
        spread, gap = np.linalg.norm(weights[0] - weights[1:].mean(0)), bias[0] - bias[1:].mean()
        value = cross_entropy(z, weights, bias)
        assert np.linalg.norm(z) >= float(numeric(curse.norm_bound)(value, num_classes, spread, gap)) - 1e-9


def test_gradient_bound_is_reached_by_two_classes_and_holds_for_more():
    rng = np.random.default_rng(1)
    for num_classes in (2, 2, 3, 6):
        for z in 2 * rng.normal(size=(20, 4)):
            weights = rng.normal(size=(num_classes, 4))
            size = np.linalg.norm(gradient(lambda v, weights=weights: cross_entropy(v, weights), z))
            longest = np.linalg.norm(weights[1:] - weights[0], axis=1).max()
            bound = float(numeric(curse.gradient_bound)(cross_entropy(z, weights), longest))
            assert size <= bound * (1 + 1e-6)
            if num_classes == 2:
                assert size == pytest.approx(bound, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(("num_classes", "norm"), [(2, 1.0), (3, 2.0), (6, 0.7)])
@pytest.mark.parametrize("position", [-0.5, 0.0, 1.2])
def test_mmlda_pull_is_the_gradient_and_reach_its_inverse(num_classes, norm, position):
    centers = simplex(num_classes, norm)
    size = np.linalg.norm(gradient(lambda z: cross_entropy(z, centers), position * centers[0] / norm))
    assert float(numeric(curse.mmlda_pull)(position, norm, num_classes)) == pytest.approx(size, rel=1e-6)
    assert float(numeric(curse.mmlda_reach)(size, norm, num_classes)) == pytest.approx(position, abs=1e-6)
