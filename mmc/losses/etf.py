"""Dot-regression to a fixed simplex, the loss of the neural-collapse literature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.losses.base import directions
from mmc.losses.fixed import FixedCenters

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class ETF(FixedCenters):
    """Dot-regression 1/2 (<z, m_y> - ||m_y|| ||z||)^2 / ||z|| on Max-Mahalanobis centers of norm 1.

    The simplex is called an equiangular tight frame (ETF) there. With the cosine c to the own center the value is
    ||m_y||^2 ||z|| (1 - c)^2 / 2: zero on the whole ray to it, and in proportion to the length on every other. At z = 0
    this is 0, the limit, and the gradient is set to 0, as there is no direction. The class is the largest <z, m_k>.

    Args:
        num_classes: L >= 2.
        feature_dim: d; L - 1 or more for the simplex.
        norm: of the centers, > 0.
        centers: see `FixedCenters`.
        constant_length: take ||z|| as a constant when differentiating, so that the gradient is
            -||m_y|| (1 - c) m_y? Sources leave this open; the gradient is then not that of the value.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        norm: float = 1.0,
        centers: object = None,
        constant_length: bool = False,
    ) -> None:
        super().__init__(num_classes, feature_dim, norm, centers)
        self.constant_length = constant_length

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        return z @ self.centers.T

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        home = self.centers[y]
        target = torch.linalg.vector_norm(home, dim=1)
        length = torch.linalg.vector_norm(z, dim=1)
        if self.constant_length:
            length = length.detach()
            shortfall = (z * home).sum(1) / length.clamp_min(torch.finfo(z.dtype).tiny) - target
            return torch.where(length > 0, length * shortfall.square() / 2, 0)
        return length * ((directions(z) * home).sum(1) - target).square() / 2
