"""Claims on transfer, read at laptop scale from MNIST's records, image by image."""

from __future__ import annotations

import numpy as np

from mmc import lab
from mmc.attacks.verdicts import mask_of
from mmc.claims import Finding, claim, white_box
from mmc.lab import Record
from mmc.shares import paired_difference

PATTERN = "transfer/laptop/mnist-*.json"
RADIUS = 0.1


def name_of(record: Record) -> str:
    """A network in a few words: its loss, its norm where it is set, and adversarial training."""
    spec = record.spec
    norm = dict(spec.loss_options).get("norm")
    words = [spec.loss if norm is None else f"{spec.loss}, norm {norm:g}", *([] if spec.rule == "standard" else ["AT"])]
    return ", ".join(words)


def records() -> dict[str, Record]:
    """The targets by name, those with adversarial training last.

    Raises:
        ValueError: there are none.
    """
    found = {name_of(record): record for record in lab.load(PATTERN)}
    found = dict(sorted(found.items(), key=lambda pair: ("AT" in pair[0], "SCE" not in pair[0], pair[0])))
    if not found:
        raise ValueError(f"no records {PATTERN}: `mmc sweep transfer --scale laptop` makes them")
    return found


def sources(record: Record) -> dict[str, str]:
    """The slugs of the networks on which its images were crafted, by name."""
    return {name_of(Record(spec)): spec.slug for spec in record.spec.evaluation.sources}


def under(record: Record, source: str | None) -> np.ndarray:
    """Which images of the first seed stand under all carriers from one source, by name; from all sources if None."""
    found = record.runs[0]["values"]["transfer"]
    chosen = sources(record).values() if source is None else [sources(record)[source]]
    masks = [
        mask_of(attack["correct"], found["num_examples"]).numpy() for slug in chosen for attack in found[slug].values()
    ]
    return np.all(masks, axis=0)


def alone(record: Record) -> np.ndarray | None:
    """Which images of the first seed stand under all attacks on the network itself; None where it was not attacked."""
    spec = record.spec
    found = [other for other in lab.load(white_box.PATTERN) if other.spec.slug == spec.slug]
    return white_box.standing(found[0], white_box.WORST, RADIUS)[0] if found else None


@claim(
    "transfer-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the claim on black-box transfer",
    printed="Adversarial images made on other networks transfer badly to MMC networks, read as: without adversarial "
    "training MMC keeps more than SCE under images from the same three sources, SCE, MMC and MMC with norm 100 "
    r"(MNIST, small CNN, $\epsilon = 0.1$, every carrier and source together).",
    exact="They transfer badly to MMC, and to SCE no less: each keeps far more under images from others than under "
    "attacks on itself.",
    chapter="transfer",
)
def transfer_laptop() -> Finding:
    found = {loss: records()[loss] for loss in ("MMC", "SCE")}
    kept = {loss: under(record, None) for loss, record in found.items()}
    itself = {loss: alone(record).mean() for loss, record in found.items()}
    gap, width = paired_difference(kept["MMC"], kept["SCE"])
    return Finding(
        printed=bool(gap > width),
        exact=all(bool(itself[loss] + 0.1 < kept[loss].mean()) for loss in kept) and gap < width,
        evidence=f"Under images from others MMC keeps {kept['MMC'].mean():.1%} and SCE {kept['SCE'].mean():.1%}, a "
        f"difference of {white_box.points((gap, width))} points; under attacks on themselves {itself['MMC']:.1%} and "
        f"{itself['SCE']:.1%} (laptop scale, MNIST, {len(kept['MMC'])} test images, one seed).",
    )
