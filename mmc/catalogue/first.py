"""The first experiment: six losses on one small network."""

from __future__ import annotations

from typing import Any

from mmc.catalogue.job import ADAM, PAPER_LOSSES, Job
from mmc.lab import Evaluation, Spec
from mmc.recipe import Recipe

#: One small network for every loss, by data set: digits live in the chapter, MNIST once, as records.
FIRST = {
    "digits": Spec(
        "first-experiment",
        "smoke",
        "digits",
        "mlp",
        "SCE",
        feature_dim=16,
        recipe=Recipe(epochs=60, batch_size=64, optimizer="adam", learning_rate=1e-3),
        evaluation=Evaluation((0.05, 0.1, 0.15, 0.2), steps=40, features=True),
    ),
    "mnist": Spec(
        "first-experiment",
        "laptop",
        "mnist",
        "cnn",
        "SCE",
        recipe=ADAM,
        evaluation=Evaluation((0.1, 0.2, 0.3), steps=40, features=True),
    ),
}


def first_experiment(dataset: str, **changes: Any) -> list[Spec]:
    """The first experiment: one spec per loss of the paper.

    Args:
        dataset: `digits` or `mnist`.
        changes: fields of `Spec`, its recipe or its evaluation to set otherwise.

    Raises:
        ValueError: no settings for this data set.
    """
    if dataset not in FIRST:
        raise ValueError(f"no first experiment on {dataset!r}; there are: {', '.join(FIRST)}")
    return [FIRST[dataset].with_changes(**{"loss": loss} | changes) for loss in PAPER_LOSSES]


def jobs(scale: str) -> list[Job]:
    if scale == "smoke":
        return [Job(spec, (0,)) for spec in first_experiment("digits")]
    if scale == "laptop":
        return [Job(spec, (0, 1, 2)) for spec in first_experiment("mnist")]
    return [Job(spec, (0, 1, 2, 3, 4)) for spec in first_experiment("mnist", scale="gpu", epochs=30, steps=100)]
