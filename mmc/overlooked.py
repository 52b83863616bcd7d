"""What the records on important samples say: which images PGD overlooks, how large margins are, and whose.

Every network's margins and verdicts are kept image by image, so networks are compared on the same images.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest, rankdata

from mmc import lab
from mmc.attacks.verdicts import Verdicts
from mmc.lab import Record

PATTERN = "important-samples/laptop/mnist-*.json"
#: The same rules on color images.
COLORS = "important-samples/laptop/cifar10-*.json"
#: Rules that weight the loss of single images, and the attack by which they were first judged.
WEIGHTING, USUAL = ("GAIRAT", "MAIL", "EWAT", "MART"), "pgd50-ce"
#: The attack by which they were judged later.
AUTO = "autoattack"
#: SOVR's share and weight where nothing else is said.
DEFAULT = (0.4, 0.4)
#: The share of the training images that is called important: those of smallest adversarial margin under another AT.
IMPORTANT = 0.2


def _switch(record: Record) -> tuple[float, float]:
    options = dict(record.spec.rule_options)
    return options.get("share", DEFAULT[0]), options.get("weight", DEFAULT[1])


def records(pattern: str = PATTERN) -> dict[str, Record]:
    """The records by rule; of SOVR the one with the usual numbers."""
    found = {r.spec.rule: r for r in lab.load(pattern) if r.spec.rule != "SOVR" or _switch(r) == DEFAULT}
    if not found:
        raise ValueError(f"no records {pattern}: `mmc sweep important-samples --scale laptop` makes them")
    return found


def settings(pattern: str = PATTERN) -> dict[tuple[float, float], Record]:
    """SOVR's records by share and weight."""
    return {_switch(record): record for record in lab.load(pattern) if record.spec.rule == "SOVR"}


def run_of(record: Record, seed: int = 0) -> dict:
    """One seed's run.

    Raises:
        KeyError: the record does not hold this seed.
    """
    for run in record.runs:
        if run["seed"] == seed:
            return run
    raise KeyError(f"{record.spec.place} holds the seeds {record.seeds}, not {seed}")


def margins(record: Record, part: str = "train", kind: str = "adversarial", seed: int = 0) -> np.ndarray:
    """What was kept of each image; see `mmc.margins.margins_of`."""
    return np.array(run_of(record, seed)["values"]["margins"][part][kind])


def _verdicts(record: Record, seed: int) -> Verdicts:
    return Verdicts.from_json(run_of(record, seed)["values"]["suite"])


def under(record: Record, attack: str, seed: int = 0) -> np.ndarray:
    """Which test images stand under one attack, named without its radius."""
    [found] = [done.correct for slug, done in _verdicts(record, seed).attacks.items() if slug.startswith(attack)]
    return found.numpy()


def stands(record: Record, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which test images stand under the usual PGD, and which under every attack of the record."""
    [worst] = _verdicts(record, seed).worst.values()
    return under(record, USUAL, seed), worst.numpy()


def by_auto(record: Record) -> bool:
    """Is AutoAttack among the record's attacks?"""
    return AUTO in record.spec.evaluation.suite


def overlooked(record: Record, seed: int = 0) -> np.ndarray:
    """Which test images stand under the usual PGD and fall to another attack."""
    usual, worst = stands(record, seed)
    return usual & ~worst


def more(first: np.ndarray, second: np.ndarray) -> float:
    """How likely chance is to favor the first this much, image by image: the exact one-sided sign test's p-value.

    Args:
        first, second: a number or truth value for each of the same images; where the two are equal, chance is silent.
    """
    wins, losses = int((first > second).sum()), int((second > first).sum())
    return float(binomtest(wins, wins + losses, alternative="greater").pvalue) if wins + losses else 1.0


def important(reference: Record, seed: int) -> np.ndarray:
    """Which training images are important: those of smallest adversarial margin under one network."""
    found = margins(reference, seed=seed)
    chosen = np.zeros(len(found), dtype=bool)
    chosen[np.argsort(found, kind="stable")[: round(IMPORTANT * len(found))]] = True
    return chosen


def size(record: Record, seed: int = 0) -> float:
    """How large margins are: the median of their absolute values on adversarial test images."""
    return float(np.median(np.abs(margins(record, "test", seed=seed))))


def ranked_below(values: np.ndarray, chosen: np.ndarray) -> float:
    """How often a chosen image's value is below another's (ties count half): 1/2 where the value says nothing."""
    ranks = rankdata(values)
    low, high = int(chosen.sum()), int((~chosen).sum())
    return float(1 - (ranks[chosen].sum() - low * (low + 1) / 2) / (low * high))
