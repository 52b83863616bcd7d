"""Two things side by side in one run, and the ratio first.

Machines are noisy and drift, so a time alone says little. Here two ways take turns, A B B A, and what is reported is
the median of the ratios of neighbours, with their range.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Ratio:
    """How two ways compare.

    Attributes:
        name: what is compared, as a sentence's start: "our step over the plain loop's".
        median: of the ratios of neighbouring measurements.
        low: the smallest of them.
        high: the largest of them.
        pairs: how many.
        first: median seconds (or MiB) of the first way.
        second: of the second.
        unit: of these two.
        goal: what the ratio shall not exceed; 0 where there is none.
    """

    name: str
    median: float
    low: float
    high: float
    pairs: int
    first: float
    second: float
    unit: str = "s"
    goal: float = 0.0

    @property
    def met(self) -> bool:
        """Is the goal met in the median? Where there is none, it is."""
        return not self.goal or self.median <= self.goal


def turns(pairs: int) -> Iterator[tuple[int, int]]:
    """Which way is measured in which pair: 0, 1, then 1, 0, and so on; who goes first takes turns, too."""
    for pair in range(pairs):
        yield from ((pair, way) for way in ((0, 1) if pair % 2 == 0 else (1, 0)))


def timed(run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    """Seconds that a function took, by a clock, and what it returned; a GPU is waited for."""
    _wait()
    started = clock()
    found = run()
    _wait()
    return clock() - started, found


def compare(
    name: str,
    first: Callable[[], Any],
    second: Callable[[], Any],
    *,
    pairs: int = 7,
    calls: int = 1,
    goal: float = 0.0,
) -> Ratio:
    """Time two functions in turns, after one unmeasured call of each.

    Args:
        name: see `Ratio`.
        first: the way whose time is divided.
        second: the way it is divided by.
        pairs: how many measurements of each.
        calls: in a row in each measurement, which is the time of one.
        goal: see `Ratio`.
    """
    for way in (first, second):
        way()
    times: list[list[float]] = [[], []]
    for _, way in turns(pairs):
        times[way].append(timed(repeated((first, second)[way], calls))[0] / calls)
    return ratio(name, *times, goal=goal)


def ratio(name: str, first: Sequence[float], second: Sequence[float], unit: str = "s", goal: float = 0.0) -> Ratio:
    """The ratio of measurements that were taken side by side."""
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    middle = [statistics.median(values) for values in (ratios, first, second)]
    return Ratio(name, middle[0], min(ratios), max(ratios), len(ratios), middle[1], middle[2], unit, goal)


def repeated(step: Callable[[], None], times: int) -> Callable[[], None]:
    """Several steps as one function."""

    def run() -> None:
        for _ in range(times):
            step()

    return run


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
