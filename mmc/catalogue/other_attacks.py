"""Distances, gradient-free attacks and corruptions: the paper's table of C&W, SPSA, noise and rotation."""

from __future__ import annotations

from mmc.attacks.presets import PRESETS
from mmc.catalogue.job import (
    CIFAR_AT,
    CIFAR_AT_TARGETED,
    CIFAR_NET,
    DIGITS_AT,
    DIGITS_NET,
    MNIST_AT,
    MNIST_AT_TARGETED,
    MNIST_NET,
    PAPER_LOSSES,
    Job,
)
from mmc.catalogue.white_box import RIVALS
from mmc.lab import Evaluation, Spec

DISTANCES = ("cw", "cw-target")
#: Ours costs less than the printed search, so it is run on more images.
NEAREST = ("cw-fitted",)
CORRUPTIONS = ("noise", "rotation", "worst-rotation")
#: SPSA as the paper sets it, under each objective, ours with ten times its iterations, and the margin with gradients.
QUERIES = tuple(slug for slug in PRESETS if slug.startswith(("spsa", "margin-pgd")) and "-l2-" not in slug)
FEW_QUERIES = ("spsa10-own-center-8", "spsa10-margin-8", "spsa100-margin-8", "margin-pgd-8")


def _asked(
    spec: Spec, evaluations: dict[str, Evaluation], seeds: tuple[int, ...], worths: dict[str, float]
) -> list[Job]:
    """One job for each group of attacks: they differ by what an image costs, and so by how many there are."""
    spec = spec.with_changes(experiment="other-attacks")
    return [
        Job(spec.with_changes(evaluation=evaluation, tag=tag), seeds, worths.get(tag, 1.0))
        for tag, evaluation in evaluations.items()
    ]


def jobs(scale: str) -> list[Job]:
    """Distances by the printed search and by ours, SPSA, and noise with rotation: four records for each network."""
    if scale == "smoke":
        evaluations = {
            "spsa": Evaluation(suite=("spsa10-margin-8", "margin-pgd-8"), radii=(0.1,), num_attacked=10),
            "corruptions": Evaluation(suite=CORRUPTIONS, num_attacked=60),
            "nearest": Evaluation(suite=NEAREST, num_attacked=10),
        }
        nets = [
            *(DIGITS_NET.with_changes(loss=loss) for loss in RIVALS),
            DIGITS_NET.with_changes(loss="MMC", **DIGITS_AT),
        ]
        return [job for net in nets for job in _asked(net, evaluations, (0,), {})]
    if scale == "laptop":
        evaluations = {
            "corruptions": Evaluation(suite=CORRUPTIONS, num_attacked=1000),
            "distances": Evaluation(suite=DISTANCES, num_attacked=25),
            "nearest": Evaluation(suite=NEAREST, num_attacked=200),
            "spsa": Evaluation(suite=FEW_QUERIES, radii=(0.1,), num_attacked=100),
        }
        nets = [MNIST_NET.with_changes(loss=loss) for loss in PAPER_LOSSES]
        nets += [MNIST_NET.with_changes(loss=loss, **rule) for rule in (MNIST_AT, MNIST_AT_TARGETED) for loss in RIVALS]
        return [job for net in nets for job in _asked(net, evaluations, (0,), {})]
    evaluations = {
        "corruptions": Evaluation(suite=CORRUPTIONS, num_attacked=10_000),
        "distances": Evaluation(suite=DISTANCES, num_attacked=500),
        "nearest": Evaluation(suite=NEAREST, num_attacked=500),
        "spsa": Evaluation(suite=QUERIES, num_attacked=1000),
    }
    others = [loss for loss in PAPER_LOSSES if loss not in RIVALS]
    nets = [CIFAR_NET.with_changes(loss=loss) for loss in RIVALS]
    nets += [CIFAR_NET.with_changes(loss=loss, **rule) for rule in (CIFAR_AT, CIFAR_AT_TARGETED) for loss in RIVALS]
    nets += [CIFAR_NET.with_changes(loss=loss) for loss in others]
    cells = {"distances": 2.0, "nearest": 1.0, "spsa": 4.0, "corruptions": 2.0}
    return [job for net in nets for job in _asked(net, evaluations, (0,), cells)]
