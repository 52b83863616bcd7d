"""Claims on stationary point losses that need trained networks on images: what the laptop's records say.

The members of the family are the book's own choice, and so are the networks. A general statement falls where one of
them contradicts it beyond the spread of the seeds; none of this settles what the paper's own networks do.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from mmc import lab
from mmc.boundary import by_class
from mmc.catalogue import Job, jobs
from mmc.claims import Finding, claim, open_claim
from mmc.claims.paper_scale import missing
from mmc.data import TITLES
from mmc.lab import Record, Spec

PATTERN = "boundary/laptop/*.json"
#: What its publisher calls the classes that are used here, where they are no digits.
CLASSES = {"cifar10": ("airplanes", "automobiles")}
PLAIN = "SCE"
#: Scenes by what is rare in them.
EVEN, RARE = False, True


def called(spec: Spec) -> str:
    """The loss, and its stationary margin where it is not the usual one."""
    target = dict(spec.loss_options).get("target")
    return spec.loss if target is None else f"{spec.loss}, m* = {target:g}"


def scene(spec: Spec) -> str:
    """The data in words, e.g. `MNIST 3 and 5, 30 to 1`."""
    variant = dict(spec.variant)
    words = CLASSES.get(spec.dataset, "0123456789")
    pair = " " + " and ".join(words[k] for k in variant["two_classes"]) if "two_classes" in variant else ""
    ratio = variant.get("ratio", variant.get("long_tailed"))
    kind = "" if ratio is None else f", {ratio:g} to 1" if pair else f", tail {ratio:g} to 1"
    return TITLES[spec.dataset] + pair + kind


def is_rare(spec: Spec) -> bool:
    """Are there fewer training images of some class than of others?"""
    return bool({"ratio", "long_tailed"} & set(dict(spec.variant)))


@cache
def _records(pattern: str, digest: str) -> dict[tuple[str, str], Record]:
    found = {(scene(record.spec), called(record.spec)): record for record in lab.load(pattern)}
    if not found:
        raise ValueError(f"no records among {pattern}: run `mmc sweep boundary --scale laptop`")
    return found


def records() -> dict[tuple[str, str], Record]:
    """The records by scene and loss.

    Raises:
        ValueError: there are none.
    """
    return _records(PATTERN, lab.digest(PATTERN))


def scenes(rare: bool | None = None) -> list[str]:
    """The scenes: all, the even ones, or those with a rare class."""
    found = [scene(r.spec) for r in records().values() if rare is None or is_rare(r.spec) is rare]
    return sorted(dict.fromkeys(found), key=lambda name: (name.split(",")[0].count(" "), name))


def losses(name: str) -> list[str]:
    """The losses measured in a scene, cross-entropy first, the others by the book's order."""
    order = ["SCE", "Label smoothing", "Logit-squared", "Mirrored SCE", "MMC"]
    found = [loss for where, loss in records() if where == name]
    return sorted(found, key=lambda loss: (len(loss.split(",")), order.index(loss.split(",")[0]), loss))


def values(name: str, loss: str, what: str, part: str = "test", statistic=np.median) -> np.ndarray:
    """A statistic of what was kept for each image: one row per seed, one column per class."""
    runs = records()[name, loss].runs
    return np.array([[statistic(v) for v in by_class(run["values"]["boundary"], what, part)] for run in runs])


def pooled(name: str, loss: str, what: str, part: str = "test", statistic=np.median) -> np.ndarray:
    """The same over the images of all classes: one number per seed."""
    runs = records()[name, loss].runs
    return np.array([statistic(np.concatenate(by_class(run["values"]["boundary"], what, part))) for run in runs])


def clean(name: str, loss: str) -> np.ndarray:
    """Clean accuracy, one number per seed."""
    return records()[name, loss].values("clean")


def balanced(name: str, loss: str) -> np.ndarray:
    """Accuracy averaged over the classes, each as much as any other: one number per seed."""
    return records()[name, loss].values("boundary", "class accuracy").mean(1)


def offset(name: str, loss: str, part: str = "train") -> np.ndarray:
    """Of a scene of two classes: how far beyond the middle the first class reaches, on average. One number per seed."""
    crossed = values(name, loss, "crossings", part, np.mean)
    return (crossed[:, 0] - crossed[:, 1]) / 2


def others_than_plain(name: str) -> list[str]:
    """The losses of a scene that have a stationary point and are not a place of the dial."""
    return [loss for loss in losses(name) if loss != PLAIN and "m*" not in loss]


def beside_plain(measured, where: list[str], slack: float = 0.0) -> tuple[list[bool], str]:
    """Is each loss with a stationary point above SCE, scene by scene, in the mean over seeds; and the numbers.

    Args:
        measured: scene and loss to one number per seed, larger is better.
        where: the scenes.
        slack: by which the loss may be worse.
    """
    held, against, words = [], 0, []
    for name in where:
        base = measured(name, PLAIN)
        found = {loss: measured(name, loss) for loss in others_than_plain(name)}
        for values_of in found.values():
            held.append(bool(values_of.mean() + slack > base.mean()))
            against += beyond_spread(base, values_of + slack)
        numbers = (f"{loss} {abs(v.mean()):.3f}" for loss, v in {PLAIN: base, **found}.items())
        words.append(f"{name}: {', '.join(numbers)}")
    return held, f"{_counted(held, against)} {'; '.join(words)} ({_made()})."


def beyond_spread(above: np.ndarray, below: np.ndarray) -> bool:
    """Are some seeds' numbers larger than others' by more than the standard deviation of the difference, seed by seed?

    The seeds of two losses share images and order. One seed alone has no spread, and says nothing.
    """
    count = min(len(above), len(below))
    gap = above[:count] - below[:count]
    return bool(count > 1 and gap.mean() > gap.std(ddof=1))


