"""Spec -> Record: everything that determines a result, and the readable file that holds it.

Records are committed evidence, one JSON each in `book/records/<experiment>/<slug>.json`. Chapters and claims read them
through `load` and in no other way, so that the book knows what each chapter stands on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmc.files import digest_files, write_text

#: Raised when the layout of the file changes; a record of another schema is refused, not guessed at.
SCHEMA = 1
#: The environment variable that names a file to which `load` appends each pattern it was asked for.
TRACE = "MMC_TRACE"
#: The environment variable that names another folder of records than the book's.
RECORDS = "MMC_RECORDS"


class StaleRecordError(ValueError):
    """A record that no longer fits: another schema, another spec, or a file that is damaged."""


@dataclass(frozen=True)
class Spec:
    """Everything that determines a result but the seed.

    Attributes:
        experiment: the folder of its record.
        scale: `smoke`, `laptop` or `gpu`.
        dataset: a name in `mmc.data.DATASETS`.
        backbone: a name in `mmc.models.BACKBONES`.
        loss: a printed name in `mmc.losses.LOSSES`.
        loss_options: what the loss takes besides its sizes, as (name, value) pairs.
        feature_dim: d.
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: at the start, see `mmc.training.train`.
        epsilons: L-inf radii in units of a pixel's range [0, 1].
        steps: gradient steps of PGD, for each objective and radius.
        restarts: random starts of PGD.
        num_attacked: how many test images, from the first.
        recipe: raised by hand where a change of code alters results.
    """

    experiment: str
    scale: str
    dataset: str
    backbone: str
    loss: str
    loss_options: tuple[tuple[str, Any], ...] = ()
    feature_dim: int = 64
    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 1e-3
    epsilons: tuple[float, ...] = (0.1, 0.2, 0.3)
    steps: int = 50
    restarts: int = 1
    num_attacked: int = 1000
    recipe: int = 1

    def __post_init__(self) -> None:
        if self.scale not in ("smoke", "laptop", "gpu"):
            raise ValueError(f"scale must be smoke, laptop or gpu, not {self.scale!r}")

    @property
    def slug(self) -> str:
        """The record's file name without its ending."""
        words = "-".join([self.dataset, self.backbone, self.loss])
        return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Spec:
        """The spec in a record.

        Raises:
            StaleRecordError: a field is missing or unknown.
        """
        try:
            spec = cls(**values)
        except TypeError as error:
            raise StaleRecordError(f"its spec does not fit: {error}") from None
        options = tuple((name, value) for name, value in spec.loss_options)
        return dataclasses.replace(spec, loss_options=options, epsilons=tuple(spec.epsilons))


@dataclass(frozen=True)
class Record:
    """What was measured for a spec.

    Attributes:
        spec: what was run.
        data: digest and sizes of the data set.
        runs: one per seed: `seed`, `values` (nested, JSON) and `made` (commit, versions, hardware, seconds).
    """

    spec: Spec
    data: dict[str, Any] = field(default_factory=dict)
    runs: tuple[dict[str, Any], ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were run, in order."""
        return tuple(run["seed"] for run in self.runs)

    def values(self, *keys: str) -> np.ndarray:
        """One measured value per seed, by its path in `values`; NaN where it does not apply.

        Raises:
            KeyError: no run holds this path.
        """
        found = []
        for run in self.runs:
            value: Any = run["values"]
            for key in keys:
                if not isinstance(value, dict) or key not in value:
                    raise KeyError(f"{self.spec.slug}, seed {run['seed']}, holds no {'/'.join(keys)}")
                value = value[key]
            found.append(np.nan if value is None else value)
        return np.array(found, dtype=float)

    def made(self, key: str) -> list[str]:
        """What made the runs (`commit`, `hardware`, `versions`, ...): each distinct answer once."""
        return list(dict.fromkeys(str(run["made"][key]) for run in self.runs))

    def dumps(self) -> str:
        """The record as JSON text."""
        content = {"schema": SCHEMA, "spec": dataclasses.asdict(self.spec), "data": self.data, "runs": self.runs}
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def folder() -> Path:
    """Where the records are."""
    default = Path(__file__).resolve().parents[1] / "book" / "records"
    return Path(os.environ.get(RECORDS) or default)


def path(spec: Spec) -> Path:
    """The file of a spec's record."""
    return folder() / spec.experiment / f"{spec.slug}.json"


def read(file: Path) -> Record:
    """Read one record.

    Raises:
        StaleRecordError: damaged, of another schema, or with a spec that no longer fits; the message names the file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        schema = content.pop("schema")
        if schema != SCHEMA:
            raise StaleRecordError(f"its schema is {schema}, this code reads {SCHEMA}")
        spec = Spec.from_json(content["spec"])
        return Record(spec, content["data"], tuple(content["runs"]))
    except StaleRecordError as error:
        raise StaleRecordError(f"stale record {file.name} in {file.parent.name}: {error}; run it again") from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise StaleRecordError(f"damaged record {file.name} in {file.parent.name}: {error!r}; run it again") from None


def load(pattern: str) -> list[Record]:
    """The records whose path below the folder of records matches a pattern, e.g. `first-experiment/mnist-*.json`.

    The only way chapters and claims read records: it leaves the pattern in the file that MMC_TRACE names.

    Raises:
        StaleRecordError: one of them is damaged or stale.
    """
    if trace := os.environ.get(TRACE):
        with Path(trace).open("a", encoding="utf-8") as file:
            file.write(pattern + "\n")
    return [read(file) for file in sorted(folder().glob(pattern)) if file.is_file()]


def digest(pattern: str) -> str:
    """What the records that match a pattern are, by name and content."""
    return digest_files(folder(), (file for file in folder().glob(pattern) if file.is_file()))


def run(
    spec: Spec, seeds: Iterable[int], measure: Callable[[Spec, int], dict[str, Any]], data: dict[str, Any]
) -> Record:
    """Load a spec's record and measure the seeds it lacks, writing after each: rerun it after a kill and it goes on.

    Args:
        spec: what to run.
        seeds: which seeds the record shall hold.
        measure: maps spec and seed to JSON values.
        data: digest and sizes of the data set.

    Raises:
        StaleRecordError: the record at this path is of another spec or other data; delete it or rename the experiment.
    """
    target = path(spec)
    record = read(target) if target.exists() else Record(spec, data)
    if record.spec != spec or record.data != data:
        raise StaleRecordError(f"{target.name} in {target.parent.name} was made from another spec or other data")
    for seed in seeds:
        if seed in record.seeds:
            continue
        made, started = provenance(), time.monotonic()
        values = measure(spec, seed)
        made = {**made, "seconds": round(time.monotonic() - started, 1)}
        runs = sorted([*record.runs, {"seed": seed, "values": values, "made": made}], key=lambda run: run["seed"])
        record = Record(spec, data, tuple(runs))
        write_text(target, record.dumps())
    return record


def provenance() -> dict[str, str]:
    """What is about to make a number: code, versions, hardware, device, type."""
    import torch

    from mmc.provenance import commit, device, hardware, versions

    root = Path(__file__).resolve().parents[1]
    return {
        "commit": commit(root),
        "code": digest_files(root, (root / "mmc").rglob("*.py")),
        "versions": versions("torch", "numpy"),
        "hardware": hardware(),
        "device": device(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }
