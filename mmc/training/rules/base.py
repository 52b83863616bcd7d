"""What a training rule is: it says which inputs the loss sees, and how the samples are weighted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmc.training.craft import MODES

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from mmc.models import Classifier


@dataclass(frozen=True)
class Moment:
    """Where in the training a step is, and its source of chance.

    Attributes:
        epoch: from 0.
        epochs: in all.
        generator: seeded anew for every step, on the device of the images.
        progress: share of all steps that are done, in [0, 1].
    """

    epoch: int
    epochs: int
    generator: torch.Generator
    progress: float = 1.0


@dataclass(frozen=True)
class Rule:
    """A training rule: `rule(model, x, y, moment)` gives features and the loss of each example, to be averaged.

    The features are those that the loss's `observe` may see, as for centers that follow them.
    """

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        raise NotImplementedError

    def at(self, progress: float) -> Rule:
        """The rule as it stands when this share of the steps is done."""
        return self


@dataclass(frozen=True)
class Standard(Rule):
    """The plain rule: the loss of the images as they are."""

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        z = model.features(x)
        return z, model.loss(z, y)


@dataclass(frozen=True)
class Crafting(Rule):
    """What all rules with adversarial images share.

    Attributes:
        epsilon: L-inf radius in units of a pixel's range [0, 1].
        step_size: of the inner maximisation, in the same units.
        steps: of the inner maximisation, >= 1.
        batch_norm: while crafting, `eval` (running statistics) or `train` (those of the batch); the running
            statistics never move meanwhile.
        ramp: share of the steps over which epsilon and step size rise linearly from 0, in [0, 1]. Small networks that
            meet the whole ball at once may settle on a constant answer.

    Raises:
        ValueError: a value out of its range.
    """

    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10
    batch_norm: str = "eval"
    ramp: float = 0.0

    def __post_init__(self) -> None:
        if not self.epsilon >= 0 or not self.step_size >= 0 or self.steps < 1:
            raise ValueError(
                "expected epsilon >= 0, step_size >= 0 and steps >= 1, "
                f"not {self.epsilon}, {self.step_size} and {self.steps}"
            )
        if self.batch_norm not in MODES:
            raise ValueError(f"batch_norm must be one of {', '.join(MODES)}, not {self.batch_norm!r}")
        if not 0 <= self.ramp <= 1:
            raise ValueError(f"ramp must be in [0, 1], not {self.ramp}")

    def at(self, progress: float) -> Rule:
        if progress >= self.ramp:
            return self
        share = progress / self.ramp
        return dataclasses.replace(self, epsilon=share * self.epsilon, step_size=share * self.step_size)


def divergence(logits: Float[Tensor, "N L"], other: Float[Tensor, "N L"]) -> Float[Tensor, " N"]:
    """The Kullback-Leibler divergence KL(softmax(logits) || softmax(other)) of each example."""
    log_p, log_q = logits.log_softmax(1), other.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def largest(values: Float[Tensor, " N"], share: float) -> Float[Tensor, " N"]:
    """Which examples hold the largest values: round(share * N) of them, ties broken by position."""
    count = round(share * len(values))
    chosen = torch.zeros_like(values, dtype=torch.bool)
    chosen[values.argsort(descending=True, stable=True)[:count]] = True
    return chosen
