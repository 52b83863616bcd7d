"""Who converges faster, and what it costs."""

from __future__ import annotations

from mmc.catalogue.job import CIFAR, PAPER_CIFAR, PAPER_LOSSES, Job
from mmc.lab import Spec
from mmc.recipe import Recipe


def jobs(scale: str) -> list[Job]:
    """Accuracy against epoch and seconds, one schedule for all losses."""
    if scale == "smoke":
        recipe = Recipe(epochs=3, batch_size=128, optimizer="adam", learning_rate=1e-3)
        base = Spec("convergence", scale, "digits", "mlp", "SCE", feature_dim=16, recipe=recipe)
        return [Job(base.with_changes(loss=loss), (0,)) for loss in PAPER_LOSSES]
    cifar = Spec("convergence", scale, "cifar10", "resnet32", "SCE", recipe=CIFAR)
    if scale == "laptop":  # MNIST's curves are in the first experiment's records
        return [Job(cifar.with_changes(loss=loss), (0,)) for loss in ("SCE", "MMC")]
    paper = cifar.with_changes(recipe=PAPER_CIFAR, tag="paper")
    return [
        *(Job(cifar.with_changes(loss=loss), (0, 1, 2, 3, 4)) for loss in PAPER_LOSSES),
        *(Job(paper.with_changes(loss=loss), (0, 1, 2)) for loss in ("MMC", "SCE")),
    ]
