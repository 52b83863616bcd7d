"""Ablations of MMC: the norm of the centers, where they lie, the dimension, the power, and parts of the network."""

from __future__ import annotations

import dataclasses

from mmc.catalogue.first import FIRST
from mmc.catalogue.job import CIFAR, CIFAR_NET, DIGITS_NET, FEW_MNIST, MNIST_NET, PAPER_CIFAR, Job
from mmc.lab import Evaluation, Options, Spec

#: C_MM; 10 is the paper's.
NORMS = (1.0, 3.0, 30.0, 100.0, 1000.0)
#: Of the distance to the center; 2 is the paper's.
POWERS = (1.0, 3.0)
#: MNIST's networks are attacked as in the first experiment, whose networks are rows of the same comparison.
MEASURED = FIRST["mnist"].evaluation
#: Squared errors of large centers have large gradients: they are clipped, for every row alike.
CLIPPED = dataclasses.replace(PAPER_CIFAR, clip=1.0)


def _norms(*norms: float) -> list[Options]:
    return [(("norm", norm),) for norm in norms]


def _rows(base: Spec, seeds: tuple[int, ...], fewer: tuple[int, ...], dims: tuple[int, ...]) -> list[Job]:
    """What differs from the base by its loss or its dimension: the norm and the centers first, on more seeds."""
    powers = [(("power", power),) for power in POWERS]
    return [
        Job(base, seeds, 2.0),
        *(Job(base.with_changes(loss_options=options), seeds, 2.0) for options in _norms(*NORMS)),
        Job(base.with_changes(loss="MMC (rand)"), seeds, 2.0),
        Job(base.with_changes(loss="MMC (hier)"), fewer),
        *(Job(base.with_changes(feature_dim=dim, tag=f"dim {dim}"), fewer) for dim in dims),
        *(Job(base.with_changes(loss_options=options), fewer) for options in powers),
    ]


def _parts(base: Spec, seeds: tuple[int, ...]) -> list[Job]:
    """A residual network without its last linear layer, without batch norm, and whole: does it train at all?

    Without batch norm a squared error from far away overflows within fifty steps: gradients are clipped, for every row.
    """
    base = base.with_changes(clip=1.0)
    without: list[Options] = [(("linear", False),), (("batch_norm", False),), ()]
    return [
        Job(base.with_changes(loss=loss, backbone_options=options), seeds)
        for options in without
        for loss in ("MMC", "SCE")
    ]


def jobs(scale: str) -> list[Job]:
    """One thing changed at a time."""
    if scale == "smoke":
        evaluation = Evaluation(suite=("quick",), radii=(0.1,), num_attacked=60, features=True)
        base = DIGITS_NET.with_changes(experiment="ablations", loss="MMC", evaluation=evaluation)
        return [
            Job(base, (0,)),
            *(Job(base.with_changes(loss_options=options), (0,)) for options in _norms(1.0, 100.0)),
            Job(base.with_changes(loss_options=(("power", 1.0),)), (0,)),
            Job(base.with_changes(loss="MMC (hier)"), (0,)),
        ]
    if scale == "laptop":
        base = MNIST_NET.with_changes(experiment="ablations", loss="MMC", evaluation=MEASURED)
        few = FEW_MNIST.with_changes(experiment="ablations", evaluation=MEASURED, num_attacked=200)
        return [*_rows(base, (0, 1), (0,), (9, 16, 256)), *_parts(few, (0,))]
    evaluation = Evaluation(suite=("paper-white-box", "ours"), num_attacked=1000, features=True)
    base = CIFAR_NET.with_changes(experiment="ablations", loss="MMC", evaluation=evaluation, recipe=CLIPPED)
    hundred = base.with_changes(dataset="cifar100", feature_dim=128)
    return [
        *_rows(base, (0, 1, 2), (0,), (9, 16, 256)),
        *(Job(hundred.with_changes(loss=loss), (0,)) for loss in ("MMC", "MMC (hier)")),
        *_parts(base.with_changes(recipe=CIFAR, tag="parts"), (0, 1, 2)),
    ]
