"""Transfer as an experiment: sources are specs, trained from the next seed, and carriers climb on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from mmc import catalogue, experiments, lab, networks
from mmc.attacks import PRESETS, correct, margin
from mmc.attacks.verdicts import mask_of
from mmc.catalogue.job import DIGITS_NET
from mmc.lab import Evaluation, Spec

SOURCE = DIGITS_NET.with_changes(loss="SCE", epochs=2)
WATCHED = ("mim10-margin-8", "pgd10-ce-8", "pgd10-own-center-8")
SPEC = DIGITS_NET.with_changes(
    experiment="transfer",
    loss="MMC",
    epochs=2,
    evaluation=Evaluation(suite=WATCHED, radii=(0.1,), num_attacked=70, sources=(SOURCE,)),
)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv(networks.RUNS, str(tmp_path / "runs"))
    monkeypatch.delenv(lab.TRACE, raising=False)
    torch.set_num_threads(1)


def test_a_spec_with_sources_survives_json() -> None:
    text = json.dumps(dataclasses.asdict(SPEC))
    assert Spec.from_json(json.loads(text)) == SPEC
    for job in catalogue.jobs("transfer", "gpu"):
        assert Spec.from_json(json.loads(json.dumps(dataclasses.asdict(job.spec)))) == job.spec


def test_the_record_holds_what_crafting_by_hand_gives() -> None:
    """Images come from the source of the next seed; what does not apply to it is left out."""
    record = experiments.record(SPEC, (3,))
    found = record.runs[0]["values"]["transfer"]
    assert "suite" not in record.runs[0]["values"] and list(found[SOURCE.slug]) == [
        "mim10-margin-0.1",
        "pgd10-ce-0.1",
    ], "SCE has no centers"
    test = networks.dataset("digits").test.first(70)
    target, source = networks.fit(SPEC, 3)[0], networks.fit(SOURCE, 4)[0]
    right = correct(target, test.x, test.y)
    assert mask_of(found["clean"]["correct"], 70).equal(right)
    for preset in experiments.asked(SPEC.evaluation)[:2]:
        x_adv = experiments.climbing_on(preset)(source, test.x, test.y, seed=3)
        assert mask_of(found[SOURCE.slug][preset.slug]["correct"], 70).equal(right & correct(target, x_adv, test.y))
    assert (experiments.net_folder(SOURCE, 4) / "training.json").exists()


def test_a_source_of_the_targets_own_kind_is_another_network() -> None:
    twin = SPEC.with_changes(sources=(DIGITS_NET.with_changes(loss="MMC", epochs=2),))
    found = experiments.measure(twin, 0)["values"]["transfer"]
    own = experiments.attack_by_name(networks.fit(SPEC, 0)[0], networks.dataset("digits"), SPEC.evaluation)
    [(name, attacks)] = [(name, part) for name, part in found.items() if name not in ("clean", "num_examples")]
    assert name == "digits-mlp-mmc"
    assert attacks["mim10-margin-0.1"]["accuracy"] > own.attacks["mim10-margin-0.1"].correct.float().mean()


@pytest.mark.parametrize("name", ["pgd10-margin-8", "margin-pgd-8", "pgd50-target-ce-8"])
def test_a_carrier_climbs_on_from_what_fools_already(name: str) -> None:
    """It fools its own source about as often, and leaves each image deeper on the wrong side."""
    preset = PRESETS[name].at(0.3)
    source, test = networks.fit(SOURCE.with_changes(epochs=12), 0)[0], networks.dataset("digits").test.first(100)
    first, last = (p(source, test.x, test.y, seed=1) for p in (preset, experiments.climbing_on(preset)))
    assert experiments.climbing_on(preset).slug == preset.slug
    both = ~correct(source, first, test.y) & ~correct(source, last, test.y) & correct(source, test.x, test.y)
    assert both.sum() > 5 and (last - test.x).abs().max() <= 0.3 + 1e-6

    depths = [margin(source, x[both], test.y[both]).mean() for x in (first, last)]
    assert depths[1] > 1.2 * depths[0] > 0


def test_other_attacks_carry_as_they_are() -> None:
    for name in ("spsa10-margin-8", "noise", "cw", "margin-pgd-l2-0.5"):
        assert experiments.climbing_on(PRESETS[name]) is PRESETS[name]
    assert experiments.climbing_on(PRESETS["mim10-ce-8"]) == PRESETS["mim10-ce-8"], "MIM climbs on by itself"
