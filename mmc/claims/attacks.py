"""Claims on attacks: which objective breaks MMC, and what counts as evidence that none does.

One network can show that an attack misses, or that a piece of evidence is found where there is no robustness. It says
nothing on the accuracy of the paper's own networks.
"""

from __future__ import annotations

import numpy as np
import torch

from mmc import attacked, reported
from mmc.attacks import WORST
from mmc.attacks.preset import radius
from mmc.claims import Finding, claim
from mmc.ladder import EVERY_DLR, EVERY_PAIR, RUNGS
from mmc.theory import underflow

CIFAR, MNIST = "cifar10-resnet32-mmc", "mnist-cnn-mmc"
#: The MMC networks that travel with the book, and the radius at which their ladders are read.
NETS = {CIFAR: 2 / 255, MNIST: 0.1}
WORDS = {CIFAR: "ResNet-32 on CIFAR-10", MNIST: "small CNN on MNIST"}


def left(name: str) -> dict[str, float]:
    """Accuracy that each rung leaves on a network of `NETS`."""
    return {rung: mask.double().mean().item() for rung, mask in attacked.left(name, NETS[name]).items()}


def _ordered(accuracies: list[float]) -> bool:
    return bool(np.all(np.diff(accuracies) <= 0))


@claim(
    "objective-ladder",
    paper="MMC",
    source="Evaluations by others, after publication",
    printed="Against MMC, objectives are ordered from weak to strong: cross-entropy of the logits, own center, "
    "nearest other center, margin, every pairwise margin.",
    exact="On both networks measured, own center, nearest other center, margin and every pair come in this order. The "
    "place of cross-entropy depends on network and random starts, and the ladder does not end with the pairs: "
    "targeted ratios of logit differences leave less.",
    chapter="objectives",
)
def objective_ladder() -> Finding:
    found = {name: left(name) for name in NETS}
    rungs = {name: [shares[rung] for rung in RUNGS] for name, shares in found.items()}
    beyond = all(shares[EVERY_DLR] < shares[EVERY_PAIR] for shares in found.values())

    def told(name: str) -> str:
        counted = len(attacked.left(name, NETS[name])[WORST])
        climbs = ", ".join(f"{share:.1%}" for share in rungs[name])
        return (
            f"{WORDS[name]} ($\\epsilon = {radius(NETS[name])}$, {counted} images): {climbs}, then "
            f"{found[name][EVERY_DLR]:.1%} by targeted ratios, {found[name][WORST]:.1%} in the worst case"
        )

    return Finding(
        printed=all(_ordered(shares) for shares in rungs.values()),
        exact=bool(beyond and all(_ordered(shares[1:]) for shares in rungs.values())),
        evidence=f"Accuracy left, rung by rung, Auto-PGD at one budget, one seed: {'; '.join(map(told, NETS))}.",
    )


@claim(
    "own-center-direction",
    paper="MMC",
    source="Experiments: adaptive white-box attacks",
    printed=r"Ascending $\lVert z - \mu^*_y \rVert^2$ drives a feature toward another class (our reading of why it is "
    r"the adaptive objective).",
    exact=r"It drives it toward class $t$ exactly where the gap to $t$ is smaller than the gap at home, $\tfrac12 "
    r"\lVert \mu^*_t - \mu^*_y \rVert^2$. A feature that leads every class by more is driven away from all.",
    chapter="objectives",
)
def own_center_direction() -> Finding:
    rng = np.random.default_rng(0)
    centers, residual = rng.normal(size=(2, 2000, 6)), rng.normal(size=(2000, 6))

    def gaps(feature: np.ndarray) -> np.ndarray:
        own, other = (np.square(feature - center).sum(1) / 2 for center in centers)
        return other - own

    before, home = gaps(centers[0] + residual), gaps(centers[0])
    nearer = gaps(centers[0] + 1.001 * residual) < before
    behind = [attacked.found(name)["headings"]["own center"]["none ahead"] for name in NETS]
    ten = float(underflow.home_gap(10, 10))
    return Finding(
        printed=bool(nearer.all()),
        exact=bool(np.array_equal(nearer, before < home)),
        evidence=f"Of 2,000 random features a step brings the other class nearer to {nearer.sum():,}: to those with a "
        "gap below the one at home, and to no other. On networks, measured in pixels, it brings no class nearer at "
        f"{' and '.join(f'{share:.1%}' for share in behind)} of the correctly classified images "
        f"({', '.join(WORDS.values())}); for ten classes and $C_{{\\mathrm{{MM}}}} = 10$ the gap at home is {ten:.0f}.",
    )


