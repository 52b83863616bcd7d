"""Label smoothing: cross-entropy to a target that is not quite certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

from mmc.losses.base import others, own
from mmc.losses.softmax import SCE

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

CONVENTIONS = ("others", "all")


class LabelSmoothing(SCE):
    """Cross-entropy against a target of mass t on the label and (1 - t) / (L - 1) on each other class.

    Two conventions for the same eps are in use. `others` takes eps from the label and spreads it over the L - 1
    others, t = 1 - eps; `all` spreads it over all L, t = 1 - eps + eps / L, which is PyTorch's `label_smoothing`
    and the form of Szegedy et al. 2016.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.
        eps: 0 <= eps < 1; 0 is SCE.
        convention: `others` or `all`.

    Raises:
        ValueError: eps or convention is none of these.
    """

    def __init__(self, num_classes: int, feature_dim: int, eps: float = 0.1, convention: str = "others") -> None:
        super().__init__(num_classes, feature_dim)
        if not 0 <= eps < 1:
            raise ValueError(f"eps must be in [0, 1), not {eps}")
        if convention not in CONVENTIONS:
            raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, not {convention!r}")
        self.target = 1 - eps if convention == "others" else 1 - eps + eps / num_classes

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        log_p = F.log_softmax(self.logits(z), 1)
        return -self.target * own(log_p, y) - (1 - self.target) * others(log_p, y).mean(1)
