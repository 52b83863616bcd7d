"""Oracles for mmc.theory.losses: the losses from probabilities, written with NumPy and SciPy, no log-sum-exp shared."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, softmax
from scipy.stats import entropy

from mmc.theory import losses
from mmc.theory.numeric import numeric

OWN, OTHERS = 0.7, (-1.2, 0.4, 1.9)
CASES = [(OWN, OTHERS), (3.0, (0.5, -2.0)), (-2.5, (1.0, 0.3, -0.4, 2.0))]
cases = pytest.mark.parametrize(("own", "others"), CASES)


def probabilities(own, others):
    return softmax([own, *others])


def value(expression) -> float:
    return float(sp.N(expression))


@cases
def test_cross_entropy_is_the_surprise_at_the_label(own, others):
    assert value(losses.cross_entropy(own, others)) == pytest.approx(-np.log(probabilities(own, others)[0]))


def test_the_logit_of_a_center_is_half_the_squared_distance_turned():
    assert value(losses.distance_logit(sp.Float(5.0))) == -2.5
    assert value(losses.distance_logit(sp.Float(5.0), 3)) == -15


def test_mmc_is_the_work_of_a_spring():
    # The force is the distance, so the value is the area below it.
    grid = np.linspace(0, 2.4, 1001)
    assert value(losses.mmc(2.4)) == pytest.approx(np.trapezoid(grid, grid))


@cases
def test_center_loss_adds_its_pull(own, others):
    expected = -np.log(probabilities(own, others)[0]) + 0.3 * 4.0 / 2
    assert value(losses.center(own, others, 4.0, 0.3)) == pytest.approx(expected)


@pytest.mark.parametrize(("margin", "weight"), [(0.0, 0.0), (0.3, 0.0), (0.2, 0.1)])
def test_lgm_is_the_posterior_of_gaussians_with_its_margin_and_likelihood(margin, weight):
    own, others = 1.7, (2.9, 4.2)
    densities = np.exp(-np.array([own * (1 + margin), *others]) / 2)
    expected = -np.log(densities[0] / densities.sum()) + weight * own / 2
    assert value(losses.lgm(own, others, margin, weight)) == pytest.approx(expected)


@cases
@pytest.mark.parametrize("share", [1.0, 0.9, 0.5])
def test_smoothing_is_cross_entropy_to_its_target(own, others, share):
    target = np.array([share, *[(1 - share) / len(others)] * len(others)])
    expected = -(target * np.log(probabilities(own, others))).sum()
    assert value(losses.smoothed(own, others, share)) == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [2, 4, 10])
@pytest.mark.parametrize("eps", [0.1, 0.3])
def test_both_conventions_are_distributions_and_differ_by_the_known_factor(num_classes, eps):
    everywhere = np.full(num_classes, eps / num_classes)
    everywhere[0] += 1 - eps
    assert value(losses.share_all(eps, num_classes)) == pytest.approx(everywhere[0])
    elsewhere = 1 - value(losses.share_others(eps))
    assert elsewhere == pytest.approx(eps)
    larger = eps * num_classes / (num_classes - 1)
    assert value(losses.share_all(larger, num_classes)) == pytest.approx(1 - eps)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_smoothing_is_least_at_its_margin(num_classes, share):
    def smoothed(margin):
        return value(losses.smoothed(float(margin), [0.0] * (num_classes - 1), share))

    found = minimize_scalar(smoothed, bracket=(0.0, 1.0), tol=1e-12)
    assert found.x == pytest.approx(float(numeric(losses.smoothing_margin)(share, num_classes)), abs=1e-5)
    target = [share, *[(1 - share) / (num_classes - 1)] * (num_classes - 1)]
    assert found.fun == pytest.approx(entropy(target))
    assert float(numeric(losses.smoothing_floor)(share, num_classes)) == pytest.approx(entropy(target))


def test_the_two_stationary_margins_of_the_literature():
    """At eps = 0.1 and ten classes: 4.394 and, in PyTorch's convention, 4.511."""
    share = losses.share_others(sp.Rational(1, 10))
    assert value(losses.smoothing_margin(share, 10)) == pytest.approx(4.394, abs=5e-4)
    assert value(losses.smoothing_margin(losses.share_all(sp.Rational(1, 10), 10), 10)) == pytest.approx(
        4.511, abs=5e-4
    )


@cases
def test_one_vs_rest_is_the_surprise_of_independent_answers(own, others):
    right = expit(own) * np.prod([1 - expit(entry) for entry in others])
    assert value(losses.one_vs_rest(own, others)) == pytest.approx(-np.log(right))


@cases
def test_logit_squared_is_the_mean_square_of_what_is_missing(own, others):
    missing = 2.0 - (own - np.array(others))
    assert value(losses.logit_squared(own, others, 2.0)) == pytest.approx((missing**2).mean())


