"""Docstrings are written in Markdown with `code` and $math$, like the rest of the book; Sphinx reads another markup."""

from __future__ import annotations

import re
from typing import Any

PIECES = re.compile(r"(``[^`]+``|`[^`]+`|\$[^$]+\$|:[a-z]+:`[^`]+`)")
#: What reStructuredText would read as markup: `z*`, `|z|`, `sigma_`.
SPECIAL = re.compile(r"(\\|\*|\||_(?![A-Za-z0-9]))")


def translate(line: str) -> str:
    """One line of Markdown as reStructuredText: code and math translated, everything else taken literally."""
    pieces = PIECES.split(line)
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            pieces[index] = SPECIAL.sub(r"\\\1", piece)
        elif piece.startswith("$"):
            pieces[index] = f":math:`{piece[1:-1]}`"
        elif piece.startswith("`") and not piece.startswith("``"):
            pieces[index] = f"`{piece}`"
        # A role ends at a word's end: `n`s and $k$th need an (invisible) border after them.
        if index % 2 and pieces[index + 1][:1].isalnum():
            pieces[index] += r"\ "
        if index % 2 and pieces[index - 1][-1:].isalnum():
            pieces[index] = r"\ " + pieces[index]
    return "".join(pieces)


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Translate a docstring in place; examples (`>>>`) stay as they are."""
    example = False
    for index, line in enumerate(lines):
        example = line.strip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            lines[index] = translate(line)


def setup(app: Any) -> dict[str, bool]:
    """Run before napoleon, which reads the sections."""
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