def column_pairs() -> list[tuple[str, bool]]:
    """The printed pairs of a targeted and an untargeted column: the method, and is the targeted accuracy lower?"""
    return [
        (row["method"], reported.bounds(row[key])[1] < reported.bounds(row[key.replace("_tar_", "_un_")])[0])
        for name in ("white-box-cifar10", "white-box-architectures")
        for row in reported.table(name).rows
        for key in row
        if "_tar_" in key
    ]


@claim(
    "untargeted-is-worst",
    paper="MMC",
    source="Tables of white-box adaptive attacks",
    printed="The untargeted columns are the stronger test: an attacker who may end at any class can do all that one "
    "who must reach a given class can (our reading; the text compares methods by them).",
    chapter="objectives",
)
def untargeted_is_worst() -> Finding:
    lower = [method for method, missed in column_pairs() if missed]
    row = reported.table("white-box-cifar10").row(method="MMC-10")
    return Finding(
        printed=not lower,
        evidence=f"In {len(lower)} of {len(column_pairs())} printed pairs of columns the targeted accuracy is the "
        f"lower one, {sum('MMC' in method for method in lower)} of them MMC's: under PGD-50 at 16/255, "
        f"{row['pgd50_tar_16']} % with a random target and {row['pgd50_un_16']} % "
        "without. Such a climb has missed images, and the smaller of two columns is the better bound.",
    )


@claim(
    "masking-evidence",
    paper="MMC",
    source="Experiments: black-box attacks",
    printed="Accuracy under transfer and under SPSA shows that MMC's robustness does not come from masked gradients.",
    exact="Black-box attacks that are weaker than a white-box attack show that the gradients of *that* attack are of "
    "use. They do not show that the accuracy it leaves is robust, nor that another objective's gradients are not "
    "masked.",
    chapter="objectives",
)
def masking_evidence() -> Finding:
    white, black = attacked.suite(CIFAR, "presets"), attacked.suite(CIFAR, "costly")
    [few] = {len(found.correct) for found in black.attacks.values()}
    [source] = [name for name in attacked.transferred(CIFAR) if name != CIFAR]

    def share(mask: torch.Tensor) -> float:
        return mask[:few].double().mean().item()

    own, blind = (share(white.attacks[f"pgd50-{rung}-8"].correct) for rung in ("own-center", "ce"))
    spsa = share(black.attacks["spsa10-margin-8"].correct)
    transfer = share(attacked.transferred(CIFAR)[source])
    worst = share(attacked.left(CIFAR, 8 / 255)[WORST])
    zero = attacked.found(CIFAR)["headings"]["cross-entropy"]["zero"]
    return Finding(
        printed=bool(worst >= min(spsa, transfer) or zero < 0.05),
        exact=bool(min(spsa, transfer) >= own > worst and blind > max(spsa, transfer)),
        evidence=f"A ResNet-32 trained with MMC on CIFAR-10, $\\epsilon = 8/255$, the first {few} test images: "
        f"SPSA-10 leaves {spsa:.1%} and transfer from an SCE network (MIM-10) {transfer:.1%}, both more than "
        f"own-center PGD-50, {own:.1%}. So it passes this test. Yet its gradient of cross-entropy is exactly zero at "
        f"{zero:.1%} of the clean images, cross-entropy PGD-50 leaves {blind:.1%}, and the worst case of all "
        f"objectives is {worst:.1%}.",
    )
