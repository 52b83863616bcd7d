"""How sure one may be of a share that was counted: Wilson's interval."""

from __future__ import annotations

import math
from statistics import NormalDist


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
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    share, z = hits / count, NormalDist().inv_cdf((1 + confidence) / 2)
    middle, shrink = share + z**2 / (2 * count), 1 + z**2 / count
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, (middle - half) / shrink), min(1.0, (middle + half) / shrink)
