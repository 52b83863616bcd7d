"""Adversarial training that weighs the examples: GAIRAT, MAIL and EWAT. Weights never carry a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmc.losses.base import margins
from mmc.training.rules.adversarial import AT
from mmc.training.rules.base import Moment

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from mmc.models import Classifier


@dataclass(frozen=True)
class GAIRAT(AT):
    """Weights by how many steps an example withstands. Source: Zhang et al. 2021.

    The weight is (1 + tanh(shift + 5 (1 - 2 kappa / steps))) / 2, scaled to mean 1, where kappa counts the steps at
    whose start the example was still classified correctly.

    Attributes:
        shift: the source's Lambda.
        from_share: the share of the epochs after which weights are used; before, plain adversarial training
            (epoch 60 of 100 in the source).
    """

    inner: str = "cross-entropy"
    shift: float = -1.0
    from_share: float = 0.6

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        kappa = torch.zeros(len(y), device=x.device)

        def watch(moved: Tensor) -> None:
            with torch.no_grad():
                kappa.add_((model(moved).argmax(1) == y).to(kappa.dtype))

        started = moment.epoch >= self.from_share * moment.epochs
        z = model.features(self.craft(model, x, y, moment, watch if started else None))
        losses = model.loss(z, y)
        if not started:
            return z, losses
        weights = (1 + torch.tanh(self.shift + 5 * (1 - 2 * kappa / self.steps))) / 2
        return z, losses * weights / weights.mean()


@dataclass(frozen=True)
class MAIL(AT):
    """Weights by the margin of the probabilities. Source: Liu et al. 2021.

    The weight is 3 sigmoid(slope (max_{k != y} p_k - p_y + bias)) at the adversarial image.

    Attributes:
        slope: 10 in the source's adversarial training.
        bias: -0.5 likewise.
    """

    inner: str = "cross-entropy"
    slope: float = 10.0
    bias: float = -0.5

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        z = model.features(self.craft(model, x, y, moment))
        margin = margins(model.loss.logits(z).detach().softmax(1), y)
        return z, 3 * torch.sigmoid(self.slope * (margin + self.bias)) * model.loss(z, y)


@dataclass(frozen=True)
class EWAT(AT):
    """Weights by the entropy of the prediction at the adversarial image. Source: Kim et al. 2021.

    The source's exact form is not confirmed: here the weight is offset + entropy, scaled to mean 1.

    Attributes:
        offset: >= 0; 0 makes the weight proportional to the entropy.
    """

    inner: str = "cross-entropy"
    offset: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.offset >= 0:
            raise ValueError(f"offset must be >= 0, not {self.offset}")

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        z = model.features(self.craft(model, x, y, moment))
        log_p = model.loss.logits(z).detach().log_softmax(1)
        weights = self.offset - (log_p.exp() * log_p).sum(1)
        # Where every prediction is certain to the last bit, all weights are zero and none is larger than another.
        mean = weights.mean()
        return z, model.loss(z, y) * torch.where(mean > 0, weights / mean, torch.ones_like(weights))
