"""Attacks: pure functions from (model, x, y) to adversarial x, ascending an objective of your choice."""

from __future__ import annotations

from mmc.attacks.apgd import apgd, apgd_all_targets, targets_by_rank
from mmc.attacks.checks import correct, input_gradient, zero_gradient_share
from mmc.attacks.objectives import (
    LADDER,
    OBJECTIVES,
    TARGETED,
    away_from,
    cross_entropy,
    dlr,
    margin,
    nearest_other_center,
    own_center,
    pairwise,
    target_center,
    target_cross_entropy,
    target_dlr,
)
from mmc.attacks.pgd import pgd
from mmc.attacks.suite import WORST, applicable, survivors

__all__ = [
    "LADDER",
    "OBJECTIVES",
    "TARGETED",
    "WORST",
    "apgd",
    "apgd_all_targets",
    "applicable",
    "away_from",
    "correct",
    "cross_entropy",
    "dlr",
    "input_gradient",
    "margin",
    "nearest_other_center",
    "own_center",
    "pairwise",
    "pgd",
    "survivors",
    "target_center",
    "target_cross_entropy",
    "target_dlr",
    "targets_by_rank",
    "zero_gradient_share",
]
