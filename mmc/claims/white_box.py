"""Claims on the white-box table, read at laptop scale from records on MNIST and CIFAR-10, image by image.

They say nothing about the paper's networks on CIFAR; those claims are open until such networks are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmc import lab
from mmc.attacks import WORST
from mmc.attacks.preset import radius as radius_in_words
from mmc.catalogue import jobs, printed
from mmc.catalogue.white_box import RIVALS
from mmc.claims import Finding, claim
from mmc.claims.paper_scale import missing
from mmc.data import TITLES
from mmc.experiments import outcome
from mmc.lab import Record
from mmc.shares import paired_difference

PATTERN = "white-box/laptop/mnist-*.json"
#: The same losses on color images, with a plain network of eight layers.
COLORS = "white-box/laptop/cifar10-*.json"
#: The paper's smaller radius, at which color images are judged.
COLOR_RADIUS = 8 / 255
#: Which of these networks are not recorded yet; empty where all are.
NO_COLORS = missing(
    [job for job in jobs("white-box", "laptop") if job.spec.dataset == "cifar10"], "The networks on color images"
)
#: What MMC may lose of SCE's clean accuracy before that is called much.
LITTLE = 0.01
#: Radii at which the networks neither all stand nor all fall: without adversarial training, and with it.
PLAIN, TRAINED = 0.1, 0.3


def records(pattern: str = PATTERN) -> dict[tuple[str, str], Record]:
    """The recorded networks by loss and training.

    Raises:
        ValueError: there are none.
    """
    found = {(record.spec.loss, record.spec.training): record for record in lab.load(pattern)}
    if not found:
        raise ValueError(f"no records {pattern}: `mmc sweep white-box --scale laptop` makes them")
    return found


def papers(loss: str, kind: str = "un", steps: int = 50) -> str:
    """The paper's attack on a loss, without its radius: its PGD, `un`targeted or `tar`geted."""
    return printed.slug(f"pgd{steps}_{kind}_8", loss).removesuffix("-8")


def _worst(loss: str) -> str:
    return WORST


#: By words for it, what names an attack on a loss.
READINGS: dict[str, Callable[[str], str]] = {"under the paper's attack": papers, "in the worst case": _worst}


def standing(record: Record, attack: str, radius: float) -> np.ndarray:
    """Which images stand, seeds by images: under one attack, under all of them, `WORST`, or as they are, `clean`.

    Args:
        record: of a network that was attacked by name.
        attack: a preset's slug without its radius.
        radius: in L-inf.
    """
    words = radius_in_words(radius)
    rows = []
    for run in record.runs:
        found = outcome(run)
        if attack == WORST:
            stands = found.worst[f"L-inf {words}"]
        else:
            stands = (
                found.clean if attack == "clean" else found.attacks[f"{attack}-{words.removesuffix('/255')}"].correct
            )
        rows.append(stands.numpy())
    return np.array(rows)


