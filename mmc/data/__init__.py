"""Images and labels: scikit-learn's embedded digits, and MNIST from a folder or from its publisher.

Pixels stay the bytes they were published as; `Split.x` gives images (N, C, H, W) as floats in [0, 1]. The validation
images come out of the training images by a fixed seed; the test images are touched by nothing but the final
measurement.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mmc.data.split import Dataset, Split, carve

#: The environment variable that names a folder with data sets in their publishers' layout.
FOLDER = "MMC_DATA"

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


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


def _digits(folder: Path | None, allow_unofficial: bool) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
    test, validation, train = carve(pixels, torch.from_numpy(digits.target).long(), (500, 200), levels=16)
    return Dataset("digits", 10, train, validation, test, classes=tuple("0123456789"))


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
    x, test_x = (torch.from_numpy(part)[:, None] for part in parts[::2])
    y, test_y = (torch.from_numpy(part).long() for part in parts[1::2])
    validation, train = carve(x, y, (min(5000, len(y) // 10),))
    return Dataset("mnist", 10, train, validation, Split(test_x, test_y), official, tuple("0123456789"))


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

__all__ = ["DATASETS", "FOLDER", "Dataset", "Split", "carve", "load", "read_idx"]
