"""Images and labels: scikit-learn's digits, MNIST, CIFAR-10 and CIFAR-100, from a folder or from their publishers.

Pixels stay the bytes they were published as; `Split.x` gives images (N, C, H, W) as floats in [0, 1]. The validation
images come out of the training images by a fixed seed; the test images are touched by nothing but the final
measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmc.data import cifar, digits, mnist
from mmc.data.mnist import read_idx
from mmc.data.publisher import FOLDER, UNOFFICIAL
from mmc.data.split import Dataset, Split, carve
from mmc.data.unpickle import read_pickle
from mmc.data.variants import VARIANTS, long_tailed, train_size, two_classes, vary

#: Every data set by name.
DATASETS: dict[str, Callable[[Path | None, bool], Dataset]] = {
    "digits": digits.load,
    "mnist": mnist.load,
    "cifar10": cifar.load_10,
    "cifar100": cifar.load_100,
}
#: What they are called in a sentence.
TITLES = {"digits": "digits", "mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def load(
    name: str,
    folder: Path | None = None,
    allow_unofficial: bool = False,
    variant: Sequence[tuple[str, Any]] = (),
) -> Dataset:
    """Load a data set by name.

    Args:
        name: a key of `DATASETS`.
        folder: where its files are, in the publisher's layout; by default what MMC_DATA names, else a cache
            that is filled from the publisher.
        allow_unofficial: load files whose md5 is not the publisher's; the data set says so. MMC_ALLOW_UNOFFICIAL=1
            does the same.
        variant: pairs of a name in `VARIANTS` and a value, see `vary`.

    Raises:
        ValueError: no such data set or variant, or files that are damaged or not the publisher's.
        FileNotFoundError: files are missing; the message says where they were sought and how to get them.
    """
    if name not in DATASETS:
        raise ValueError(f"no data set {name!r}; there are: {', '.join(DATASETS)}")
    return vary(DATASETS[name](folder, allow_unofficial), variant)


__all__ = [
    "DATASETS",
    "FOLDER",
    "UNOFFICIAL",
    "VARIANTS",
    "Dataset",
    "Split",
    "carve",
    "load",
    "long_tailed",
    "read_idx",
    "read_pickle",
    "train_size",
    "two_classes",
    "vary",
]
