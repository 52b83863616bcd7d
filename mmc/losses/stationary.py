"""Losses with a stationary point: a margin that is large enough, and none beyond it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch.nn.functional as F

from mmc.losses.base import others, own
from mmc.losses.softmax import SCE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

RIVALS = ("each", "runner-up")


class LogitSquared(SCE):
    """(m - m*)^2 for the logit margin m. After the idea of Gao et al. 2023; this form is the book's own.

    Only the abstract of the source is known to us. It asks for a stationary point at a finite margin, and gives neither
    a formula for more than two classes nor m*. Hence two parameters. With two classes both kinds of rivals agree.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        target: m*; log(9 (L - 1)) where not given, the margin at which label smoothing with eps = 0.1 is stationary.
        rivals: `each` takes the mean of (h_y - h_k - m*)^2 over k != y, smooth everywhere; `runner-up` takes the margin
            h_y - max h_k alone, which has a kink where two rivals tie.

    Raises:
        ValueError: the target is not finite, or there are no such rivals.
    """

    def __init__(self, num_classes: int, feature_dim: int, target: float | None = None, rivals: str = "each") -> None:
        super().__init__(num_classes, feature_dim)
        if rivals not in RIVALS:
            raise ValueError(f"rivals must be one of {', '.join(RIVALS)}, not {rivals!r}")
        self.target = math.log(9 * (num_classes - 1)) if target is None else target
        if not math.isfinite(self.target):
            raise ValueError(f"target must be finite, not {target}")
        self.rivals = rivals

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        logits = self.logits(z)
        margins = own(logits, y)[:, None] - others(logits, y)
        if self.rivals == "runner-up":
            return (margins.amin(1) - self.target).square()
        return (margins - self.target).square().mean(1)


class MirroredSCE(SCE):
    """SCE plus its mirror image: log(1 + sum_k e^{-m_k}) + log(1 + sum_k e^{m_k - 2 m*}), with m_k = h_y - h_k, k != y.

    The book's own family, to dial m* alone. Strictly convex in the margins m_k, stationary exactly where each is m*,
    the same on both sides of it, and SCE itself at m* = infinity. The decision rule is that of SCE. After the idea of
    Gao et al. 2023, of which only the abstract is known to us.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        target: m*, > 0, infinity allowed; log(9 (L - 1)) where not given, as in `LogitSquared`.

    Raises:
        ValueError: the target is not positive.
    """

    def __init__(self, num_classes: int, feature_dim: int, target: float | None = None) -> None:
        super().__init__(num_classes, feature_dim)
        self.target = math.log(9 * (num_classes - 1)) if target is None else target
        if not self.target > 0:
            raise ValueError(f"target must be > 0, not {target}")

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        before = super().value(z, y)
        if math.isinf(self.target):
            return before
        logits = self.logits(z)
        beyond = own(logits, y)[:, None] - others(logits, y) - 2 * self.target
        return before + F.softplus(beyond.logsumexp(1))
