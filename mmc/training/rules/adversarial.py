"""Adversarial training proper: the loss at crafted images, by many steps or by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mmc.losses.base import margins
from mmc.training.craft import ascend, frozen, gradient_sign, noise
from mmc.training.rules.base import Crafting, Moment

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from mmc.models import Classifier

INNER = ("loss", "cross-entropy", "margin")


def other_classes(y: Int[Tensor, " N"], num_classes: int, generator: torch.Generator) -> Int[Tensor, " N"]:
    """A class for each example, uniform over all but its own."""
    step = torch.randint(1, num_classes, y.shape, generator=generator, device=y.device)
    return (y + step) % num_classes


@dataclass(frozen=True)
class Crafted(Crafting):
    """A rule whose loss is the model's own, at crafted images and nowhere else."""

    def craft(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> Float[Tensor, "N C H W"]:
        """The images that the loss will see; model and running statistics are left as they were."""
        raise NotImplementedError

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        z = model.features(self.craft(model, x, y, moment))
        return z, model.loss(z, y)


@dataclass(frozen=True)
class AT(Crafted):
    """Adversarial training with PGD: the loss at images that (approximately) maximise it. Source: Madry et al. 2018.

    Attributes:
        inner: what PGD climbs: the model's own `loss`, the `cross-entropy` of its logits, or the `margin`.
        targeted: descend the inner objective of a random other class instead (Pang et al. 2020's "AT tar").
    """

    inner: str = "loss"
    targeted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner not in INNER:
            raise ValueError(f"inner must be one of {', '.join(INNER)}, not {self.inner!r}")

    def craft(
        self,
        model: Classifier,
        x: Float[Tensor, "N C H W"],
        y: Int[Tensor, " N"],
        moment: Moment,
        watch: object = None,
    ) -> Float[Tensor, "N C H W"]:
        """The images that the loss will see; model and running statistics are left as they were."""
        goal = other_classes(y, model.loss.num_classes, moment.generator) if self.targeted else y
        sign = -1.0 if self.targeted else 1.0

        def value(images: Tensor) -> Tensor:
            z = model.features(images)
            if self.inner == "loss":
                return sign * model.loss(z, goal)
            logits = model.loss.logits(z)
            if self.inner == "margin":
                return sign * margins(logits, goal)
            return sign * F.cross_entropy(logits, goal, reduction="none")

        start = x + self.epsilon * noise(x, moment.generator)
        with frozen(model, self.batch_norm):
            return ascend(
                value, x, start, epsilon=self.epsilon, step_size=self.step_size, steps=self.steps, watch=watch
            )


@dataclass(frozen=True)
class FGSMRS(Crafted):
    """Fast adversarial training: one step from a random start, projected. Source: Wong et al. 2020.

    The step is 1.25 epsilon where `step_size` is left at 0; `steps` must be 1.
    """

    step_size: float = 0.0
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps != 1:
            raise ValueError(f"a one-step rule has steps = 1, not {self.steps}")

    def craft(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> Float[Tensor, "N C H W"]:
        start = x + self.epsilon * noise(x, moment.generator)
        step = self.step_size or 1.25 * self.epsilon
        with frozen(model, self.batch_norm):
            return ascend(
                lambda images: model.loss(model.features(images), y),
                x,
                start,
                epsilon=self.epsilon,
                step_size=step,
                steps=1,
            )


@dataclass(frozen=True)
class NFGSM(FGSMRS):
    """Fast adversarial training with more noise and no projection onto the ball. Source: de Jorge et al. 2022.

    Attributes:
        spread: the noise is uniform within spread * epsilon. The step is epsilon where `step_size` is left at 0.
    """

    spread: float = 2.0

    def craft(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> Float[Tensor, "N C H W"]:
        noisy = (x + self.spread * self.epsilon * noise(x, moment.generator)).clamp(0, 1)
        with frozen(model, self.batch_norm):
            sign = gradient_sign(lambda images: model.loss(model.features(images), y), noisy)
        return (noisy + (self.step_size or self.epsilon) * sign).clamp(0, 1).detach()
