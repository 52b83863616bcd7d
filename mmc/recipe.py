"""The recipe: every number that decides how a network is trained, in one place, and checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "cosine", "step", "one-cycle")
AUGMENTATIONS = ("none", "shift", "shift-flip", "crop-flip")
PRECISIONS = ("float32", "bf16")


def _choose(kind: str, name: str, valid: tuple[str, ...]) -> None:
    if name not in valid:
        raise ValueError(f"unknown {kind} {name!r}; there are: {', '.join(valid)}")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; `mmc.training.train` follows it.

    Attributes:
        epochs: passes over the training images, >= 1.
        batch_size: images per step, >= 1.
        optimizer: `sgd` (with momentum) or `adam`.
        learning_rate: at its highest, > 0.
        momentum: of SGD, in [0, 1).
        nesterov: Nesterov's form of momentum?
        weight_decay: L2 on weights of two or more axes (not on biases, norms and class centers), >= 0.
        schedule: `constant`, `cosine` (to zero), `step` (times 0.1 at each milestone), or `one-cycle` (linear up over
            `warmup`, linear down to zero).
        milestones: where `step` drops, as shares of all steps: 0.5 and 0.75 are epochs 100 and 150 of 200.
        warmup: share of the steps over which the learning rate rises linearly, in [0, 1).
        augmentation: `none`; `shift` (up to a tenth of the side, edges repeated); `shift-flip` (and mirrored half of
            the time); `crop-flip` (four zero pixels around, a random crop, mirrored half of the time).
        average: decay of the running average of the weights, in [0, 1); 0 keeps the last weights.
        clip: largest norm of the gradient over all parameters; 0 leaves it alone.
        precision: of the network while it trains: `float32`, or `bf16` by autocast (features and losses are float32
            in any case, and so is every measurement).
        channels_last: images and convolutions in the memory layout that processors prefer?
        compiled: compile the network with torch.compile? On a processor only its norms, each with the ReLU after it,
            if it has any: there the rest does not gain. The first steps then take some seconds more.

    Raises:
        ValueError: a value out of its range; the message names it.
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    warmup: float = 0.0
    augmentation: str = "none"
    average: float = 0.0
    clip: float = 0.0
    precision: str = "float32"
    channels_last: bool = True
    compiled: bool = False

    def __post_init__(self) -> None:
        _choose("optimizer", self.optimizer, OPTIMIZERS)
        _choose("schedule", self.schedule, SCHEDULES)
        _choose("augmentation", self.augmentation, AUGMENTATIONS)
        _choose("precision", self.precision, PRECISIONS)
        for name, low in (("epochs", 1), ("batch_size", 1), ("weight_decay", 0), ("clip", 0)):
            if not getattr(self, name) >= low:
                raise ValueError(f"{name} must be >= {low}, not {getattr(self, name)}")
        for name in ("momentum", "average", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, not {self.learning_rate}")
        if not all(0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones are shares of all steps, between 0 and 1, not {self.milestones}")


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of one step.

    Args:
        recipe: names the schedule and its highest rate.
        step: from 0.
        steps: how many there are in all.
    """
    share = step / steps
    if recipe.warmup and share < recipe.warmup:
        return recipe.learning_rate * (step + 1) / (math.ceil(recipe.warmup * steps) + 1)
    match recipe.schedule:
        case "cosine":
            factor = (1 + math.cos(math.pi * (share - recipe.warmup) / (1 - recipe.warmup))) / 2
        case "step":
            factor = 0.1 ** sum(share >= milestone for milestone in recipe.milestones)
        case "one-cycle":
            factor = (1 - share) / (1 - recipe.warmup)
        case _:
            factor = 1.0
    return recipe.learning_rate * factor
