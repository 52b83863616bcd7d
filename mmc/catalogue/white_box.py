"""Table 1: white-box robustness."""

from __future__ import annotations

import dataclasses

from mmc.catalogue.job import ADAM, PAPER_CIFAR, PAPER_LOSSES, Job
from mmc.lab import Evaluation, Spec
from mmc.training.recipe import Recipe

#: MNIST's small network with adversarial training. It meets the whole ball at once and settles on one answer: the ball
#: grows over the first half.
_MNIST_AT = {
    "rule": "AT",
    "rule_options": (("epsilon", 0.3), ("step_size", 0.05), ("ramp", 0.5)),
    "recipe": dataclasses.replace(ADAM, epochs=10),
}


def jobs(scale: str) -> list[Job]:
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
        mnist = Spec("white-box", scale, "mnist", "cnn", "SCE", recipe=ADAM, evaluation=evaluation)
        trained = mnist.with_changes(**_MNIST_AT)
        return [
            *(Job(mnist.with_changes(loss=loss), (0, 1, 2)) for loss in PAPER_LOSSES),
            *(Job(trained.with_changes(loss=loss), (0, 1)) for loss in ("SCE", "MMC")),
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
