"""Tables of the book: Markdown on the page, plain text on a terminal, and how each was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


def _text(value: Any, digits: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def in_math(value: float, digits: int = 2) -> str:
    r"""A number as it stands in a formula: `5.8 \cdot 10^{-5}` where plain text has 5.8e-05."""
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def unbroken(text: str) -> str:
    """The text with every number and its spread kept on one line."""
    return text.replace(" ± ", "\u00a0±\u00a0")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of texts. A number and its spread stay on one line, and a `|` inside a cell splits none."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(unbroken(cell.replace("|", r"\|")) for cell in cells) + " |"

    return "\n".join([line(columns), line("---" for _ in columns), *map(line, rows)])


@dataclass(frozen=True)
class Table:
    """A small table that a notebook shows.

    Attributes:
        columns: the headings (Markdown with math), units included.
        rows: one sequence per row; floats are shown with `digits` significant digits.
        made: one or two sentences on how the numbers were made: function, n, seeds, tolerance. Shown folded.
        digits: significant digits for floats.

    Raises:
        ValueError: a row has another length than `columns`.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    made: str
    digits: int = 4

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells, the table has {len(self.columns)} columns: {row!r}")

    def cells(self) -> list[list[str]]:
        """Every cell as text."""
        return [[_text(value, self.digits) for value in row] for row in self.rows]

    def markdown(self) -> str:
        """The table as it stands on a page."""
        body = markdown(self.columns, self.cells())
        return f"{body}\n\n:::{{dropdown}} How these numbers were made\n{self.made}\n:::\n"

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def __repr__(self) -> str:
        cells = [list(self.columns), *self.cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)
