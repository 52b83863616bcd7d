"""The experiments as lists of Specs, at three scales; `mmc sweep` runs what is missing of them.

A catalogue entry maps a scale to jobs, the ones worth most per minute first. To add one: a function of the scale, and
a line in `CATALOGUE`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmc.lab import SCALES, Evaluation, Spec
from mmc.training.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A spec and the seeds that its record shall hold."""

    spec: Spec
    seeds: tuple[int, ...]


#: The losses that the paper's tables compare.
PAPER_LOSSES = ("SCE", "Center", "L-GM", "MMLDA", "MMC", "MMC (rand)")

_ADAM = Recipe(epochs=6, batch_size=128, optimizer="adam", learning_rate=1e-3)
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
        recipe=_ADAM,
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


def _first(scale: str) -> list[Job]:
    if scale == "smoke":
        return [Job(spec, (0,)) for spec in first_experiment("digits")]
    if scale == "laptop":
        return [Job(spec, (0, 1, 2)) for spec in first_experiment("mnist")]
    return [Job(spec, (0, 1, 2, 3, 4)) for spec in first_experiment("mnist", scale="gpu", epochs=30, steps=100)]


#: ResNet-32 with today's schedule: a linear rise and fall, light weight decay, 16-bit arithmetic.
_CIFAR = Recipe(
    epochs=20,
    batch_size=128,
    learning_rate=0.03,  # at 0.1 MMC's squared error starts unstably
    nesterov=True,
    weight_decay=5e-4,
    schedule="one-cycle",
    warmup=0.2,
    augmentation="crop-flip",
    precision="bf16",
)
#: The authors' schedule for CIFAR: 200 epochs, drops after 100 and 150, batches of 50, shifts and flips.
PAPER_CIFAR = Recipe(
    epochs=200,
    batch_size=50,
    learning_rate=0.01,
    weight_decay=1e-4,
    schedule="step",
    augmentation="shift-flip",
    precision="bf16",
)


def _convergence(scale: str) -> list[Job]:
    """Accuracy against epoch and seconds, one schedule for all losses."""
    if scale == "smoke":
        recipe = Recipe(epochs=3, batch_size=128, optimizer="adam", learning_rate=1e-3)
        base = Spec("convergence", scale, "digits", "mlp", "SCE", feature_dim=16, recipe=recipe)
        return [Job(base.with_changes(loss=loss), (0,)) for loss in PAPER_LOSSES]
    cifar = Spec("convergence", scale, "cifar10", "resnet32", "SCE", recipe=_CIFAR)
    if scale == "laptop":  # MNIST's curves are in the first experiment's records
        return [Job(cifar.with_changes(loss=loss), (0,)) for loss in ("SCE", "MMC")]
    paper = cifar.with_changes(recipe=PAPER_CIFAR, tag="paper")
    return [
        *(Job(cifar.with_changes(loss=loss), (0, 1, 2, 3, 4)) for loss in PAPER_LOSSES),
        *(Job(paper.with_changes(loss=loss), (0, 1, 2)) for loss in ("MMC", "SCE")),
    ]


#: MNIST's small network with adversarial training. It meets the whole ball at once and settles on one answer: the ball
#: grows over the first half.
_MNIST_AT = {
    "rule": "AT",
    "rule_options": (("epsilon", 0.3), ("step_size", 0.05), ("ramp", 0.5)),
    "recipe": dataclasses.replace(_ADAM, epochs=10),
}


def _white_box(scale: str) -> list[Job]:
    """Table 1: each loss under the paper's attacks, each objective in turn, and under ours."""
    suite = ("paper-white-box", "ours")
    if scale == "smoke":
        evaluation = Evaluation(suite=("quick",), radii=(0.1,), num_attacked=60)
        recipe = Recipe(epochs=3, batch_size=128, optimizer="adam", learning_rate=1e-3)
        base = Spec("white-box", scale, "digits", "mlp", "SCE", feature_dim=16, recipe=recipe, evaluation=evaluation)
        trained = base.with_changes(rule="AT", rule_options=(("epsilon", 0.1), ("step_size", 0.03)))
        return [
            *(Job(base.with_changes(loss=loss), (0,)) for loss in PAPER_LOSSES),
            *(Job(trained.with_changes(loss=loss), (0,)) for loss in ("SCE", "MMC")),
        ]
    if scale == "laptop":
        evaluation = Evaluation(suite=suite, radii=(0.1, 0.2, 0.3), num_attacked=500)
        mnist = Spec("white-box", scale, "mnist", "cnn", "SCE", recipe=_ADAM, evaluation=evaluation)
        trained = mnist.with_changes(**_MNIST_AT)
        return [
            *(Job(trained.with_changes(loss=loss), (0,)) for loss in ("SCE", "MMC")),
            *(Job(mnist.with_changes(loss=loss), (0,)) for loss in PAPER_LOSSES),
        ]
    evaluation = Evaluation(suite=(*suite, "autoattack"), num_attacked=1000)
    cifar = Spec("white-box", scale, "cifar10", "resnet32", "SCE", recipe=PAPER_CIFAR, evaluation=evaluation)
    untargeted, targeted = {"rule": "AT"}, {"rule": "AT", "rule_options": (("targeted", True),)}
    return [
        *(Job(cifar.with_changes(loss=loss), (0, 1, 2)) for loss in ("MMC", "SCE")),
        *(Job(cifar.with_changes(loss=loss, **untargeted), (0,)) for loss in ("SCE", "MMC")),
        *(Job(cifar.with_changes(loss=loss), (0, 1, 2)) for loss in PAPER_LOSSES if loss not in ("MMC", "SCE")),
        *(Job(cifar.with_changes(loss=loss, **targeted), (0,)) for loss in ("SCE", "MMC")),
    ]


#: Catalogues by name.
CATALOGUE: dict[str, Callable[[str], list[Job]]] = {
    "first-experiment": _first,
    "convergence": _convergence,
    "white-box": _white_box,
}


def jobs(name: str, scale: str) -> list[Job]:
    """The jobs of a catalogue at a scale.

    Args:
        name: a key of `CATALOGUE`, or `all`.
        scale: `smoke`, `laptop` or `gpu`.

    Raises:
        ValueError: an unknown name or scale; the message lists what there is.
    """
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}; there are: {', '.join(SCALES)}")
    if name != "all" and name not in CATALOGUE:
        raise ValueError(f"no catalogue {name!r}; there are: {', '.join(CATALOGUE)}, all")
    chosen = CATALOGUE if name == "all" else {name: CATALOGUE[name]}
    return [job for make in chosen.values() for job in make(scale)]
