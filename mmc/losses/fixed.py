"""Losses on centers that are fixed before training: MMLDA, MMC, MMC (rand) and elastic MMC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mmc.centers import random_centers, simplex_centers
from mmc.losses.base import Loss, as_buffer, squared_distances

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class FixedCenters(Loss):
    """A loss on fixed centers: a feature belongs to the nearest one, with logits -1/2 ||z - mu_l||^2.

    Args:
        num_classes: L >= 2.
        feature_dim: d; L - 1 or more for the simplex.
        norm: C_MM > 0, the norm (not the squared norm) of every center.
        centers: other centers than the simplex, shape (L, d); `norm` is then not used.

    Raises:
        ValueError: the centers have another shape.
    """

    def __init__(self, num_classes: int, feature_dim: int, norm: float = 10.0, centers: object = None) -> None:
        super().__init__(num_classes, feature_dim)
        dtype = torch.get_default_dtype()
        chosen = as_buffer(simplex_centers(num_classes, feature_dim, norm, dtype=dtype) if centers is None else centers)
        if tuple(chosen.shape) != (num_classes, feature_dim):
            raise ValueError(f"centers must have shape {(num_classes, feature_dim)}, not {tuple(chosen.shape)}")
        self.register_buffer("centers", chosen)

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        return -squared_distances(z, self.centers) / 2


class MMC(FixedCenters):
    """Max-Mahalanobis center loss: 1/2 ||z - mu*_y||^2. Source: Pang et al. 2020.

    The authors' code leaves out the 1/2, which is the same as twice the learning rate.

    Args:
        num_classes: L >= 2.
        feature_dim: d; L - 1 or more for the simplex.
        norm: C_MM > 0.
        centers: see `FixedCenters`.
        power: p >= 1: the loss is ||z - mu*_y||^p / p, for ablations; the source's is 2.

    Raises:
        ValueError: a power below 1, or the centers have another shape.
    """

    def __init__(
        self, num_classes: int, feature_dim: int, norm: float = 10.0, centers: object = None, power: float = 2.0
    ) -> None:
        super().__init__(num_classes, feature_dim, norm, centers)
        if not power >= 1:
            raise ValueError(f"power must be >= 1, not {power}")
        self.power = power

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        squared = (z - self.centers[y]).square().sum(1)
        # Below a power of 2 the gradient at the center itself is none: a root is not taken of zero.
        return squared / 2 if self.power == 2 else squared.clamp_min(1e-12) ** (self.power / 2) / self.power


class MMCRand(MMC):
    """MMC on random directions of equal norm, the paper's ablation "MMC (rand)".

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        norm: C_MM > 0.
        center_seed: the seed of the directions.
    """

    def __init__(self, num_classes: int, feature_dim: int, norm: float = 10.0, center_seed: int = 0) -> None:
        centers = random_centers(num_classes, feature_dim, norm, center_seed, dtype=torch.get_default_dtype())
        super().__init__(num_classes, feature_dim, norm, centers)


class MMLDA(FixedCenters):
    """Max-Mahalanobis linear discriminant analysis: cross-entropy on -precision ||z - mu*_l||^2 (Pang et al. 2018).

    As the centers have equal norms, this is cross-entropy on the inner products with 2 * precision * mu*_l: another
    precision is another norm.

    Args:
        num_classes: L >= 2.
        feature_dim: d; L - 1 or more for the simplex.
        norm: C_MM > 0.
        centers: see `FixedCenters`.
        precision: > 0; the sources write the logits with 1/2 and without it (1).

    Raises:
        ValueError: the precision is not positive, or the centers have another shape.
    """

    def __init__(
        self, num_classes: int, feature_dim: int, norm: float = 10.0, centers: object = None, precision: float = 0.5
    ) -> None:
        super().__init__(num_classes, feature_dim, norm, centers)
        if not precision > 0:
            raise ValueError(f"precision must be > 0, not {precision}")
        self.precision = precision

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        return -self.precision * squared_distances(z, self.centers)

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        return F.cross_entropy(self.logits(z), y, reduction="none")


class ElasticMMC(FixedCenters):
    """Elastic MMC: 1/2 (||z - mu*_y|| - radius)^2, zero on a sphere around the center. Source: Pang et al. 2020.

    Args:
        num_classes: L >= 2.
        feature_dim: d; L - 1 or more.
        norm: C_MM > 0.
        centers: see `FixedCenters`.
        radius: tau >= 0; the source's value is not known to us, and 1 is the book's choice.
    """

    def __init__(
        self, num_classes: int, feature_dim: int, norm: float = 10.0, centers: object = None, radius: float = 1.0
    ) -> None:
        super().__init__(num_classes, feature_dim, norm, centers)
        if radius < 0:
            raise ValueError(f"radius must be >= 0, not {radius}")
        self.radius = radius

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        distance = torch.linalg.vector_norm(z - self.centers[y], dim=1)
        return (distance - self.radius).square() / 2