def _counted(held: list[bool], against: int) -> str:
    return (
        f"{sum(held)} of {len(held)} comparisons with SCE are in favour, {against} are against by more than the spread"
        " of the seeds."
    )


def _made() -> str:
    runs = [len(record.seeds) for record in records().values()]
    seeds = f"{min(runs)}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
    return f"laptop scale, small CNN, {seeds} seeds, mean over them"


@claim(
    "sp-larger-perturbations",
    paper="SP",
    source="abstract",
    printed="To fool a network trained with a stationary point loss takes larger perturbations. Read here: the median"
    r" $L_2$ distance of test images to the boundary is larger than under SCE, for each of our four members and in each"
    " scene with even classes.",
    chapter="boundary-measured",
)
def larger_perturbations() -> Finding:
    held, numbers = beside_plain(lambda name, loss: pooled(name, loss, "nearest"), scenes(EVEN))
    return Finding(all(held), f"Median distance, upper bounds by three searches: {numbers}")


@claim(
    "sp-little-accuracy-lost",
    paper="SP",
    source="abstract",
    printed="Little accuracy is lost. Read here: clean accuracy is at most one percentage point below SCE's, likewise.",
    exact="For the three members with a stationary margin, in each of the scenes. MMC, stationary at its centers, loses"
    " more in one of them, at the same number of steps.",
    chapter="boundary-measured",
)
def little_accuracy_lost() -> Finding:
    held, numbers = beside_plain(clean, scenes(EVEN), 0.01)
    with_margin = [
        clean(name, loss).mean() + 0.01 > clean(name, PLAIN).mean()
        for name in scenes(EVEN)
        for loss in others_than_plain(name)
        if loss != "MMC"
    ]
    return Finding(all(held), f"Clean accuracy, a point being allowed: {numbers}", all(map(bool, with_margin)))


@claim(
    "sp-several-attacks",
    paper="SP",
    source="abstract",
    printed="Networks trained with a stationary point loss do better under several attacks. Read here: under"
    r" cross-entropy PGD, margin PGD and Auto-PGD toward every class, $L_\infty$, $\epsilon = 0.1$ on MNIST, and in"
    " the worst case of them, each of our members keeps more accuracy than SCE.",
    chapter="boundary-measured",
)
def several_attacks() -> Finding:
    [name] = [found for found in scenes(EVEN) if records()[found, PLAIN].spec.evaluation.epsilons]
    rows = {loss: attacked(name, loss) for loss in (PLAIN, *others_than_plain(name))}
    base, tries = rows[PLAIN], [(row, a) for loss, row in rows.items() if loss != PLAIN for a in row]
    held = [bool(row[a].mean() > base[a].mean()) for row, a in tries]
    against = sum(beyond_spread(base[a], row[a]) for row, a in tries)
    shown = "; ".join(
        f"{attack}: {', '.join(f'{loss} {row[attack].mean():.3f}' for loss, row in rows.items())}" for attack in base
    )
    return Finding(all(held), f"Accuracy under attack: {_counted(held, against)} {shown} ({_made()}).")


def attacked(name: str, loss: str) -> dict[str, np.ndarray]:
    """Accuracy by attack at the first radius, one number per seed, and in the pointwise worst case of all."""
    from mmc.experiments import outcome

    record = records()[name, loss]
    radius = f"{record.spec.evaluation.epsilons[0]:g}"
    found = {f"{aim} PGD": record.values("robust", radius, aim) for aim in ("cross-entropy", "margin")}
    [targets] = [list(outcome(run).attacks.values()) for run in record.runs[:1]]
    slug = targets[0].preset.slug
    shares = [float(outcome(run).attacks[slug].correct.float().mean()) for run in record.runs]
    found["Auto-PGD, every class"] = np.array(shares)
    # Verdicts of PGD are kept as shares, not image by image: the smallest share bounds the worst case from above.
    pgd = record.values("robust", radius, "worst case")
    return found | {"least of all": np.minimum(pgd, found["Auto-PGD, every class"])}


@claim(
    "sp-imbalanced",
    paper="SP",
    source="abstract",
    printed="Networks trained with a stationary point loss do better on imbalanced data. Read here: accuracy averaged"
    " over the classes is higher than SCE's, for each of our members and in each scene with rare classes.",
    chapter="boundary-measured",
)
def imbalanced() -> Finding:
    held, numbers = beside_plain(balanced, scenes(RARE))
    return Finding(all(held), f"Mean class accuracy on even test sets: {numbers}")


@claim(
    "sp-middle-of-networks",
    paper="SP",
    source="abstract, whose guarantee is read here as a statement on trained networks",
    printed="A stationary point loss moves the boundary to the middle. Read here: between training images of two"
    " classes the crossing is, on average, nearer to the middle than under SCE, for each of our members, with even"
    " classes and with a rare one.",
    chapter="boundary-measured",
)
def middle_of_networks() -> Finding:
    pairs = [name for name in scenes() if "and" in name]
    held, numbers = beside_plain(lambda name, loss: -np.abs(offset(name, loss)), pairs)
    return Finding(all(held), f"Mean offset from the middle, without its sign: {numbers}")


def _queue() -> list[Job]:
    """What is queued for a GPU, but for the dial."""
    return [job for job in jobs("boundary", "gpu") if not job.spec.loss_options]


open_claim(
    "sp-networks-of-usual-size",
    paper="SP",
    source="abstract; its experiments were not at hand",
    printed="Larger perturbations, better under several attacks and on imbalanced data: on networks of the usual size.",
    missing=f"CIFAR-10, ResNet-32, even and with a long tail, AutoAttack among the attacks. {missing(_queue())} The"
    " paper's members and settings are not public.",
    chapter="boundary-measured",
)
