"""What the tests of the diagnosis share: an affine model whose robustness is known, a small effort, broken attacks."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import torch
from torch import nn

from mmc.attacks import apgd_all_targets, input_gradient, margin
from mmc.attacks.balls import project, random_start
from mmc.diagnose import Effort, Report, Subject, diagnose, evaluation
from mmc.oracle import Oracle, random_oracle

SMALL = Effort("small", 8, 50, "spsa", (5, 16), (), 20, 2, 5, 199, 1)
#: On affine models this one is exact.
EXACT = partial(apgd_all_targets, steps=30, restarts=1)


@functools.cache
def case(seed: int = 3, loss: str = "MMC", reach: float = 0.3, count: int = 40) -> tuple[Oracle, float]:
    """Affine features, five classes, moderate logits, and a radius at which exactly half of the images are robust."""
    oracle = random_oracle(seed, 64, 5, 8, loss=loss, count=count, reach=reach)
    return oracle, oracle.radius(0.5)


def subject(model: nn.Module | None = None, attack: Any = None, effort: Effort = SMALL, **options: Any) -> Subject:
    oracle, epsilon = case(**options)
    return Subject(model or oracle.model, oracle.x, oracle.y, epsilon, evaluation(attack), effort)


def report(model: nn.Module | None = None, attack: Any = None, effort: Effort = SMALL, **options: Any) -> Report:
    """The report on the oracle or on another model for its images, with the oracle's own as twin and source."""
    oracle, epsilon = case()
    options = {"epsilon": epsilon, "attack": attack, "effort": effort, "twin": oracle.model, "seed": 0} | options
    return diagnose(model or oracle.model, oracle.x, oracle.y, **options)


def no_op(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float) -> torch.Tensor:
    """Does nothing."""
    return x.clone()


def forgetful(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float, steps: int = 40, seed: int = 0
) -> torch.Tensor:
    """Climbs as PGD does, and on the last step goes back to the image."""
    moved = random_start(x, epsilon, "linf", seed)
    for _ in range(steps):
        gradient = input_gradient(margin, model, moved, y)
        moved = project(moved + 2.5 * epsilon / steps * gradient.sign(), x, epsilon, "linf")
    model(moved)
    return x.clone()


def timid(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float, steps: int = 10, step_size: float = 1e-4
) -> torch.Tensor:
    """Climbs from the image by steps that are far too small."""
    moved = x.clone()
    for _ in range(steps):
        gradient = input_gradient(margin, model, moved, y)
        moved = project(moved + step_size * gradient.sign(), x, epsilon, "linf")
    model(moved)
    return moved


def strayed(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epsilon: float) -> torch.Tensor:
    """Leaves its ball."""
    return (x + 2 * epsilon * (0.5 - x).sign()).clamp(0, 1)
