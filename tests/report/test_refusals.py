"""A loss whose report would mean nothing is refused by name, and no other loss is."""

from __future__ import annotations

import pytest
import torch
from report_cases import REFUSED, Backwards, Power

from mmc.losses import ETF, LOSSES
from mmc.report import RefusedLossError, refuse, row


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_of_the_registry_is_refused(name: str) -> None:
    state, kind = torch.get_rng_state(), torch.get_default_dtype()
    assert refuse(name, LOSSES[name]) == []
    assert torch.get_rng_state().equal(state) and torch.get_default_dtype() == kind


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_every_fault_has_its_own_words(make: type) -> None:
    with pytest.raises(RefusedLossError, match=rf"(?s)^mine is refused: .*{REFUSED[make]}"):
        refuse("mine", make)


def test_a_decision_rule_that_turns_its_back_on_the_value_is_refused() -> None:
    with pytest.raises(RefusedLossError, match=r"value.. is lowest where logits.. prefers another class"):
        row("mine", Backwards)


def test_an_option_that_does_not_exist_is_told() -> None:
    with pytest.raises(RefusedLossError, match="unexpected keyword argument 'strength'"):
        refuse("SCE", LOSSES["SCE"], strength=2)


def test_a_gradient_that_is_not_that_of_the_value_is_noted_and_allowed() -> None:
    assert any("not that of its value" in note for note in refuse("ETF", ETF, constant_length=True))
    assert refuse("power", Power, power=3.0) == []
