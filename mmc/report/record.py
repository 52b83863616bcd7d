"""The reports of all losses of the registry, kept among the records; the chapter on designing a loss reads them.

`python -m mmc.report.record [LOSS]...` measures what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mmc import lab, parts
from mmc.losses import LOSSES
from mmc.networks import about
from mmc.report.quantity import Quantity
from mmc.report.row import Row, row
from mmc.report.scene import FEATURE_DIM, NORM, NUM_CLASSES
from mmc.report.trial import EPSILONS, SPEC, Trial, trial

SEEDS = (0, 1)
IMAGES = 300


@dataclass(frozen=True)
class Kept:
    """What the records hold of a loss.

    Attributes:
        name: of the loss.
        entries: its row, by the keys of `mmc.report.row.COLUMNS`.
        times, margins: of the flow of a feature of the first class.
        trials: one network for each seed.
        made: what made the parts.
    """

    name: str
    entries: dict[str, Quantity]
    times: list[float]
    margins: list[float]
    trials: tuple[Trial, ...]
    made: tuple[dict[str, Any], ...]


def place(name: str) -> str:
    """Where the report of a loss lies below the folder of records."""
    return f"report/{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def row_values(found: Row) -> dict[str, Any]:
    """A row as plain values, with every second point of its flow."""
    return {
        "entries": {key: entry.to_json() for key, entry in found.entries.items()},
        "times": [float(f"{time:.6g}") for time in found.flow.times[::2]],
        "margins": [round(float(margin), 4) for margin in found.flow.margins[::2]],
        "notes": list(found.notes),
    }


def head(name: str) -> dict[str, Any]:
    """What decides the values of a loss's report."""
    scene = {"num_classes": NUM_CLASSES, "feature_dim": FEATURE_DIM, "norm": NORM}
    recipe = dataclasses.asdict(SPEC.recipe)
    asked = {"epsilons": list(EPSILONS), "images": IMAGES, "backbone": SPEC.backbone, "recipe": recipe}
    return {"loss": name, "scene": scene, **asked, "data": about(SPEC.dataset)}


def measure(name: str, report: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measure what is missing of a loss; see `mmc.parts.measure`.

    Raises:
        KeyError: no such loss in the registry.
    """
    make = LOSSES[name]

    def run(seed: int) -> dict[str, Any]:
        return dataclasses.asdict(trial(make, seed, images=IMAGES))

    sections = {f"seed {seed}": functools.partial(run, seed) for seed in SEEDS}
    return parts.measure(place(name), head(name), {"row": lambda: row_values(row(name, make))} | sections, report)


def kept(name: str) -> Kept:
    """The record of a loss.

    Raises:
        FileNotFoundError: it was not measured.
    """
    found = lab.table(place(name), f"`python -m mmc.report.record {name!r}`")["parts"]
    made = tuple(part.pop("made") for part in found.values())
    values = found.pop("row")
    entries = {key: Quantity(**entry) for key, entry in values["entries"].items()}
    trials = tuple(Trial(**part) for part in found.values())
    return Kept(name, entries, values["times"], values["margins"], trials, made)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or LOSSES:
        measure(chosen, lambda part, name=chosen: print(f"{name}: {part}", flush=True))