@cases
@pytest.mark.parametrize("target", [0.5, 3.0])
def test_mirrored_is_cross_entropy_there_and_back(own, others, target):
    turned = 2 * target - (own - np.array(others))  # the margins, seen from the other side of m*
    there, back = (-np.log(softmax([0, *-margins])[0]) for margins in (own - np.array(others), turned))
    assert value(losses.mirrored(own, others, target)) == pytest.approx(there + back)


@cases
@pytest.mark.parametrize("alpha", [1 / 3, 1.0])
def test_guided_complement_is_the_negative_entropy_of_the_wrong_classes(own, others, alpha):
    p = probabilities(own, others)
    wrong = p[1:] / p[1:].sum()
    expected = -(p[0] ** alpha) * entropy(wrong)
    assert value(losses.guided_complement(own, others, alpha)) == pytest.approx(expected / np.log(len(p)))
    scaled = losses.guided_complement(own, others, alpha, len(others))
    assert value(scaled) == pytest.approx(expected / np.log(len(others)))


@pytest.mark.parametrize("num_classes", [3, 5, 10])
@pytest.mark.parametrize("margin", [-3.0, 0.0, 2.0])
def test_guided_complement_with_even_wrong_classes(num_classes, margin):
    p = softmax([margin, *[0.0] * (num_classes - 1)])
    wrong = p[1:] / p[1:].sum()
    expected = -(p[0] ** 0.4) * entropy(wrong) / np.log(num_classes)
    assert float(numeric(losses.guided_complement_even)(margin, num_classes, 0.4)) == pytest.approx(expected)


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_hypersphere_is_cross_entropy_of_scaled_cosines(margin):
    cosines = np.array([0.3, -0.4, 0.8])
    handicapped = 5.0 * (cosines - margin * np.array([1, 0, 0]))
    expected = -np.log(softmax(handicapped)[0])
    assert value(losses.hypersphere(cosines[0], cosines[1:], 5.0, margin)) == pytest.approx(expected)


def test_prototype_conformity_is_least_where_pull_and_push_balance():
    """Along a line through the own center 0 and the one rival 1: p x^2 - q (x - 1)^2 is least at -q / (p - q)."""

    def along(x):
        return value(losses.prototype_conformity(0.0, float(x) ** 2, [(float(x) - 1) ** 2], 1.0, 0.2))

    assert minimize_scalar(along, bracket=(-1.0, 1.0)).x == pytest.approx(-0.2 / 0.8, abs=1e-6)
    assert value(losses.prototype_conformity(0.7, 2.0, [1.0, 5.0], 0.5, 0.1)) == pytest.approx(0.7 + 1.0 - 0.3)


@pytest.mark.parametrize("norm", [1.0, 2.5])
def test_dot_regression_is_the_squared_shortfall_over_the_length(norm):
    rng = np.random.default_rng(0)
    z, home = rng.normal(size=5), rng.normal(size=5)
    home *= norm / np.linalg.norm(home)
    length = np.linalg.norm(z)
    expected = (z @ home - norm * length) ** 2 / length / 2
    found = numeric(losses.dot_regression)(length, z @ home / length / norm, norm)
    assert float(found) == pytest.approx(expected)
    assert float(numeric(losses.dot_regression)(length, 0.25)) == pytest.approx(0.28125 * length)


def test_softmax_losses_see_differences_only_and_one_vs_rest_does_not():
    shift = sp.Symbol("c", real=True)
    own, others = sp.Symbol("u", real=True), sp.symbols("v w", real=True)
    moved = own + shift, [entry + shift for entry in others]
    for loss, more in (
        (losses.cross_entropy, ()),
        (losses.smoothed, (sp.Rational(9, 10),)),
        (losses.guided_complement, (sp.Rational(1, 3),)),
        (losses.logit_squared, (4,)),
        (losses.mirrored, (4,)),
    ):
        gap = loss(*moved, *more) - loss(own, others, *more)
        assert abs(value(gap.subs({own: 0.3, others[0]: -1, others[1]: 2, shift: 1.7}))) < 1e-12
    gap = losses.one_vs_rest(*moved) - losses.one_vs_rest(own, others)
    assert abs(value(gap.subs({own: 0.3, others[0]: -1, others[1]: 2, shift: 1.7}))) > 0.1


def test_one_vs_rest_has_no_minimum():
    """Every direction that raises the own logit and lowers the others goes on forever."""
    found = minimize(lambda h: value(losses.one_vs_rest(h[0], h[1:])), np.zeros(3), options={"gtol": 1e-8})
    assert found.x[0] > 8 and (found.x[1:] < -8).all() and found.fun < 1e-3
