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
    from mmc import lab, networks, weights

    place, shelf = Path(net), networks.ROOT / "book" / "weights"
    if place.is_dir():
        if not (place / "record.json").exists():
            raise FileNotFoundError(
                f"{place} holds no record.json: train a network there with  mmc train --out {place}"
            )
        record = lab.read(place / "record.json")
        (run,) = record.runs
        return record.spec, run["seed"], place / "weights.safetensors"
    file = place if place.is_file() else shelf / f"{net}.safetensors"
    if not file.is_file():
        books = ", ".join(sorted(path.stem for path in shelf.glob("*.safetensors")))
        raise FileNotFoundError(f"no network {net!r}: it is no folder, no file, and none of the book's: {books}")
    words = weights.about(file)
    if (file.parent / "record.json").exists():
        source = file.parent / "record.json"
    elif "record" in words:
        # The book's networks are those of the book's records, wherever one's own are kept.
        places = [folder / f"{words['record']}.json" for folder in (lab.folder(), shelf.parent / "records")]
        source = next((place for place in places if place.exists()), None)
        if source is None:
            missing = " and no ".join(dict.fromkeys(map(str, places)))
            raise FileNotFoundError(f"no {missing}: the record of {file}, which says how it is built")
    else:
        raise ValueError(f"{file} does not say which record it belongs to, so its network cannot be built")
    return lab.read(source).spec, int(words["seed"]), file
