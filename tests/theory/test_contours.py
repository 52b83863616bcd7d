"""Oracles for mmc.theory.contours: softmax computed by hand, points on rays, and surfaces known by name."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from mmc.theory import contours
from mmc.theory.numeric import numeric

C = sp.symbols("C", positive=True)
few = settings(max_examples=15, deadline=None)
reals = st.floats(-3, 3, allow_nan=False)


def softmax_loss(logits, label):
    """Cross-entropy from probabilities, the long way."""
    powers = np.exp(np.asarray(logits, dtype=float))
    return -math.log(powers[label] / powers.sum())


def column(*entries):
    return sp.Matrix([sp.nsimplify(entry) for entry in entries])


def test_logit_with_a_scalar_and_with_a_matrix():
    z, mu = column(3, 1), column(1, 2)
    assert contours.logit(z, mu, sp.Integer(3), sp.Integer(7)) == 7 - 3 * 5
    assert contours.logit(z, mu, sp.Matrix([[2, 1], [1, 5]]), sp.Integer(7)) == 7 - (2 * 4 - 2 * 2 + 5)


def test_linear_logit():
    assert contours.linear_logit(column(3, 1), column(2, -5), sp.Integer(4)) == 5


@pytest.mark.parametrize("chosen", [{}, {"precision": sp.Rational(3, 2)}])
def test_sce_member_differs_from_the_linear_layer_by_what_all_classes_share(chosen):
    points = [column(0, 0), column(1, 2), column(-4, 3)]
    s = chosen.get("precision", 1)
    for weight, bias in [(column(2, -6), sp.Integer(1)), (column(5, 1), sp.Integer(-2))]:
        center, precision, constant = contours.sce_member(weight, bias, **chosen)
        assert precision == s and center * 2 * s == weight
        for z in points:
            linear = weight[0] * z[0] + weight[1] * z[1] + bias
            assert -precision * (z - center).dot(z - center) + constant - linear == -s * z.dot(z)


@pytest.mark.parametrize("margin", [None, sp.Rational(1, 3)])
def test_lgm_member_is_a_gaussian_log_likelihood(margin):
    variances = [sp.Rational(1, 2), sp.Integer(3)]
    precision, bias = contours.lgm_member(variances) if margin is None else contours.lgm_member(variances, margin)
    stretch = 1 if margin is None else 1 + margin
    assert precision == sp.diag(stretch, stretch / sp.Integer(6))
    assert float(bias) == pytest.approx(-0.5 * math.log(0.5 * 3))


@few
@given(st.lists(reals, min_size=2, max_size=5))
def test_log_sum_exp_is_scipys(logits):
    assert float(contours.log_sum_exp([sp.Float(entry) for entry in logits])) == pytest.approx(logsumexp(logits))


@few
@given(st.lists(reals, min_size=2, max_size=5))
def test_loss_with_log_sum_exp_is_cross_entropy(logits):
    value = float(numeric(contours.loss)(logits[0], logsumexp(logits[1:])))
    assert value == pytest.approx(softmax_loss(logits, 0))
    # ... and the lead is what undoes it.
    assert float(numeric(contours.lead)(value)) == pytest.approx(logits[0] - logsumexp(logits[1:]), abs=1e-9)


def radial_instance(seed, dim):
    rng = np.random.default_rng(seed)
    sigma = rng.permutation([rng.uniform(0.3, 0.8), rng.uniform(1.1, 2)])
    mu, biases = rng.normal(size=(2, dim)), rng.normal(size=2)
    return sigma, mu, biases


def two_class_loss(z, sigma, mu, biases):
    logits = [-sigma[i] * float(np.square(z - mu[i]).sum()) + biases[i] for i in range(2)]
    return softmax_loss(logits, 0)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("seed", range(6))
def test_points_at_the_radius_have_the_loss(seed, dim):
    sigma, mu, biases = radial_instance(seed, dim)
    distance, gap = np.square(mu[0] - mu[1]).sum(), biases[0] - biases[1]
    center = numeric(contours.pair_center)(*sigma, *mu)
    limit = float(numeric(contours.limit_loss)(*sigma, distance, gap))
    assert two_class_loss(center, sigma, mu, biases) == pytest.approx(limit)
    for value in limit * (np.array([1.1, 2.0]) if sigma[0] > sigma[1] else np.array([0.3, 0.9])):
        radius = math.sqrt(numeric(contours.squared_radius)(value, *sigma, distance, gap))
        for direction in np.random.default_rng(seed).normal(size=(4, dim)):
            point = center + radius * direction / np.linalg.norm(direction)
            assert two_class_loss(point, sigma, mu, biases) == pytest.approx(value)
    assert float(numeric(contours.squared_radius)(math.log(2), *sigma, distance, gap)) == pytest.approx(
        float(numeric(contours.pair_constant)(*sigma, distance, gap))
    )


@pytest.mark.parametrize("seed", range(4))
def test_points_on_the_plane_have_the_loss(seed):
    _, mu, biases = radial_instance(seed, 3)
    sigma = (0.7, 0.7)
    normal = numeric(contours.plane_normal)(0.7, *mu)
    for value in (0.2, 0.693, 2.5):
        squares, gap = np.square(mu).sum(axis=1), biases[0] - biases[1]
        offset = float(numeric(contours.plane_offset)(value, 0.7, *squares, gap))
        for z in np.random.default_rng(seed).normal(size=(3, 3)):
            onto = z + (offset - normal @ z) / (normal @ normal) * normal
            assert two_class_loss(onto, sigma, mu, biases) == pytest.approx(value)


def test_the_normal_is_the_gradient_of_the_logit_difference():
    z, mu = sp.symbols("z"), (sp.Integer(3), sp.Integer(-4))
    difference = -5 * (z - mu[0]) ** 2 + 5 * (z - mu[1]) ** 2
    assert sp.diff(difference, z) == contours.plane_normal(sp.Integer(5), *mu)


def test_pair_quadric_vanishes_exactly_where_the_loss_is_reached():
    z = sp.Matrix(sp.symbols("z1 z2"))
    mu = column(1, -2), column(3, "1/2")
    precision = sp.Matrix([[2, 1], [1, 3]]), sp.Matrix([[1, -1], [-1, 4]])
    logits = [-((z - m).T * p * (z - m))[0] for m, p in zip(mu, precision, strict=True)]
    matrix, vector, constant = contours.pair_quadric(C, mu, precision, sp.Integer(5))
    quadric = (z.T * matrix * z)[0] - 2 * vector.dot(z) + constant
    # Loss C: e^C = 1 + e^(h_j - h_k), so the quadric is -(h_k - h_j) - log(e^C - 1).
    assert sp.simplify(quadric + (logits[0] + 5 - logits[1]) + sp.log(sp.exp(C) - 1)) == 0


@few
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 4))
def test_signature_is_numpys_count_of_eigenvalues(seed, dim, rank):
    rng = np.random.default_rng(seed)
    factor = rng.integers(-3, 4, size=(dim, min(rank, dim)))
    matrix = factor @ np.diag(rng.choice([-1, 1], size=factor.shape[1])) @ factor.T
    eigenvalues = np.linalg.eigvalsh(matrix)
    expected = int((eigenvalues > 1e-9).sum()), int((eigenvalues < -1e-9).sum())
    assert contours.signature(sp.Matrix(matrix)) == expected


@pytest.mark.parametrize("matrix", [sp.Matrix([[1, 2], [0, 1]]), sp.Matrix([[0.5]]), sp.Matrix([[C]])])
def test_signature_refuses_what_it_cannot_decide(matrix):
    with pytest.raises(ValueError, match="symmetric with exact numbers"):
        contours.signature(matrix)


KINDS = {
    # In R^3: squares, linear part (a paraboloid's axis is z3), constant.
    "ellipsoid": [((1, 2, 3), 0, -4), ((-1, -2, -3), 0, 4)],
    "empty": [((1, 2, 3), 0, 4), ((-1, 0, -3), 0, -4), ((0, 0, 0), 0, 1), ((1, 0, 0), 0, 2)],
    "point": [((1, 2, 3), 0, 0), ((-1, -1, -1), 0, 0)],
    "hyperboloid of one sheet": [((1, 2, -3), 0, -4), ((-1, -2, 3), 0, 4)],
    "hyperboloid of two sheets": [((1, 2, -3), 0, 4), ((1, -2, -3), 0, -4)],
    "cone": [((1, 2, -3), 0, 0), ((-1, -2, 3), 0, 0)],
    "elliptic paraboloid": [((1, 2, 0), 1, 0), ((-1, -2, 0), 1, 5)],
    "hyperbolic paraboloid": [((1, -2, 0), 1, 0), ((-1, 3, 0), -1, 2)],
    "cylinder over ellipsoid": [((1, 2, 0), 0, -4), ((-1, 0, -2), 0, 4)],
    "cylinder over hyperboloid of two sheets": [((1, -2, 0), 0, -4), ((-1, 2, 0), 0, -4)],
    "cylinder over elliptic paraboloid": [((1, 0, 0), 1, 0), ((0, -1, 0), 1, 5)],
    "two parallel planes": [((1, 0, 0), 0, -4), ((0, -1, 0), 0, 4)],
    "two crossing planes": [((1, -2, 0), 0, 0), ((0, -1, 5), 0, 0)],
    "plane": [((0, 0, 0), 1, 3), ((0, 2, 0), 0, 0), ((-2, 0, 0), 0, 0)],
    "flat": [((1, 2, 0), 0, 0), ((-1, 0, -1), 0, 0)],
    "whole space": [((0, 0, 0), 0, 0)],
}


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in KINDS.items() for case in cases])
def test_a_surface_keeps_its_name_wherever_it_is_moved(kind, case):
    squares, axis, constant = case
    matrix, vector, constant = sp.diag(*squares), sp.Matrix([0, 0, axis]), sp.Integer(constant)
    assert contours.quadric_kind(matrix, vector, constant) == kind
    turn = sp.Matrix([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3
    assert turn * turn.T == sp.eye(3)
    shift = sp.Matrix([3, -1, sp.Rational(5, 2)])
    # z = turn w + shift in z^T A z - 2 b^T z + c
    moved = turn.T * (vector - matrix * shift)
    constant = (shift.T * matrix * shift)[0] - 2 * vector.dot(shift) + constant
    assert contours.quadric_kind(turn.T * matrix * turn, moved, constant) == kind


@pytest.mark.parametrize(
    ("squares", "axis", "constant", "kind"),
    [
        ((1, 1, 1, -1), 0, -1, "hyperboloid of one sheet"),
        ((1, 1, -1, -1), 0, 1, "hyperboloid of one sheet"),
        ((1, 1, -1, 0), 0, 1, "cylinder over hyperboloid of two sheets"),
        ((1, 1, -1, 0), 0, 0, "cylinder over cone"),
        ((1, 1, -1, -1), 0, 0, "cone"),
        ((1, -1, 0, 0), 1, 0, "cylinder over hyperbolic paraboloid"),
        ((1, 1, -1, 0), 1, 7, "hyperbolic paraboloid"),
        ((1, 1, 0, 0), 0, 0, "flat"),
    ],
)
def test_names_in_four_dimensions(squares, axis, constant, kind):
    vector = sp.Matrix([0, 0, 0, axis])
    assert contours.quadric_kind(sp.diag(*squares), vector, sp.Integer(constant)) == kind


@pytest.mark.parametrize(
    ("squares", "axis", "constant", "kind"),
    [((1, 1), 0, -1, "ellipsoid"), ((1, -1), 0, 1, "hyperboloid of two sheets"), ((1, 0), 1, 0, "elliptic paraboloid"),
     ((1, -1), 0, 0, "two crossing planes"), ((0, 0), 1, 1, "plane"), ((1, 0), 0, -1, "two parallel planes")],
)  # fmt: skip
def test_names_in_the_plane(squares, axis, constant, kind):
    assert contours.quadric_kind(sp.diag(*squares), sp.Matrix([0, axis]), sp.Integer(constant)) == kind


@few
@given(reals, st.floats(0, 4), st.lists(st.floats(0, 4), max_size=5))
def test_excess_bounds_hold_and_are_reached(top, gap, further):
    others = [top, top - gap, *(top - gap - drop for drop in further)]
    low = float(numeric(contours.excess_low)(gap))
    high = float(numeric(contours.excess_high)(gap, len(others) + 1))
    assert low - 1e-9 <= logsumexp(others) - top <= high + 1e-9
    assert low == pytest.approx(logsumexp([0, -gap]))  # the rest far below
    assert high == pytest.approx(logsumexp([0] + [-gap] * (len(others) - 1)))  # the rest tied with the second


@few
@given(st.lists(reals, min_size=3, max_size=6))
def test_approximate_value_and_the_bound_on_its_error(logits):
    exact, approximate = softmax_loss(logits, 0), softmax_loss([logits[0], max(logits[1:])], 0)
    excess = logsumexp(logits[1:]) - max(logits[1:])
    assert float(numeric(contours.approximate_value)(exact, excess)) == pytest.approx(approximate)
    assert 0 <= exact - approximate <= float(numeric(contours.loss_error_bound)(exact, len(logits))) + 1e-9


@pytest.mark.parametrize(("own", "num_classes"), [*itertools.product([-2.0, 0.5, 4.0], [3, 4, 10])])
def test_loss_error_bound_is_reached_where_all_others_tie(own, num_classes):
    exact = softmax_loss([own] + [1.0] * (num_classes - 1), 0)
    error = exact - softmax_loss([own, 1.0], 0)
    assert float(numeric(contours.loss_error_bound)(exact, num_classes)) == pytest.approx(error)


@pytest.mark.parametrize("sigma", [(2.0, 0.5), (0.5, 2.0), (1.3, 1.2)])
def test_squared_radius_shift_is_that_of_the_smaller_loss(sigma):
    exact, excess = 1.1, 0.4
    # Loss 1.1 whose own logit leads the log-sum-exp by l leads the maximum by l + excess.
    moved = math.log(1 + math.expm1(exact) / math.exp(excess))
    radii = [1.0 + math.log(math.expm1(value)) / (sigma[0] - sigma[1]) for value in (exact, moved)]
    assert float(numeric(contours.squared_radius_shift)(excess, *sigma)) == pytest.approx(radii[1] - radii[0])
