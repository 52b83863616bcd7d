"""Training: a recipe, a rule that says which inputs the loss sees, and the loop."""

from __future__ import annotations

from mmc.recipe import Recipe, rate
from mmc.training.loop import History, Interrupted, NonFiniteLossError, Progress, accuracy, train
from mmc.training.rules import RULES, Rule, build_rule

__all__ = [
    "RULES",
    "History",
    "Interrupted",
    "NonFiniteLossError",
    "Progress",
    "Recipe",
    "Rule",
    "accuracy",
    "build_rule",
    "rate",
    "train",
]
