"""Max-margin adversarial training: each example is pushed at its own distance from the boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmc.losses.base import margins
from mmc.training.craft import ascend, frozen, noise
from mmc.training.rules.base import Crafting, Moment

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from mmc.models import Classifier


@dataclass(frozen=True)
class MMA(Crafting):
    """The loss at the (approximately) nearest adversarial image if the clean one is correct, else at the clean image.

    The margin is climbed by PGD within `epsilon`, which is the source's d_max, and bisection on the segment from the
    clean image finds the nearest point of it that is misclassified; where PGD fails, the point is its last one.
    Source: Ding et al. 2020.

    Attributes:
        halvings: of the bisection, >= 1.
        clean_weight: share of the loss at the clean image that is mixed in, in [0, 1]; the source also reports a form
            with a third.
    """

    epsilon: float = 32 / 255
    step_size: float = 8 / 255
    halvings: int = 10
    clean_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.halvings < 1 or not 0 <= self.clean_weight <= 1:
            raise ValueError(
                f"expected halvings >= 1 and clean_weight in [0, 1], not {self.halvings} and {self.clean_weight}"
            )

    def craft(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> Float[Tensor, "N C H W"]:
        """The point of each example at which the loss is taken; model and running statistics are left as they were."""
        start = x + self.epsilon * noise(x, moment.generator)
        with frozen(model, self.batch_norm):
            far = ascend(
                lambda images: margins(model(images), y),
                x,
                start,
                epsilon=self.epsilon,
                step_size=self.step_size,
                steps=self.steps,
            )
            with torch.no_grad():
                fooled = margins(model(far), y) > 0
                correct = margins(model(x), y) <= 0
                low, high = x.new_zeros(len(x), 1, 1, 1), x.new_ones(len(x), 1, 1, 1)
                for _ in range(self.halvings):
                    middle = (low + high) / 2
                    wrong = (margins(model(x + middle * (far - x)), y) > 0)[:, None, None, None]
                    low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
                share = torch.where(fooled[:, None, None, None], high, torch.ones_like(high))
                return torch.where(correct[:, None, None, None], x + share * (far - x), x)

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        z = model.features(self.craft(model, x, y, moment))
        losses = model.loss(z, y)
        if not self.clean_weight:
            return z, losses
        return z, self.clean_weight * model.loss(model.features(x), y) + (1 - self.clean_weight) * losses
