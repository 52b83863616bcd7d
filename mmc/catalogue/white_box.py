"""Table 1: white-box robustness."""

from __future__ import annotations

import dataclasses

from mmc.catalogue.job import (
    CIFAR_AT,
    CIFAR_AT_TARGETED,
    CIFAR_NET,
    CIFAR_VGG,
    DIGITS_AT,
    DIGITS_AT_TARGETED,
    DIGITS_NET,
    MNIST_AT,
    MNIST_AT_TARGETED,
    MNIST_NET,
    PAPER_LOSSES,
    PAPER_MNIST,
    Job,
)
from mmc.lab import Evaluation

#: The paper's attacks under each objective in turn, and ours.
SUITE = ("paper-white-box", "ours")
MNIST_RADII = (0.1, 0.2, 0.3)
#: The losses that the verdict on the paper hangs on; they come first.
RIVALS = ("MMC", "SCE")
#: Who takes longer than the rest to classify 88 % of CIFAR-10: MMLDA, half as many epochs again.
SLOWER = {"MMLDA": dataclasses.replace(CIFAR_VGG.recipe, epochs=CIFAR_VGG.recipe.epochs * 3 // 2)}
#: A printed row has nine cells.
CELLS = 9.0


def jobs(scale: str) -> list[Job]:
    """Table 1: each loss under the paper's attacks, each objective in turn, and under ours."""
    others = [loss for loss in PAPER_LOSSES if loss not in RIVALS]
    if scale == "smoke":
        evaluation = Evaluation(suite=("quick",), radii=(0.1,), num_attacked=60)
        base = DIGITS_NET.with_changes(experiment="white-box", evaluation=evaluation)
        return [
            *(Job(base.with_changes(loss=loss), (0,)) for loss in PAPER_LOSSES),
            *(Job(base.with_changes(loss=loss, **DIGITS_AT), (0,)) for loss in RIVALS),
            *(Job(base.with_changes(loss=loss, **DIGITS_AT_TARGETED), (0,)) for loss in RIVALS),
        ]
    if scale == "laptop":
        evaluation = Evaluation(suite=SUITE, radii=MNIST_RADII, num_attacked=500)
        mnist = MNIST_NET.with_changes(experiment="white-box", evaluation=evaluation)
        colors = CIFAR_VGG.with_changes(
            experiment="white-box", evaluation=Evaluation(suite=(*SUITE, "autoattack"), num_attacked=500)
        )
        return [
            *(Job(colors.with_changes(loss=loss), (0, 1), CELLS) for loss in RIVALS),
            *(
                Job(colors.with_changes(loss=loss, recipe=SLOWER.get(loss, colors.recipe)), (0,), CELLS)
                for loss in others
            ),
            *(Job(mnist.with_changes(loss=loss), (0, 1, 2)) for loss in PAPER_LOSSES),
            *(Job(mnist.with_changes(loss=loss, **MNIST_AT), (0, 1, 2)) for loss in RIVALS),
            *(Job(mnist.with_changes(loss=loss, **MNIST_AT_TARGETED), (0, 1, 2)) for loss in RIVALS),
        ]
    evaluation = Evaluation(suite=(*SUITE, "autoattack"), num_attacked=1000)
    cifar = CIFAR_NET.with_changes(experiment="white-box", evaluation=evaluation)
    hundred = cifar.with_changes(dataset="cifar100", feature_dim=128)  # 100 centers need 99 dimensions
    digits = cifar.with_changes(dataset="mnist", recipe=PAPER_MNIST, radii=MNIST_RADII)
    trained = MNIST_AT | {"recipe": PAPER_MNIST}
    return [
        *(Job(cifar.with_changes(loss=loss), (0, 1, 2), CELLS) for loss in (*RIVALS, *others)),
        *(Job(cifar.with_changes(loss=loss, **CIFAR_AT), (0, 1), CELLS) for loss in RIVALS),
        *(Job(cifar.with_changes(loss=loss, **CIFAR_AT_TARGETED), (0,), CELLS) for loss in RIVALS),
        *(Job(hundred.with_changes(loss=loss), (0, 1, 2), CELLS) for loss in RIVALS),
        *(Job(digits.with_changes(loss=loss), (0, 1, 2)) for loss in (*RIVALS, *others)),
        *(Job(digits.with_changes(loss=loss, **trained), (0,)) for loss in RIVALS),
    ]
