"""Claims on depth, on parts of the network and on more classes: printed tables, and MNIST's records at laptop scale.

None says anything about the paper's networks; those claims are open until such networks are recorded.
"""

from __future__ import annotations

import numpy as np

from mmc import lab, reported
from mmc.attacks import WORST
from mmc.catalogue import jobs
from mmc.claims import Finding, claim
from mmc.claims.paper_scale import missing
from mmc.claims.white_box import lead, papers, points, standing
from mmc.lab import Record

RADIUS = 0.1
#: At which the network on ten and on a hundred classes of color images is judged.
COLOR_RADIUS = 2 / 255
#: A network of eight layers as it is, and without a part.
PARTS = {"whole": "", "without the linear layer": "-linear-false", "without batch norm": "-batch-norm-false"}
LOSSES = ("MMC", "SCE")


def depths() -> dict[tuple[str, int], Record]:
    """The residual networks on MNIST by loss and number of layers.

    Raises:
        ValueError: there are none.
    """
    found = lab.load("architectures/laptop/mnist-resnet*.json")
    if not found:
        raise ValueError("no records architectures/laptop: `mmc sweep architectures --scale laptop` makes them")
    return {(r.spec.loss, int(r.spec.backbone.removeprefix("resnet"))): r for r in found}


def parts() -> dict[tuple[str, str], Record]:
    """The networks of eight layers by loss and by what they lack, as far as they are recorded."""
    found = {}
    for loss in LOSSES:
        for name, ending in PARTS.items():
            for record in lab.load(f"ablations/laptop/mnist-resnet8-{loss.lower()}-train-size-10000{ending}.json"):
                found[loss, name] = record
    return found


def classes() -> dict[tuple[int, str], Record]:
    """The VGG network by the number of classes and by loss, as far as it is recorded."""
    found = {}
    for count, data in ((10, "cifar10"), (100, "cifar100")):
        for loss in LOSSES:
            for record in lab.load(f"architectures/laptop/{data}-vgg8-{loss.lower()}.json"):
                found[count, loss] = record
    return found


def clean(record: Record) -> float:
    """Share of all test images that are right, mean over the seeds."""
    return float(record.values("clean").mean())


def _scale(record: Record, data: str = "MNIST") -> str:
    return f"laptop scale, {data}, {record.data['train']:,} training images, one seed"


@claim(
    "depth-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the table of architectures",
    printed="MMC makes better use of depth: with twenty layers for eight it keeps more, under the paper's untargeted "
    r"PGD-50 and in the worst case of three attacks (MNIST, ResNet, $\epsilon = 0.1$).",
    exact="It keeps more under the paper's attack. In the worst case the two depths are level.",
    chapter="depth",
)
def depth_laptop() -> Finding:
    found = depths()
    shallow, deep = found["MMC", 8], found["MMC", 20]
    gaps = [lead(*(standing(r, name, RADIUS) for r in (deep, shallow))) for name in (papers("MMC"), WORST)]
    beyond = [gap > width for gap, width in gaps]
    left = [standing(record, WORST, RADIUS).mean() for record in (shallow, deep)]
    return Finding(
        printed=all(beyond),
        exact=bool(beyond[0] and abs(gaps[1][0]) <= gaps[1][1]),
        evidence=f"From 8 to 20 layers MMC gains {points(gaps[0])} points under the paper's attack and "
        f"{points(gaps[1])} in the worst case, which leaves {left[0]:.1%} and {left[1]:.1%} "
        f"({deep.spec.evaluation.num_attacked} test images; {_scale(deep)}).",
    )


