"""Wilson's interval: against SciPy, and by what defines its ends."""

from __future__ import annotations

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmc.shares import wilson


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
