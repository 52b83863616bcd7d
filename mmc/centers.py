"""Class centers on a sphere: the simplex, the orthoplex, random ones, numerical spherical codes, hierarchies.

Everything is computed in float64 and returned in the dtype asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor


def simplex_centers(
    num_classes: int, feature_dim: int, norm: float = 10.0, *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "L d"]:
    """The Max-Mahalanobis centers for L <= d + 1: corners of a regular simplex, cosine -1/(L - 1) between any two.

    They are the rows of a lower triangular matrix, the same that the recursion of Pang et al. (2018, 2020) gives.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= L - 1; coordinates beyond the first L - 1 are zero.
        norm: C_MM > 0, the norm of every center (not its square).
        dtype: of the result.

    Raises:
        ValueError: sizes out of range; for L > d + 1 no simplex exists.
    """
    _check(num_classes, feature_dim, norm)
    if num_classes > feature_dim + 1:
        raise ValueError(
            f"a simplex of {num_classes} centers needs feature_dim >= {num_classes - 1}, got {feature_dim}; "
            "max_mahalanobis_centers gives the best known centers for any number of classes"
        )
    left = torch.arange(num_classes - 1, 0, -1, dtype=torch.float64)  # centers still to come: L - 1, ..., 1
    diagonal = torch.sqrt(num_classes * left / ((num_classes - 1) * (left + 1)))
    centers = torch.zeros(num_classes, feature_dim, dtype=torch.float64)
    corner = centers[:, : num_classes - 1]
    corner += torch.tril((-diagonal / left).expand(num_classes, -1), -1)
    corner.diagonal().add_(diagonal)
    return (norm * centers).to(dtype)


def random_centers(
    num_classes: int, feature_dim: int, norm: float = 10.0, seed: int = 0, *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "L d"]:
    """Centers drawn independently and uniformly from the sphere of radius `norm`: those of MMC (rand).

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        norm: the norm of every center, > 0.
        seed: of the generator; the same seed gives the same centers.
        dtype: of the result.

    Raises:
        ValueError: sizes out of range.
    """
    _check(num_classes, feature_dim, norm)
    return (norm * _directions(num_classes, feature_dim, seed=seed)).to(dtype)


def orthoplex_centers(
    num_classes: int, feature_dim: int, norm: float = 10.0, *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "L d"]:
    """Corners of the orthoplex, e_1, ..., e_d, -e_1, ...: optimal for d + 1 < L <= 2d, with smallest angle 90 degrees.

    Args:
        num_classes: L from 2 to 2d.
        feature_dim: d >= 1.
        norm: of every center, > 0.
        dtype: of the result.

    Raises:
        ValueError: sizes out of range. Source of the optimality: Rankin 1955.
    """
    _check(num_classes, feature_dim, norm)
    if num_classes > 2 * feature_dim:
        raise ValueError(f"an orthoplex of {num_classes} centers needs feature_dim >= {-(-num_classes // 2)}")
    axes = torch.eye(feature_dim, dtype=torch.float64)
    return (norm * torch.cat([axes, -axes])[:num_classes]).to(dtype)


def polygon_centers(
    num_classes: int, norm: float = 10.0, *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "L 2"]:
    """Corners of a regular polygon: optimal for every L in the plane.

    Args:
        num_classes: L >= 2.
        norm: of every center, > 0.
        dtype: of the result.
    """
    _check(num_classes, 2, norm)
    angles = 2 * math.pi / num_classes * torch.arange(num_classes, dtype=torch.float64)
    return (norm * torch.stack([angles.cos(), angles.sin()], dim=1)).to(dtype)


def spherical_code(
    num_classes: int,
    feature_dim: int,
    norm: float = 10.0,
    seed: int = 0,
    restarts: int = 64,
    *,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "L d"]:
    """Centers whose largest cosine is made small numerically: the best of many descents, no proof of optimality.

    The largest cosine is replaced by log-sum-exp(beta * cosines) / beta, at most log(L^2/2) / beta larger, and beta
    rises during the descent. Restarts begin with different beta: a small one finds regular arrangements, a large one
    variety.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 2.
        norm: of every center, > 0.
        seed: of the starting points.
        restarts: how many descents, >= 1; memory grows with restarts * L^2.
        dtype: of the result.

    Raises:
        ValueError: sizes out of range.
    """
    _check(num_classes, feature_dim, norm)
    if feature_dim < 2 or restarts < 1:
        raise ValueError(f"need feature_dim >= 2 and restarts >= 1, got {feature_dim} and {restarts}")
    codes = _descend(_directions(restarts, num_classes, feature_dim, seed=seed))
    finalists = codes[cosines(codes).amax(-1).argsort()[:3]]
    best = min((_polish(code) for code in finalists), key=max_cosine)
    return (norm * best).to(dtype)


def _smooth_max(values: Float[Tensor, "R P"], beta: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
    return torch.logsumexp(beta[..., None] * values, -1) / beta


def _descend(codes: Float[Tensor, "R L d"], steps: int = 600, rate: float = 0.1) -> Float[Tensor, "R L d"]:
    """Adam on all restarts at once; beta rises to 1000 and the rate falls by 100, both geometrically."""
    first = torch.logspace(math.log10(2), math.log10(200), len(codes), dtype=codes.dtype)
    codes = codes.clone().requires_grad_()
    optimizer = torch.optim.Adam([codes], lr=rate, betas=(0.9, 0.99))
    for step in range(steps):
        share = step / steps
        optimizer.param_groups[0]["lr"] = rate * 100**-share
        value = _smooth_max(cosines(codes), first ** (1 - share) * 1000**share).sum()
        (codes.grad,) = torch.autograd.grad(value, codes)
        optimizer.step()
        codes.data = normalize(codes.data, dim=-1)
    return codes.detach()


def _polish(code: Float[Tensor, "L d"]) -> Float[Tensor, "L d"]:
    """L-BFGS with beta up to 4 million: the largest cosine is then exact to about 1e-6."""
    code = code.clone().requires_grad_()
    for beta in torch.tensor([1e3, 8e3, 6.4e4, 5.12e5, 4.096e6], dtype=code.dtype):
        optimizer = torch.optim.LBFGS(
            [code],
            max_iter=100,
            history_size=20,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-12,
            tolerance_change=1e-14,
        )

        def closure(beta: Tensor = beta) -> Tensor:
            value = _smooth_max(cosines(code), beta)
            (code.grad,) = torch.autograd.grad(value, code)
            return value

        optimizer.step(closure)
        code.data = normalize(code.data, dim=-1)
    return code.detach()


def max_mahalanobis_centers(
    num_classes: int, feature_dim: int, norm: float = 10.0, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "L d"]:
    """The L centers of one norm whose smallest distance is as large as possible, or the best that a search finds.

    Proven optimal for L <= d + 1 (simplex), L <= 2d (orthoplex) and d = 2 (polygon); elsewhere `spherical_code`.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1; d = 1 has room for two classes only.
        norm: C_MM > 0.
        seed: of the search.
        dtype: of the result.

    Raises:
        ValueError: sizes out of range, or more than two classes on a line.
    """
    _check(num_classes, feature_dim, norm)
    if num_classes <= feature_dim + 1:
        return simplex_centers(num_classes, feature_dim, norm, dtype=dtype)
    if feature_dim == 1:
        raise ValueError(f"one dimension has room for 2 centers of equal norm, not {num_classes}")
    if feature_dim == 2:
        return polygon_centers(num_classes, norm, dtype=dtype)
    if num_classes <= 2 * feature_dim:
        return orthoplex_centers(num_classes, feature_dim, norm, dtype=dtype)
    return spherical_code(num_classes, feature_dim, norm, seed, dtype=dtype)


def hierarchical_centers(
    groups: Sequence[int],
    feature_dim: int,
    norm: float = 10.0,
    sub_norm: float = 1.0,
    *,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "L d"]:
    """A simplex over super-classes and, around each corner, a smaller simplex over the classes in it.

    The small simplices use coordinates of their own, so every center of a group with two or more classes has the norm
    sqrt(norm^2 + sub_norm^2), and no class is nearer to a foreign super-center than to its own.

    Args:
        groups: the super-class of each class, e.g. CIFAR-100's 20 for its 100; all of 0, ..., K - 1 occur, K >= 2.
        feature_dim: d >= (K - 1) + (largest group - 1).
        norm: of the super-centers, > 0.
        sub_norm: distance of each center from its super-center, > 0 (0 where a group has one class).
        dtype: of the result.

    Raises:
        ValueError: a super-class without classes, fewer than two, or too few dimensions.
    """
    members = torch.as_tensor(groups).tolist()
    num_groups = max(members, default=-1) + 1
    sizes = [members.count(group) for group in range(num_groups)]
    if num_groups < 2 or min(sizes) < 1 or sum(sizes) != len(members):
        raise ValueError(f"groups must hold every number 0, ..., K - 1 with K >= 2 at least once, got {members}")
    needed = num_groups - 1 + max(sizes) - 1
    if feature_dim < needed:
        raise ValueError(f"{num_groups} groups of at most {max(sizes)} need feature_dim >= {needed}, got {feature_dim}")
    _check(num_groups, feature_dim, sub_norm)
    upper = simplex_centers(num_groups, num_groups - 1, norm, dtype=torch.float64)
    centers = torch.zeros(len(members), feature_dim, dtype=torch.float64)
    for group, size in enumerate(sizes):
        rows = [index for index, member in enumerate(members) if member == group]
        centers[rows, : num_groups - 1] = upper[group]
        if size > 1:
            lower = simplex_centers(size, size - 1, sub_norm, dtype=torch.float64)
            centers[rows, num_groups - 1 : num_groups + size - 2] = lower
    return centers.to(dtype)


def cosines(centers: Float[Tensor, "... L d"]) -> Float[Tensor, "... P"]:
    """The cosines of the angles between all P = L(L - 1)/2 pairs; leading dimensions are batches."""
    directions = normalize(centers.double(), dim=-1)
    gram = directions @ directions.mT
    first, second = torch.triu_indices(*gram.shape[-2:], offset=1)
    return gram[..., first, second]


def max_cosine(centers: Float[Tensor, "L d"]) -> float:
    """The largest cosine between two centers, from -1 to 1: small means well dispersed."""
    return float(cosines(centers).max())


def min_angle(centers: Float[Tensor, "L d"]) -> float:
    """The smallest angle between two centers, in degrees."""
    return math.degrees(math.acos(min(1.0, max(-1.0, max_cosine(centers)))))


def min_distance(centers: Float[Tensor, "L d"]) -> float:
    """The smallest distance between two centers."""
    return float(torch.pdist(centers.double()).min())


def _directions(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def _check(num_classes: int, feature_dim: int, norm: float) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    if feature_dim < 1:
        raise ValueError(f"feature_dim must be at least 1, got {feature_dim}")
    if not 0 < norm < float("inf"):
        raise ValueError(f"norm must be positive and finite, got {norm}")
