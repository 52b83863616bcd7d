"""The benchmarks' tables as files of the book, each with what it was made on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmc import lab
from mmc.bench.ratio import Ratio
from mmc.files import write_text
from mmc.networks import ROOT
from mmc.provenance import surroundings

#: Where the kept tables lie below the folder of records.
PLACE = "bench/training-step.json"


def made() -> dict[str, Any]:
    """What the benchmarks were made on."""
    return surroundings(ROOT)


def write(place: str, content: Mapping[str, Any]) -> Path:
    """Write a table, with what it was made on, where the book reads it."""
    target = lab.folder() / place
    write_text(target, json.dumps({"made": made(), **content}, indent=1, ensure_ascii=False) + "\n")
    return target


def keep(sections: Mapping[str, Sequence[Ratio]]) -> Path:
    """Keep the tables of `mmc.bench.training` and `mmc.bench.start`."""
    return write(PLACE, {"sections": {name: [asdict(r) for r in rows] for name, rows in sections.items()}})


def kept() -> tuple[dict[str, Any], dict[str, list[Ratio]]]:
    """The kept tables: what they were made on, and the ratios by section.

    Raises:
        FileNotFoundError: none were kept.
    """
    content = lab.table(PLACE)
    return content["made"], {name: [Ratio(**row) for row in rows] for name, rows in content["sections"].items()}
