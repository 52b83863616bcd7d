"""Is an evaluation of robustness itself sound? Eight checks, and a page that says what to report."""

from __future__ import annotations

from mmc.diagnose.binarisation import binarisation_test
from mmc.diagnose.broken import BROKEN
from mmc.diagnose.budget import accuracy_against_budget
from mmc.diagnose.controls import broken_models, oracle, undefended_twin
from mmc.diagnose.effort import EFFORTS, Effort
from mmc.diagnose.evaluated import USUAL, EvaluatedAttack, evaluation
from mmc.diagnose.finding import FAILED, NOT_APPLICABLE, SOUND, VERDICTS, WARNING, Observation
from mmc.diagnose.flags import autoattack_flags
from mmc.diagnose.gradients import zero_gradients
from mmc.diagnose.indicators import (
    incomplete_optimisation,
    silent_success,
    six_indicators,
    transfer_failure,
    unavailable_gradients,
    unconstrained_failure,
    unstable_predictions,
)
from mmc.diagnose.radius import accuracy_against_epsilon
from mmc.diagnose.report import Report
from mmc.diagnose.run import diagnose
from mmc.diagnose.strength import adaptive, order_of_strength
from mmc.diagnose.subject import Run, Subject
from mmc.diagnose.watch import Watched

__all__ = [
    "BROKEN",
    "EFFORTS",
    "FAILED",
    "NOT_APPLICABLE",
    "SOUND",
    "USUAL",
    "VERDICTS",
    "WARNING",
    "Effort",
    "EvaluatedAttack",
    "Observation",
    "Report",
    "Run",
    "Subject",
    "Watched",
    "accuracy_against_budget",
    "accuracy_against_epsilon",
    "adaptive",
    "autoattack_flags",
    "binarisation_test",
    "broken_models",
    "diagnose",
    "evaluation",
    "incomplete_optimisation",
    "oracle",
    "order_of_strength",
    "silent_success",
    "six_indicators",
    "transfer_failure",
    "unavailable_gradients",
    "unconstrained_failure",
    "undefended_twin",
    "unstable_predictions",
    "zero_gradients",
]
