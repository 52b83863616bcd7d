"""Does density explain robustness? Trained networks with the statistics of their features, all attacked alike."""

from __future__ import annotations

from mmc.catalogue import ablations
from mmc.catalogue.job import CIFAR_AT, CIFAR_NET, DIGITS_AT, DIGITS_NET, MNIST_AT, MNIST_NET, PAPER_LOSSES, Job
from mmc.catalogue.white_box import RIVALS
from mmc.lab import Evaluation


def jobs(scale: str) -> list[Job]:
    """Networks measured as the ablations of MMC are; the two sets of records are read together.

    In the ablations the density varies by the norm of the centers and by where they lie, and all else is held. On MNIST
    the first experiment has the losses, measured alike.
    """
    others = [loss for loss in PAPER_LOSSES if not loss.startswith("MMC")]
    if scale == "smoke":
        evaluation = Evaluation(suite=("quick",), radii=(0.1,), num_attacked=60, features=True)
        base = DIGITS_NET.with_changes(experiment="density", evaluation=evaluation)
        return [
            *(Job(base.with_changes(loss=loss), (0,)) for loss in others),
            Job(base.with_changes(loss="MMC", **DIGITS_AT), (0,)),
        ]
    if scale == "laptop":
        base = MNIST_NET.with_changes(experiment="density", evaluation=ablations.MEASURED)
        return [Job(base.with_changes(loss=loss, **MNIST_AT), (0,)) for loss in RIVALS]
    evaluation = Evaluation(suite=("paper-white-box", "ours"), num_attacked=1000, features=True)
    base = CIFAR_NET.with_changes(experiment="density", evaluation=evaluation)
    return [
        *(Job(base.with_changes(loss=loss), (0, 1, 2)) for loss in PAPER_LOSSES),
        *(Job(base.with_changes(loss=loss, **CIFAR_AT), (0,)) for loss in RIVALS),
    ]
