"""Guided complement entropy: flatten the wrong classes, the more so the surer the right one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch.nn.functional as F

from mmc.losses.base import others, own
from mmc.losses.softmax import SCE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

SCALES = {"all": 0, "others": 1}


class GCE(SCE):
    """p_y^alpha * sum over k != y of q_k log q_k / log L, with q_k = p_k / (1 - p_y). Source: Chen et al. 2019.

    Never positive. With two classes q is 1, and the loss would be zero everywhere: at least three are needed.

    Args:
        num_classes: L >= 3.
        feature_dim: d >= 1.
        alpha: > 0; 1/3 by default.
        scale: `all` divides by log L, as the public code does; `others` by log(L - 1), the largest entropy that q can
            have, so that the infimum is -1.

    Raises:
        ValueError: two classes, alpha not positive, or another scale (with `others`, L - 1 must be at least 2).
    """

    def __init__(self, num_classes: int, feature_dim: int, alpha: float = 1 / 3, scale: str = "all") -> None:
        super().__init__(num_classes, feature_dim)
        if num_classes < 3:
            raise ValueError(f"guided complement entropy needs num_classes >= 3, not {num_classes}")
        if not alpha > 0:
            raise ValueError(f"alpha must be > 0, not {alpha}")
        if scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {scale!r}")
        self.alpha = alpha
        self.divisor = math.log(num_classes - SCALES[scale])

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        logits = self.logits(z)
        guide = (self.alpha * own(F.log_softmax(logits, 1), y)).exp()
        log_q = F.log_softmax(others(logits, y), 1)
        return guide * (log_q.exp() * log_q).sum(1) / self.divisor
