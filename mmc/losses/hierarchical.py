"""MMC on hierarchical centers: classes of one super-class are near each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mmc.centers import hierarchical_centers
from mmc.losses.fixed import MMC


def consecutive_groups(num_classes: int) -> list[int]:
    """ceil(sqrt(L)) groups of consecutive classes, as equal as they can be: these need the fewest dimensions.

    A stand-in where no super-classes are known; it says nothing about the classes.
    """
    num_groups = math.ceil(math.sqrt(num_classes))
    return [label * num_groups // num_classes for label in range(num_classes)]


class MMCHier(MMC):
    """MMC on hierarchical centers, a simplex over super-classes and a smaller one around each (Pang et al. 2020).

    The norms of the two levels are not in the paper as far as we know it; 10 and 1 are those of a public
    realisation for CIFAR-100.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= (K - 1) + (largest group - 1).
        groups: the super-class of each class, 0, ..., K - 1; `consecutive_groups` where not given.
        norm: of the super-centers, > 0.
        sub_norm: distance of a center from its super-center, > 0.

    Raises:
        ValueError: not one group per class, fewer than two groups, or too few dimensions.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        groups: Sequence[int] | None = None,
        norm: float = 10.0,
        sub_norm: float = 1.0,
    ) -> None:
        groups = consecutive_groups(num_classes) if groups is None else groups
        if len(groups) != num_classes:
            raise ValueError(f"groups must name a super-class for each of {num_classes} classes, got {len(groups)}")
        centers = hierarchical_centers(groups, feature_dim, norm, sub_norm, dtype=torch.get_default_dtype())
        super().__init__(num_classes, feature_dim, norm, centers)
