"""Claims on adversarial training at equal recipe, read at laptop scale from CIFAR-10's records, image by image.

A small network of today's recipe: its numbers stand beside the paper's and beside later measurements, never for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmc import attacked, lab
from mmc.attacks import WORST
from mmc.catalogue import Job
from mmc.catalogue.adversarial import jobs
from mmc.claims import Finding, claim, white_box
from mmc.claims.white_box import lead, papers, points
from mmc.experiments import outcome
from mmc.lab import Record
from mmc.shares import deviations, paired_difference

COMMAND = "`mmc sweep adversarial-training --scale laptop`"
RADIUS = 8 / 255
#: What is read of each record, in the order of a table: the paper's PGD-50, the standard ensemble, ours, and all.
PAPERS, AUTO, OURS = "the paper's PGD-50", "AutoAttack", "ours"
READ = (PAPERS, AUTO, OURS, WORST)
SUITE = ("margin-pgd", "apgd-targets", "apgd-targets-dlr")
#: Seeds that a lead of one loss over another needs to count.
COUNTED = 2
#: Where the claims come from that ask beyond the paper.
BEYOND = "our measurement at laptop scale of what the paper's combination of MMC and adversarial training is for"
#: The undefended twin: another network, a ResNet-32, with standard training.
TWIN = "cifar10-resnet32-mmc"

Key = tuple[str, str]


def queue() -> dict[Key, Job]:
    """What is to be recorded, by loss and training, SCE and MMC first."""
    return {(job.spec.loss, job.spec.training): job for job in jobs("laptop")}


def records() -> dict[Key, Record]:
    """What is recorded of it, in the same order; a record with fewer seeds than were asked for counts."""
    found = {key: lab.load(f"{job.spec.place}.json") for key, job in queue().items()}
    return {key: loaded[0] for key, loaded in found.items() if loaded}


def reads(record: Record) -> tuple[str, ...]:
    """What of `READ` a record was judged by: AutoAttack may have cost too much."""
    auto = all("autoattack-8" in outcome(run).attacks for run in record.runs)
    return tuple(what for what in READ if auto or what != AUTO)


def rivals(what: str = WORST) -> dict[Key, tuple[Record, Record]]:
    """By loss and rule, the record of each other loss and that of SCE, where both were judged by this reading."""
    found = {key: record for key, record in records().items() if what in reads(record)}
    return {
        (loss, rule): (record, found["SCE", rule])
        for (loss, rule), record in found.items()
        if loss != "SCE" and ("SCE", rule) in found
    }


def pairs(what: str = WORST) -> dict[str, tuple[Record, Record]]:
    """By rule, the records of MMC and of SCE, where both are there and were judged by this reading."""
    return {rule: both for (loss, rule), both in rivals(what).items() if loss == "MMC"}


def standing(record: Record, what: str) -> np.ndarray:
    """Which images stand, seeds by images, under one of `READ`, or `clean`."""
    attacks = {AUTO: ("autoattack",), OURS: SUITE, PAPERS: (papers(record.spec.loss),)}.get(what, (what,))
    return np.all([white_box.standing(record, attack, RADIUS) for attack in attacks], axis=0)


def excess(record: Record, beyond: str) -> np.ndarray:
    """How much the paper's PGD-50 leaves beyond another reading, by image, mean over the seeds: -1 to 1."""
    return standing(record, PAPERS).mean(0) - standing(record, beyond).mean(0)


def overstatement(record: Record, beyond: str) -> tuple[float, float]:
    """The mean of `excess` with the half-width of its interval over the images."""
    return paired_difference(excess(record, beyond), np.zeros(record.spec.evaluation.num_attacked))


def needed(disagreement: float, difference: float) -> int:
    """How many images it takes until a paired difference exceeds the half-width of its interval.

    Args:
        disagreement: share of the images on which only one of the two stands, in (0, 1].
        difference: of the two accuracies, not zero.
    """
    return int(np.ceil(deviations() ** 2 * (disagreement - difference**2) / difference**2))


def beaten(found: dict[Key, tuple[Record, Record]]) -> Finding:
    """Under AutoAttack, does any loss keep more than SCE, past an interval that allows for so many comparisons?

    The interval is over images and knows nothing of other seeds, so what has fewer than `COUNTED` is told alone.
    """
    confidence = 1 - (1 - 0.95) / len(found)
    ahead, told = False, []
    for (loss, rule), pair in found.items():
        one, sce = (standing(record, AUTO) for record in pair)
        gap = paired_difference(one.mean(0), sce.mean(0), confidence)
        seeds = list(zip(one.mean(1), sce.mean(1), strict=False))
        ahead |= len(seeds) >= COUNTED and gap[0] > gap[1]
        wins = sum(a > b for a, b in seeds)
        counted = "" if len(seeds) >= COUNTED else ", too few to count"
        told.append(f"{loss} with {rule} {points(gap)} points, ahead with {wins} of {len(seeds)} seeds{counted}")
    record, _ = next(iter(found.values()))
    return Finding(
        printed=ahead,
        evidence=f"Minus SCE: {'; '.join(told)} (laptop scale, CIFAR-10, small CNN, "
        f"{record.spec.evaluation.num_attacked} test images; intervals at {confidence:.1%} each).",
    )


