"""Data sets with fewer images, fewer classes, or classes of unequal size: pure functions of the data set and a seed.

Only training images are taken away. A stronger variant keeps a subset of what a weaker one keeps with the same seed,
and what is kept keeps its order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mmc.data.split import SPLIT_SEED, Dataset, Split


def long_tailed(dataset: Dataset, ratio: float, seed: int = 0) -> Dataset:
    """Thin the training classes exponentially: class k keeps n_max * ratio ** (-k / (L - 1)) images.

    Validation and test stay as they are. Source: Cui et al., Class-balanced loss based on effective number of samples,
    CVPR 2019.

    Args:
        dataset: n_max is the size of its largest training class; a class that has fewer than its share keeps all.
        ratio: of the largest class to the smallest, >= 1.
        seed: decides which images stay.

    Raises:
        ValueError: ratio out of range, or fewer than two classes.
    """
    _check_ratio("long_tailed", ratio)
    if dataset.num_classes < 2:
        raise ValueError(f"a long tail needs at least two classes, not {dataset.num_classes}")
    largest = int(torch.bincount(dataset.train.y).max())
    last = dataset.num_classes - 1
    sizes = [max(1, round(largest * ratio ** (-label / last))) for label in range(dataset.num_classes)]
    return dataclasses.replace(dataset, train=_thinned(dataset.train, sizes, seed))


def two_classes(dataset: Dataset, first: int, second: int, ratio: float = 1.0, seed: int = 0) -> Dataset:
    """Keep two classes, with labels 0 and 1; of the second only 1 / ratio of its training images.

    Validation and test hold all their images of the two classes.

    Args:
        first, second: two different classes of the data set, in either order.
        ratio: >= 1.
        seed: decides which images stay.

    Raises:
        ValueError: no two classes of this data set, or ratio out of range.
    """
    _check_ratio("ratio", ratio)
    for label in (first, second):
        if type(label) is not int or not 0 <= label < dataset.num_classes:
            raise ValueError(f"two_classes takes classes from 0 to {dataset.num_classes - 1}, not {label!r}")
    if first == second:
        raise ValueError(f"two_classes takes two different classes, not {first} twice")

    def pair(split: Split) -> Split:
        chosen = split[(split.y == first) | (split.y == second)]
        return dataclasses.replace(chosen, y=(chosen.y == second).long())

    kept = {"num_classes": 2, "classes": dataset.classes, "groups": dataset.groups}
    kept |= {field: (kept[field][first], kept[field][second]) for field in ("classes", "groups") if kept[field]}
    found = dataset.map_parts(pair, **kept)
    size = int((found.train.y == 1).sum())
    sizes = [len(found.train) - size, max(1, round(size / ratio))]
    return dataclasses.replace(found, train=_thinned(found.train, sizes, seed))


def train_size(dataset: Dataset, size: int) -> Dataset:
    """Keep some of the training images, drawn by the fixed seed whatever their class.

    Args:
        size: how many, from 1 to all there are.

    Raises:
        ValueError: size out of range.
    """
    count = len(dataset.train)
    if type(size) is not int or not 1 <= size <= count:
        raise ValueError(f"train_size takes 1 to {count} images of {dataset.name}, not {size!r}")
    kept = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))[:size]
    return dataclasses.replace(dataset, train=_at(dataset.train, kept))


def vary(dataset: Dataset, variant: Sequence[tuple[str, Any]]) -> Dataset:
    """Apply variants by name, in their order.

    Args:
        variant: pairs of a name and a value: `("long_tailed", 100.0)`, `("two_classes", (3, 5))` with or without
            `("ratio", 10.0)` beside it, `("train_size", 5000)`.

    Raises:
        ValueError: an unknown variant, one named twice, or a value it does not take; the message says which.
    """
    if repeated := {name for name, _ in variant if [other for other, _ in variant].count(name) > 1}:
        raise ValueError(f"a variant is named once, not twice: {', '.join(sorted(repeated))}")
    values = dict(variant)
    if unknown := [name for name in values if name not in (*VARIANTS, "ratio")]:
        raise ValueError(f"no variant {unknown[0]!r}; there are: {', '.join(VARIANTS)}, and ratio beside two_classes")
    if "ratio" in values and "two_classes" not in values:
        raise ValueError("the variant ratio goes with two_classes; long_tailed takes its ratio as its value")
    ratio = values.pop("ratio", 1.0)
    for name, value in values.items():
        dataset = VARIANTS[name](dataset, value, ratio)
    return dataset


def _pair(dataset: Dataset, value: Any, ratio: float) -> Dataset:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"two_classes takes two classes as in (3, 5), not {value!r}")
    return two_classes(dataset, *value, ratio=ratio)


#: Every variant by name; it maps a data set, its value and a ratio to a data set.
VARIANTS: dict[str, Callable[[Dataset, Any, float], Dataset]] = {
    "long_tailed": lambda dataset, value, ratio: long_tailed(dataset, value),
    "two_classes": _pair,
    "train_size": lambda dataset, value, ratio: train_size(dataset, value),
}


def _check_ratio(name: str, ratio: Any) -> None:
    if type(ratio) not in (int, float) or not 1 <= ratio < math.inf:
        raise ValueError(f"{name} takes a finite number >= 1, not {ratio!r}")


def _thinned(split: Split, sizes: list[int], seed: int) -> Split:
    """At most so many images of each class, the first of one random order per class."""
    generator = torch.Generator().manual_seed(seed)
    labels, kept = split.y.cpu(), []
    for label, size in enumerate(sizes):
        found = (labels == label).nonzero().flatten()
        kept.append(found[torch.randperm(len(found), generator=generator)[:size]])
    return _at(split, torch.cat(kept))


def _at(split: Split, positions: torch.Tensor) -> Split:
    """The images at these positions, in the order they had."""
    return split[positions.sort().values.to(split.y.device)]
