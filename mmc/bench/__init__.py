"""Benchmarks: what things cost, always two ways side by side in one run, and the ratio first.

`mmc bench` prints the tables; `mmc bench --keep` also writes them to the book's records, where chapters read them.
"""

from __future__ import annotations

from mmc.bench.ratio import Ratio, compare
from mmc.bench.record import kept

__all__ = ["Ratio", "compare", "kept"]
