"""Class centers on a sphere: the simplex, the orthoplex, random ones, numerical spherical codes, hierarchies.

Everything is computed in float64 and returned in the dtype asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
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


def _directions(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def _check(num_classes: int, feature_dim: int, norm: float) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    if feature_dim < 1:
        raise ValueError(f"feature_dim must be at least 1, got {feature_dim}")
    if not 0 < norm < float("inf"):
        raise ValueError(f"norm must be positive and finite, got {norm}")
