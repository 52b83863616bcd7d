"""Prototype conformity: softmax cross-entropy, a pull to the own prototype, a push from the others'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mmc.losses.base import others, squared_distances
from mmc.losses.softmax import SCE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class PC(SCE):
    """SCE + pull ||z - c_y||^2 - push * mean over k != y of ||z - c'_k||^2. Source: Mustafa et al. 2019.

    Two sets of learned centers, standard normal at the start. Bounded below in z for fixed centers if pull > push. With
    the centers c' free it is not bounded below: they may run away.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        pull: >= 0.
        push: >= 0; 1e-4 in the authors' code.
    """

    def __init__(self, num_classes: int, feature_dim: int, pull: float = 1.0, push: float = 1e-4) -> None:
        super().__init__(num_classes, feature_dim)
        if pull < 0 or push < 0:
            raise ValueError(f"pull and push must be >= 0, not {pull} and {push}")
        self.pull = pull
        self.push = push
        self.centers = nn.Parameter(torch.randn(num_classes, feature_dim))
        self.rivals = nn.Parameter(torch.randn(num_classes, feature_dim))

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        home = (z - self.centers[y]).square().sum(1)
        away = others(squared_distances(z, self.rivals), y).mean(1)
        return super().value(z, y) + self.pull * home - self.push * away
