"""One-vs-rest: every class is a question of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

from mmc.losses.base import others, own
from mmc.losses.softmax import SCE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def one_vs_rest(logits: Float[Tensor, "N L"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """softplus(-l_y) + sum over k != y of softplus(l_k), for logits of any head; training rules use it too."""
    return F.softplus(-own(logits, y)) + F.softplus(others(logits, y)).sum(1)


class OVR(SCE):
    """softplus(-h_y) + sum over k != y of softplus(h_k), on a learned linear layer. Source: Kanai et al. 2023.

    The binary cross-entropies of all classes, summed. Unlike softmax it sees the logits themselves, not only their
    differences: adding a constant to all of them changes it.
    """

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        return one_vs_rest(self.logits(z), y)
