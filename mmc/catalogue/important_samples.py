"""Important samples: nine ways to train on adversarial images from one recipe, and SOVR's two numbers varied.

The published networks (Kanai et al. 2023) are PreActResNet-18 on CIFAR-10, where AutoAttack leaves AT 48.0 % and SOVR
49.4 %.
"""

from __future__ import annotations

import dataclasses

from mmc.catalogue.job import ADAM, CIFAR_CNN, RAMP, Job
from mmc.lab import Evaluation, Spec
from mmc.recipe import Recipe

#: Plain adversarial training, the three that weigh images, MART, SOVR, and the two that pull at the clean image or at
#: the distance; those that the question is about first.
RULES = ("AT", "SOVR", "GAIRAT", "MAIL", "EWAT", "MART", "TRADES", "TSOVR", "MMA")
#: (M, lambda) of SOVR beside (0.4, 0.4), in order of interest; a share of 0 would be AT.
SETTINGS = ((0.4, 1.6), (0.4, 0.1), (0.2, 0.4), (0.8, 0.4), (1.0, 0.4))
#: MMA looks for the boundary within d_max, which its authors set above the radius of the evaluation.
MMA_REACH = 1.5

#: A usual set-up for PreActResNet-18; the paper's own schedule was not at hand.
PAPER = Recipe(
    epochs=100,
    batch_size=128,
    learning_rate=0.1,
    weight_decay=5e-4,
    schedule="step",
    augmentation="crop-flip",
    precision="bf16",
)

#: By scale; a laptop has two data sets, and runs AutoAttack on one of them.
BASES = {
    "smoke": Spec(
        "important-samples",
        "smoke",
        "digits",
        "mlp",
        "SCE",
        feature_dim=16,
        rule_options=(("epsilon", 0.1), ("step_size", 0.025)),
        recipe=Recipe(epochs=25, batch_size=128, optimizer="adam", learning_rate=1e-3),
        evaluation=Evaluation(suite=("pgd50-ce-8", "ours"), radii=(0.1,), num_attacked=300, margins=500),
    ),
    # 6,000 images, eight epochs, two thirds of the usual radius: what nine networks cost in minutes of one core.
    "laptop": Spec(
        "important-samples",
        "laptop",
        "mnist",
        "cnn",
        "SCE",
        rule_options=(("epsilon", 0.2), ("step_size", 0.05), RAMP),
        recipe=dataclasses.replace(ADAM, epochs=8),
        variant=(("train_size", 6_000),),
        evaluation=Evaluation(suite=("pgd50-ce-8", "ours"), radii=(0.2,), num_attacked=200, margins=500),
    ),
    # The same network and as many minutes of one core: 20,000 images of CIFAR-10, ten epochs, the usual radius.
    "laptop-cifar10": CIFAR_CNN.with_changes(
        experiment="important-samples",
        backbone_options=(),
        rule_options=(("epsilon", 8 / 255), ("step_size", 2 / 255), RAMP),
        epochs=10,
        variant=(("train_size", 20_000),),
        evaluation=Evaluation(
            suite=("pgd50-ce-8", "ours", "autoattack"), radii=(8 / 255,), num_attacked=500, margins=500
        ),
    ),
    "gpu": Spec(
        "important-samples",
        "gpu",
        "cifar10",
        "preactresnet18",
        "SCE",
        feature_dim=512,
        backbone_options=(("linear", False),),
        rule_options=(("epsilon", 8 / 255), ("step_size", 2 / 255)),
        recipe=PAPER,
        evaluation=Evaluation(
            suite=("pgd50-ce-8", "ours", "autoattack"), radii=(8 / 255,), num_attacked=10_000, margins=1000
        ),
    ),
}


def spec_of(base: str, rule: str, **options: float) -> Spec:
    """One network of the experiment.

    Args:
        base: a key of `BASES`.
        rule: one of `RULES`.
        options: of the rule, beside radius and step.
    """
    spec = BASES[base]
    given = dict(spec.rule_options)
    if rule == "MMA":
        given |= {name: round(MMA_REACH * given[name], 6) for name in ("epsilon", "step_size")}
    return spec.with_changes(rule=rule, rule_options=tuple((given | options).items()))


def _lightly(spec: Spec) -> Spec:
    """The same network under the first two attacks; on a GPU under all."""
    return spec if spec.scale == "gpu" else spec.with_changes(suite=("pgd50-ce-8", "margin-pgd-8"))


def jobs(scale: str) -> list[Job]:
    """Every rule, then SOVR at other settings. A second seed tells how much is chance, and AT's picks images."""
    seeds = {"smoke": (0,), "laptop": (0, 1), "gpu": (0, 1, 2)}[scale]
    colors = RULES if scale == "laptop" else ()
    return [
        *(Job(spec_of(scale, rule), seeds) for rule in RULES),
        *(Job(_lightly(spec_of(scale, "SOVR", share=share, weight=weight)), (0,)) for share, weight in SETTINGS),
        *(Job(spec_of("laptop-cifar10", rule), seeds if rule == "AT" else (0,)) for rule in colors),
    ]
