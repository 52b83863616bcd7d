"""CIFAR-10 and CIFAR-100: 32 by 32 color photographs in 10 classes, or in 100 that form 20 super-classes.

Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmc.data.publisher import Contents, Publisher, read
from mmc.data.split import Dataset, Split, carve
from mmc.data.unpickle import read_pickle

#: Channels, height and width of an image; it is stored in this order, so nothing is moved.
SHAPE = (3, 32, 32)
CIFAR10 = Publisher(
    "CIFAR-10",
    "cifar-10-batches-py",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    archive_md5="c58f30108f718f92721af3b95e74349a",
)
CIFAR100 = Publisher(
    "CIFAR-100",
    "cifar-100-python",
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    {
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "meta": "7973b15100ade9c7d40fb424638fde48",
    },
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
)


def load_10(folder: Path | None = None, allow_unofficial: bool = False) -> Dataset:
    """CIFAR-10, (3, 32, 32): 45,000 images to train, 5,000 to validate, 10,000 to test.

    Raises:
        ValueError, FileNotFoundError: see `mmc.data.load`.
    """
    *batches, meta = [_File(file) for file in read(CIFAR10, folder, allow_unofficial)]
    return _dataset("cifar10", batches, "labels", meta.names("label_names", 10), meta.official)


def load_100(folder: Path | None = None, allow_unofficial: bool = False) -> Dataset:
    """CIFAR-100 with its fine labels, (3, 32, 32): 45,000 images to train, 5,000 to validate, 10,000 to test.

    Raises:
        ValueError, FileNotFoundError: see `mmc.data.load`; also where a class lies in two super-classes.
    """
    *batches, meta = [_File(file) for file in read(CIFAR100, folder, allow_unofficial)]
    classes, supers = meta.names("fine_label_names", 100), meta.names("coarse_label_names", 20)
    groups = _groups(batches, classes, supers)
    return _dataset("cifar100", batches, "fine_labels", classes, meta.official, groups)


def _dataset(
    name: str, batches: list[_File], key: str, classes: tuple[str, ...], official: bool, groups: tuple[int, ...] = ()
) -> Dataset:
    """The parts: the last batch is the test set."""
    images = [batch.images() for batch in batches]
    labels = [batch.labels(key, len(classes)) for batch in batches]
    y = np.concatenate(labels[:-1])
    validation, train = carve(images[:-1], y, (min(5000, len(y) // 10),))
    test = Split(torch.from_numpy(images[-1].copy()), torch.from_numpy(labels[-1]))
    official = official and all(batch.official for batch in batches)
    return Dataset(name, len(classes), train, validation, test, official, classes, groups)


def _groups(batches: list[_File], classes: tuple[str, ...], supers: tuple[str, ...]) -> tuple[int, ...]:
    """The super-class of each class, which all images of a class must agree on."""
    fine = np.concatenate([batch.labels("fine_labels", len(classes)) for batch in batches])
    coarse = np.concatenate([batch.labels("coarse_labels", len(supers)) for batch in batches])
    found: dict[int, int] = {}
    for pair in np.unique(fine * len(supers) + coarse).tolist():
        label, group = divmod(pair, len(supers))
        if found.setdefault(label, group) != group:
            raise ValueError(
                f"{batches[0].path.parent}: class {classes[label]!r} lies in the super-classes "
                f"{supers[found[label]]!r} and {supers[group]!r}; fetch {CIFAR100.url} again"
            )
    if missing := [name for label, name in enumerate(classes) if label not in found]:
        raise ValueError(f"{batches[0].path.parent}: no image of {', '.join(missing)}; fetch {CIFAR100.url} again")
    return tuple(found[label] for label in range(len(classes)))


class _File:
    """One of the publisher's pickles, with what it must hold checked as it is asked for."""

    def __init__(self, file: Contents) -> None:
        self.path, self.official = file.path, file.official
        self.fields = read_pickle(file.path, file.data)

    def images(self) -> np.ndarray:
        """(n, 3, 32, 32) bytes, read-only: as stored, all red, then all green, then all blue pixels, row by row."""
        found = self.fields.get("data")
        width = math.prod(SHAPE)
        if not isinstance(found, np.ndarray) or found.ndim != 2 or found.shape[1] != width:
            raise self._unfit(f"'data' must be bytes (n, {width}), not {_shown(found)}")
        return found.reshape(-1, *SHAPE)

    def labels(self, key: str, num_classes: int) -> np.ndarray:
        """(n,) int64 from 0 to num_classes - 1, one for each image."""
        found = self.fields.get(key)
        if not isinstance(found, list) or not all(type(label) is int for label in found):
            raise self._unfit(f"{key!r} must be a list of integers, not {_shown(found)}")
        if len(found) != len(self.images()):
            raise self._unfit(f"{len(found)} {key!r} for {len(self.images())} images")
        if found and not 0 <= min(found) <= max(found) < num_classes:
            raise self._unfit(f"{key!r} run from {min(found)} to {max(found)}, expected 0 to {num_classes - 1}")
        return np.array(found, np.int64)

    def names(self, key: str, count: int) -> tuple[str, ...]:
        """As many names as there are classes."""
        found = self.fields.get(key)
        if not isinstance(found, list) or len(found) != count or not all(isinstance(n, bytes | str) for n in found):
            raise self._unfit(f"{key!r} must be {count} names, not {_shown(found)}")
        return tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in found)

    def _unfit(self, problem: str) -> ValueError:
        return ValueError(f"{self.path} is not the publisher's: {problem}; delete it and fetch it again")


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    return f"shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__} of other content"
