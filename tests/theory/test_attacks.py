"""Oracles for mmc.theory.attacks: dense grids, finite differences, and every vector of signs there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc.theory import attacks
from mmc.theory.numeric import numeric

few = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 10_000)


def value(expression) -> float:
    return float(sp.N(expression))


@pytest.mark.parametrize("normal", [(1.0, 2.0), (-1.5, 0.4), (0.0, 3.0)])
@pytest.mark.parametrize("gap", [0.3, 1.1])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.95, 1.05, 8.0])
def test_no_move_on_a_grid_costs_less_than_the_penalised_one(normal, gap, share):
    column, n = sp.Matrix(normal), np.array(normal)
    constant = share * value(attacks.penalty_threshold(sp.Float(gap), column))

    def cost(u, v):
        return u**2 + v**2 + constant * np.maximum(0, gap - n[0] * u - n[1] * v)

    length = value(attacks.penalty_move(sp.Float(gap), column, constant))
    move = length * n / np.linalg.norm(n)
    axis = np.linspace(-1.5, 1.5, 601)
    assert cost(*move) <= cost(*np.meshgrid(axis, axis)).min() + 1e-12
    left = gap - n @ move
    assert left > 0.01 if share < 1 else left == pytest.approx(0, abs=1e-12)


@few
@given(hidden=st.floats(-3, 3), edge=st.sampled_from([0.0, 0.01, 0.2]))
def test_pixel_and_its_slope_are_those_of_exponentials(hidden, edge):
    def by_exponentials(w):
        """Twice a logistic function, shifted: tanh w = 2 / (1 + e^(-2 w)) - 1."""
        return 0.5 + (0.5 + edge) * (2 / (1 + np.exp(-2 * w)) - 1)

    pixel = float(numeric(attacks.tanh_pixel)(hidden, edge))
    assert pixel == pytest.approx(by_exponentials(hidden))
    difference = (by_exponentials(hidden + 1e-5) - by_exponentials(hidden - 1e-5)) / 2e-5
    assert float(numeric(attacks.tanh_slope)(pixel, edge)) == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_without_an_edge_a_black_or_white_pixel_is_stuck():
    assert attacks.tanh_slope(sp.S.Zero) == attacks.tanh_slope(sp.S.One) == 0
    assert attacks.tanh_pixel(sp.S.Zero) == sp.S.Half
    assert [attacks.tanh_pixel(end) for end in (-sp.oo, sp.oo)] == [0, 1]
    assert attacks.tanh_slope(sp.S.Zero, sp.Rational(1, 100)) > 0


def all_signs(count: int) -> np.ndarray:
    return np.array(list(itertools.product((-1.0, 1.0), repeat=count)))


def measured(function, point, delta, signs):
    """SPSA's slope for each vector of signs, one row each."""
    rise = np.array([(function(point + delta * v) - function(point - delta * v)) / (2 * delta) for v in signs])
    return rise[:, None] * signs


@few
@given(seed=seeds, count=st.integers(1, 4), delta=st.sampled_from([0.1, 0.7]))
def test_mean_slope_of_a_cubic_is_that_over_all_signs(seed, count, delta):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=count), generator.normal(size=(count, count))
    third = generator.normal(size=(count,) * 3)
    third = sum(np.transpose(third, order) for order in itertools.permutations(range(3)))

    def cubic(x):
        """Around zero, where its derivatives of first and third order are `first` and `third`."""
        return first @ x + x @ second @ x + np.einsum("ijk,i,j,k", third, x, x, x) / 6

    mean = measured(cubic, np.zeros(count), delta, all_signs(count)).mean(0)
    for i in range(count):
        mixed = sum(third[i, j, j] for j in range(count) if j != i)
        expected = numeric(attacks.spsa_mean)(first[i], third[i, i, i], mixed, delta)
        assert mean[i] == pytest.approx(float(expected))


@pytest.mark.parametrize(("count", "samples"), [(1, 1), (2, 1), (5, 1), (2, 2), (3, 2), (2, 3)])
def test_relative_error_is_that_over_all_signs(count, samples):
    slope = np.random.default_rng(count).normal(size=count)
    single = measured(lambda x: slope @ x, np.zeros(count), 0.1, all_signs(count))
    means = [np.mean(drawn, axis=0) for drawn in itertools.product(single, repeat=samples)]
    error = np.sqrt(np.mean([np.sum((mean - slope) ** 2) for mean in means])) / np.linalg.norm(slope)
    assert float(numeric(attacks.spsa_relative_error)(count, samples)) == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("count", [100, 400])
@pytest.mark.parametrize("samples", [1, 10, 100, 1000])
def test_the_corner_gains_what_right_pixels_leave_over_wrong_ones(count, samples):
    rng, repeats = np.random.default_rng(count + samples), 60
    slope = rng.choice([-1.0, 1.0], count)
    gains = []
    for _ in range(repeats):
        signs = rng.choice([-1.0, 1.0], (samples, count))
        gains.append(np.sign((signs @ slope) @ signs) @ slope / count)
    expected = float(numeric(attacks.spsa_corner_gain)(count, samples))
    assert np.mean(gains) == pytest.approx(expected, abs=4 / (repeats * count) ** 0.5 + 1 / count)
