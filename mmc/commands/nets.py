"""What commands on one network take: the network by its place or name, and radii."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click


class Radius(click.ParamType):
    """A radius, as a number or a fraction."""

    name = "radius"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            number = float(Fraction(value))
        except (ValueError, ZeroDivisionError):
            number = 0.0
        if not number > 0:
            self.fail(f"{value!r} is no radius > 0, such as 0.1 or 8/255", param, ctx)
        return number


def find(net: str) -> tuple[Any, int, Path]:
    """Spec, training seed and weights of a network: of a run's folder, of a file, or of one of the book's."""
    from mmc import lab, shelf, weights

    place = Path(net)
    if place.is_dir():
        if not (place / "record.json").exists():
            raise FileNotFoundError(
                f"{place} holds no record.json: train a network there with  mmc train --out {place}"
            )
        record = lab.read(place / "record.json")
        (run,) = record.runs
        return record.spec, run["seed"], place / "weights.safetensors"
    if not place.is_file() and net not in shelf.names():
        books = ", ".join(shelf.names())
        raise FileNotFoundError(f"no network {net!r}: it is no folder, no file, and none of the book's: {books}")
    file = place if place.is_file() else shelf.place(net)
    if (file.parent / "record.json").exists():
        return lab.read(file.parent / "record.json").spec, int(weights.about(file)["seed"]), file
    record, seed = shelf.record_of(file)
    return record.spec, seed, file
