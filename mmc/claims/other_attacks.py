"""Claims on distances, gradient-free attacks and corruptions, read at laptop scale from MNIST's records, by image.

A claim is open as long as the records that it reads are missing. None says anything about the paper's networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmc import lab
from mmc.attacks.verdicts import Attacked
from mmc.claims import Finding, claim
from mmc.claims.paper_scale import bounded
from mmc.claims.white_box import points
from mmc.experiments import outcome
from mmc.lab import Record
from mmc.shares import paired_difference

Key = tuple[str, str]
#: The groups of records: they differ in what an image costs, and so in how many images there are.
TAGS = ("corruptions", "distances", "nearest", "spsa")
#: The search for the nearest image as printed, and ours.
PRINTED, FITTED = "cw", "cw-fitted"
RADIUS = 0.1
COMMAND = "`mmc sweep other-attacks --scale laptop`"
PLAIN = (("MMC", "standard"), ("SCE", "standard"))


def records(tag: str) -> dict[Key, Record]:
    """The recorded networks of one group by loss and training, adversarial training last; as many as there are."""
    found = {(r.spec.loss, r.spec.training): r for r in lab.load(f"other-attacks/laptop/mnist-*-{tag}.json")}
    return dict(sorted(found.items(), key=lambda pair: pair[0][1] != "standard"))


def attacked(record: Record, attack: str) -> Attacked | None:
    """What one attack did to the network of the first seed; None where it does not apply.

    Args:
        record: of one of the groups.
        attack: a preset's slug, SPSA and PGD without their radius.
    """
    found = outcome(record.runs[0]).attacks
    return found.get(attack, found.get(f"{attack}-{RADIUS:g}"))


def stands(record: Record, attack: str) -> np.ndarray | None:
    """Which images stand under one attack, see `attacked`; under `clean` those that are right as they are."""
    if attack == "clean":
        return outcome(record.runs[0]).clean.numpy()
    found = attacked(record, attack)
    return None if found is None else found.correct.numpy()


def away(record: Record, attack: str = PRINTED) -> np.ndarray:
    """How far each image was moved in L2 until it fooled: 0 where it was wrong, infinite where nothing was found.

    Raises:
        ValueError: the record holds no distances by this attack.
    """
    found = attacked(record, attack)
    if found is None or found.distances is None:
        raise ValueError(f"{record.spec.place} holds no distances by {attack}: {COMMAND} makes them")
    return found.distances.numpy()


def difference(first: Record, second: Record, attack: str) -> tuple[float, float]:
    """What the first keeps more, or its distance is larger by, and the half-width over the images.

    Raises:
        ValueError: one of the two was not attacked so.
    """
    if attack in (PRINTED, FITTED):
        return paired_difference(*(bounded(away(record, attack)) for record in (first, second)))
    left = [stands(record, attack) for record in (first, second)]
    if any(mask is None for mask in left):
        raise ValueError(f"{attack} is not recorded for both of {first.spec.place} and {second.spec.place}")
    return paired_difference(*left)


def excess(record: Record, nearest: Record) -> np.ndarray:
    """How far the printed search's images lie beyond the nearest that either search found, as a share of its distance.

    Args:
        record: of the group `distances`.
        nearest: of the group `nearest`, of the same trained network.

    Returns:
        One value, >= 0, for each image that both hold and that fell to one of the searches; infinite where the printed
        one moved it nowhere near.
    """
    printed, fitted = away(record), away(nearest, FITTED)
    count = min(len(printed), len(fitted))
    least = np.minimum(printed[:count], fitted[:count])
    fell = (least > 0) & np.isfinite(least)
    return printed[:count][fell] / least[fell] - 1


def beyond(pair: tuple[float, float]) -> bool:
    """Does a difference exceed its half-width?"""
    return bool(pair[0] > pair[1])


def recorded(tag: str, *names: str) -> bool:
    """Are there records of these networks, by how their files are named, as `mmc` or `mmc-at-*`?"""
    place = lab.folder() / "other-attacks" / "laptop"
    return all(any(place.glob(f"mnist-cnn-{name}-{tag}.json")) for name in names)


def _once(
    tag: str, name: str, others: Sequence[str] = (), **about: str
) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Register a check of the records of MMC, SCE and others, see `recorded`, open until all are there."""
    there = recorded(tag, "mmc", "sce", *others)
    missing = "" if there else f"Records of MNIST under {tag}, laptop scale: {COMMAND}."
    return claim(name, paper="MMC", chapter="distances", missing=missing, **about)


def _scale(record: Record) -> str:
    return f"laptop scale, MNIST, {record.spec.evaluation.num_attacked} test images, one seed"


@_once(
    "distances",
    "carlini-wagner-laptop",
    source="our measurement at laptop scale of the column of C&W distances",
    printed="To fool it takes a larger mean $L_2$ distance on MMC than on SCE, both without adversarial training (C&W "
    "without a target; MNIST, small CNN).",
)
def carlini_wagner_laptop() -> Finding:
    found = records("distances")
    mmc, sce = (found[key] for key in PLAIN)
    gap, width = difference(mmc, sce, PRINTED)
    return Finding(
        printed=beyond((gap, width)),
        evidence=f"{_lengths(mmc, sce, PRINTED)}; difference of the means {gap:+.2f} ± {width:.2f} ({_scale(mmc)}).",
    )


