"""Hypersphere embedding: cross-entropy on cosines, with a margin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from mmc.losses.base import Loss, directions

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class HE(Loss):
    """-log softmax of scale * (cos_k - margin [k = y])_y, features and weights normalized. Source: Pang et al. 2020b.

    The margin is there while training only: `logits` are scale * cos_k. A feature of norm up to 1e-12 has no
    direction: its cosines are 0, and so is its gradient (see `directions`).

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        scale: s > 0; the authors take 10 with PGD training and 15 with TRADES.
        margin: m >= 0.
    """

    def __init__(self, num_classes: int, feature_dim: int, scale: float = 10.0, margin: float = 0.2) -> None:
        super().__init__(num_classes, feature_dim)
        if not scale > 0 or margin < 0:
            raise ValueError(f"scale must be > 0 and margin >= 0, not {scale} and {margin}")
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.randn(num_classes, feature_dim))

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        return self.scale * directions(z) @ directions(self.weight).T

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        logits = self.logits(z)
        handicap = self.scale * self.margin * F.one_hot(y, self.num_classes)
        return F.cross_entropy(logits - handicap.to(logits.dtype), y, reduction="none")
