"""Does a loss with a stationary point move the boundary to the middle?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from mmc.catalogue.first import FIRST
from mmc.catalogue.job import ADAM, CIFAR, Job
from mmc.lab import Evaluation, Options, Spec

#: Cross-entropy, three losses with the stationary margin log(9 (L - 1)), and MMC, stationary at its centers.
LOSSES = ("SCE", "Label smoothing", "Logit-squared", "Mirrored SCE", "MMC")
#: The dial: other stationary margins for mirrored cross-entropy, which is SCE at infinity.
DIAL = (2.0, 8.0)
#: Few images: smaller batches.
_FEW = dataclasses.replace(ADAM, batch_size=64)
#: Rare classes: smaller ones still, and steps so short that the rare class's hidden units do not die.
_CAREFUL = dataclasses.replace(ADAM, epochs=15, batch_size=32, learning_rate=3e-4)


def settings(dials: Iterable[float] = ()) -> Iterator[tuple[str, Options]]:
    """Each loss with its options, the dial's after the others."""
    yield from ((loss, ()) for loss in LOSSES)
    yield from (("Mirrored SCE", (("target", target),)) for target in dials)


def specs(base: Spec, dials: Iterable[float] = ()) -> list[Spec]:
    """One spec per loss, and one for each other place of the dial."""
    return [base.with_changes(loss=loss, loss_options=options) for loss, options in settings(dials)]


def digits() -> Spec:
    """The smallest scene: the first experiment's network on the digits, measured at its boundary."""
    evaluation = Evaluation((0.1,), steps=40, num_attacked=200, per_class=20)
    return FIRST["digits"].with_changes(experiment="boundary", evaluation=evaluation)


def jobs(scale: str) -> list[Job]:
    """All classes even, a long tail of classes, and two classes, even and one of them rare."""
    if scale == "smoke":
        return [Job(spec, (0,)) for spec in specs(digits(), DIAL)]
    if scale == "laptop":
        evaluation = Evaluation((0.1,), 40, 3, 100, suite=("apgd-targets-8",), radii=(0.1,), per_class=10)
        few = ("train_size", 10_000)
        even = Spec("boundary", scale, "mnist", "cnn", "SCE", recipe=_FEW, evaluation=evaluation, variant=(few,))
        tail = even.with_changes(
            variant=(few, ("long_tailed", 50.0)), recipe=_CAREFUL, evaluation=Evaluation(per_class=20)
        )
        pair = tail.with_changes(evaluation=Evaluation(per_class=50))
        digits_3_5 = _rare(pair, (3, 5), 30.0)
        planes_cars = _rare(pair.with_changes(dataset="cifar10"), (0, 1), 10.0)
        return [
            *(Job(spec, (0, 1, 2)) for spec in specs(even)),
            *(Job(spec, (0, 1, 2)) for base in digits_3_5 for spec in specs(base)),
            *(Job(spec, (0, 1, 2)) for spec in specs(tail)),
            *(Job(spec, (0, 1, 2)) for base in planes_cars for spec in specs(base)),
            *(Job(spec, (0, 1, 2)) for spec in specs(even, DIAL)[len(LOSSES) :]),
        ]
    evaluation = Evaluation((2 / 255, 8 / 255), 50, 5, 1000, suite=("ours", "ours-l2", "autoattack"), per_class=100)
    cifar = Spec("boundary", scale, "cifar10", "resnet32", "SCE", recipe=CIFAR, evaluation=evaluation)
    tail = cifar.with_changes(variant=(("long_tailed", 100.0),), evaluation=Evaluation(per_class=100))
    return [Job(spec, (0, 1, 2)) for base in (cifar, tail) for spec in specs(base, DIAL)]


def _rare(base: Spec, classes: tuple[int, int], ratio: float) -> tuple[Spec, Spec]:
    """Some images of two classes, and the same with the second one rare."""
    pair, few = ("two_classes", classes), ("train_size", 3000)
    return base.with_changes(variant=(pair, few)), base.with_changes(variant=(pair, ("ratio", ratio), few))
