"""Oracles for mmc.theory.stationary: losses from probabilities, sign changes on a grid, least squares, SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import brentq, minimize
from scipy.special import softmax

from mmc.theory import losses, stationary
from mmc.theory.numeric import numeric

M = sp.Symbol("m", real=True)
EVEN = [sp.S.Zero] * 9  # the other logits of ten classes
TENTH = sp.Rational(1, 10)


def label_probability(margin: float, num_classes: int) -> float:
    return float(softmax([margin, *[0.0] * (num_classes - 1)])[0])


def by_search(loss: sp.Expr) -> list[float]:
    """Sign changes of the slope by finite differences on a grid, refined; nothing symbolic."""
    value = sp.lambdify(M, loss)

    def slope(m: float) -> float:
        return (value(m + 1e-5) - value(m - 1e-5)) / 2e-5

    grid = np.linspace(0.03, 15, 400)
    slopes = [slope(m) for m in grid]
    ends = [k for k in range(len(grid) - 1) if slopes[k] * slopes[k + 1] < 0]
    return [brentq(slope, grid[k], grid[k + 1]) for k in ends]


@pytest.mark.parametrize(
    "loss",
    [
        losses.cross_entropy(M, EVEN),
        losses.smoothed(M, EVEN, 1 - TENTH),
        losses.smoothed(M, EVEN, losses.share_all(TENTH, sp.Integer(10))),
        losses.logit_squared(M, EVEN, sp.Integer(4)),
        losses.mirrored(M, EVEN, sp.log(81)),
        losses.mirrored(M, EVEN, sp.Integer(3)),
        losses.one_vs_rest(M, [-M, -M]),
        stationary.exponential(M),
        (M - 1) ** 2 * (M - 3) ** 2,  # two minima and a hill between
        (M + 2) ** 2,  # stationary on the wrong side alone
        sp.exp(-M) + sp.exp(M) / 100 + sp.exp(-2 * M) / 7,
    ],
    ids=range(11),
)
def test_stationary_margins_are_the_sign_changes_of_the_slope(loss: sp.Expr) -> None:
    found = [float(root) for root in stationary.stationary_margins(loss, M)]
    assert found == pytest.approx(by_search(loss), abs=1e-6)


def test_a_root_on_the_line_between_right_and_wrong_is_no_stationary_margin_and_a_double_one_counts_once() -> None:
    assert stationary.stationary_margins(M**2, M) == []
    assert stationary.stationary_margins(sp.exp(M) + sp.exp(-M), M) == []
    assert stationary.stationary_margins((M - 2) ** 3, M) == [2]
    third = sp.exp(3 * M) / 3 - 2 * sp.exp(2 * M) + 4 * sp.exp(M)  # slope q (q - 2)^2
    assert stationary.stationary_margins(third, M) == [sp.log(2)]


def test_a_slope_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a polynomial in m nor a fraction"):
        stationary.stationary_margins(sp.sin(M), M)


@pytest.mark.parametrize("margin", [-2.0, 0.3, 4.0])
def test_exponential_is_the_odds_of_an_error_with_two_classes(margin: float) -> None:
    p = label_probability(margin, 2)
    assert float(stationary.exponential(margin)) == pytest.approx((1 - p) / p)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("margin", [-1.0, 2.0])
def test_focal_is_damped_cross_entropy(margin: float, num_classes: int, gamma: float) -> None:
    p = label_probability(margin, num_classes)
    found = float(numeric(stationary.focal)(margin, num_classes, gamma))
    assert found == pytest.approx(-((1 - p) ** gamma) * np.log(p))


@pytest.mark.parametrize(("margin", "expected"), [(-1.0, 4.5), (1.5, 0.125), (2.0, 0.0), (7.0, 0.0)])
def test_squared_hinge_is_flat_from_its_margin_on(margin: float, expected: float) -> None:
    assert float(numeric(stationary.squared_hinge)(margin, 2.0)) == expected


@pytest.mark.parametrize("num_classes", [2, 6])
@pytest.mark.parametrize("margin", [-1.0, 0.7, 5.0])
def test_mirrored_even_is_the_loss_of_equal_margins(margin: float, num_classes: int) -> None:
    there, back = label_probability(margin, num_classes), label_probability(2 * 1.8 - margin, num_classes)
    found = float(numeric(stationary.mirrored_even)(margin, num_classes, 1.8))
    assert found == pytest.approx(-np.log(there) - np.log(back))


@pytest.mark.parametrize("num_classes", [2, 7])
@pytest.mark.parametrize("target", [0.5, 3.0])
def test_curvatures_are_second_differences_at_the_stationary_margin(num_classes: int, target: float) -> None:
    share, width = label_probability(target, num_classes), 1e-3

    def smoothed(m: float) -> float:
        p = softmax([m, *[0.0] * (num_classes - 1)])
        return -share * np.log(p[0]) - (1 - share) * np.log(p[1])

    def mirrored(m: float) -> float:
        return -np.log(label_probability(m, num_classes)) - np.log(label_probability(2 * target - m, num_classes))

    for loss, formula in ((smoothed, stationary.smoothing_curvature), (mirrored, stationary.mirrored_curvature)):
        low, here, high = (loss(target + step) for step in (-width, 0, width))
        assert float(numeric(formula)(target, num_classes)) == pytest.approx(
            (low + high - 2 * here) / width**2, rel=1e-4
        )
        assert abs(high - low) < 1e-8


@pytest.mark.parametrize(("x_0", "x_1", "w", "b"), [(0.0, 1.0, 4.0, -1.0), (-3.0, 5.0, 0.5, 0.7)])
def test_offset_is_where_an_affine_function_is_zero(x_0: float, x_1: float, w: float, b: float) -> None:
    expected = (-b / w - (x_0 + x_1) / 2) / (x_1 - x_0)
    assert float(numeric(stationary.offset)(-(w * x_0 + b), w * x_1 + b)) == pytest.approx(expected)


@pytest.mark.parametrize("power", [0.3, 1.0, 4.0])
def test_power_offset_is_where_the_bent_function_is_zero(power: float) -> None:
    place = brentq(lambda s: 2 * s**power - 1, 0, 1)
    assert float(numeric(stationary.power_offset)(power)) == pytest.approx(place - 0.5)


def clouds(sizes: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds in the plane with one and the same covariance, exactly, and their labels."""
    rng = np.random.default_rng(seed)
    mixing, gap = rng.normal(size=(2, 2)), np.array([3.0, -1.0])
    parts = []
    for size, mean in zip(sizes, (np.zeros(2), gap), strict=True):
        noise = rng.normal(size=(size, 2))
        noise -= noise.mean(0)
        noise = noise @ np.linalg.inv(np.linalg.cholesky(noise.T @ noise / size)).T
        parts.append(mean + noise @ mixing.T)
    return np.concatenate(parts), np.repeat([-1.0, 1.0], sizes)


