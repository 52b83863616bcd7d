"""Oracles for mmc.theory.oracle: SciPy's linear and quadratic programs, dense grids in the plane, softmax by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, linprog, minimize

from mmc.theory import oracle
from mmc.theory.numeric import numeric

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 10_000)


def column(entries) -> sp.Matrix:
    return sp.Matrix([sp.Rational(str(entry)) if isinstance(entry, str) else sp.sympify(entry) for entry in entries])


def value(expression) -> float:
    return float(sp.N(expression))


def center_logits(image, jacobian, bias, centers, precision):
    """The logits in full, squares and all."""
    return -precision * np.square(jacobian @ image + bias - centers).sum(1)


@pytest.mark.parametrize("precision", [None, 0.7])
def test_gap_and_normal_are_those_of_the_quadratic_logits(precision):
    generator = np.random.default_rng(3)
    jacobian, bias = generator.normal(size=(3, 4)), generator.normal(size=3)
    centers = generator.normal(size=(2, 3)) * [[1], [2]]
    options = [] if precision is None else [sp.Float(precision)]
    own, rival = (sp.Matrix(row) for row in centers)
    normal = oracle.pair_normal(sp.Matrix(jacobian), own, rival, *options)
    images = generator.random((2, 4))
    gaps = []
    for image in images:
        h = center_logits(image, jacobian, bias, centers, 0.5 if precision is None else precision)
        gap = value(oracle.center_gap(sp.Matrix(jacobian @ image + bias), own, rival, *options))
        assert gap == pytest.approx(h[0] - h[1])
        gaps.append(gap)
    # Affine: the gap falls by the normal, exactly, over any step.
    assert gaps[0] - gaps[1] == pytest.approx(np.array(normal, float).ravel() @ (images[1] - images[0]))


def test_equal_norms_leave_the_inner_product():
    z, own, rival = column([2, 5]), column([3, 4]), column([-5, 0])
    assert oracle.center_gap(z, own, rival) == z.dot(own - rival)


def test_linear_gap_is_the_difference_of_two_logits():
    weights, biases = sp.Matrix([[1, 2], [3, -1], [0, 5]]), column([10, 20, 40])
    # W x + c = (10 + 11, 20 + 5, 40 + 20) at (3, 4).
    assert oracle.linear_gap(column([3, 4]), weights, biases, 0, 2) == 21 - 60
    assert oracle.linear_gap(column([3, 4]), weights, biases, 1, 0) == 25 - 21


def grid_distances(gap, normal, image, width=2.0, steps=801, box=False):
    """L2 and L-inf distance to {n . (x' - x) >= gap} in the plane, over a dense grid, and the grid's step."""
    low, high = (0.0, 1.0) if box else (-width, width)
    axes = [np.linspace(low, high, steps) - (centre if box else 0) for centre in image]
    u, v = np.meshgrid(*axes, indexing="ij")
    there = normal[0] * u + normal[1] * v >= gap
    if not there.any():
        return np.inf, np.inf, axes[0][1] - axes[0][0]
    return np.hypot(u, v)[there].min(), np.maximum(abs(u), abs(v))[there].min(), axes[0][1] - axes[0][0]


@pytest.mark.parametrize(("gap", "normal"), [(1.2, (1.0, 2.0)), (0.7, (-1.5, 0.4)), (2.0, (3.0, -3.0))])
def test_distances_without_the_box_are_those_of_a_grid(gap, normal):
    l2, linf, step = grid_distances(gap, normal, (0, 0))
    assert 0 <= l2 - value(oracle.distance_l2(gap, column(normal))) <= 1.5 * step
    assert 0 <= linf - value(oracle.distance_linf(gap, column(normal))) <= 1.5 * step


def test_nearest_takes_the_least():
    assert oracle.nearest([sp.Integer(3), sp.Integer(2), sp.Integer(5)]) == 2


@pytest.mark.parametrize(("weight", "radius"), list(itertools.product((-2.0, 0.0, 3.0), (0.0, 0.1, 0.4, 1.0))))
@pytest.mark.parametrize("pixel", [0.0, 0.3, 1.0])
def test_one_pixel_at_its_worst_is_that_of_a_grid(pixel, weight, radius):
    ends = max(0.0, pixel - radius), min(1.0, pixel + radius)
    allowed = np.linspace(*ends, 101)
    worst = value(oracle.worst_pixel(sp.Float(pixel), sp.Float(weight), sp.Float(radius)))
    lost = value(oracle.loss_linf(sp.Float(pixel), sp.Float(weight), sp.Float(radius)))
    assert ends[0] - 1e-12 <= worst <= ends[1] + 1e-12
    assert weight * worst == pytest.approx((weight * allowed).max())
    assert lost == pytest.approx((weight * allowed).max() - weight * pixel)
    if weight == 0:
        assert worst == pixel
    else:
        assert value(oracle.room(sp.Float(pixel), sp.Float(weight))) == pytest.approx(
            1 - pixel if weight > 0 else pixel
        )


@few
@given(seed=seeds, count=st.integers(1, 5), share=st.floats(0.01, 0.99))
def test_level_is_the_root_that_bisection_finds(seed, count, share):
    generator = np.random.default_rng(seed)
    strengths, ceilings = generator.uniform(0.1, 3, count), np.sort(generator.uniform(0, 2, count))
    full = strengths @ ceilings
    root = brentq(lambda s: strengths @ np.minimum(s, ceilings) - share * full, 0, 3, xtol=1e-13)
    assert value(oracle.level(share * full, list(strengths), list(ceilings))) == pytest.approx(root, abs=1e-9)
    assert oracle.level(1.001 * full, list(strengths), list(ceilings)) == sp.oo


def test_level_in_symbols_and_at_its_edges():
    target = sp.symbols("g", positive=True)
    found = oracle.level(target, [sp.Integer(2), sp.Integer(3)], [sp.Integer(1), sp.Integer(4)])
    assert [found.subs(target, g) for g in (1, 5, 8, 14, 15)] == [sp.Rational(1, 5), 1, 2, 4, sp.oo]
    assert oracle.level(sp.S.Zero, [sp.Integer(2)], [sp.Integer(1)]) == 0
    assert oracle.level(sp.S.Zero, [], []) == 0
    assert oracle.level(sp.S.One, [], []) == sp.oo


def by_programs(gap, normal, image):
    """L-inf distance by a linear program and L2 distance by a quadratic one, in the box."""
    n = len(normal)
    rows = np.vstack([np.c_[np.eye(n), -np.ones(n)], np.c_[-np.eye(n), -np.ones(n)], [[*-normal, 0]]])
    limits = np.r_[image, -image, -gap - normal @ image]
    program = linprog([*[0] * n, 1], rows, limits, bounds=[*[(0, 1)] * n, (0, None)])
    if program.status == 2:
        return np.inf, np.inf
    meets = {"type": "ineq", "fun": lambda x: normal @ (x - image) - gap, "jac": lambda x: normal}
    options = {"method": "SLSQP", "bounds": [(0, 1)] * n, "constraints": meets, "options": {"ftol": 1e-14}}
    quadratic = minimize(lambda x: (x - image) @ (x - image), program.x[:n], jac=lambda x: 2 * (x - image), **options)
    return program.fun, np.sqrt(quadratic.fun)


@few
@given(seed=seeds, count=st.integers(1, 5), share=st.floats(0.05, 0.95))
def test_distances_in_the_box_are_those_of_programs(seed, count, share):
    generator = np.random.default_rng(seed)
    normal, image = generator.normal(size=count), generator.random(count)
    reach = np.where(normal > 0, 1 - image, image)
    gap = share * np.abs(normal) @ reach
    linf, l2 = by_programs(gap, normal, image)
    arguments = (sp.Float(gap), sp.Matrix(normal), sp.Matrix(image))
    assert value(oracle.boxed_linf(*arguments)) == pytest.approx(linf, abs=1e-8)
    assert value(oracle.boxed_l2(*arguments)) == pytest.approx(l2, abs=1e-6)
    # The nearest image by its multiplier: on the boundary, and at that distance.
    near = np.clip(image + value(oracle.boxed_l2_multiplier(*arguments)) * normal, 0, 1)
    assert normal @ (near - image) == pytest.approx(gap)
    assert np.linalg.norm(near - image) == pytest.approx(l2, abs=1e-6)
    # At that radius the multiplier is the same one; the box can only add to the distance.
    at = value(oracle.boxed_l2_multiplier_at(oracle.boxed_l2(*arguments), *arguments[1:]))
    assert np.clip(image + at * normal, 0, 1) == pytest.approx(near)
    assert value(oracle.distance_l2(*arguments[:2])) <= l2 + 1e-9
    assert value(oracle.distance_linf(*arguments[:2])) <= linf + 1e-9
    total = sum(value(oracle.loss_linf(x, w, linf)) for x, w in zip(image, normal, strict=True))
    assert total == pytest.approx(gap)


@pytest.mark.parametrize("normal", [(1.0, -2.0), (0.3, 0.1), (2.0, 0.0)])
@pytest.mark.parametrize("image", [(0.5, 0.5), (0.9, 0.2), (1.0, 0.0)])
@pytest.mark.parametrize("gap", [0.1, 0.6])
def test_distances_in_the_box_are_those_of_a_grid(gap, normal, image):
    l2, linf, step = grid_distances(gap, normal, image, box=True, steps=1201)
    arguments = (sp.Float(gap), column(normal), column(image))
    for exact, on_grid in [(oracle.boxed_l2(*arguments), l2), (oracle.boxed_linf(*arguments), linf)]:
        if on_grid == np.inf:
            assert exact == sp.oo
        else:
            assert -1e-12 <= on_grid - value(exact) <= 3 * step


@few
@given(seed=seeds, radius=st.floats(0.05, 0.6))
def test_no_image_at_a_radius_takes_more_from_the_gap_than_the_multiplier_does(seed, radius):
    generator = np.random.default_rng(seed)
    normal, image = generator.normal(size=3), generator.uniform(0.1, 0.9, 3)
    multiplier = value(oracle.boxed_l2_multiplier_at(radius, sp.Matrix(normal), sp.Matrix(image)))
    reach = np.where(normal > 0, 1 - image, image)
    if np.linalg.norm(reach) < radius:
        assert multiplier == np.inf
        return
    move = np.clip(image + multiplier * normal, 0, 1) - image
    assert np.linalg.norm(move) == pytest.approx(radius)
    steps = generator.normal(size=(2000, 3))
    steps *= radius / np.linalg.norm(steps, axis=1, keepdims=True)
    inside = ((image + steps >= 0) & (image + steps <= 1)).all(1)
    assert (steps[inside] @ normal <= normal @ move + 1e-12).all()


def test_a_pixel_of_weight_zero_is_left_out():
    arguments = (sp.Rational(1, 5), column([0, 1, 0]), column([0, "1/2", 1]))
    assert oracle.boxed_linf(*arguments) == oracle.boxed_l2(*arguments) == sp.Rational(1, 5)
    assert oracle.boxed_l2_multiplier_at(sp.Rational(1, 4), *arguments[1:]) == sp.Rational(1, 4)
    assert oracle.boxed_linf(sp.S.One, column([0, 0]), column([0, 1])) == sp.oo
    assert oracle.boxed_linf(sp.S.Zero, column([0, 0]), column([0, 1])) == 0


@pytest.mark.parametrize("slope", [3.0, 40.0])
def test_cross_entropy_underflows_just_beyond_the_blind_distance(slope):
    def gradients(distance):
        """In float32, of two logits whose gap grows by the slope, as log-softmax computes them."""
        logits = np.float32([0, -slope * distance])
        probabilities = np.exp(logits) / np.exp(logits).sum(dtype=np.float32)
        return np.float32(1) - probabilities[0], probabilities[1]

    own, everything = (float(numeric(oracle.blind_distance)(slope, bits)) for bits in (24, 150))
    assert gradients(0.999 * own)[0] > 0 and gradients(1.001 * own)[0] == 0
    assert gradients(0.999 * everything)[1] > 0 and gradients(1.001 * everything)[1] == 0
