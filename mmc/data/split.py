"""What a data set is: three parts that never meet, pixels kept as the bytes they were published as."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num, UInt8
    from torch import Tensor

SPLIT_SEED = 20200426


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, on any device.

    Attributes:
        pixels: uint8 from 0 to `levels`, or floats in [0, 1].
        y: labels, from 0.
        levels: the byte that stands for 1; floats have none, there it says nothing.

    Raises:
        ValueError: pixels of another type or shape, not one label per image, or levels outside 1 to 255.
    """

    pixels: UInt8[Tensor, "N C H W"] | Float[Tensor, "N C H W"]
    y: Int[Tensor, " N"]
    levels: int = 255

    def __post_init__(self) -> None:
        if not (self.pixels.dtype == torch.uint8 or self.pixels.is_floating_point()) or self.pixels.dim() != 4:
            raise ValueError(
                f"pixels must be uint8 or floats (N, C, H, W), not {self.pixels.dtype} {tuple(self.pixels.shape)}"
            )
        if self.y.shape != self.pixels.shape[:1]:
            raise ValueError(f"{len(self.pixels)} images need as many labels, not shape {tuple(self.y.shape)}")
        if not 1 <= self.levels <= 255:
            raise ValueError(f"levels must be 1 to 255, not {self.levels}")

    @property
    def x(self) -> Float[Tensor, "N C H W"]:
        """All images in [0, 1]: made anew at each access where pixels are bytes, the pixels themselves where floats."""
        return self.images(self.pixels)

    def images(self, pixels: Num[Tensor, "n C H W"]) -> Float[Tensor, "n C H W"]:
        """Some of this split's pixels as float32 in [0, 1]; floats come back as they are.

        Every device gives the same bits: the divisor is a tensor, because CUDA multiplies by the rounded reciprocal of
        a number.
        """
        if pixels.is_floating_point():
            return pixels
        return pixels.float().div_(torch.full((), float(self.levels), device=pixels.device))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: slice | Tensor) -> Split:
        """The examples at a slice, or at a tensor of positions or of truth values."""
        return dataclasses.replace(self, pixels=self.pixels[index], y=self.y[index])

    def first(self, count: int) -> Split:
        """The first `count` examples, or all where there are fewer."""
        return self[:count]

    def to(self, device: str | torch.device) -> Split:
        """The same examples on a device."""
        return dataclasses.replace(self, pixels=self.pixels.to(device), y=self.y.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three disjoint parts.

    Attributes:
        name: what `mmc.data.load` was asked for.
        num_classes: L; labels are 0 to L - 1.
        train, validation, test: validation images are taken out of the publisher's training images, never its test's.
        official: are the files the publisher's, by their md5?
        classes: the name of each class, where it has one.
        groups: the super-class of each class, where there are any: the 20 of CIFAR-100.
    """

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split
    official: bool = True
    classes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return tuple(self.train.pixels.shape[1:])

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the training pixels in [0, 1], one per channel."""
        return tuple(mean for mean, _ in self._moments)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the training pixels in [0, 1], one per channel."""
        return tuple(std for _, std in self._moments)

    @cached_property
    def _moments(self) -> list[tuple[float, float]]:
        return [_mean_and_std(self.train, channel) for channel in range(self.shape[0])]

    def to(self, device: str | torch.device) -> Dataset:
        """The same data set on a device."""
        return self.map_parts(lambda split: split.to(device))

    def map_parts(self, change: Callable[[Split], Split], **others: Any) -> Dataset:
        """The data set with each part changed, and other fields set as named."""
        parts = {part: change(getattr(self, part)) for part in ("train", "validation", "test")}
        return dataclasses.replace(self, **parts, **others)

    def digest(self) -> str:
        """A short SHA-256 over every pixel as it is stored, every label, shapes and levels, in order."""
        sha = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            sha.update(f"{split.pixels.dtype} {tuple(split.pixels.shape)} {split.levels};".encode())
            for tensor in (split.pixels, split.y):
                sha.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return sha.hexdigest()[:20]


def carve(pixels: Sequence[np.ndarray], y: np.ndarray, sizes: Sequence[int], levels: int = 255) -> list[Split]:
    """Disjoint random parts by the fixed seed: one per size, then what is left, each in a fixed order.

    Args:
        pixels: uint8 images (n, C, H, W) in blocks, taken together; each block is copied once, to where it belongs.
        y: the label of each image (N,).
        sizes: of all parts but the last.
        levels: the byte that stands for 1.
    """
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(SPLIT_SEED))
    places = order.argsort().numpy()
    # NumPy's memory, because it asks for huge pages: filling it takes a fifth of the time that torch's takes.
    mixed = np.empty((len(y), *pixels[0].shape[1:]), np.uint8)
    for block, where in zip(pixels, np.split(places, np.cumsum([len(block) for block in pixels])[:-1]), strict=True):
        mixed[where] = block
    parts = [*sizes, len(y) - sum(sizes)]
    labels = torch.from_numpy(y)[order].long()
    return [
        Split(*part, levels) for part in zip(torch.from_numpy(mixed).split(parts), labels.split(parts), strict=True)
    ]


def _mean_and_std(split: Split, channel: int) -> tuple[float, float]:
    """Of one channel, in float64: bytes are counted, so no float copy of a large training set is made."""
    pixels = split.pixels[:, channel]
    if pixels.is_floating_point():
        return float(pixels.double().mean()), float(pixels.double().std())
    counts = torch.bincount(pixels.flatten(), minlength=256).double().cpu()
    values = split.images(torch.arange(256, dtype=torch.uint8)).double()
    mean = (counts * values).sum() / counts.sum()
    return float(mean), float((counts * (values - mean).square()).sum().div(counts.sum() - 1).sqrt())
