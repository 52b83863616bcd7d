"""Rank correlations within blocks: against SciPy, blind to what blocks differ by, and no more than chance on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmc import lab
from mmc.claims import density_robustness as measured

sizes = st.lists(st.integers(3, 9), min_size=1, max_size=4)


def drawn(counts: list[int], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng, blocks = np.random.default_rng(seed), np.repeat(range(len(counts)), counts)
    return rng.normal(size=len(blocks)), rng.normal(size=len(blocks)), blocks


@given(counts=sizes, seed=st.integers(0, 999))
def test_it_is_the_mean_of_spearmans_over_blocks(counts: list[int], seed: int) -> None:
    x, y, blocks = drawn(counts, seed)
    parts = [stats.spearmanr(x[blocks == b], y[blocks == b]).statistic for b in range(len(counts))]
    found = measured.rank_correlation(x, y, blocks)
    assert found == pytest.approx(np.average(parts, weights=counts))
    assert measured.rank_correlation(x, x, blocks) == pytest.approx(1)
    assert measured.rank_correlation(x, -y, blocks) == pytest.approx(-found)
    moved = y + 100 * blocks  # what a whole block has more of is no matter
    assert measured.rank_correlation(np.exp(x), moved, blocks) == pytest.approx(found)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999))
def test_a_perfect_order_is_no_chance_and_its_reverse_is(seed: int) -> None:
    x, _, blocks = drawn([6, 6], seed)
    above, below = measured.chance_of(x, 2 * x, blocks, draws=500)
    assert above == pytest.approx(1 / 501) and below == 1
    assert measured.chance_of(x, -x, blocks, draws=500) == pytest.approx((below, above))


def test_where_nothing_goes_with_anything_chance_is_spread_evenly() -> None:
    found = [measured.chance_of(*drawn([6, 6, 6], seed), draws=200)[0] for seed in range(300)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_every_recorded_network_is_counted_once() -> None:
    records = measured.records()
    assert len({record.spec.slug for record in records}) == len(records)
    table = measured.columns(records)
    assert len({len(column) for column in table.values()}) == 1
    assert len(table["seed"]) == sum(len(record.seeds) for record in records)


def test_without_records_it_says_what_makes_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    with pytest.raises(ValueError, match="mmc sweep first-experiment --scale laptop"):
        measured.records()
