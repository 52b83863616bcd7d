"""The networks that travel with the book, each by the name of its file in `book/weights`."""

from __future__ import annotations

from pathlib import Path

from mmc import lab, weights
from mmc.data import Split
from mmc.lab import Record
from mmc.models import Classifier
from mmc.networks import ROOT, data_of, dataset, opened

SHELF = ROOT / "book" / "weights"


def names(shelf: Path = SHELF) -> tuple[str, ...]:
    """Every network on the shelf."""
    return tuple(sorted(file.stem for file in shelf.glob("*.safetensors")))


def place(name: str, shelf: Path = SHELF) -> Path:
    """The file of a network.

    Raises:
        FileNotFoundError: there is none of this name; the message lists those there are.
    """
    if not (file := shelf / f"{name}.safetensors").is_file():
        raise FileNotFoundError(f"{shelf} holds no network {name!r}; there are: {', '.join(names(shelf))}")
    return file


def record_of(file: Path) -> tuple[Record, int]:
    """The record to which weights belong, and which of its seeds they are.

    The book's networks are those of the book's records, wherever one's own are kept.

    Raises:
        ValueError: the file does not say which record it belongs to.
        FileNotFoundError: that record is not there.
    """
    words = weights.about(file)
    if not {"record", "seed"} <= set(words):
        raise ValueError(f"{file} does not say which record it belongs to, so its network cannot be built")
    places = [folder / f"{words['record']}.json" for folder in (lab.folder(), SHELF.parent / "records")]
    source = next((place for place in places if place.exists()), None)
    if source is None:
        missing = " and no ".join(dict.fromkeys(map(str, places)))
        raise FileNotFoundError(f"no {missing}: the record of {file}, which says how it is built")
    return lab.read(source), int(words["seed"])


def network(name: str) -> Classifier:
    """A network in eval mode; its parameters are fixed."""
    record, seed = record_of(place(name))
    return opened(record.spec, seed, place(name)).requires_grad_(False)


def images(name: str, count: int) -> Split:
    """The first test images of the data that a network was trained on."""
    record, _ = record_of(place(name))
    return dataset(*data_of(record.spec)).test.first(count)
