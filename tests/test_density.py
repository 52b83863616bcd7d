"""The estimators of mmc.density against independent libraries, exact laws and their own symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import cKDTree
from sklearn.neighbors import NearestNeighbors

from mmc import density
from mmc.theory import density as theory
from mmc.theory.numeric import numeric

seeds = st.integers(0, 2**32 - 1)
dims = st.integers(1, 12)
few = settings(max_examples=20, deadline=None)


def cloud(seed: int, d: int, n: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("d", [1, 2, 3, 10, 64, 256])
def test_the_unit_ball_is_the_derived_one(d):
    assert density.unit_ball_volume(d) == pytest.approx(float(numeric(theory.ball_volume)(1, d)), rel=1e-11)


@few
@given(seeds, dims, st.floats(0.1, 4))
def test_ball_counts_are_those_of_a_kd_tree(seed, d, radius):
    features, points = cloud(seed, d), cloud(seed + 1, d, 7)
    counts = cKDTree(features).query_ball_point(points, radius, return_length=True)
    volume = density.unit_ball_volume(d) * radius**d
    np.testing.assert_allclose(density.ball_density(features, points, radius) * volume, counts, rtol=1e-9)


@few
@given(seeds, dims, st.integers(2, 30), st.booleans())
def test_knn_radii_are_those_of_scikit_learn(seed, d, k, at_features):
    features, points = cloud(seed, d), None if at_features else cloud(seed + 1, d, 7)
    radii = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features).kneighbors(points)[0][:, -1]
    got = density.knn_density(features, points, k, corrected=False)
    np.testing.assert_allclose(got, k / (density.unit_ball_volume(d) * radii**d), rtol=1e-7)
    np.testing.assert_allclose(density.knn_density(features, points, k), got * (k - 1) / k, rtol=1e-12)
    np.testing.assert_allclose(
        density.knn_density(features, points, k, log=True), np.log(got * (k - 1) / k), rtol=1e-9, atol=1e-9
    )


@few
@given(seeds, dims, st.floats(0.01, 100))
def test_density_scales_by_s_to_the_minus_d(seed, d, scale):
    def estimates(s: float) -> np.ndarray:
        features, points, edges = s * cloud(seed, d), s * cloud(seed + 1, d, 5), s**2 * np.array([0.0, 1.0, 4.0])
        by_ball, by_neighbors = (
            density.ball_density(features, points, 1.1 * s),
            density.knn_density(features, points, 9),
        )
        return np.concatenate([by_ball, by_neighbors, density.shell_density(features, points[0], edges)])

    np.testing.assert_allclose(estimates(scale) * scale**d, estimates(1.0), rtol=1e-8)


@few
@given(seeds, st.integers(2, 8))
def test_density_is_unchanged_by_a_rigid_motion(seed, d):
    features, points = cloud(seed, d), cloud(seed + 1, d, 5)
    motion = stats.ortho_group.rvs(d, random_state=seed % 1000)
    moved = density.knn_density(features @ motion + 3, points @ motion + 3, 6)
    np.testing.assert_allclose(moved, density.knn_density(features, points, 6), rtol=1e-7)


@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_sampled_volumes_are_those_of_balls_and_cubes(d):
    rng, edges = np.random.default_rng(3), np.array([[0.0, 1.0], [1.0, 1.2]])
    balls = density.sampled_volumes(lambda z: np.linalg.norm(z - 2, axis=1), edges, np.full(d, 2.0), 0.4, 200_000, rng)
    cubes = density.sampled_volumes(lambda z: np.abs(z).max(axis=1), edges, np.zeros(d), 0.9, 200_000, rng)
    np.testing.assert_allclose(balls, density.unit_ball_volume(d) * np.array([1, 1.2**d - 1]), rtol=0.05)
    np.testing.assert_allclose(cubes, 2**d * np.array([1, 1.2**d - 1]), rtol=0.05)


@few
@given(seeds, dims)
def test_shells_hold_every_feature_once(seed, d):
    features = cloud(seed, d)
    edges = np.array([0.0, 0.5, 2.0, 1e4])
    volumes = density.unit_ball_volume(d) * np.diff(np.sqrt(2 * edges) ** d)
    counts = density.shell_density(features, np.zeros(d), edges) * volumes
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
    assert counts.sum() == pytest.approx(len(features))


@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_shell_density_of_gaussian_features_is_the_gaussian(d):
    features = cloud(0, d, 200_000)
    middle = np.array([d / 2 - 0.3, d / 2, d / 2 + 0.3])
    edges = np.concatenate([middle - 0.15, [middle[-1] + 0.15]])
    expected = len(features) * stats.multivariate_normal(np.zeros(d)).pdf(np.sqrt(2 * middle)[:, None] * np.eye(d)[0])
    np.testing.assert_allclose(density.shell_density(features, np.zeros(d), edges), expected, rtol=0.05)


@pytest.mark.parametrize(("d", "k"), [(1, 5), (3, 5), (8, 12)])
def test_corrected_knn_is_unbiased_with_the_derived_variance(d, k):
    rng, n, runs = np.random.default_rng(1), 200, 3000
    truth = n / density.unit_ball_volume(d)
    estimates = np.array(
        [density.knn_density(density.ball_points(n, d, rng), np.zeros((1, d)), k)[0] for _ in range(runs)]
    )
    variance = float(numeric(theory.knn_relative_variance)(k, n))
    assert estimates.mean() / truth == pytest.approx(1, abs=4 * np.sqrt(variance / runs))
    assert estimates.var() / truth**2 == pytest.approx(variance, rel=0.25)


@pytest.mark.parametrize("d", [1, 2, 6])
def test_ball_points_fill_the_ball_evenly(d):
    points = density.ball_points(4000, d, np.random.default_rng(0), radius=2.5)
    radii = np.linalg.norm(points, axis=1)
    assert stats.kstest((radii / 2.5) ** d, "uniform").pvalue > 1e-3
    assert np.abs(points.mean(axis=0)).max() < 0.2


@few
@given(seeds, st.integers(1, 9))
def test_contour_points_have_the_losses_asked_for(seed, d):
    rng = np.random.default_rng(seed)
    losses, center = rng.exponential(size=50), rng.standard_normal(d)
    points = density.contour_points(losses, center, rng)
    np.testing.assert_allclose(np.square(points - center).sum(axis=1) / 2, losses, rtol=1e-9)


@pytest.mark.parametrize("shape", [1.0, 2.5, 4.0])
def test_sampled_losses_follow_their_density(shape):
    law = stats.gamma(shape)
    low, high = law.ppf([0.001, 0.999])
    losses = density.sample_losses(lambda c: 3 * law.pdf(c), low, high, 5000, np.random.default_rng(0))
    truncated = lambda c: (law.cdf(c) - 0.001) / 0.998  # noqa: E731
    assert stats.kstest(losses, truncated).pvalue > 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: density.ball_density(f, f, 0.0), "radius must be positive, got 0.0"),
        (lambda f: density.ball_density(f[0], f, 1.0), r"one d, got \(3,\) and \(120, 3\)"),
        (lambda f: density.ball_density(f, f[:, :2], 1.0), r"got \(120, 3\) and \(120, 2\)"),
        (lambda f: density.knn_density(f, neighbors=120), "from 2 to 119 for 120 features, got 120"),
        (lambda f: density.knn_density(f, f, neighbors=1), "from 2 to 120"),
        (lambda f: density.knn_density(np.ones((9, 3)), neighbors=4), "4 features coincide"),
        (lambda f: density.shell_density(f, f[0], [1.0, 0.5]), "increasing loss values"),
        (lambda f: density.shell_density(f, f[0], [-1.0, 0.5]), "increasing loss values"),
        (lambda f: density.shell_density(f, f[0, :2], [0, 1.0]), r"got \(120, 3\) and \(1, 2\)"),
        (lambda f: density.contour_points([-1.0], f[0], np.random.default_rng(0)), "must not be negative, got -1.0"),
        (lambda f: density.sample_losses(np.log, 0.5, 2, 9, np.random.default_rng(0)), "not negative"),
        (lambda f: density.sample_losses(np.ones_like, 2, 2, 9, np.random.default_rng(0)), "low must be below high"),
        (lambda f: density.sampled_volumes(len, [[1.0, 0.5]], f[0], 1.0, 9, None), "pairs low < high"),
        (lambda f: density.sampled_volumes(len, [[0.5, 1.0]], f[0], 0.0, 9, None), "std must be positive, got 0.0"),
        (lambda f: density.unit_ball_volume(0), "at least 1, got 0"),
        (lambda f: density.sphere_points(3, 0, np.random.default_rng(0)), "feature_dim >= 1, got 3 and 0"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(cloud(0, 3))
