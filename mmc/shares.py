"""How sure one may be of a share that was counted, and of a difference of two."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def deviations(confidence: float = 0.95) -> float:
    """How many standard deviations to either side of a normal law's mean hold this share of it: 1.96 for 95 %.

    Args:
        confidence: in (0, 1).

    Raises:
        ValueError: it is not.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The shares p with |p - hits / count| <= z sqrt(p (1 - p) / count): those that the count does not speak against.

    It tells how far the share among all images of this kind may lie from the share among those that were counted. It
    never leaves [0, 1], and has a width at none and at all too. Source: Wilson 1927.

    Args:
        hits: from 0 to count.
        count: >= 1.
        confidence: in (0, 1); z is the normal quantile that belongs to it.

    Raises:
        ValueError: a number is out of its range.
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"hits must be from 0 to count, and count at least 1, not {hits} of {count}")
    share, z = hits / count, deviations(confidence)
    middle, shrink = share + z**2 / (2 * count), 1 + z**2 / count
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, (middle - half) / shrink), min(1.0, (middle + half) / shrink)


def paired_difference(
    first: Float[np.ndarray, " N"], second: Float[np.ndarray, " N"], confidence: float = 0.95
) -> tuple[float, float]:
    """The mean of first - second on the same images, and the half-width of its interval: mean ± half-width.

    The images are what chance drew. What both networks have right, or both wrong, adds nothing to the width, so it is
    narrower than for two different sets of images wherever the networks tend to agree.

    Args:
        first: for each image 1 where it stands and 0 where not, or a mean of those over seeds.
        second: likewise, for the same images.
        confidence: in (0, 1).

    Raises:
        ValueError: not the same images, none at all, or a confidence out of its range.
    """
    gaps = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if np.shape(first) != np.shape(second) or gaps.ndim != 1 or not gaps.size:
        raise ValueError(f"a difference is paired over the same images, not {np.shape(first)} and {np.shape(second)}")
    return float(gaps.mean()), deviations(confidence) * float(gaps.std()) / math.sqrt(gaps.size)
