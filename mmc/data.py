"""Images and labels: scikit-learn's embedded digits, and MNIST from a folder or from its publisher.

Pixels are floats in [0, 1], images (N, C, H, W). The validation images come out of the training images by a fixed
seed; the test images are touched by nothing but the final measurement.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

#: The environment variable that names a folder with data sets in their publishers' layout.
FOLDER = "MMC_DATA"
SPLIT_SEED = 20200426

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


@dataclass(frozen=True)
class Split:
    """Images x (N, C, H, W) in [0, 1] and labels y (N,)."""

    x: Float[Tensor, "N C H W"]
    y: Int[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.y)

    def first(self, count: int) -> Split:
        """The first `count` examples, or all where there are fewer."""
        return Split(self.x[:count], self.y[:count])

    def to(self, device: str) -> Split:
        """The same examples on a device."""
        return Split(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Dataset:
    """A data set in three disjoint parts.

    Attributes:
        official: are the files the publisher's, by their md5?
    """

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split
    official: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return tuple(self.train.x.shape[1:])

    @property
    def mean(self) -> float:
        """Mean of the training pixels."""
        return float(self.train.x.double().mean())

    @property
    def std(self) -> float:
        """Standard deviation of the training pixels."""
        return float(self.train.x.double().std())

    def to(self, device: str) -> Dataset:
        """The same data set on a device."""
        moved = {part: getattr(self, part).to(device) for part in ("train", "validation", "test")}
        return dataclasses.replace(self, **moved)

    def digest(self) -> str:
        """A short SHA-256 over every pixel and label, in order."""
        sha = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            sha.update(split.x.cpu().numpy().tobytes() + split.y.cpu().numpy().tobytes())
        return sha.hexdigest()[:20]


def load(name: str, folder: Path | None = None, allow_unofficial: bool = False) -> Dataset:
    """Load a data set by name.

    Args:
        name: a key of `DATASETS`.
        folder: where its files are, in the publisher's layout; by default what MMC_DATA names, else a cache
            that is filled from the publisher.
        allow_unofficial: load files whose md5 is not the publisher's; the data set says so.

    Raises:
        ValueError: no such data set, or files that are damaged or not the publisher's.
        FileNotFoundError: files are missing; the message says where they were sought and how to get them.
    """
    if name not in DATASETS:
        raise ValueError(f"no data set {name!r}; there are: {', '.join(DATASETS)}")
    return DATASETS[name](folder, allow_unofficial)


def carve(x: Tensor, y: Tensor, sizes: tuple[int, ...]) -> list[Split]:
    """Disjoint random parts by the fixed seed: one per size, then what is left, each in a fixed order."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(SPLIT_SEED))
    parts = order.split([*sizes, len(y) - sum(sizes)])
    return [Split(x[part].contiguous(), y[part].contiguous()) for part in parts]


def _digits(folder: Path | None, allow_unofficial: bool) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images / 16).float()[:, None]
    test, validation, train = carve(x, torch.from_numpy(digits.target).long(), (500, 200))
    return Dataset("digits", 10, train, validation, test)


def _mnist(folder: Path | None, allow_unofficial: bool) -> Dataset:
    files = {name: _mnist_file(name, folder) for name in MNIST_MD5}
    official = True
    for name, path in files.items():
        if _md5(path) != MNIST_MD5[name]:
            official = False
            if not allow_unofficial:
                raise ValueError(
                    f"{path} has md5 {_md5(path)}, the publisher's has {MNIST_MD5[name]}: it is damaged or altered. "
                    f"Delete it and fetch it again from {MNIST_URL}{name}, or load with allow_unofficial=True."
                )
    parts = [read_idx(path) for path in files.values()]
    x, test_x = (torch.from_numpy(part).float().div(255)[:, None] for part in parts[::2])
    y, test_y = (torch.from_numpy(part).long() for part in parts[1::2])
    validation, train = carve(x, y, (min(5000, len(y) // 10),))
    return Dataset("mnist", 10, train, validation, Split(test_x, test_y), official)


def _mnist_file(name: str, folder: Path | None) -> Path:
    folder = folder or (Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
    if folder is not None:
        path = Path(folder) / "MNIST" / "raw" / name
        if not path.exists():
            raise FileNotFoundError(
                f"MNIST: no file {path}. Put the four .gz files of {MNIST_URL} into {path.parent}, "
                f"or unset {FOLDER} to have them downloaded."
            )
        return path
    import pooch

    cache = Path(pooch.os_cache("mmc")) / "MNIST" / "raw"
    try:
        return Path(pooch.retrieve(MNIST_URL + name, f"md5:{MNIST_MD5[name]}", fname=name, path=cache))
    except Exception as error:
        raise FileNotFoundError(
            f"MNIST: could not download {MNIST_URL}{name} into {cache} ({error}). Without a network, set {FOLDER} to a "
            f"folder that holds MNIST/raw/{name}."
        ) from error


def read_idx(path: Path) -> np.ndarray:
    """Read one gzipped idx file of unsigned bytes.

    Raises:
        ValueError: the file is cut off or is no idx file; the message names it.
    """
    try:
        with gzip.open(path) as file:
            data = file.read()
        zero, kind, rank = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and fetch it again") from error
    if (zero, kind) != (0, 8) or len(data) != 4 + 4 * rank + int(np.prod(shape)):
        raise ValueError(f"{path} is not an idx file of bytes with shape {shape}: delete it and fetch it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


#: Every data set by name.
DATASETS: dict[str, Callable[[Path | None, bool], Dataset]] = {"digits": _digits, "mnist": _mnist}
