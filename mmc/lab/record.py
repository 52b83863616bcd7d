"""Records: one readable JSON for each Spec, with what was measured by each seed and what made it.

Records are committed evidence, in `book/records` by experiment, scale and slug. Chapters and claims read them through
`load` and in no other way, so that the book knows what each chapter stands on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmc.files import clear_leftovers, digest_files, one_at_a_time, write_text
from mmc.lab.revisions import current
from mmc.lab.spec import Spec

#: Raised when the layout of the file changes; a record of another schema is refused, not guessed at.
SCHEMA = 2
#: The environment variable that names a file to which `load` appends each pattern it was asked for.
TRACE = "MMC_TRACE"
#: The environment variable that names another folder of records than the book's.
RECORDS = "MMC_RECORDS"


# A list of plain values as json.dumps spreads it over lines; inside a JSON string there is no line break.
_LIST = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")
_BREAK = re.compile(r",\n\s+")


class StaleRecordError(ValueError):
    """A record that no longer fits: another schema, spec or revision, or a file that is damaged."""


@dataclass(frozen=True)
class Record:
    """What was measured for a spec.

    Attributes:
        spec: what was run.
        data: digest and sizes of the data set.
        runs: one per seed: `seed`, `values` (nested, JSON; the same bits again on the same machine) and `made` (commit,
            versions, hardware, times: what no rerun repeats).
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

        A value that is a list gives one row per seed.

        Raises:
            KeyError: a run does not hold this path.
        """
        return np.array([np.nan if v is None else v for v in self._at("values", keys)], dtype=float)

    def times(self, *keys: str) -> np.ndarray:
        """One measured time per seed, by its path in `made`, e.g. `seconds` or `epoch_seconds`."""
        return np.array(self._at("made", keys), dtype=float)

    def _at(self, part: str, keys: Iterable[str]) -> list[Any]:
        found = []
        for run in self.runs:
            value: Any = run[part]
            for key in keys:
                if not isinstance(value, dict) or key not in value:
                    raise KeyError(f"{self.spec.place}, seed {run['seed']}, holds no {'/'.join(keys)}")
                value = value[key]
            found.append(value)
        return found

    def made(self, key: str) -> list[str]:
        """What made the runs (`commit`, `hardware`, `versions`, ...): each distinct answer once."""
        return list(dict.fromkeys(str(run["made"][key]) for run in self.runs))

    def with_run(self, run: dict[str, Any]) -> Record:
        """The record with one more seed, or with that seed replaced."""
        others = [old for old in self.runs if old["seed"] != run["seed"]]
        return Record(self.spec, self.data, tuple(sorted([*others, run], key=lambda r: r["seed"])))

    def dumps(self) -> str:
        """The record as JSON text; a list of plain values stands on one line."""
        content = {"schema": SCHEMA, "spec": dataclasses.asdict(self.spec), "data": self.data, "runs": self.runs}
        return dumps(content)


def made(*records: Record, between: str = "; ") -> str:
    """What made some records, in words for a reader: scale, attacked images, seeds, hardware, commits.

    Where the records differ, each distinct answer stands once, in their order.
    """

    def each(answers: Iterable[object]) -> str:
        return " or ".join(dict.fromkeys(map(str, answers)))

    attacked = [record.spec.evaluation.num_attacked for record in records]
    counted = all(record.spec.evaluation.suite or record.spec.evaluation.epsilons for record in records)
    said = [
        f"{each(record.spec.scale for record in records)} scale",
        f"n = {each(f'{count:,}' for count in attacked)} test images under attack" if counted else "",
        f"seeds {each(', '.join(map(str, record.seeds)) for record in records)}",
        *dict.fromkeys(machine for record in records for machine in record.made("hardware")),
        f"commit {', '.join(dict.fromkeys(commit for record in records for commit in record.made('commit')))}",
    ]
    return between.join(filter(None, said)) if records else "nothing is recorded yet"


def dumps(content: Any) -> str:
    """Plain values as the JSON text of a file among the records; a list of plain values stands on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return _LIST.sub(lambda found: f"[{re.sub(_BREAK, ', ', found[1])}]", text) + "\n"


def folder() -> Path:
    """Where the records are."""
    default = Path(__file__).resolve().parents[2] / "book" / "records"
    return Path(os.environ.get(RECORDS) or default)


def path(spec: Spec) -> Path:
    """The file of a spec's record."""
    return folder() / f"{spec.place}.json"


