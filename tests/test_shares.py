"""Wilson's interval and paired differences: against SciPy, and by what defines them."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmc.shares import paired_difference, wilson


@given(count=st.integers(1, 20_000), part=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_interval_is_wilsons(count: int, part: float, confidence: float) -> None:
    hits = round(part * count)
    low, high = wilson(hits, count, confidence)
    expected = stats.binomtest(hits, count).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= hits / count + 1e-12 and hits / count - 1e-12 <= high <= 1
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for end in (low, high):  # the count lies exactly z standard errors from each end
        assert abs(end - hits / count) == pytest.approx(z * (end * (1 - end) / count) ** 0.5, abs=1e-6)
    assert wilson(count - hits, count, confidence) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2), "not 3 of 2"),
        ((-1, 2), "not -1 of 2"),
        ((0, 0), "not 0 of 0"),
        ((1, 2, 1.0), "confidence must lie between 0 and 1, not 1.0"),
    ],
)
def test_bad_input_is_refused_by_name(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wilson(*arguments)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=300))
def test_a_paired_difference_is_that_of_the_discordant_images(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    gap, width = paired_difference(first, second)
    only_first, only_second = np.mean(first > second), np.mean(first < second)
    assert gap == pytest.approx(only_first - only_second)
    expected = (only_first + only_second - gap**2) / len(pairs)
    assert width == pytest.approx(NormalDist().inv_cdf(0.975) * max(expected, 0) ** 0.5, abs=1e-7)
    assert paired_difference(second, first) == pytest.approx((-gap, width))
    if only_first + only_second:
        low, high = stats.norm.interval(0.95, gap, (first - second).std() / len(pairs) ** 0.5 or 1e-300)
        assert (gap - width, gap + width) == pytest.approx((low, high), abs=1e-7)


def test_networks_that_agree_are_told_apart_on_fewer_images() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(5000) < 0.5
    second = np.where(rng.random(5000) < 0.1, rng.random(5000) < 0.5, first)
    _, paired = paired_difference(first, second)
    _, separate = paired_difference(first, rng.permutation(second))
    assert paired < separate / 2


@pytest.mark.parametrize("pair", [([1.0, 0.0], [1.0]), ([], []), ([[1.0]], [[0.0]])])
def test_what_is_not_paired_is_refused(pair: tuple) -> None:
    with pytest.raises(ValueError, match="paired over the same images"):
        paired_difference(*map(np.array, pair))
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, not 1"):
        paired_difference(np.ones(2), np.ones(2), 1)
