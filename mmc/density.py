"""Sample density from finite features: balls, nearest neighbors and shells, and features with a known density.

All estimators return features per unit volume (SD = dN / dV, Eq. 2), not a probability density: divide by the number of
features for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def log_unit_ball_volume(feature_dim: int) -> float:
    """Logarithm of the unit ball's volume in R^d, d >= 1.

    The one formula written outside `mmc.theory`, to need no SymPy here; a test keeps it equal to `ball_volume` there.
    """
    if feature_dim < 1:
        raise ValueError(f"feature_dim must be at least 1, got {feature_dim}")
    return feature_dim / 2 * math.log(math.pi) - math.lgamma(feature_dim / 2 + 1)


def unit_ball_volume(feature_dim: int) -> float:
    """Volume of the unit ball in R^d, d >= 1."""
    return math.exp(log_unit_ball_volume(feature_dim))


def ball_density(
    features: Float[np.ndarray, "N d"], points: Float[np.ndarray, "M d"], radius: float
) -> Float[np.ndarray, " M"]:
    """Count the features in a ball around each point and divide by its volume: Eq. 2, word for word.

    Args:
        features: (N, d) features of one class.
        points: (M, d) where the density is wanted. A feature that is itself a point counts.
        radius: radius of the ball, > 0.

    Raises:
        ValueError: wrong shapes, or a radius that is not positive.
    """
    features, points = _as_features(features, points)
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")
    counts = np.array([np.count_nonzero(squared <= radius**2) for squared in _squared_distances(features, points)])
    return counts / (unit_ball_volume(features.shape[1]) * radius ** features.shape[1])


def knn_density(
    features: Float[np.ndarray, "N d"],
    points: Float[np.ndarray, "M d"] | None = None,
    neighbors: int = 10,
    corrected: bool = True,
    log: bool = False,
) -> Float[np.ndarray, " M"]:
    """Grow a ball until it holds k features and divide k by its volume (Loftsgaarden and Quesenberry 1965).

    The k-th feature lies on the ball's edge, so k/V is too large on average, by k/(k-1) where the features are evenly
    spread; the corrected estimator uses k - 1.

    Args:
        features: (N, d) features of one class.
        points: (M, d) where the density is wanted; None: at the features themselves, each leaving itself out.
        neighbors: k, from 1 (2 if corrected) to N, or to N - 1 where each feature leaves itself out.
        corrected: divide k - 1, not k, by the volume.
        log: return the natural logarithm, which neither overflows nor underflows in hundreds of dimensions.

    Raises:
        ValueError: wrong shapes, k out of range, or k coinciding features: their ball has no volume.
    """
    leave_out = points is None
    features, points = _as_features(features, features if points is None else points)
    least, most = 1 + corrected, len(features) - leave_out
    if not least <= neighbors <= most:
        raise ValueError(f"neighbors must be from {least} to {most} for {len(features)} features, got {neighbors}")
    rank = neighbors - 1 + leave_out
    radii = np.sqrt([np.partition(squared, rank)[rank] for squared in _squared_distances(features, points)])
    if not radii.all():
        raise ValueError(f"{neighbors} features coincide: an atom has no density; add neighbors or remove duplicates")
    feature_dim = features.shape[1]
    logs = math.log(neighbors - corrected) - log_unit_ball_volume(feature_dim) - feature_dim * np.log(radii)
    return logs if log else np.exp(logs)


def shell_density(
    features: Float[np.ndarray, "N d"], center: Float[np.ndarray, " d"], edges: Float[np.ndarray, " B+1"]
) -> Float[np.ndarray, " B"]:
    """Count the features between contours of the MMC loss C = ||z - center||^2 / 2 and divide by the shells' volumes.

    Args:
        features: (N, d) features of one class.
        center: (d,) the class's center.
        edges: increasing loss values, the first >= 0; B + 1 of them make B shells.

    Raises:
        ValueError: wrong shapes, or edges that do not increase from 0 or more.
    """
    features, points = _as_features(features, np.atleast_2d(center))
    edges = np.asarray(edges, dtype=float)
    if edges.ndim != 1 or len(edges) < 2 or edges[0] < 0 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges must be two or more increasing loss values, the first not negative, got {edges}")
    counts, _ = np.histogram(next(_squared_distances(features, points)) / 2, edges)
    return counts / (unit_ball_volume(features.shape[1]) * np.diff((2 * edges) ** (features.shape[1] / 2)))


def sampled_volumes(
    loss: Callable[[np.ndarray], np.ndarray],
    edges: Float[np.ndarray, "B 2"],
    center: Float[np.ndarray, " d"],
    std: float,
    num_samples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " B"]:
    """Volumes of {low <= loss(z) <= high} for any loss, by sampling: an oracle that knows nothing of spheres.

    Draws z from N(center, std^2 I) and weighs each by the inverse of its density there (importance sampling).

    Args:
        loss: maps (N, d) features to (N,) loss values.
        edges: (B, 2) pairs of loss values low < high; the shells may overlap.
        center: (d,) mean of the samples; choose it, and std, so that the shells are well inside the cloud.
        std: standard deviation of the samples, > 0.
        num_samples: how many; the relative error goes as one over the square root of those that hit.
        rng: source of randomness.

    Raises:
        ValueError: edges of another shape or order, or a std that is not positive.
    """
    edges, center = np.asarray(edges, dtype=float), np.asarray(center, dtype=float)
    if edges.ndim != 2 or edges.shape[1] != 2 or not (edges[:, 0] < edges[:, 1]).all():
        raise ValueError(f"edges must be (B, 2) pairs low < high, got {edges.tolist()}")
    if not std > 0:
        raise ValueError(f"std must be positive, got {std}")
    standard = rng.standard_normal((num_samples, len(center)))
    values = loss(center + std * standard)
    log_weights = np.square(standard).sum(axis=1) / 2 + len(center) * math.log(std * math.sqrt(2 * math.pi))
    hits = (edges[:, :1] <= values) & (values <= edges[:, 1:])
    return np.array([np.exp(log_weights[hit]).sum() for hit in hits]) / num_samples


def sphere_points(num_features: int, feature_dim: int, rng: np.random.Generator) -> Float[np.ndarray, "N d"]:
    """Points uniform on the unit sphere of R^d: Gaussian directions."""
    _check_sizes(num_features, feature_dim)
    directions = rng.standard_normal((num_features, feature_dim))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def ball_points(
    num_features: int, feature_dim: int, rng: np.random.Generator, radius: float = 1.0
) -> Float[np.ndarray, "N d"]:
    """Points uniform in the ball of the given radius: a share r^d of them lies within r of the center."""
    directions = sphere_points(num_features, feature_dim, rng)
    return radius * rng.random((num_features, 1)) ** (1 / feature_dim) * directions


def contour_points(
    losses: Float[np.ndarray, " N"], center: Float[np.ndarray, " d"], rng: np.random.Generator
) -> Float[np.ndarray, "N d"]:
    """One feature for each MMC loss value, uniform along its contour: the setting of Theorem 2.

    Args:
        losses: (N,) loss values >= 0, drawn from any p(C).
        center: (d,) the class's center.
        rng: source of the directions.

    Raises:
        ValueError: a negative loss value.
    """
    losses, center = np.asarray(losses, dtype=float), np.asarray(center, dtype=float)
    if (losses < 0).any():
        raise ValueError(f"losses must not be negative, got {losses.min()}")
    return center + np.sqrt(2 * losses)[:, None] * sphere_points(len(losses), len(center), rng)


def sample_losses(
    loss_density: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
    num_features: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " N"]:
    """Draw loss values from a density on [low, high] by inverting its distribution function on a fine grid.

    Args:
        loss_density: p(C), not negative, of any total mass; called once with an array of 20,001 loss values.
        low: smallest loss value.
        high: largest loss value, > low.
        num_features: how many to draw.
        rng: source of randomness.

    Raises:
        ValueError: an empty interval, or a density that is negative, not finite, or zero everywhere.
    """
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    grid = np.linspace(low, high, 20_001)
    weights = np.broadcast_to(np.asarray(loss_density(grid), dtype=float), grid.shape)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"loss_density must be finite and not negative on [{low}, {high}], and positive somewhere")
    mass = np.concatenate([[0.0], np.cumsum((weights[1:] + weights[:-1]) / 2)])
    return np.interp(rng.random(num_features), mass / mass[-1], grid)


def _as_features(features: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, points = np.asarray(features, dtype=float), np.asarray(points, dtype=float)
    if features.ndim != 2 or points.ndim != 2 or features.shape[1] != points.shape[1] or not features.size:
        raise ValueError(
            f"features and points must be (N, d) and (M, d) with one d, got {features.shape} and {points.shape}"
        )
    return features, points


def _check_sizes(num_features: int, feature_dim: int) -> None:
    if num_features < 0 or feature_dim < 1:
        raise ValueError(f"need num_features >= 0 and feature_dim >= 1, got {num_features} and {feature_dim}")


def _squared_distances(features: np.ndarray, points: np.ndarray) -> Iterator[Float[np.ndarray, " N"]]:
    # One point at a time: exact differences (no cancellation), and memory for a single row.
    for point in points:
        yield np.square(features - point).sum(axis=1)
