"""Which printed row stands beside a spec, and which of its cells a run measures."""

from __future__ import annotations

from dataclasses import dataclass

from mmc.lab import Spec

METHODS = {
    "SCE": "SCE",
    "Center": "Center loss",
    "MMLDA": "MMLDA",
    "L-GM": "L-GM",
    "MMC": "MMC-10",
    "MMC (rand)": "MMC-10 (rand)",
}
#: "ResNet-32" may be either of two networks, see `mmc.models.BACKBONES`.
ARCHITECTURES = {"resnet32": "ResNet-32", "resnet47-v2": "ResNet-32", "resnet110": "ResNet-110"}
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
#: The parts of the table of other attacks, by the tag of their records.
PARTS = {
    "distances": ("cw_tar_l2", "cw_un_l2"),
    "spsa": ("spsa10_tar_8", "spsa10_un_8", "spsa10_tar_16", "spsa10_un_16"),
    "corruptions": ("noise", "rotation"),
}


@dataclass(frozen=True)
class Counterpart:
    """A printed row.

    Attributes:
        table: a name in `mmc.reported.TABLES`.
        row: the cells that single it out, as (column, text).
        cells: where a run's `values` hold what each column printed, as (column, path); empty where the spec has other
            data, another network or another scale than the row, so that no difference means anything.
    """

    table: str
    row: tuple[tuple[str, str], ...]
    cells: tuple[tuple[str, tuple[str, ...]], ...] = ()


def method(spec: Spec) -> str | None:
    """How the tables call a loss and a rule; None where they do not have them."""
    name = METHODS.get(spec.loss)
    if name is None or spec.loss_options or spec.rule not in ("standard", "AT"):
        return None
    return {"standard": name, "AT": f"AT10-un ({name})"}.get(spec.training, f"AT10-tar ({name})")


def slug(column: str, loss: str) -> str:
    """The preset behind a column of accuracies: the paper's objective is the center for MMC, else cross-entropy."""
    if column in ("noise", "rotation"):
        return column
    if column.startswith("cw_"):
        return "cw-target" if "_tar" in column else "cw"
    attack, kind, radius = column.split("_")
    centered = loss.startswith("MMC")
    rungs = {"un": "own-center" if centered else "ce", "tar": "target-center" if centered else "target-ce"}
    return f"{attack}-{rungs[kind]}-{radius}"


def counterpart(spec: Spec) -> Counterpart | None:
    """The printed row of a spec's method; None where none was printed."""
    name = method(spec)
    if name is None or spec.experiment not in ("white-box", "architectures", "other-attacks"):
        return None
    ours = spec.dataset in DATASETS and spec.backbone in ARCHITECTURES and not spec.variant
    data, network = DATASETS.get(spec.dataset, "CIFAR-10"), ARCHITECTURES.get(spec.backbone, "ResNet-32")
    if spec.experiment == "other-attacks":
        table, row, columns = "other-attacks-cifar10", {"method": name}, PARTS.get(spec.tag, ())
        if name == METHODS["MMC (rand)"]:
            return None
    else:
        columns = tuple(f"pgd{steps}_{kind}_{k}" for k in (8, 16) for steps in (10, 50) for kind in ("tar", "un"))
        table, row = "white-box-cifar10", {"method": name}
        if (data, network) != ("CIFAR-10", "ResNet-32"):
            if spec.loss not in ("SCE", "MMC") or spec.rule != "standard":
                return None
            table = "white-box-architectures"
            row = {"dataset": data, "method": spec.loss, "architecture": network}
    same = spec.scale == "gpu" and ours and (table != "other-attacks-cifar10" or network == "ResNet-32")
    cells = {column: ("suite", "attacks", slug(column, spec.loss), _value(column)) for column in columns}
    if spec.experiment != "other-attacks":
        cells = {"clean": ("clean",)} | cells
    return Counterpart(table, tuple(row.items()), tuple(cells.items()) if same else ())


def _value(column: str) -> str:
    return "distances" if column.startswith("cw_") else "accuracy"