@pytest.mark.parametrize("sizes", [(30, 30), (60, 15), (8, 40)])
def test_squares_offset_is_that_of_least_squares(sizes: tuple[int, int]) -> None:
    x, y = clouds(sizes, seed=1)
    design = np.hstack([x, np.ones((len(x), 1))])
    w_1, w_2, b = np.linalg.lstsq(design, 2.5 * y, rcond=None)[0]
    means = [x[y == sign].mean(0) for sign in (-1, 1)]
    f_0, f_1 = (w_1 * mean[0] + w_2 * mean[1] + b for mean in means)
    expected = -f_0 / (f_1 - f_0) - 0.5
    gap = means[1] - means[0]
    spread = np.cov(x[y < 0].T, bias=True)
    squared_distance = gap @ np.linalg.solve(spread, gap)
    shares = np.array(sizes) / sum(sizes)
    assert float(numeric(stationary.squares_offset)(*shares, squared_distance)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_bayes_offset_is_that_of_cross_entropy_on_gaussians(share: float) -> None:
    """Two Gaussians of variance 1 at 0 and 4, the expected loss by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def expected_loss(parameters: np.ndarray) -> float:
        w, b = parameters
        right, wrong = np.logaddexp(0, w * nodes + b), np.logaddexp(0, -(w * (nodes + 4) + b))
        return float(share * weights @ right + (1 - share) * weights @ wrong)

    w, b = minimize(expected_loss, np.array([1.0, -2.0]), tol=1e-12).x
    found = float(numeric(stationary.bayes_offset)(share, 1 - share, 16.0))
    assert found == pytest.approx(-b / w / 4 - 0.5, abs=1e-4)
