"""Transfer: images crafted on other networks, judged by this one."""

from __future__ import annotations

from mmc.catalogue.ablations import CLIPPED
from mmc.catalogue.job import CIFAR_AT, CIFAR_NET, DIGITS_AT, DIGITS_NET, MNIST_AT, MNIST_NET, Job
from mmc.catalogue.white_box import RIVALS
from mmc.lab import Evaluation, Spec

#: MIM and PGD, each under cross-entropy, the own center and the margin; where a source has no centers, without these.
CARRIERS = tuple(f"{attack}-{rung}-8" for attack in ("mim10", "pgd10") for rung in ("ce", "own-center", "margin"))
WIDE = {"loss": "MMC", "loss_options": (("norm", 100.0),)}


def _matrix(targets: dict[Spec, tuple[int, ...]], sources: tuple[Spec, ...], evaluation: Evaluation) -> list[Job]:
    """One record for each target: all sources against it, a row of the matrix."""
    found = []
    for target, seeds in targets.items():
        spec = target.with_changes(experiment="transfer", evaluation=evaluation)
        found.append(Job(spec.with_changes(sources=sources), seeds, float(len(sources))))
    return found


def jobs(scale: str) -> list[Job]:
    """Every network against images from the others, and from one of its own kind that was trained from another seed."""
    if scale == "smoke":
        evaluation = Evaluation(suite=("mim10-margin-8", "pgd10-margin-8"), radii=(0.1,), num_attacked=60)
        nets = tuple(DIGITS_NET.with_changes(loss=loss) for loss in RIVALS)
        hardened = DIGITS_NET.with_changes(loss="MMC", **DIGITS_AT)
        return _matrix(dict.fromkeys((*nets, hardened), (0,)), nets, evaluation)
    if scale == "laptop":  # adversarially trained networks are targets only: a second one of each takes too long
        evaluation = Evaluation(suite=CARRIERS, radii=(0.1,), num_attacked=500)
        nets = (*(MNIST_NET.with_changes(loss=loss) for loss in RIVALS), MNIST_NET.with_changes(**WIDE))
        hardened = [MNIST_NET.with_changes(loss=loss, **MNIST_AT) for loss in RIVALS]
        return _matrix(dict.fromkeys((*nets, *hardened), (0,)), nets, evaluation)
    evaluation = Evaluation(suite=(*CARRIERS, *(slug.replace("-8", "-16") for slug in CARRIERS)), num_attacked=1000)
    wide = CIFAR_NET.with_changes(**WIDE, recipe=CLIPPED)
    plain = (*(CIFAR_NET.with_changes(loss=loss) for loss in RIVALS), wide)
    nets = (*plain, *(net.with_changes(**CIFAR_AT) for net in plain))
    return _matrix(dict.fromkeys(nets, (0,)), nets, evaluation)