@_once(
    "nearest",
    "nearest-laptop",
    ("mmc-at-*", "sce-at-*"),
    source="our measurement at laptop scale of the distance to the nearest image that a search finds",
    printed="The nearest image that fools, as far as a search finds it, is farther on MMC than on SCE in the mean, "
    "without adversarial training and with it (MNIST, small CNN).",
    exact="With adversarial training it is farther on MMC; without it, nearer.",
)
def nearest_laptop() -> Finding:
    found = records("nearest")
    mmc, sce = (found[key] for key in PLAIN)
    plain, trained = difference(mmc, sce, FITTED), difference(found["MMC", "AT"], found["SCE", "AT"], FITTED)
    (gap, width), (gap_at, width_at) = plain, trained
    return Finding(
        printed=beyond(plain) and beyond(trained),
        exact=beyond((-gap, width)) and beyond(trained),
        evidence=f"{_lengths(mmc, sce, FITTED)}; differences of the means {gap:+.2f} ± {width:.2f} without adversarial "
        f"training, {gap_at:+.2f} ± {width_at:.2f} with it ({_scale(mmc)}).",
    )


def _lengths(mmc: Record, sce: Record, attack: str) -> str:
    each = ", ".join(
        f"{record.spec.loss} mean {bounded(away(record, attack)).mean():.2f} and median "
        f"{np.median(away(record, attack)):.2f}"
        for record in (mmc, sce)
    )
    farther = int((away(mmc, attack) > away(sce, attack)).sum())
    return f"{each}; MMC's is the larger on {farther} of {len(away(mmc, attack))} images"


@_once(
    "spsa",
    "spsa-laptop",
    source="our measurement at laptop scale of the columns of SPSA",
    printed=r"Under gradient-free SPSA MMC keeps more than SCE, read as: on the margin, with ten iterations and with a "
    r"hundred (MNIST, small CNN, $\epsilon = 0.1$).",
)
def spsa_laptop() -> Finding:
    found = records("spsa")
    mmc, sce = (found[key] for key in PLAIN)
    gaps = [difference(mmc, sce, attack) for attack in ("spsa10-margin", "spsa100-margin")]
    own, by_slope = stands(mmc, "spsa10-own-center"), stands(mmc, "margin-pgd")
    return Finding(
        printed=all(map(beyond, gaps)),
        evidence=f"Differences of {points(gaps[0])} points with ten iterations and {points(gaps[1])} with a hundred. "
        f"Under the paper's objective, the own center, ten iterations leave MMC {own.mean():.0%}; the margin with "
        f"gradients leaves it {by_slope.mean():.0%} ({_scale(mmc)}).",
    )


@_once(
    "corruptions",
    "noise-laptop",
    source="our measurement at laptop scale of the column of Gaussian noise",
    printed="MMC is more robust than SCE, and than SCE with adversarial training, to Gaussian noise of deviation 0.05 "
    "(MNIST, small CNN, trained without noise).",
    exact="Noise of this size does not tell networks on MNIST apart: each keeps all but half a point of what it had "
    "right.",
)
def noise_laptop() -> Finding:
    found = records("corruptions")
    mmc = found["MMC", "standard"]
    gaps = _leads(found, "noise")
    lost = [stands(record, "clean").mean() - stands(record, "noise").mean() for record in found.values()]
    return Finding(
        printed=len(gaps) == 2 and all(map(beyond, gaps.values())),
        exact=bool(max(lost) <= 0.005),
        evidence=f"MMC's lead in points: {_told(gaps)}. Of {len(found)} networks the one that loses most to the noise "
        f"loses {100 * max(lost):.1f} points ({_scale(mmc)}).",
    )


@_once(
    "corruptions",
    "rotation-laptop",
    source="our measurement at laptop scale of the column of rotation",
    printed="MMC is more robust than SCE, and than SCE with adversarial training, to rotation by a random angle within "
    "30 degrees (MNIST, small CNN, trained without rotation).",
    exact="Under one random angle its lead over SCE is within the interval; under the worst of 61 angles it keeps more "
    "than both.",
)
def rotation_laptop() -> Finding:
    found = records("corruptions")
    mmc = found["MMC", "standard"]
    one, worst = (_leads(found, attack) for attack in ("rotation", "worst-rotation"))
    enough = len(one) == 2
    return Finding(
        printed=enough and all(map(beyond, one.values())),
        exact=enough and all(map(beyond, worst.values())),
        evidence=f"MMC's lead in points under one angle: {_told(one)}; under the worst of 61: {_told(worst)} "
        f"({_scale(mmc)}).",
    )


def _leads(found: dict[Key, Record], attack: str) -> dict[str, tuple[float, float]]:
    """By how much MMC leads SCE without and with adversarial training, itself without; as far as they are recorded."""
    rivals = {"SCE": ("SCE", "standard"), "SCE AT": ("SCE", "AT")}
    mmc = found["MMC", "standard"]
    return {name: difference(mmc, found[key], attack) for name, key in rivals.items() if key in found}


def _told(gaps: dict[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} {100 * gap:+.2f} ± {100 * width:.2f}" for name, (gap, width) in gaps.items())
