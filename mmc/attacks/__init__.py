"""Attacks: pure functions from (model, x, y) to adversarial x, ascending an objective of your choice."""

from __future__ import annotations

from mmc.attacks.checks import correct, input_gradient, zero_gradient_share
from mmc.attacks.objectives import OBJECTIVES, cross_entropy, margin, own_center
from mmc.attacks.pgd import pgd
from mmc.attacks.suite import WORST, applicable, survivors

__all__ = [
    "OBJECTIVES",
    "WORST",
    "applicable",
    "correct",
    "cross_entropy",
    "input_gradient",
    "margin",
    "own_center",
    "pgd",
    "survivors",
    "zero_gradient_share",
]
