"""AutoAttack beside this book's own ensemble, on every recorded network that met both, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmc import lab
from mmc.attacks.preset import radius
from mmc.data import TITLES
from mmc.experiments import outcome
from mmc.lab import Record
from mmc.overlooked import AUTO
from mmc.table import Table

if TYPE_CHECKING:
    from jaxtyping import Bool

#: Auto-PGD toward every class, on the difference of two logits; then on the scaled difference besides.
ALL_TARGETS, OURS = ("apgd-targets",), ("apgd-targets", "apgd-targets-dlr")
#: How many points more than AutoAttack ours may leave and still count as as strong.
GOAL = 0.1


@dataclass(frozen=True)
class Beside:
    """Which images stand on one network, of those attacked by both.

    Attributes:
        record, seed: the network.
        epsilon: the radius, in units of a pixel's range [0, 1].
        auto: under standard AutoAttack.
        one: under `ALL_TARGETS`.
        both: under `OURS`.
    """

    record: Record
    seed: int
    epsilon: float
    auto: Bool[np.ndarray, " N"]
    one: Bool[np.ndarray, " N"]
    both: Bool[np.ndarray, " N"]

    def as_strong(self, ours: Bool[np.ndarray, " N"]) -> bool:
        """Do these leave at most `GOAL` points more than AutoAttack?"""
        return bool(100 * (ours.mean() - self.auto.mean()) <= GOAL)


def networks(pattern: str = "*/*/*.json") -> Iterator[Beside]:
    """Every recorded network that met AutoAttack and ours at one radius, in the order of the records' paths."""
    for record in lab.load(pattern):
        if AUTO not in record.spec.evaluation.suite:
            continue
        for run in record.runs:
            found = outcome(run).attacks
            for slug in (slug for slug in found if slug.startswith(AUTO)):
                left = {
                    names: np.all([found[slug.replace(AUTO, name)].correct.numpy() for name in names], axis=0)
                    for names in ((AUTO,), ALL_TARGETS, OURS)
                }
                yield Beside(record, run["seed"], found[slug].preset.epsilon, *left.values())


def page(pattern: str = "*/*/*.json") -> str:
    """The table of all of them and a sentence on what it shows, in Markdown; says so where there is none."""
    found = list(networks(pattern))
    if not found:
        return "No recorded network has met both.\n"
    balls = ", ".join(dict.fromkeys(radius(one.epsilon) for one in found))
    data = ", ".join(dict.fromkeys(TITLES[one.record.spec.dataset] for one in found))
    records = {one.record.spec.place: one.record for one in found}
    table = Table(
        ["network", "seeds", "AutoAttack", "every class", "both objectives", "alone"],
        [_row([one for one in found if one.record is record]) for record in records.values()],
        made=f"Percent left, a number for each seed, {data}, $\\epsilon = {balls}$: {lab.made(*records.values())}. "
        "Alone: how many images AutoAttack felled and both objectives did not, and the reverse, all seeds.",
    )
    return f"{table.markdown()}\n{_said(found)}\n"


def _row(seeds: Sequence[Beside]) -> tuple[str, ...]:
    """One record's networks."""
    spec = seeds[0].record.spec
    name = f"{spec.experiment}: {spec.backbone}, {spec.loss}, {spec.rule}"
    shares = (", ".join(f"{100 * getattr(one, who).mean():.1f}" for one in seeds) for who in ("auto", "one", "both"))
    auto, ours = _alone(seeds)
    return (name, ", ".join(str(one.seed) for one in seeds), *shares, f"{auto}, {ours}")


def _alone(found: Sequence[Beside]) -> tuple[int, int]:
    """How many images AutoAttack felled and both objectives did not, and the reverse."""
    return (
        sum(int((one.both & ~one.auto).sum()) for one in found),
        sum(int((one.auto & ~one.both).sum()) for one in found),
    )


def _said(found: Sequence[Beside]) -> str:
    alone, strong = sum(one.as_strong(one.one) for one in found), sum(one.as_strong(one.both) for one in found)
    level = sum(bool((one.auto == one.both).all()) for one in found)
    auto, ours = _alone(found)
    images = sum(len(one.auto) for one in found)
    return (
        f"With both objectives ours leaves at most {GOAL} points more than AutoAttack on {strong} of {len(found)} "
        f"networks, and the very same images on {level}; with the first objective alone it is as strong on {alone}. Of "
        f"{images:,} images AutoAttack fells {auto} that both objectives leave, and they fell {ours} that AutoAttack "
        "leaves."
    )
