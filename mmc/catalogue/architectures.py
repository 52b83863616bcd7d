"""Depth: ResNet-110 beside ResNet-32, on ten classes and on a hundred; and both readings of "ResNet-32"."""

from __future__ import annotations

import dataclasses

from mmc.catalogue.job import CIFAR_NET, CIFAR_VGG, DIGITS_NET, FEW_MNIST, Job
from mmc.catalogue.white_box import CELLS, RIVALS, SUITE
from mmc.lab import Evaluation

#: What a laptop takes: eight and twenty layers, on a fifth of MNIST.
DEPTHS = ("resnet8", "resnet20")
DATA = ("cifar10", "cifar100")
SHALLOW = FEW_MNIST.with_changes(
    experiment="architectures",
    evaluation=Evaluation(suite=("pgd50-own-center-8", "pgd50-ce-8", "margin-pgd-8"), radii=(0.1,), num_attacked=200),
)
#: Ten classes and a hundred, one network.
CLASSES = CIFAR_VGG.with_changes(
    experiment="architectures",
    evaluation=dataclasses.replace(
        SHALLOW.evaluation,
        suite=(*SHALLOW.evaluation.suite, "apgd-targets-8", "apgd-targets-dlr-8"),
        radii=(2 / 255, 8 / 255),
        num_attacked=500,
    ),
)


def jobs(scale: str) -> list[Job]:
    """Networks that the white-box experiment does not hold; ResNet-32's rows are there."""
    if scale == "smoke":
        evaluation = Evaluation(suite=("quick",), radii=(0.1,), num_attacked=60)
        base = DIGITS_NET.with_changes(experiment="architectures", evaluation=evaluation, loss="MMC")
        return [Job(base.with_changes(backbone_options=(("width", width),)), (0,)) for width in (32, 256)]
    if scale == "laptop":
        return [
            *(Job(SHALLOW.with_changes(loss=loss, backbone=net), (0,)) for net in DEPTHS for loss in RIVALS),
            *(Job(CLASSES.with_changes(loss=loss, dataset=data), (0,)) for data in DATA for loss in RIVALS),
        ]
    evaluation = Evaluation(suite=(*SUITE, "autoattack"), num_attacked=1000)
    base = CIFAR_NET.with_changes(experiment="architectures", evaluation=evaluation)
    hundred = {"dataset": "cifar100", "feature_dim": 128}
    return [
        *(Job(base.with_changes(loss=loss, backbone="resnet110"), (0, 1), CELLS) for loss in RIVALS),
        *(Job(base.with_changes(loss=loss, backbone="resnet110", **hundred), (0, 1), CELLS) for loss in RIVALS),
        *(Job(base.with_changes(loss=loss, backbone="resnet47-v2", feature_dim=256), (0,), CELLS) for loss in RIVALS),
    ]
