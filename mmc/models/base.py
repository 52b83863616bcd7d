"""What every network shares: normalisation inside, and the classifier that a loss makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmc.losses import Loss

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Normalize(nn.Module):
    """The first layer of every network: pixels in [0, 1] to mean 0 and standard deviation 1 over the training set.

    Args:
        mean: of the training pixels, one number or one per channel.
        std: likewise, > 0.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.get_default_dtype()).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.get_default_dtype()).reshape(-1, 1, 1))
        if not bool((self.std > 0).all()):
            raise ValueError(f"std must be positive, not {std}")

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return (x - self.mean) / self.std


class Classifier(nn.Module):
    """A network and the loss it is trained with: `model.features(x)` is z, `model(x)` the loss's logits of z.

    Args:
        backbone: maps images in [0, 1] to features.
        loss: gives the decision rule and the training objective.
    """

    def __init__(self, backbone: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.backbone = backbone
        self.loss = loss
        #: The type that the network computes in, by autocast; None leaves it as it is. Features are floats again.
        self.autocast: torch.dtype | None = None

    def features(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N d"]:
        if self.autocast is None:
            return self.backbone(x)
        with torch.autocast(x.device.type, self.autocast):
            return self.backbone(x).to(x.dtype)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
        return self.loss.logits(self.features(x))
