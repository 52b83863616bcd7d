"""Claims on adversarial training that cares for important samples: what small networks show, and what waits for large.

The records are of small networks on parts of MNIST and CIFAR-10, and no verdict on them is one on the paper's networks:
those stay open.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmc.attacks.preset import radius
from mmc.catalogue import jobs
from mmc.claims import Finding, claim, open_claim
from mmc.claims.paper_scale import missing
from mmc.data import TITLES
from mmc.lab import Record
from mmc.overlooked import (
    COLORS,
    WEIGHTING,
    by_auto,
    important,
    margins,
    more,
    overlooked,
    ranked_below,
    records,
    size,
    stands,
)
from mmc.table import in_math

#: A difference is taken for real if chance alone would give one as large in fewer cases than this.
LEVEL = 0.01
#: Which networks on color images are not recorded yet; empty where all are.
NO_COLORS = missing(
    [job for job in jobs("important-samples", "laptop") if job.spec.dataset == "cifar10"], "The small CNNs"
)


def _made(record: Record) -> str:
    spec = record.spec
    return (
        f"{spec.scale} scale: {TITLES[spec.dataset]}, {spec.backbone}, one network for each rule,"
        f" $\\epsilon = {radius(dict(spec.rule_options)['epsilon'])}$"
    )


def _attacks(record: Record) -> str:
    """How many attacks stand behind a worst case."""
    count = len(record.runs[0]["values"]["suite"]["attacks"])
    return f"{count} attacks (AutoAttack among them)" if by_auto(record) else f"{count} attacks"


def _laptop(name: str, what: str, printed: str, exact: str = "", missing: str = "") -> Callable:
    source = f"our measurement at laptop scale of the claim {what}"
    return claim(
        name, paper="SOVR", source=source, printed=printed, exact=exact, chapter="important-samples", missing=missing
    )


@_laptop(
    "weighting-falls-laptop",
    "on AutoAttack",
    "Methods that weight cross-entropy (GAIRAT, MAIL, EWAT, MART) look better under PGD than they are. Read: of the"
    " test images that PGD on cross-entropy leaves standing, stronger attacks fell more under each of the four than"
    " under AT (the exact sign test on the same images, at 1 %).",
    exact="It is so under GAIRAT and under MAIL, the two with the smallest logits.",
)
def weighting_falls_laptop() -> Finding:
    return weighting_falls(records())


def _said(chance: dict[str, float], rule: str) -> str:
    return f" ($p = {in_math(chance[rule])}$)" if rule in chance else ""


def weighting_falls(found: dict[str, Record]) -> Finding:
    """Does PGD overlook more under each rule that weights than under AT? Exact: under GAIRAT and MAIL."""
    left = {rule: stands(found[rule]) for rule in ("AT", *WEIGHTING)}
    chance = {rule: more(overlooked(found[rule]), overlooked(found["AT"])) for rule in WEIGHTING}
    smallest = set(sorted(WEIGHTING, key=lambda rule: size(found[rule]))[:2])
    shown = "; ".join(
        f"{rule} {usual.mean():.1%} and {worst.mean():.1%}{_said(chance, rule)}"
        for rule, (usual, worst) in left.items()
    )
    return Finding(
        printed=max(chance.values()) < LEVEL,
        exact=bool({"GAIRAT", "MAIL"} == smallest and max(chance["GAIRAT"], chance["MAIL"]) < LEVEL),
        evidence=f"Left standing by PGD and by {_attacks(found['AT'])} together: {shown}."
        f" {len(left['AT'][0])} test images; {_made(found['AT'])}.",
    )


@_laptop(
    "small-margins-laptop",
    "on the cause",
    "The vulnerability comes from small margins. Read: among the test images that PGD on cross-entropy leaves standing,"
    " the margin that it leaves tells which ones another attack fells; and PGD overlooks more than under AT, beyond"
    " chance, wherever a rule's margins are smaller by a third or more.",
    exact="Image by image it is so, under every rule. Rule by rule it is so for GAIRAT and MAIL, but TRADES and TSOVR"
    " have half of AT's margins, and PGD overlooks no more there than chance allows.",
)
def small_margins_laptop() -> Finding:
    found, told, small, chance = records(), {}, [], {}
    for rule, record in found.items():
        usual, worst = stands(record)
        told[rule] = ranked_below(margins(record, "test")[: len(usual)][usual], ~worst[usual])
        chance[rule] = more(overlooked(record), overlooked(found["AT"]))
        if size(record) < 2 / 3 * size(found["AT"]):
            small.append(rule)
    excused = {rule for rule in small if chance[rule] >= LEVEL}
    shown = ", ".join(
        f"{rule} {size(found[rule]):.2f} and {100 * overlooked(found[rule]).mean():.1f}" for rule in ("AT", *small)
    )
    return Finding(
        printed=min(told.values()) > 0.9 and not excused,
        exact=bool(
            min(told.values()) > 0.9 and excused == {"TRADES", "TSOVR"} and set(small) - excused == {"GAIRAT", "MAIL"}
        ),
        evidence=f"By rule, a felled image has a smaller margin than one that stands in {min(told.values()):.1%} of all"
        f" pairs or more. Median size of the margins, and what PGD overlooks in points: {shown}. {_made(found['AT'])}.",
    )


def _against_at(rule: str, found: dict[str, Record], chosen: np.ndarray, slope: bool = False) -> tuple[float, float]:
    """The median margin (or margin over slope) of chosen training images under a rule, and under AT."""
    medians = []
    for record in (found[rule], found["AT"]):
        values = margins(record) / (margins(record, kind="slope") if slope else 1.0)
        medians.append(float(np.median(values[chosen])))
    return medians[0], medians[1]


@_laptop(
    "weights-and-margins-laptop",
    "on what weights do to margins",
    "Weights do not increase the margins of important samples, but decrease those of less important ones, compared with"
    " AT. Read: adversarial training images, important if among the fifth of smallest margin under another AT network.",
    exact="Under GAIRAT and MAIL all margins shrink toward zero: those of less important images decrease, and those of"
    " important ones, which are negative under AT, increase.",
)
def weights_and_margins_laptop() -> Finding:
    found = records()
    chosen, plain = important(found["AT"], 1), margins(found["AT"])
    up = {rule: more(margins(found[rule])[chosen], plain[chosen]) for rule in WEIGHTING}
    down = {rule: more(plain[~chosen], margins(found[rule])[~chosen]) for rule in WEIGHTING}
    shown = "; ".join(
        f"{rule} {_against_at(rule, found, chosen)[0]:.2f} and {_against_at(rule, found, ~chosen)[0]:.2f}"
        for rule in ("AT", *WEIGHTING)
    )
    return Finding(
        printed=min(up.values()) >= LEVEL and max(down.values()) < LEVEL,
        exact=bool(
            all(up[rule] < LEVEL and down[rule] < LEVEL for rule in ("GAIRAT", "MAIL")) and np.median(plain[chosen]) < 0
        ),
        evidence=f"Median adversarial margins of the important images and of the others: {shown}."
        f" {_made(found['AT'])}.",
    )


@_laptop(
    "sovr-margins-laptop",
    "on what SOVR does to margins",
    "SOVR increases the margins of important samples, unlike existing methods. Read as in `weights-and-margins-laptop`,"
    " against AT, with the usual share and weight of 0.4.",
    exact="With these numbers SOVR does the opposite here: it decreases the margins of important images, and increases"
    " those of the others.",
)
def sovr_margins_laptop() -> Finding:
    found = records()
    chosen, plain, ours = important(found["AT"], 1), margins(found["AT"]), margins(found["SOVR"])
    up = more(ours[chosen], plain[chosen])
    down, others = more(plain[chosen], ours[chosen]), more(ours[~chosen], plain[~chosen])
    low, high = _against_at("SOVR", found, chosen), _against_at("SOVR", found, ~chosen)
    ratio = _against_at("SOVR", found, chosen, slope=True)
    return Finding(
        printed=up < LEVEL,
        exact=max(down, others) < LEVEL,
        evidence=f"Median adversarial margins, SOVR and AT: {low[0]:.2f} and {low[1]:.2f} on important images,"
        f" {high[0]:.2f} and {high[1]:.2f} on the others; margin over slope on important images: {ratio[0]:.3f} and"
        f" {ratio[1]:.3f}. {_made(found['AT'])}.",
    )


@_laptop(
    "sovr-robust-laptop",
    "on AutoAttack, SOVR",
    "SOVR is more robust than the methods that weight. Read: in the worst case of four attacks more test images stand"
    " than under GAIRAT, MAIL, EWAT and MART (the exact sign test on the same images, at 1 %).",
    exact="More stand than under MAIL.",
)
def sovr_robust_laptop() -> Finding:
    return sovr_robust(records(), "MAIL")


def sovr_robust(found: dict[str, Record], *over: str) -> Finding:
    """Do more images stand under SOVR than under each rule that weights? Exact: than under some of them."""
    left = {rule: stands(found[rule])[1] for rule in ("SOVR", *WEIGHTING, "AT")}
    chance = {rule: more(left["SOVR"], left[rule]) for rule in WEIGHTING}
    shown = ", ".join(f"{rule} {mask.mean():.1%}{_said(chance, rule)}" for rule, mask in left.items())
    return Finding(
        printed=max(chance.values()) < LEVEL,
        exact=max(chance[rule] for rule in over) < LEVEL,
        evidence=f"Left standing in the worst case of {_attacks(found['AT'])}: {shown}. {len(left['AT'])} test images;"
        f" {_made(found['AT'])}.",
    )


@_laptop(
    "weighting-falls-colors-laptop",
    "on AutoAttack, on color images",
    "As `weighting-falls-laptop`, on CIFAR-10 and with AutoAttack among the stronger attacks: PGD overlooks more under"
    " each of GAIRAT, MAIL, EWAT and MART than under AT.",
    exact="It is so under GAIRAT and under MAIL, the two with the smallest logits.",
    missing=NO_COLORS,
)
def weighting_falls_colors_laptop() -> Finding:
    return weighting_falls(records(COLORS))


@_laptop(
    "sovr-robust-colors-laptop",
    "on AutoAttack, SOVR, on color images",
    "As `sovr-robust-laptop`, on CIFAR-10: in the worst case of five attacks, AutoAttack among them, more test images"
    " stand under SOVR than under GAIRAT, MAIL, EWAT and MART.",
    exact="More stand than under GAIRAT and under MAIL.",
    missing=NO_COLORS,
)
def sovr_robust_colors_laptop() -> Finding:
    return sovr_robust(records(COLORS), "GAIRAT", "MAIL")


def _open(name: str, printed: str, missing: str) -> None:
    needed = (
        "The networks of `mmc sweep important-samples --scale gpu`: PreActResNet-18 on CIFAR-10, three seeds of each"
        f" rule, on the same images for all: {missing}"
    )
    source = "Kanai et al., abstract; experiments"
    open_claim(name, paper="SOVR", source=source, printed=printed, missing=needed, chapter="important-samples")


_open(
    "weighting-falls-to-autoattack",
    "Importance-aware methods, which weight cross-entropy, are vulnerable to sophisticated attacks such as AutoAttack.",
    "accuracy under PGD on cross-entropy and under the standard AutoAttack, and how much more the second finds with"
    " each rule than with AT. Small networks: `weighting-falls-laptop`.",
)
_open(
    "small-margins-are-the-cause",
    "The cause of this vulnerability is the small margin between the logit of the true label and the others.",
    "logit margins, alone and over the slope of the margin in the pixels, and whether they tell, image by image, what"
    " AutoAttack finds and PGD does not; PGD on multiplied logits. Small networks: `small-margins-laptop`.",
)
_open(
    "weights-and-margins-trained",
    "In trained networks importance-aware methods do not increase the logit margins of important samples but decrease"
    " those of less important ones, compared with cross-entropy.",
    "the logit margins of training and test images, important ones chosen by one criterion for all. Small networks:"
    " `weights-and-margins-laptop`.",
)
_open(
    "sovr-raises-important-margins",
    "SOVR increases the logit margins of important samples, unlike existing methods.",
    "the same margins, and these over their slope in the pixels: a factor on all logits raises every margin and changes"
    " no decision. Small networks: `sovr-margins-laptop`.",
)
_open(
    "sovr-autoattack",
    "SOVR is more robust against AutoAttack than importance-aware methods, and than AT: 49.4 against 48.0 % with"
    " PreActResNet-18 on CIFAR-10.",
    "clean accuracy and accuracy under the standard AutoAttack on all 10,000 test images. Small networks:"
    " `sovr-robust-laptop`.",
)
