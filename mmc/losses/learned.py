"""Losses whose centers are learned beside the network: Center loss and the large-margin Gaussian mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from mmc.losses.base import Loss, own
from mmc.losses.softmax import SCE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class CenterLoss(SCE):
    """Center loss: softmax cross-entropy plus weight / 2 * ||z - c_y||^2. Source: Wen et al. 2016.

    The centers start at the origin and move by a rule of their own, not by the gradient:
    c_j <- c_j - rate * sum_{y_i = j} (c_j - z_i) / (1 + n_j), see `observe`.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        weight: lambda >= 0; 0.008 in the released example.
        rate: alpha in [0, 1], the pace of the centers; 0.5 is the book's choice.
    """

    def __init__(self, num_classes: int, feature_dim: int, weight: float = 0.008, rate: float = 0.5) -> None:
        super().__init__(num_classes, feature_dim)
        if weight < 0 or not 0 <= rate <= 1:
            raise ValueError(f"weight must be >= 0 and rate in [0, 1], not {weight} and {rate}")
        self.weight = weight
        self.rate = rate
        self.register_buffer("centers", torch.zeros(num_classes, feature_dim))

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        return super().value(z, y) + self.weight / 2 * (z - self.centers[y]).square().sum(1)

    @torch.no_grad()
    def observe(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> None:
        membership = F.one_hot(y, self.num_classes).to(z.dtype)
        count = membership.sum(0)[:, None]
        self.centers -= self.rate * (count * self.centers - membership.T @ z) / (1 + count)


class LGM(Loss):
    """Large-margin Gaussian mixture loss. Source: Wan et al. 2018.

    Logits l_k = -1/2 (z - mu_k)^T Sigma_k^-1 (z - mu_k) - 1/2 log|Sigma_k| with a diagonal Sigma_k. Training takes
    the true class's distance (1 + margin) times, and adds weight times the negative log-likelihood of z under its
    class. Testing uses the plain logits. Classes are taken as equally likely.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        margin: alpha >= 0; the authors let it rise from 0.1 to 0.3 on CIFAR-100.
        weight: lambda >= 0; 0.1 on CIFAR-100.
        learn_variance: is Sigma learned? The identity where not.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        margin: float = 0.1,
        weight: float = 0.1,
        learn_variance: bool = False,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        if margin < 0 or weight < 0:
            raise ValueError(f"margin and weight must be >= 0, not {margin} and {weight}")
        self.margin = margin
        self.weight = weight
        self.centers = nn.Parameter(torch.randn(num_classes, feature_dim))
        self.log_variance = nn.Parameter(torch.zeros(num_classes, feature_dim), requires_grad=learn_variance)

    def _distances(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        return ((z[:, None, :] - self.centers).square() * torch.exp(-self.log_variance)).sum(-1) / 2

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        return -self._distances(z) - self.log_variance.sum(1) / 2

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        distances = self._distances(z)
        log_root = self.log_variance.sum(1) / 2
        stretch = 1 + self.margin * F.one_hot(y, self.num_classes).to(distances.dtype)
        likelihood = own(distances, y) + log_root[y]
        return F.cross_entropy(-stretch * distances - log_root, y, reduction="none") + self.weight * likelihood
