"""Attacks: pure functions from (model, x, y) to adversarial x, ascending an objective of your choice."""

from __future__ import annotations

from mmc.attacks.apgd import apgd, apgd_all_targets, targets_by_rank
from mmc.attacks.autoattack import autoattack, autoattack_with_flags
from mmc.attacks.bisection import nearest_by_radius
from mmc.attacks.boundary import hop_skip_jump
from mmc.attacks.checks import correct, input_gradient, zero_gradient_share
from mmc.attacks.cw import carlini_wagner, distances
from mmc.attacks.mim import mim
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
from mmc.attacks.preset import NotApplicableError, Preset
from mmc.attacks.presets import PRESETS, SUITES
from mmc.attacks.simple import (
    add_noise,
    fgsm,
    gaussian_noise,
    random_search,
    rotate,
    rotation,
    worst_rotation,
)
from mmc.attacks.spsa import spsa
from mmc.attacks.suite import WORST, applicable, run_suite, survivors
from mmc.attacks.transfer import transfer_matrix
from mmc.attacks.verdicts import Attacked, Verdicts

__all__ = [
    "LADDER",
    "OBJECTIVES",
    "PRESETS",
    "SUITES",
    "TARGETED",
    "WORST",
    "Attacked",
    "NotApplicableError",
    "Preset",
    "Verdicts",
    "add_noise",
    "apgd",
    "apgd_all_targets",
    "applicable",
    "autoattack",
    "autoattack_with_flags",
    "away_from",
    "carlini_wagner",
    "correct",
    "cross_entropy",
    "distances",
    "dlr",
    "fgsm",
    "gaussian_noise",
    "hop_skip_jump",
    "input_gradient",
    "margin",
    "mim",
    "nearest_by_radius",
    "nearest_other_center",
    "own_center",
    "pairwise",
    "pgd",
    "random_search",
    "rotate",
    "rotation",
    "run_suite",
    "spsa",
    "survivors",
    "target_center",
    "target_cross_entropy",
    "target_dlr",
    "targets_by_rank",
    "transfer_matrix",
    "worst_rotation",
    "zero_gradient_share",
]