@dataclass(frozen=True)
class _Told:
    """One claim: what it says, its check, and the reading that both records of some rule must have."""

    name: str
    printed: str
    check: Callable[[dict], Finding]
    judged_by: str
    among: Callable[[str], dict] = pairs
    source: str = "our measurement at laptop scale of the claim that MMC goes with adversarial training"


def _made(found: dict[str, tuple[Record, Record]]) -> str:
    images = next(iter(found.values()))[0].spec.evaluation.num_attacked
    seeds = "; ".join(
        f"{rule}: {len(mmc.seeds)} seed{'s' * (len(mmc.seeds) > 1)} of MMC, {len(sce.seeds)} of SCE"
        for rule, (mmc, sce) in found.items()
    )
    return f"laptop scale, CIFAR-10, small CNN, {images} test images; {seeds}"


def not_less(found: dict[str, tuple[Record, Record]]) -> Finding:
    """Under AutoAttack, is the difference MMC - SCE within its interval of zero or above it, for each rule?"""
    kept = {rule: [standing(record, AUTO) for record in pair] for rule, pair in found.items()}
    leads = {rule: lead(*both) for rule, both in kept.items()}
    told = "; ".join(
        f"{rule}: MMC {kept[rule][0].mean():.1%}, SCE {kept[rule][1].mean():.1%}, a difference of {points(gap)} points"
        for rule, gap in leads.items()
    )
    return Finding(printed=all(sum(gap) >= 0 for gap in leads.values()), evidence=f"{told} ({_made(found)}).")


def overstated(found: dict[str, tuple[Record, Record]]) -> Finding:
    """Does the paper's PGD-50 leave more beyond AutoAttack of MMC than of SCE, for each rule, past its interval?"""
    gaps = {rule: paired_difference(*(excess(record, AUTO) for record in pair)) for rule, pair in found.items()}
    means = {rule: [100 * excess(record, AUTO).mean() for record in pair] for rule, pair in found.items()}
    told = "; ".join(
        f"{rule}: {mmc:.1f} points for MMC, {sce:.1f} for SCE, a difference of {points(gaps[rule])}"
        for rule, (mmc, sce) in means.items()
    )
    return Finding(printed=all(gap > width for gap, width in gaps.values()), evidence=f"{told} ({_made(found)}).")


def compatible(found: dict[str, tuple[Record, Record]]) -> Finding:
    """In the worst case, does MMC keep at least five times what an undefended twin keeps?"""
    kept = {rule: standing(mmc, WORST).mean() for rule, (mmc, _) in found.items()}
    without = attacked.left(TWIN, RADIUS)[WORST].double().mean().item()
    told = ", ".join(f"{share:.1%} with {rule}" for rule, share in kept.items())
    return Finding(
        printed=all(bool(share > max(5 * without, 0.05)) for share in kept.values()),
        evidence=f"In the worst case MMC keeps {told}, and {without:.1%} on an undefended twin, a ResNet-32 "
        f"({_made(found)}).",
    )


TOLD: Sequence[_Told] = (
    _Told(
        "robust-training-level",
        r"With adversarial training of one recipe MMC keeps not less than SCE under AutoAttack (CIFAR-10, small CNN, "
        r"$\epsilon = 8/255$; not less means within the interval, for each rule that it judges).",
        not_less,
        AUTO,
    ),
    _Told(
        "robust-training-overstatement",
        "With adversarial training the paper's untargeted PGD-50 leaves more beyond AutoAttack for MMC than for SCE "
        r"(CIFAR-10, small CNN, $\epsilon = 8/255$, for each rule that it judges).",
        overstated,
        AUTO,
    ),
    _Told(
        "robust-training-compatible",
        "Adversarial training goes with MMC: in the worst case of all attacks it keeps more than 5 % and at least five "
        r"times what an undefended twin keeps (CIFAR-10, small CNN, $\epsilon = 8/255$, for each rule recorded).",
        compatible,
        WORST,
    ),
    _Told(
        "robust-training-beaten",
        "With adversarial training of one recipe some other loss keeps more than SCE under AutoAttack (CIFAR-10, small "
        r"CNN, $\epsilon = 8/255$; more means past an interval that allows for all losses and rules tried, with at "
        "least two seeds).",
        beaten,
        AUTO,
        rivals,
        BEYOND,
    ),
)


def _register() -> None:
    for told in TOLD:
        wanted = " and ".join(f"`{queue()[loss, 'N-FGSM'].spec.place}`" for loss in ("MMC", "SCE"))
        claim(
            told.name,
            paper="MMC",
            source=told.source,
            printed=told.printed,
            chapter="adversarial-training",
            missing="" if told.among(told.judged_by) else f"The records {wanted}: {COMMAND}.",
        )(lambda told=told: told.check(told.among(told.judged_by)))


_register()
