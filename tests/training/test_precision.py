"""Sixteen bits where the machine has them, and a word before they are slow."""

from __future__ import annotations

import pytest
import torch

from mmc.recipe import PRECISIONS, Recipe
from mmc.training import precision


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("asked", PRECISIONS)
def test_a_word_is_said_only_where_sixteen_bits_are_asked_for_and_missing(
    monkeypatch: pytest.MonkeyPatch, has: bool, asked: str
) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda device: has)
    said = precision.advice(Recipe(precision=asked), "cpu")
    assert bool(said) == (asked == "bf16" and not has)
    assert not said or ("bf16" in said and "cpu" in said and "float32" in said)
    assert precision.fastest("cpu") in PRECISIONS
    assert (precision.fastest("cpu") == "bf16") is has


def test_a_torch_that_cannot_tell_is_taken_for_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not precision.has_bf16("cpu")
