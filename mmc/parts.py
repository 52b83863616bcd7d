"""What is measured on a network part by part: each part is kept at once, so an interrupted measurement goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mmc import lab
from mmc.files import write_text
from mmc.networks import provenance


def measure(
    place: str,
    head: Mapping[str, Any],
    sections: Mapping[str, Callable[[], dict[str, Any]]],
    report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the parts that are not there yet, and keep each as soon as it is done.

    Args:
        place: of the file below the folder of records.
        head: what decides the values, such as plan, weights and data; under another head all is measured anew.
        sections: what measures each part; a part is plain values.
        report: called with the name of each part before it is measured.

    Returns:
        The head, and the parts with what made them.
    """
    file, asked = lab.folder() / place, json.loads(json.dumps(dict(head)))
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    parts = kept["parts"] if {key: kept.get(key) for key in asked} == asked else {}
    for part, run in sections.items():
        if part not in parts:
            report(part)
            parts[part] = {"made": provenance(), **run()}
            write_text(file, lab.dumps({**asked, "parts": parts}))
    return {**asked, "parts": parts}