def lead(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """By how much more the first network keeps, mean over its seeds, and the half-width over images."""
    return paired_difference(first.mean(0), second.mean(0))


def _compared(
    pair: Sequence[Record], radius: float, attacks: dict[str, Callable[[str], str]]
) -> Iterator[tuple[str, list[np.ndarray], tuple[float, float]]]:
    """Attack by attack its words, which images stand on each of two networks, and by how much the first leads."""
    for words, attack in attacks.items():
        kept = [standing(record, attack(record.spec.loss), radius) for record in pair]
        yield words, kept, lead(*kept)


def points(difference: tuple[float, float]) -> str:
    """A difference in points with its half-width."""
    return f"{100 * difference[0]:+.1f} ± {100 * difference[1]:.1f}"


def epochs(*chosen: Record) -> str:
    """How long networks were trained, those longer than most by name."""
    counts = [record.spec.recipe.epochs for record in chosen]
    usual = max(dict.fromkeys(counts), key=counts.count)
    others = [f"{r.spec.loss} {n}" for r, n in zip(chosen, counts, strict=True) if n != usual]
    return ", ".join([f"{usual} epochs", *others])


def _made(*chosen: Record, images: object = None) -> str:
    counts = list(dict.fromkeys(len(record.seeds) for record in chosen))
    seeds = f"{' and '.join(map(str, counts))} seed{'s' * (counts != [1])}"
    spec = chosen[0].spec
    return f"laptop scale, {TITLES[spec.dataset]}, {images or spec.evaluation.num_attacked} test images, {seeds}"


@claim(
    "white-box-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the table of white-box adaptive attacks",
    printed=r"Without adversarial training MMC keeps more accuracy than SCE, under the paper's untargeted PGD-50 and "
    r"under every attack together (MNIST, small CNN, $\epsilon = 0.1$).",
    chapter="white-box",
)
def white_box_laptop() -> Finding:
    return leads(records(), PLAIN, READINGS)


def leads(found: dict[tuple[str, str], Record], radius: float, attacks: dict[str, Callable[[str], str]]) -> Finding:
    """Does MMC keep more than SCE, past the interval, under each of some attacks?

    Args:
        found: the records by loss and training.
        radius: in L-inf.
        attacks: by words for it, what names the attack on a loss.
    """
    pair = [found[loss, "standard"] for loss in ("MMC", "SCE")]
    told, beyond = [], []
    for words, kept, gap in _compared(pair, radius, attacks):
        beyond.append(gap[0] > gap[1])
        told.append(
            f"{words} MMC keeps {kept[0].mean():.1%} and SCE {kept[1].mean():.1%}, a difference of {points(gap)} points"
        )
    said = "; ".join(told)
    return Finding(
        printed=all(beyond),
        evidence=f"{said[0].upper()}{said[1:]} ({_made(*pair)}; ± is 1.96 standard errors over the images).",
    )


@claim(
    "white-box-colors-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the table of white-box adaptive attacks",
    printed="Without adversarial training MMC keeps more accuracy than SCE under the paper's untargeted PGD-50 "
    r"(CIFAR-10, VGG of eight layers, $\epsilon = 8/255$).",
    chapter="white-box",
    missing=NO_COLORS,
)
def white_box_colors_laptop() -> Finding:
    return leads(records(COLORS), COLOR_RADIUS, {"under the paper's attack": papers})


@claim(
    "white-box-colors-worst-laptop",
    paper="MMC",
    source="our measurement at laptop scale of what that table is taken to show",
    printed="What MMC keeps more there is robustness: it also keeps more than SCE under every attack together, "
    r"AutoAttack among them (CIFAR-10, VGG of eight layers, $\epsilon = 8/255$).",
    chapter="white-box",
    missing=NO_COLORS,
)
def white_box_colors_worst_laptop() -> Finding:
    return leads(records(COLORS), COLOR_RADIUS, {"in the worst case": _worst})


@claim(
    "clean-accuracy-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the clean accuracies in the tables on CIFAR-10",
    printed="MMC costs little clean accuracy: it stays within a point of SCE's on all test images (CIFAR-10, VGG of "
    "eight layers, both with one recipe).",
    chapter="white-box",
    missing=NO_COLORS,
)
def clean_accuracy_laptop() -> Finding:
    found = records(COLORS)
    plain = {loss: record for (loss, training), record in found.items() if training == "standard"}
    clean = {loss: float(record.values("clean").mean()) for loss, record in plain.items()}
    return Finding(
        printed=clean["MMC"] > clean["SCE"] - LITTLE,
        evidence="Clean accuracy: "
        + ", ".join(f"{loss} {share:.1%}" for loss, share in clean.items())
        + f" ({_made(*plain.values(), images='all')}; {epochs(*plain.values())}).",
    )


@claim(
    "adversarial-training-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the claim that MMC goes with adversarial training",
    printed="MMC goes with adversarial training: it then keeps accuracy where it kept none, and not less than SCE does "
    r"(MNIST, small CNN, $\epsilon = 0.3$, every attack together; not less means within the interval).",
    chapter="white-box",
)
def adversarial_training_laptop() -> Finding:
    found = records()
    mmc, sce, plain = found["MMC", "AT"], found["SCE", "AT"], found["MMC", "standard"]
    kept, other, before = (standing(record, WORST, TRAINED) for record in (mmc, sce, plain))
    difference = lead(kept, other)
    return Finding(
        printed=bool(kept.mean() > 0.5 > 0.05 > before.mean() and sum(difference) > 0),
        evidence=f"MMC keeps {kept.mean():.1%} with adversarial training and {before.mean():.1%} without, SCE "
        f"{other.mean():.1%} with it; the difference of the two losses is {points(difference)} points "
        f"({_made(mmc, sce)}).",
    )


def _under(pair: tuple[Record, Record], names: tuple[str, str]) -> tuple[str, list[tuple[float, float]]]:
    """How two networks with adversarial training compare under the paper's attack and in the worst case.

    Returns:
        The comparison in words, and the differences, first minus second, each with its half-width.
    """
    told, gaps = [], []
    for words, kept, gap in _compared(pair, TRAINED, READINGS):
        gaps.append(gap)
        each = " and ".join(f"{name} {stands.mean():.1%}" for name, stands in zip(names, kept, strict=True))
        told.append(f"{words} {each}, {points(gap)} points")
    return f"{'; '.join(told)} ({_made(*pair)}).", gaps


@claim(
    "targeted-training-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the rows with adversarial training toward targets",
    printed="Adversarial training toward a class drawn for each image makes MMC no less robust than training away from "
    "the label: in print it keeps 53.5 % under untargeted PGD-50 at 8/255 and the other 55.0 %, at 16/255 45.1 % and "
    r"27.7 % (MNIST, small CNN, $\epsilon = 0.3$, every attack together; no less means within the interval).",
    exact="Under the paper's attack it keeps no less; under every attack together it keeps less.",
    chapter="white-box",
)
def targeted_training_laptop() -> Finding:
    found = records()
    told, (weak, worst) = _under((found["MMC", "AT, targeted"], found["MMC", "AT"]), ("toward targets", "away"))
    return Finding(
        printed=sum(worst) > 0,
        exact=sum(weak) > 0 > sum(worst),
        evidence=f"MMC's accuracy by how it was trained: {told}",
    )


@claim(
    "targeted-training-lead-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the rows with adversarial training toward targets",
    printed="With adversarial training toward targets MMC keeps more than SCE: in print 53.5 % and 47.8 % under "
    r"untargeted PGD-50 at 8/255 (MNIST, small CNN, $\epsilon = 0.3$, under that attack and under every attack "
    "together).",
    exact="It keeps more under the paper's attack, which climbs another objective on each; under every attack together "
    "the two are level.",
    chapter="white-box",
)
def targeted_training_lead_laptop() -> Finding:
    found = records()
    told, (weak, worst) = _under(tuple(found[loss, "AT, targeted"] for loss in RIVALS), RIVALS)
    return Finding(
        printed=weak[0] > weak[1] and worst[0] > worst[1],
        exact=weak[0] > weak[1] and abs(worst[0]) <= worst[1],
        evidence=f"Both trained toward targets: {told}",
    )
