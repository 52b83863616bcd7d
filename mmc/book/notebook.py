"""The normal form of a chapter's notebook: text outputs stored, images not, no noise in the metadata.

A notebook in normal form gives small diffs and can be compared by nbval: its stored text is what a run at the
smoke defaults prints.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from mmc.files import write_text

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
PARAMETERS = "parameters"
INSTALL = "install"
#: The one tag that leaves a cell's output out of nbval's comparison.
UNCOMPARED = "nbval-ignore-output"
KEPT_CELL_METADATA = ("tags", "mystnb")
DROPPED_MIMES = ("image/png", "image/svg+xml", "image/jpeg", "application/pdf", "text/html")


def read(path: Path) -> NotebookNode:
    """Read a notebook; a damaged file is refused with its name."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:
        raise ValueError(f"{path} is not a readable notebook: {error}") from error


def _normal_output(output: NotebookNode) -> NotebookNode | None:
    if output.output_type == "stream":
        return None if output.name == "stderr" else nbformat.v4.new_output("stream", name=output.name, text=output.text)
    if output.output_type == "error":
        return nbformat.v4.new_output("error", ename=output.ename, evalue=output.evalue, traceback=[])
    data = {mime: value for mime, value in output.data.items() if mime not in DROPPED_MIMES}
    extra: dict[str, Any] = {}
    if output.output_type == "execute_result":
        extra["execution_count"] = output.execution_count
    return nbformat.v4.new_output(output.output_type, data=data, metadata={}, **extra) if data else None


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Printed text in one piece: where a kernel happens to flush is chance."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if merged and output.output_type == "stream" == merged[-1].output_type:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The notebook in normal form: a new object; the sources are untouched.

    Cell ids count the cells, execution counts count the code cells, images and HTML leave, and of the metadata
    only tags, figure captions and the chapter's own settings (`mmc`) stay.
    """
    cells, count = [], 0
    for index, cell in enumerate(notebook.cells):
        metadata = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if cell.metadata.get(key)}
        new = NotebookNode(
            id=f"cell-{index:03d}", cell_type=cell.cell_type, metadata=metadata, source=cell.source.strip("\n")
        )
        if cell.cell_type == "code":
            executed = cell.get("execution_count") is not None
            count += executed
            new.execution_count = count if executed else None
            new.outputs = _merged([kept for kept in map(_normal_output, cell.outputs) if kept is not None])
            for output in new.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = new.execution_count
        cells.append(new)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    if "mmc" in notebook.metadata:
        metadata["mmc"] = notebook.metadata["mmc"]
    return NotebookNode(nbformat=4, nbformat_minor=5, metadata=NotebookNode(metadata), cells=cells)


def with_install_cell(notebook: NotebookNode, address: str) -> NotebookNode:
    """The notebook in normal form, with a hidden cell that installs `mmc` on Colab if there is an address."""
    cells = [cell for cell in notebook.cells if INSTALL not in cell.metadata.get("tags", [])]
    if address:
        source = (
            "# On Colab, fetch the book's code first; elsewhere it is there already.\n"
            "import sys\n\n"
            f'if "google.colab" in sys.modules:\n    %pip install --quiet "mmc[book] @ git+{address}"'
        )
        metadata = {"tags": [INSTALL, "remove-cell"]}
        cell = nbformat.v4.new_code_cell(source, metadata=metadata, execution_count=1)
        cells.insert(1, cell)
    return normalise(NotebookNode({**notebook, "cells": cells}))


def dumps(notebook: NotebookNode) -> str:
    """A notebook as text, ending with one newline."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook atomically."""
    write_text(path, dumps(notebook))


def source_text(notebook: NotebookNode) -> str:
    """What decides a run: cell types, sources, tags and settings; outputs do not count."""
    parts = [repr(sorted((notebook.metadata.get("mmc") or {}).items()))]
    parts += [
        repr((c.cell_type, c.source, c.metadata.get("tags", []), c.metadata.get("mystnb"))) for c in notebook.cells
    ]
    return "\n".join(parts)


def parameters(notebook: NotebookNode) -> dict[str, Any]:
    """The defaults in the `parameters` cell: flat constants, by name.

    Raises:
        ValueError: there is no or more than one `parameters` cell, or it holds anything but `name = constant`.
    """
    tagged = [cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0].cell_type != "code":
        raise ValueError(f"expected exactly one code cell tagged {PARAMETERS!r}, found {len(tagged)}")
    found: dict[str, Any] = {}
    for statement in ast.parse(tagged[0].source).body:
        text = ast.unparse(statement)
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                raise ValueError(f"the parameters cell holds only `name = constant` lines, not {text!r}")
        try:
            constant = ast.literal_eval(value)
        except ValueError:
            raise ValueError(f"parameter {name!r} must be a plain constant, not {ast.unparse(value)!r}") from None
        if not isinstance(constant, int | float | str | bool):
            raise ValueError(f"parameter {name!r} must be one number, string or bool, not {text!r}")
        found[name] = constant
    return found


def problems(notebook: NotebookNode) -> list[str]:
    """What keeps a notebook from being checked honestly; an empty list where all is well."""
    found = []
    try:
        parameters(notebook)
    except ValueError as error:
        found.append(str(error))
    for number, cell in enumerate(notebook.cells):
        where = f"cell {number}"
        if cell.cell_type != "code":
            continue
        tags = cell.metadata.get("tags", [])
        if cell.source.strip() and cell.execution_count is None:
            found.append(f"{where} was not executed: store the chapter's outputs again")
        if unknown := [tag for tag in tags if tag.startswith(("nbval", "raises", "skip")) and tag != UNCOMPARED]:
            found.append(f"{where} carries {unknown}: only {UNCOMPARED!r} may leave an output out")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{where} stores an error: {output.ename}: {output.evalue}")
            if any(mime.startswith("image/") for mime in output.get("data", {})):
                found.append(f"{where} stores an image: images are made when the book is built")
        if any("<Figure" in str(o.get("data", {}).get("text/plain", "")) for o in cell.outputs) and not (
            cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        ):
            found.append(f"{where} draws a figure without alt text (metadata mystnb.image.alt)")
    code = [
        cell for cell in notebook.cells if cell.cell_type == "code" and PARAMETERS not in cell.metadata.get("tags", [])
    ]
    if code and all(UNCOMPARED in cell.metadata.get("tags", []) for cell in code):
        found.append("every cell's output is left out of the comparison")
    return found
