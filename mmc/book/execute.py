"""Run one chapter through papermill, in a process of its own, and leave it executed or say exactly what failed.

The executed notebook carries its own stamp (what it was made from), so the two are written in one atomic step.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mmc.book import notebook as nb
from mmc.book.project import Project
from mmc.files import write_text

STAMP = "mmc_run"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class ChapterError(RuntimeError):
    """A chapter did not run; the message names chapter, cell, source line and error."""


def stamp(path: Path) -> dict[str, Any] | None:
    """What an executed notebook was made from; None where it is missing or was not made by this pipeline."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"].get(STAMP)
    except (FileNotFoundError, KeyError, json.JSONDecodeError):
        return None


def is_current(project: Project, path: Path, inputs: str) -> bool:
    """Is this executed notebook made from exactly these inputs, and from the records as they are now?"""
    made = stamp(path)
    return bool(
        made
        and made["inputs"] == inputs
        and all(project.records_digest(pattern) == digest for pattern, digest in made["records"].items())
    )


def _failure(name: str, source: nb.NotebookNode, executed: nb.NotebookNode, error: Any) -> str:
    numbers = {cell.id: index for index, cell in enumerate(source.cells)}
    failed = next((cell for cell in executed.cells if cell.get("source") == error.source and cell.id in numbers), None)
    number = numbers[failed.id] if failed is not None else error.cell_index
    trace = _ANSI.sub("", "\n".join(error.traceback))
    lines = re.findall(r"Cell In\[\d+\], line (\d+)", trace)
    line = int(lines[0]) if lines else 1
    text = error.source.splitlines()[line - 1].strip() if error.source.strip() else ""
    return f"chapter {name}, cell {number}, line {line}:\n    {text}\n{error.ename}: {error.evalue}"


def _provenance(project: Project) -> dict[str, str]:
    from mmc.provenance import commit, hardware, versions

    return {
        "commit": commit(project.root),
        "hardware": hardware(),
        "versions": versions("numpy", "sympy", "scipy", "torch", "scikit-learn", "matplotlib"),
    }


def _footer(values: dict[str, Any], scale: str, seconds: float, made: dict[str, str]) -> str:
    given = ", ".join(f"`{name} = {value!r}`" for name, value in values.items())
    rows = {
        "Scale": scale,
        "Parameters": given or "the defaults in the parameters cell",
        "Run time": f"{seconds:.0f} s",
        "Hardware": made["hardware"],
        "Versions": made["versions"],
        "Commit": f"`{made['commit']}`",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f":::{{dropdown}} How the numbers on this page were made\n| | |\n|---|---|\n{table}\n:::"


def execute(project: Project, name: str, scale: str, values: dict[str, Any], target: Path) -> None:
    """Execute one chapter into `target`, atomically.

    Args:
        values: the parameters that differ from the defaults, already checked.

    Raises:
        ChapterError: a cell failed; the half-executed notebook is kept in `_build/failed/` to look at.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from mmc.lab import TRACE

    path = project.chapter(name)
    source = nb.read(path)
    inputs = project.inputs_digest(source, values)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trace, out = Path(folder) / "trace", Path(folder) / f"{name}.ipynb"
        os.environ[TRACE] = str(trace)
        try:
            papermill.execute_notebook(
                str(path), str(out), parameters=values, kernel_name="python3", cwd=str(path.parent), progress_bar=False
            )
        except PapermillExecutionError as error:
            kept = project.build / "failed" / path.name
            write_text(kept, out.read_text(encoding="utf-8"))
            raise ChapterError(_failure(name, source, nb.read(out), error) + f"\n(kept for a look: {kept})") from None
        executed = nb.read(out)
        patterns = sorted(set(trace.read_text().split("\n")) - {""}) if trace.exists() else []
    seconds = time.monotonic() - started
    executed.cells.append(_footer_cell(_footer(values, scale, seconds, _provenance(project))))
    records = {pattern: project.records_digest(pattern) for pattern in patterns}
    made = {"inputs": inputs, "records": records, "scale": scale, "seconds": round(seconds, 1)}
    executed.metadata = nb.NotebookNode(kernelspec=nb.KERNEL, language_info={"name": "python"}, **{STAMP: made})
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    write_text(target, nb.dumps(executed))


def _footer_cell(text: str) -> nb.NotebookNode:
    return nb.NotebookNode(id="made", cell_type="markdown", metadata={}, source=text)


def main(argv: list[str]) -> int:
    """`python -m mmc.book.execute ROOT NAME SCALE VALUES_JSON TARGET`: one chapter, in this process."""
    root, name, scale, values, target = argv
    try:
        execute(Project(Path(root)), name, scale, json.loads(values), Path(target))
    except (ChapterError, ValueError) as error:
        print(error)  # on stdout: kernels write their own warnings to stderr
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
