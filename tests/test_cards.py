"""Model cards tell what the records hold, and the networks are what their cards say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mmc import experiments, lab, networks, weights
from mmc.attacks import correct
from mmc.cards import card, cards
from mmc.data import load
from mmc.lab import Evaluation, Spec
from mmc.recipe import Recipe
from mmc.shares import wilson
from mmc.shelf import SHELF, names


def test_every_network_of_the_book_has_a_card_that_names_its_record() -> None:
    text = cards()
    assert names() and sum(file.stat().st_size for file in SHELF.glob("*.safetensors")) <= 8 * 2**20
    for name in names():
        assert f"## {name}\n" in text
        words = weights.about(SHELF / f"{name}.safetensors")
        (record,) = lab.load(f"{words['record']}.json")
        assert int(words["seed"]) in record.seeds and words["record"] in text


def test_a_card_tells_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv(networks.RUNS, str(tmp_path / "runs"))
    recipe = Recipe(epochs=2, batch_size=64, optimizer="adam", learning_rate=1e-3)
    evaluation = Evaluation((0.1,), 3, num_attacked=40, suite=("quick",), radii=(0.2,))
    rule = {"rule": "AT", "rule_options": (("epsilon", 0.1), ("steps", 2))}
    spec = Spec("trial", "smoke", "digits", "mlp", "MMC", recipe=recipe, evaluation=evaluation, **rule)
    record = experiments.record(spec, (3,))
    model = experiments.opened(spec, 3, experiments.net_folder(spec, 3) / "weights.safetensors")
    about = {"record": spec.place, "seed": "3", "precision": "16 bits"}
    weights.save(tmp_path / "mine.safetensors", model, half=True, about=about)
    text = card("mine", tmp_path)
    (run,) = record.runs
    for said in (
        f"{run['values']['clean']:.1%} of {record.data['test']:,} test images",
        "AT (epsilon 0.1, steps 2)",
        f"worst case at 0.1 | {run['values']['robust']['0.1']['worst case']:.1%} of 40",
        f"worst case, L-inf 0.2 | {run['values']['suite']['worst']['L-inf 0.2']['accuracy']:.1%} of 40",
        f"{sum(value.numel() for value in model.state_dict().values()):,} numbers",
        run["made"]["commit"],
    ):
        assert said in text
    weights.save(tmp_path / "stray.safetensors", model)
    with pytest.raises(ValueError, match="does not say which record it belongs to"):
        card("stray", tmp_path)


@pytest.mark.parametrize("name", names())
def test_the_network_on_the_shelf_is_the_one_that_was_recorded(name: str) -> None:
    """Its accuracy on a few hundred test images lies in the interval around the recorded one."""
    words = weights.about(SHELF / f"{name}.safetensors")
    (record,) = lab.load(f"{words['record']}.json")
    if "MMC_DATA" not in os.environ:
        pytest.skip("the images are not here: MMC_DATA names no folder of them, and a test downloads nothing")
    data = load(record.spec.dataset, variant=record.spec.variant)
    (run,) = [run for run in record.runs if run["seed"] == int(words["seed"])]
    model = networks.opened(record.spec, int(words["seed"]), SHELF / f"{name}.safetensors")
    test, count = data.test.first(300), 300
    with torch.no_grad():
        hits = int(correct(model, test.x, test.y).sum())
    low, high = wilson(hits, count, 0.999)
    assert low <= run["values"]["clean"] <= high