@claim(
    "linear-layer-laptop",
    paper="MMC",
    source="the released code, which has one more linear layer; reports of two other groups; our measurement",
    printed="A ResNet v1 trains under MMC only with one more linear layer between its pooled features and $z$ (MNIST, "
    "eight layers).",
    exact="It trains without, but for one class: features that are never negative reach no image of the last class as "
    "the authors' recursion places it, and SCE loses nothing.",
    chapter="depth",
)
def linear_layer_laptop() -> Finding:
    found = parts()
    accuracy = {loss: [clean(found[loss, part]) for part in ("whole", "without the linear layer")] for loss in LOSSES}
    whole, without = accuracy["MMC"]
    return Finding(
        printed=bool(without < 0.5 < whole),
        exact=bool(0.8 < without < 0.92 < whole and abs(np.subtract(*accuracy["SCE"])) < 0.03),
        evidence="Clean accuracy with the layer and without: "
        + ", ".join(f"{loss} {a:.1%} and {b:.1%}" for loss, (a, b) in accuracy.items())
        + f" ({_scale(found['MMC', 'whole'])}). A tenth of the images, about, is of the last class.",
    )


@claim(
    "classes-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the table of architectures",
    printed="MMC keeps more than SCE on ten classes and on a hundred, under the paper's untargeted PGD-50 and in the "
    r"worst case of five attacks (CIFAR-10 and CIFAR-100, VGG of eight layers, $\epsilon = 2/255$).",
    exact="It does under the paper's attack. In the worst case it does on ten classes, by far less; on a hundred the "
    "two cannot be told apart, and nothing is left to tell.",
    chapter="depth",
    missing=missing([job for job in jobs("architectures", "laptop") if job.spec.backbone == "vgg8"], "The networks"),
)
def classes_laptop() -> Finding:
    return kept_on_classes(classes())


def kept_on_classes(found: dict[tuple[int, str], Record]) -> Finding:
    """Does MMC keep more than SCE on ten classes and on a hundred, under the paper's attack and in the worst case?"""
    told, beyond = [], {}
    for count in (10, 100):
        pair = [found[count, loss] for loss in LOSSES]
        own = [standing(record, papers(record.spec.loss), COLOR_RADIUS) for record in pair]
        worst = [standing(record, WORST, COLOR_RADIUS) for record in pair]
        gaps = [lead(*both) for both in (own, worst)]
        beyond[count] = [gap > width for gap, width in gaps]
        told.append(
            f"with {count} classes a lead of {points(gaps[0])} points under the paper's attack and {points(gaps[1])} "
            f"in the worst case, where MMC keeps {worst[0].mean():.1%} and SCE {worst[1].mean():.1%}, of "
            f"{clean(pair[0]):.1%} and {clean(pair[1]):.1%} clean"
        )
    one, said = found[10, "MMC"], "; ".join(told)
    made = f"{one.spec.evaluation.num_attacked} test images; {_scale(one, 'CIFAR')}"
    return Finding(
        printed=all(map(all, beyond.values())),
        exact=all(beyond[10]) and beyond[100][0],
        evidence=f"{said[0].upper()}{said[1:]} ({made}).",
    )


@claim(
    "hundred-classes-columns",
    paper="MMC",
    source="Table of architectures, CIFAR-100; our reading of it",
    printed="On CIFAR-100, too, depth helps MMC: from ResNet-32 to ResNet-110 each column of PGD-50 at 8/255 rises.",
    exact="The untargeted column falls and the targeted one rises. Each is an upper bound, so the smaller one counts, "
    "and it rises, by less.",
    chapter="depth",
)
def hundred_classes_columns() -> Finding:
    rows = [hundred("MMC", network) for network in ("ResNet-32", "ResNet-110")]
    rises = [after - before for before, after in zip(*rows, strict=True)]
    least = [min(row) for row in rows]
    return Finding(
        printed=min(rises) > 0,
        exact=bool(min(rises) < 0 < least[1] - least[0] < max(rises)),
        evidence="Printed, with a random target and without: "
        + "; ".join(f"{a} and {b} %" for a, b in rows)
        + f"; the smaller of the two goes from {least[0]} to {least[1]} %.",
    )


def hundred(method: str, network: str) -> tuple[float, float]:
    """Printed accuracy on CIFAR-100 under PGD-50 at 8/255: with a random target, and without."""
    table = reported.table("white-box-architectures")
    row = table.row(dataset="CIFAR-100", method=method, architecture=network)
    return tuple(reported.bounds(row[column])[1] for column in ("pgd50_tar_8", "pgd50_un_8"))
