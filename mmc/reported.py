"""Numbers that others printed, as they printed them: context for what is measured here, never a part of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from mmc import lab

#: The tables, by file name: three of the paper, and measurements by others after publication.
TABLES = ("white-box-cifar10", "white-box-architectures", "other-attacks-cifar10", "reevaluations")


@dataclass(frozen=True)
class Reported:
    """A printed table.

    Attributes:
        source: who printed it, where, and in which units.
        rows: by column; every cell is text, as printed.
    """

    source: str
    rows: tuple[dict[str, str], ...]

    def row(self, **wanted: str) -> dict[str, str]:
        """The one row that has these cells.

        Raises:
            ValueError: none has, or several.
        """
        found = [row for row in self.rows if all(row.get(key) == value for key, value in wanted.items())]
        if len(found) != 1:
            raise ValueError(f"{len(found)} rows with {wanted} in: {self.source}")
        return found[0]


def table(name: str) -> Reported:
    """A printed table by name.

    Raises:
        ValueError: no such table; the message lists those there are.
    """
    if name not in TABLES:
        raise ValueError(f"no printed table {name!r}; there are: {', '.join(TABLES)}")
    source, *lines = lab.text(f"reported/{name}.csv", "the book's repository").splitlines()
    return Reported(source.removeprefix("# "), tuple(csv.DictReader(lines)))


def bounds(cell: str) -> tuple[float, float]:
    """The least and the largest number that a printed cell allows: "<=1" is anything from 0 to 1.

    A number that was rounded stands for itself.
    """
    if cell.startswith("<="):
        return 0.0, float(cell[2:])
    return float(cell), float(cell)