def read(file: Path) -> Record:
    """Read one record.

    Raises:
        StaleRecordError: damaged, of another schema, made before a revision that concerns it, or with a spec that no
            longer fits; the message names the file.
    """
    where = "/".join(file.parts[-3:])
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        schema = content.pop("schema")
        if schema != SCHEMA:
            raise StaleRecordError(f"its schema is {schema}, this code reads {SCHEMA}")
        try:
            spec = Spec.from_json(content["spec"])
        except (TypeError, ValueError) as error:
            raise StaleRecordError(f"its spec does not fit: {error}") from None
        record = Record(spec, content["data"], tuple(content["runs"]))
        newest = current(spec)
        if old := [run["seed"] for run in record.runs if run["made"]["revision"] < newest.number]:
            raise StaleRecordError(f"seeds {old} are older than revision {newest.number} ({newest.reason})")
        return record
    except StaleRecordError as error:
        raise StaleRecordError(f"stale record {where}: {error}; run it again") from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise StaleRecordError(f"damaged record {where}: {error!r}; run it again") from None


def load(pattern: str) -> list[Record]:
    """The records whose path below the folder of records matches a pattern, e.g. `convergence/laptop/mnist-*.json`.

    The only way chapters and claims read records: it leaves the pattern in the file that MMC_TRACE names.

    Raises:
        StaleRecordError: one of them is damaged or stale.
    """
    _leave_trace(pattern)
    return [read(file) for file in sorted(folder().glob(pattern)) if file.is_file()]


def text(place: str, maker: str) -> str:
    """Evidence that is not a Record, such as a benchmark's table: a file's text, by its path below the records.

    Leaves a trace as `load` does.

    Args:
        place: e.g. `bench/training-step.json`.
        maker: what makes the file, for the message where there is none.

    Raises:
        FileNotFoundError: there is no such file.
    """
    _leave_trace(place)
    file = folder() / place
    if not file.exists():
        raise FileNotFoundError(f"no {place} among the records: {maker} makes it")
    return file.read_text(encoding="utf-8")


def table(place: str, maker: str = "`mmc bench --keep` on an idle machine") -> dict[str, Any]:
    """The content of such a file that holds JSON; see `text`."""
    return json.loads(text(place, maker))


def _leave_trace(pattern: str) -> None:
    if trace := os.environ.get(TRACE):
        with Path(trace).open("a", encoding="utf-8") as file:
            file.write(pattern + "\n")


def digest(pattern: str) -> str:
    """What the records that match a pattern are, by name and content."""
    return digest_files(folder(), (file for file in folder().glob(pattern) if file.is_file()))


def open_record(spec: Spec, data: dict[str, Any]) -> Record:
    """The record of a spec as far as it was measured; an empty one where there is none.

    Raises:
        StaleRecordError: the file at its place is stale, damaged, or of another spec or other data.
    """
    target = path(spec)
    if not target.exists():
        return Record(spec, data)
    record = read(target)
    for name, ours, theirs in (("spec", spec, record.spec), ("data", data, record.data)):
        if ours != theirs:
            said = _difference(ours, theirs)
            raise StaleRecordError(f"{spec.place}.json was made from another {name} ({said}): give the new one a tag")
    return record


def _difference(ours: Any, theirs: Any) -> str:
    pairs = [dataclasses.asdict(v) if isinstance(v, Spec) else v for v in (ours, theirs)]
    names = [name for name in {**pairs[0], **pairs[1]} if pairs[0].get(name) != pairs[1].get(name)]
    return "; ".join(f"{name}: {pairs[1].get(name)!r} there, {pairs[0].get(name)!r} here" for name in names)


def add(spec: Spec, data: dict[str, Any], run: dict[str, Any], locks: Path) -> Record:
    """Add one seed's run to the record of a spec, while other processes may be adding theirs.

    Args:
        spec: whose record.
        data: digest and sizes of the data set.
        run: `seed`, `values` and `made`.
        locks: a folder for the lock, on a disk that all writers share.

    Raises:
        StaleRecordError: see `open_record`.
        OSError: the record could not be written; the old one is still there.
    """
    with one_at_a_time(locks / (spec.place.replace("/", "--") + ".lock")):
        clear_leftovers(path(spec))
        record = open_record(spec, data).with_run(run)
        write_text(path(spec), record.dumps())
        return record
