"""With adversarial training: does a loss that beats softmax cross-entropy alone still beat it there?

The published ResNet-32 with MMC and adversarial training keeps 43.48 % under AutoAttack. All losses share one recipe of
today: weights averaged, a linear rise and fall of the rate.
"""

from __future__ import annotations

import dataclasses

from mmc.catalogue.job import CIFAR, CIFAR_CNN, DIGITS_NET, RAMP, SMOKE, TARGETED, Job
from mmc.lab import Evaluation, Spec

#: Losses that are put beside SCE, those the question is about first.
LOSSES = ("SCE", "MMC", "HE", "Label smoothing")
#: How much of the averaged weights each step keeps: an average over about 200 steps.
AVERAGE = 0.995


def jobs(scale: str) -> list[Job]:
    """SCE and MMC first; on a laptop a small CNN, by one noisy gradient step for each batch, by PGD, and by
    PGD toward a class drawn for each image."""
    if scale == "smoke":
        base = DIGITS_NET.with_changes(
            experiment="adversarial-training",
            rule="N-FGSM",
            rule_options=(("epsilon", 0.1),),
            recipe=dataclasses.replace(SMOKE, average=0.99),
            evaluation=Evaluation(suite=("quick",), radii=(0.1,), num_attacked=60),
        )
        return [Job(base.with_changes(loss=loss), (0,)) for loss in LOSSES]
    if scale == "laptop":
        evaluation = Evaluation(suite=("paper-white-box", "ours", "autoattack"), radii=(8 / 255,), num_attacked=500)
        base = CIFAR_CNN.with_changes(experiment="adversarial-training", average=AVERAGE, evaluation=evaluation)
        fast = base.with_changes(rule="N-FGSM", rule_options=(RAMP,))
        full = base.with_changes(rule="AT", rule_options=(("steps", 7), RAMP), epochs=8)
        toward = full.with_changes(rule_options=(("steps", 7), RAMP, TARGETED))
        return [
            *(Job(fast.with_changes(loss=loss), (0, 1, 2)) for loss in LOSSES),
            *(Job(full.with_changes(loss=loss), (0, 1)) for loss in LOSSES[:2]),
            *(Job(toward.with_changes(loss=loss), (0,)) for loss in LOSSES[:2]),
        ]
    evaluation = Evaluation(suite=("ours", "autoattack"), radii=(8 / 255,), num_attacked=10_000)
    recipe = dataclasses.replace(CIFAR, epochs=60, average=AVERAGE)
    base = Spec("adversarial-training", scale, "cifar10", "resnet32", "SCE", rule="AT", recipe=recipe)
    return [Job(base.with_changes(loss=loss, evaluation=evaluation), (0, 1, 2)) for loss in LOSSES]
