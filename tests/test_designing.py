"""What foretells robustness over losses: one number for each loss, and a test that finds a law where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from mmc.claims import designing as measured
from mmc.losses import LOSSES


def test_there_is_one_number_for_each_loss() -> None:
    robust = measured.accuracies()
    assert len(robust) == len(LOSSES) and ((robust >= 0) & (robust <= 1)).all()
    for key in measured.PROPERTIES:
        assert len(measured.column(key)) == len(LOSSES) and np.isfinite(measured.column(key)).all()
    assert set(measured.column("stationary")) == {0.0, 1.0}


def test_an_unknown_property_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'charm'.*stationary, exponent, growth"):
        measured.column("charm")


def test_a_law_would_be_found_and_its_opposite_too(monkeypatch: pytest.MonkeyPatch) -> None:
    exponent = measured.column("exponent")
    noise = np.random.default_rng(0).normal(scale=0.01, size=len(exponent))
    for sign in (1, -1):
        monkeypatch.setattr(measured, "accuracies", lambda sign=sign: sign * exponent + noise)
        value, chance = measured.foretells("exponent", resamples=500)
        assert sign * value > 0.7 and chance < 0.01


def test_the_same_seed_draws_the_same_pairings() -> None:
    assert measured.foretells("growth", 200, seed=3) == measured.foretells("growth", 200, seed=3)
