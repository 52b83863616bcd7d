"""MNIST: 28 by 28 gray digits, and the idx files they come in.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits, 1998.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from mmc.data.publisher import Publisher, read
from mmc.data.split import Dataset, Split, carve

MNIST = Publisher(
    "MNIST",
    "MNIST/raw",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)


def load(folder: Path | None = None, allow_unofficial: bool = False) -> Dataset:
    """MNIST, (1, 28, 28): 55,000 images to train, 5,000 to validate, 10,000 to test.

    Raises:
        ValueError, FileNotFoundError: see `mmc.data.load`.
    """
    files = list(read(MNIST, folder, allow_unofficial))
    arrays = [read_idx(file.path, file.data) for file in files]
    for images, labels, file in zip(arrays[::2], arrays[1::2], files[::2], strict=True):
        if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
            raise ValueError(
                f"{file.path} and its labels do not fit: images {images.shape}, labels {labels.shape} up to "
                f"{labels.max(initial=0)}; delete both and fetch them again from {MNIST.url}"
            )
    pixels, y, test_pixels, test_y = arrays
    validation, train = carve([pixels[:, None]], y, (min(5000, len(y) // 10),))
    test = Split(torch.from_numpy(test_pixels)[:, None], torch.from_numpy(test_y).long())
    official = all(file.official for file in files)
    return Dataset("mnist", 10, train, validation, test, official, tuple("0123456789"))


def read_idx(path: Path, content: bytes | None = None) -> np.ndarray:
    """Read one gzipped idx file of unsigned bytes.

    Args:
        path: the file, also for messages.
        content: what it holds, where it has been read before.

    Raises:
        ValueError: the file is cut off or is no idx file; the message names it.
    """
    try:
        data = gzip.decompress(path.read_bytes() if content is None else content)
        zero, kind, rank = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and fetch it again") from error
    if (zero, kind) != (0, 8) or len(data) != 4 + 4 * rank + int(np.prod(shape, dtype=object)):
        raise ValueError(f"{path} is not an idx file of bytes with shape {shape}: delete it and fetch it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()
