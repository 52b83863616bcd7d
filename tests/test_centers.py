"""Centers: the properties that define each construction, and agreement with the exact theory."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmc import centers
from mmc.theory import centers as theory
from mmc.theory.numeric import numeric

DOUBLE = torch.float64


def gram(points: torch.Tensor) -> np.ndarray:
    return (points.double() @ points.double().T).numpy()


@given(L=st.integers(2, 40), extra=st.integers(0, 5), norm=st.floats(0.1, 100))
@settings(max_examples=25, deadline=None)
def test_simplex_has_one_norm_one_cosine_and_sum_zero(L, extra, norm):
    points = centers.simplex_centers(L, L - 1 + extra, norm, dtype=DOUBLE)
    expected = norm**2 * (np.eye(L) * L / (L - 1) - 1 / (L - 1))
    np.testing.assert_allclose(gram(points), expected, atol=1e-12 * norm**2)
    np.testing.assert_allclose(points.sum(0), 0, atol=1e-12 * norm)
    assert (points[:, L - 1 :] == 0).all()


@pytest.mark.parametrize("L", [2, 3, 4, 10])
def test_simplex_is_the_exact_recursion(L):
    exact = np.array(theory.recursion(L), float)
    np.testing.assert_allclose(centers.simplex_centers(L, L, 1.0, dtype=DOUBLE), exact, atol=1e-14)


@given(L=st.integers(2, 12), d=st.integers(2, 12), seed=st.integers(0, 10))
@settings(max_examples=25, deadline=None)
def test_random_centers_are_reproducible_of_one_norm_and_never_beat_the_bound(L, d, seed):
    points = centers.random_centers(L, d, 7.0, seed, dtype=DOUBLE)
    assert torch.equal(points, centers.random_centers(L, d, 7.0, seed, dtype=DOUBLE))
    np.testing.assert_allclose(points.norm(dim=1), 7)
    assert centers.max_cosine(points) >= theory.cosine_bound(sp.Integer(L), sp.Integer(d)) - 1e-12
    assert centers.max_cosine(points) >= centers.max_cosine(centers.simplex_centers(2, d)) - 1e-12


def test_random_centers_are_uniform_on_the_sphere():
    points = centers.random_centers(4000, 5, 1.0, dtype=DOUBLE).numpy()
    for coordinate in points.T:
        assert stats.kstest(coordinate, stats.beta(2, 2, loc=-1, scale=2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("build", [centers.simplex_centers, centers.random_centers, centers.max_mahalanobis_centers])
def test_default_is_float32_of_norm_10(build):
    points = build(10, 64)
    assert points.dtype == torch.float32
    assert points.shape == (10, 64)
    torch.testing.assert_close(points.norm(dim=1), torch.full((10,), 10.0))


@given(
    points=st.integers(2, 9).flatmap(
        lambda L: st.integers(2, 6).map(lambda d: centers.random_centers(L, d, 3.0, L + d, dtype=DOUBLE))
    )
)
@settings(max_examples=25, deadline=None)
def test_measures_agree_with_brute_force_and_with_each_other(points):
    unit = points.numpy() / 3.0
    pairs = [(i, j) for i in range(len(unit)) for j in range(i)]
    cosines = [float(unit[i] @ unit[j]) for i, j in pairs]
    assert sorted(centers.cosines(points).tolist()) == pytest.approx(sorted(cosines))
    assert centers.max_cosine(points) == pytest.approx(max(cosines))
    assert centers.min_angle(points) == pytest.approx(np.degrees(np.arccos(max(cosines))))
    distance = min(np.linalg.norm(points[i] - points[j]) for i, j in pairs)
    assert centers.min_distance(points) == pytest.approx(distance)
    law = float(numeric(theory.squared_distance)(3.0, centers.max_cosine(points)))
    assert centers.min_distance(points) ** 2 == pytest.approx(law)


def test_cosines_of_a_batch():
    batch = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    torch.testing.assert_close(centers.cosines(batch), torch.stack([centers.cosines(one) for one in batch]))


@pytest.mark.parametrize(("L", "d"), [(2, 1), (4, 3), (5, 3), (6, 3), (9, 5), (100, 64), (3, 2), (5, 2), (12, 2)])
def test_optimal_centers_where_they_are_known(L, d):
    points = centers.max_mahalanobis_centers(L, d, 10.0, dtype=DOUBLE)
    best = np.cos(2 * np.pi / L) if d == 2 else float(theory.cosine_bound(sp.Integer(L), sp.Integer(d)))
    assert points.shape == (L, d)
    assert centers.max_cosine(points) == pytest.approx(best, abs=1e-12)
    np.testing.assert_allclose(points.norm(dim=1), 10)


@pytest.mark.parametrize(("L", "d"), [(7, 3), (8, 3), (10, 3), (12, 3), (13, 3), (24, 3), (24, 4)])
def test_spherical_codes_reach_the_best_known_angle(L, d):
    points = centers.spherical_code(L, d, dtype=DOUBLE)
    assert centers.min_angle(points) == pytest.approx(theory.BEST_ANGLES[L, d], abs=1e-3)
    np.testing.assert_allclose(points.norm(dim=1), 10)


@pytest.mark.parametrize(("L", "d"), [(3, 4), (6, 5), (7, 5), (6, 2)])
def test_search_finds_what_is_proven_optimal(L, d):
    found = centers.spherical_code(L, d, 1.0, dtype=DOUBLE, restarts=8)
    known = centers.max_mahalanobis_centers(L, d, 1.0, dtype=DOUBLE)
    assert centers.max_cosine(found) == pytest.approx(centers.max_cosine(known), abs=1e-4)


def test_search_beats_many_random_draws_and_is_reproducible():
    found = centers.max_mahalanobis_centers(7, 3, seed=1)
    assert torch.equal(found, centers.spherical_code(7, 3, seed=1))
    draws = min(centers.max_cosine(centers.random_centers(7, 3, seed=seed)) for seed in range(200))
    assert centers.max_cosine(found) < draws - 0.05


@pytest.mark.parametrize("groups", [[0, 0, 0, 1, 1, 1], [1, 0, 2, 0, 1, 2, 2], [i % 20 for i in range(100)]])
def test_hierarchical_centers_have_the_derived_distances(groups):
    sizes = [groups.count(group) for group in range(max(groups) + 1)]
    K, n = len(sizes), max(sizes)
    points = centers.hierarchical_centers(groups, K + n - 2, 10.0, 2.0, dtype=DOUBLE)
    np.testing.assert_allclose(points.norm(dim=1), np.sqrt(104))
    distances = torch.cdist(points, points).square().numpy()
    for i, group in enumerate(groups):
        for j in range(i):
            if group == groups[j]:
                expected = theory.simplex_squared_distance(sizes[group], 2.0)
                assert distances[i, j] == pytest.approx(float(expected))
            else:
                assert distances[i, j] >= float(theory.simplex_squared_distance(K, 10.0)) - 1e-9


def test_a_group_of_one_sits_at_its_super_center():
    points = centers.hierarchical_centers([0, 1, 1], 4, 10.0, 1.0, dtype=DOUBLE)
    assert points[0].norm() == pytest.approx(10)
    assert points[1:].mean(0).norm() == pytest.approx(10)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: centers.simplex_centers(5, 3), "max_mahalanobis_centers"),
        (lambda: centers.simplex_centers(1, 3), "num_classes must be at least 2, got 1"),
        (lambda: centers.random_centers(3, 0), "feature_dim must be at least 1, got 0"),
        (lambda: centers.random_centers(3, 2, norm=-1.0), "norm must be positive"),
        (lambda: centers.simplex_centers(3, 2, norm=float("inf")), "norm must be positive and finite"),
        (lambda: centers.orthoplex_centers(7, 3), "feature_dim >= 4"),
        (lambda: centers.spherical_code(3, 1), "feature_dim >= 2"),
        (lambda: centers.spherical_code(3, 2, restarts=0), "restarts >= 1"),
        (lambda: centers.max_mahalanobis_centers(3, 1), "room for 2 centers"),
        (lambda: centers.hierarchical_centers([0, 0], 4), "K >= 2"),
        (lambda: centers.hierarchical_centers([], 4), "K >= 2"),
        (lambda: centers.hierarchical_centers([0, 2], 4), "every number"),
        (lambda: centers.hierarchical_centers([-1, 0, 1], 4), "every number"),
        (lambda: centers.hierarchical_centers([0, 0, 1, 1], 1), "feature_dim >= 2, got 1"),
        (lambda: centers.hierarchical_centers([0, 0, 1, 1], 4, sub_norm=0), "norm must be positive"),
    ],
)
def test_bad_sizes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
