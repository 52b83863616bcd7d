"""Oracles for mmc.theory.switching: SciPy's integrator, roots and minima on losses of all logits, written out here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize
from scipy.special import logsumexp

from mmc.theory import switching
from mmc.theory.numeric import numeric

# Not shrunk: a failing case is read as easily as a small one, and every mutant makes one fail.
few = settings(max_examples=12, phases=(Phase.explicit, Phase.generate))
classes, weights = st.integers(2, 40), st.floats(0.1, 5)
TIMES = np.array([0.3, 2.0, 40.0])


def softmax_loss(h: np.ndarray) -> float:
    """Cross-entropy, own class first."""
    return float(logsumexp(h) - h[0])


def answers_loss(h: np.ndarray) -> float:
    """The surprise of independent yes-or-no answers, own class first."""
    return float(np.logaddexp(0, np.r_[-h[0], h[1:]]).sum())


def gradient(loss, h: np.ndarray, width: float = 1e-5) -> np.ndarray:
    return np.array([(loss(h + step) - loss(h - step)) / (2 * width) for step in width * np.eye(len(h))])


def flown(loss, num_classes: int, times: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """Free logits at the times, one row each; finite differences of the loss and nothing else."""
    span, start = (0, times[-1]), np.zeros(num_classes)
    found = solve_ivp(
        lambda _, h: -weight * gradient(loss, h), span, start, method="LSODA", t_eval=times, rtol=1e-8, atol=1e-10
    )
    return found.y.T


def root(total: float, slope: float) -> float:
    """The x of e^x + slope x = total by bisection."""
    return brentq(lambda x: np.exp(x) + slope * x - total, 0, np.log(total) + 1e-9, xtol=1e-14, rtol=1e-14)


def margins(time: float, num_classes: int, switched: float = 1.0, weight: float = 1.0) -> tuple[float, float]:
    """Margins under one-vs-rest and cross-entropy, by bisection of the integrated flows."""
    return 2 * root(switched * time + 1, 1), root(weight * num_classes * time + 1, num_classes - 1)


def even(num_classes: int, own: float, other: float) -> np.ndarray:
    return np.r_[own, np.full(num_classes - 1, other)]


@few
@given(h=st.lists(st.floats(-9, 9), min_size=2, max_size=6))
def test_logit_margin_loss_is_the_best_wrong_logit_over_the_own(h):
    assert float(switching.logit_margin_loss(h[0], h[1:])) == pytest.approx(max(h[1:]) - h[0])


@few
@given(x=st.floats(0, 300), slope=st.floats(0.2, 100))
def test_balance_solves_its_equation_also_where_the_exponential_is_huge(x, slope):
    assert float(numeric(switching.balance)(np.exp(x) + slope * x, slope)) == pytest.approx(x, rel=1e-9, abs=1e-9)


def test_weight_is_one_unless_told():
    for formula in (switching.cross_entropy_margin, switching.cross_entropy_time, switching.cross_entropy_pace):
        assert float(numeric(formula)(1.3, 5)) == float(numeric(formula)(1.3, 5, 1.0))
    for formula in (switching.one_vs_rest_margin, switching.one_vs_rest_time):
        assert float(numeric(formula)(1.3)) == float(numeric(formula)(1.3, 1.0))
    for formula, args in ((switching.one_vs_rest_pace, (0.4, -0.7)), (switching.lead, (1.7, 6))):
        assert float(numeric(formula)(*args)) == float(numeric(formula)(*args, 1.0))
    assert float(numeric(switching.even_pace_margin)(6)) == float(numeric(switching.even_pace_margin)(6, 1.0))


@few
@given(num_classes=classes)
def test_free_slope_is_the_margin_of_a_step_of_length_one(num_classes):
    step = -gradient(softmax_loss, np.zeros(num_classes))
    expected = (step[0] - step[1]) / np.linalg.norm(step)
    assert float(numeric(switching.free_slope)(num_classes)) == pytest.approx(expected, rel=1e-6)


@few
@given(num_classes=classes, weight=weights, own=st.floats(-3, 6), other=st.floats(-6, 3))
def test_paces_are_those_of_the_gradients(num_classes, weight, own, other):
    h = even(num_classes, own, other)
    ask = {loss: -weight * gradient(loss, h) @ (np.eye(num_classes)[0] - np.eye(num_classes)[1])
           for loss in (softmax_loss, answers_loss)}  # fmt: skip
    pace = numeric(switching.cross_entropy_pace)(own - other, num_classes, weight)
    assert float(pace) == pytest.approx(ask[softmax_loss], abs=1e-6)
    assert float(numeric(switching.one_vs_rest_pace)(own, other, weight)) == pytest.approx(ask[answers_loss], abs=1e-6)


@few
@given(num_classes=classes, margin=st.floats(0, 8))
def test_pulls_are_norms_of_the_gradients(num_classes, margin):
    h = even(num_classes, margin / 2, -margin / 2)
    for pull, loss in ((switching.cross_entropy_pull, softmax_loss), (switching.one_vs_rest_pull, answers_loss)):
        assert float(numeric(pull)(margin, num_classes)) == pytest.approx(np.linalg.norm(gradient(loss, h)), abs=1e-6)


@few
@given(num_classes=classes, growth=st.floats(1.05, 60), switched=weights)
def test_lead_has_the_sign_of_the_difference_of_margins(num_classes, growth, switched):
    time = (growth + np.log(growth) - 1) / switched
    one_vs_rest, cross_entropy = margins(time, num_classes, switched)
    assert one_vs_rest == pytest.approx(2 * np.log(growth))
    ahead = float(numeric(switching.lead)(growth, num_classes, switched))
    if abs(one_vs_rest - cross_entropy) > 1e-6:
        assert np.sign(ahead) == np.sign(one_vs_rest - cross_entropy)


@pytest.mark.parametrize(("num_classes", "switched"), [(5, 1.0), (10, 1.0), (10, 0.4), (100, 0.8)])
def test_lead_vanishes_where_the_margins_cross(num_classes, switched):
    def behind(time):
        one_vs_rest, cross_entropy = margins(time, num_classes, switched)
        return one_vs_rest - cross_entropy

    time = brentq(behind, 0.5, 1e4, xtol=1e-13)
    growth = np.exp(root(switched * time + 1, 1))
    slope = (behind(time * 1.01) - behind(time)) / np.log(growth)
    ahead = numeric(switching.lead)
    assert float(ahead(growth, num_classes, switched)) == pytest.approx(0, abs=1e-6 * growth**2 / slope)
    assert float(ahead(0.9 * growth, num_classes, switched)) < 0 < float(ahead(1.1 * growth, num_classes, switched))
    if switched == 1:
        assert float(numeric(switching.crossing_classes)(growth)) == pytest.approx(num_classes, rel=1e-6)


@pytest.mark.parametrize(("num_classes", "switched"), [(5, 1.0), (10, 1.0), (10, 0.4), (20, 0.7)])
def test_even_pace_margin_is_where_the_gradients_change_order(num_classes, switched):
    def faster(margin):
        h = even(num_classes, margin / 2, -margin / 2)
        ovr, ce = (gradient(loss, h) for loss in (answers_loss, softmax_loss))
        return (ce[0] - ce[1]) - switched * (ovr[0] - ovr[1])

    expected = brentq(faster, 0.5, 12)
    assert float(numeric(switching.even_pace_margin)(num_classes, switched)) == pytest.approx(expected, abs=1e-5)


@few
@given(num_classes=classes, switched=weights, weight=weights, power=st.floats(-1, 12))
@example(num_classes=3, switched=0.7, weight=1.3, power=0.5)
@example(num_classes=12, switched=1.6, weight=0.6, power=1.5)
def test_bounds_enclose_the_ratio_and_are_one_step_of_the_fixed_point(num_classes, switched, weight, power):
    time = 10**power
    top, bottom = margins(time, num_classes, switched, weight)
    arguments = (time, num_classes, switched, weight)
    floor = float(numeric(switching.ratio_floor)(*arguments))
    assert floor <= top / bottom * (1 + 1e-9)
    answer, total = switched * time + 1, weight * num_classes * time + 1
    # x = log(total - slope x) from x = log(total) steps below the root.
    assert floor == pytest.approx(2 * np.log(answer - np.log(answer)) / np.log(total), rel=1e-6, abs=1e-9)
    left = total - (num_classes - 1) * np.log(total)
    if left > 1.1:
        ceiling = float(numeric(switching.ratio_ceiling)(*arguments))
        assert ceiling >= top / bottom * (1 - 1e-9)
        assert ceiling == pytest.approx(2 * np.log(answer) / np.log(left))


@few
@given(num_classes=classes, power=st.floats(0.5, 20))
def test_late_ratio_at_a_power_of_the_number_of_classes(num_classes, power):
    expected = 2 * power / (power + 1)
    assert float(numeric(switching.ratio_late)(float(num_classes) ** power, num_classes)) == pytest.approx(expected)
    time = float(numeric(switching.time_to_ratio)(expected, num_classes))
    assert np.log(time) == pytest.approx(power * np.log(num_classes))


@pytest.mark.parametrize("num_classes", [2, 10, 60])
def test_expansion_is_right_up_to_the_square_of_the_inverse_time(num_classes):
    late = num_classes * np.array([1e2, 1e3, 1e4])
    ratios = np.array([top / bottom for top, bottom in (margins(time, num_classes) for time in late)])
    off = np.abs(numeric(switching.ratio_expansion)(late, num_classes) - ratios)
    assert (off < (num_classes + 10) / late**2).all(), "a term of the order 1/t would show at the last time"


@few
@given(h=st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_level_slope_is_what_a_constant_does_to_the_loss(h):
    logits, width = np.array(h), 1e-5
    expected = (answers_loss(logits + width) - answers_loss(logits - width)) / (2 * width)
    assert float(switching.level_slope(h)) == pytest.approx(expected, abs=1e-6)
    assert float(switching.answers(h)) == pytest.approx(expected + 1, abs=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_best_level_minimises_the_loss_of_equal_logits(num_classes):
    best = minimize(lambda c: answers_loss(np.full(num_classes, c[0])), [0.0], tol=1e-10).x[0]
    assert float(numeric(switching.best_level)(num_classes)) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(("num_classes", "share"), [(2, 0.7), (3, 0.6), (10, 0.4), (10, 0.95)])
def test_repeated_margin_minimises_the_expected_loss(num_classes, share):
    chances = even(num_classes, share, (1 - share) / (num_classes - 1))

    def expected(h):
        return (chances * np.logaddexp(0, -h) + (1 - chances) * np.logaddexp(0, h)).sum()

    h = minimize(expected, np.zeros(num_classes), tol=1e-12).x
    assert float(numeric(switching.repeated_margin)(share, num_classes)) == pytest.approx(h[0] - h[1], abs=1e-4)


@pytest.mark.parametrize(("num_classes", "weight"), [(2, 1.0), (3, 0.4), (6, 2.5)])
def test_margins_are_those_of_the_flows_of_all_logits(num_classes, weight):
    h = flown(softmax_loss, num_classes, TIMES, weight)
    np.testing.assert_allclose(h[:, 1:], h[:, 1:2].repeat(num_classes - 1, 1), atol=1e-7)
    np.testing.assert_allclose(h.sum(1), 0, atol=1e-7)
    margin = h[:, 0] - h[:, 1]
    np.testing.assert_allclose(numeric(switching.cross_entropy_margin)(TIMES, num_classes, weight), margin, rtol=1e-6)
    np.testing.assert_allclose(numeric(switching.cross_entropy_time)(margin, num_classes, weight), TIMES, rtol=1e-5)
    h = flown(answers_loss, num_classes, TIMES, weight)
    np.testing.assert_allclose(h[:, 1:], -h[:, :1].repeat(num_classes - 1, 1), atol=1e-7)
    margin = h[:, 0] - h[:, 1]
    np.testing.assert_allclose(numeric(switching.one_vs_rest_margin)(TIMES, weight), margin, rtol=1e-6)
    np.testing.assert_allclose(numeric(switching.one_vs_rest_time)(margin, weight), TIMES, rtol=1e-5)
