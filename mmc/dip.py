"""Hartigan's dip: how far a sample is from every distribution with one peak.

The dip is the least, over all unimodal distribution functions G, of the largest |F - G|, where F is the sample's own.
It needs no bandwidth and no bins, does not change when the values are shifted or scaled, and is at most 1/4. Source:
Hartigan and Hartigan 1985, The dip test of unimodality.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float


def _convex_touch(x: Float[np.ndarray, " k"], heights: Float[np.ndarray, " k"]) -> list[int]:
    """Where the greatest convex function below some points touches them, from the first to the last."""
    touch: list[int] = []
    for i in range(len(x)):
        while len(touch) > 1:
            a, b = touch[-2:]
            if (heights[b] - heights[a]) * (x[i] - x[a]) < (heights[i] - heights[a]) * (x[b] - x[a]):
                break
            touch.pop()
        touch.append(i)
    return touch


def dip(sample: Float[np.ndarray, " n"] | Sequence[float]) -> float:
    """Hartigan's dip of a sample.

    The interval that may hold the peak shrinks. On it lie the greatest convex minorant of F and its least concave
    majorant; where they are farthest apart the next interval begins and ends. What F is away from the minorant on its
    left and from the majorant on its right bounds the dip from below; when the two are no farther apart than that, it
    is the dip (twice: a curve may run in the middle).

    Args:
        sample: at least one finite number.

    Raises:
        ValueError: an empty sample, or a number that is not finite.
    """
    values = np.sort(np.asarray(sample, dtype=float).ravel())
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"the dip needs finite numbers, at least one, not {len(values)} of them: {values[-3:]}")
    x, counts = np.unique(values, return_counts=True)
    above = np.cumsum(counts) / len(values)  # F at each value, and just left of it
    below = above - counts / len(values)
    low, high, found = 0, len(x) - 1, 0.0
    while True:
        here = slice(low, high + 1)
        convex = low + np.array(_convex_touch(x[here], below[here]))
        concave = low + np.array(_convex_touch(x[here], -above[here]))
        under = np.interp(x[here], x[convex], below[convex])
        over = np.interp(x[here], x[concave], above[concave])
        apart = over - under
        at_convex, at_concave = apart[convex - low], apart[concave - low]
        if at_convex.max() > at_concave.max():
            left = convex[at_convex.argmax()]
            right = concave[concave >= left][0]
        else:
            right = concave[at_concave.argmax()]
            left = convex[convex <= right][-1]
        if max(at_convex.max(), at_concave.max()) <= found:
            return float(found / 2)
        # The peak itself may be a step of any height: there F is looked at from outside alone.
        outside = [
            0.0,
            *(above[low:left] - under[: left - low]),
            *(over[right + 1 - low :] - below[right + 1 : high + 1]),
        ]
        found = max(found, *outside)
        if (left, right) == (low, high):
            return float(found / 2)
        low, high = left, right


@functools.lru_cache(maxsize=8)
def _of_uniform(count: int, draws: int, seed: int) -> Float[np.ndarray, " draws"]:
    rng = np.random.default_rng([seed, count])
    return np.sort([dip(rng.random(count)) for _ in range(draws)])


def dip_p_value(sample: Float[np.ndarray, " n"] | Sequence[float], draws: int = 400, seed: int = 0) -> float:
    """How often a uniform sample of the same size dips at least as deep: the dip test's p-value, by simulation.

    The uniform distribution is, asymptotically, the hardest to tell from two peaks among those with one.

    Args:
        sample: see `dip`.
        draws: uniform samples, >= 1; the p-value is at least 1 / (draws + 1).
        seed: of these samples.
    """
    uniform, own = _of_uniform(len(np.ravel(sample)), draws, seed), dip(sample)
    return float((1 + (uniform >= own).sum()) / (1 + draws))
