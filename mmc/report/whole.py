"""A whole report: the row of a loss, and what its networks showed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmc.networks import provenance
from mmc.report.quantity import MEASURED, Quantity
from mmc.report.row import COLUMNS, Row, row
from mmc.report.scene import Maker
from mmc.report.trial import HEADLINE, Trial, trial

#: Entries that networks give, as tables and cards call them.
TRIED = {
    "zero": "images with no gradient: cross-entropy",
    "clean": "clean accuracy",
    "robust": f"robust accuracy, epsilon {HEADLINE:g}",
}


@dataclass(frozen=True)
class LossReport:
    """Everything that a card shows.

    Attributes:
        row: what the loss is.
        trials: one network for each seed.
        made: what made it.
    """

    row: Row
    trials: tuple[Trial, ...]
    made: dict[str, Any]

    @property
    def entries(self) -> dict[str, Quantity]:
        """All entries, by what a table calls them."""
        return {COLUMNS[key]: entry for key, entry in self.row.entries.items()} | tried(self.trials)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "loss": self.row.name,
            "entries": {name: entry.to_json() for name, entry in self.entries.items()},
            "notes": list(self.row.notes),
            "flow": {"times": self.row.flow.times.tolist(), "margins": self.row.flow.margins.tolist()},
            "trials": [dataclasses.asdict(one) for one in self.trials],
            "made": self.made,
        }


def tried(trials: Sequence[Trial]) -> dict[str, Quantity]:
    """The entries of trained networks: means over seeds, with the standard deviation where there are several."""
    networks = "one network" if len(trials) == 1 else f"mean and deviation of {len(trials)} networks"
    images = f"{networks}, the first {trials[0].images} test images of the digits"
    worst = "still right after every attack, image by image"
    return {
        TRIED["zero"]: _share([one.zero_gradients["cross-entropy"] for one in trials], f"in float32; {images}"),
        TRIED["clean"]: _share([one.clean for one in trials], images),
        TRIED["robust"]: _share([one.headline for one in trials], f"{worst}; {images}"),
    }


def _share(values: Sequence[float], source: str) -> Quantity:
    mean = float(np.mean(values))
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return Quantity(f"{100 * mean:.1f}{spread} %", MEASURED, mean, source)


def report(
    name: str,
    make: Maker,
    seeds: Sequence[int] = (0,),
    images: int = 500,
    tell: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> LossReport:
    """Look at a loss, train networks with it, and attack them.

    Args:
        name: of the loss.
        make: its class.
        seeds: one network each.
        images: how many test images are attacked; 500 are all.
        tell: called with what is about to be done.
        options: what the class takes besides.

    Raises:
        RefusedLossError: the loss cannot be reported on; the message says why.
        NonFiniteLossError: it became infinite or not a number while training.
    """
    found = row(name, make, tell, **options)
    trials = tuple(trial(make, seed, tell, images, **options) for seed in seeds)
    return LossReport(found, trials, provenance())
