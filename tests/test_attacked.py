"""What is kept of the book's networks: whole, of these very weights, and read back as it was found."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from mmc import attacked, catalogue, lab, networks
from mmc.attacks import WORST, correct
from mmc.attacks.preset import has_centers
from mmc.files import digest_files
from mmc.ladder import CENTERED, RELATIVES, RUNGS

NAME, EPSILON = "digits-mlp-mmc", 0.1


@pytest.mark.parametrize("name", attacked.plans())
def test_the_kept_findings_are_those_of_the_plan_and_of_the_weights(name):
    plan, weights = attacked.plan(name), attacked.SHELF / f"{name}.safetensors"
    kept = json.loads((lab.folder() / attacked.place(name)).read_text(encoding="utf-8"))
    assert kept["plan"] == json.loads(json.dumps(asdict(plan) | {"spec": plan.spec.place})), f"measure {name} again"
    assert kept["weights"] == digest_files(attacked.SHELF, [weights]), f"measure {name} again"
    parts = {"headings", *map(attacked.ladder_at, plan.epsilons)}
    parts |= {title for title, presets in (("presets", plan.presets), ("costly", plan.costly)) if presets}
    assert set(kept["parts"]) == parts | ({"transfer"} if plan.sources else set())
    commits = {title: part["made"]["commit"] for title, part in kept["parts"].items()}
    assert not any("changes" in commit for commit in commits.values())
    commits.pop("costly", None)  # the page names it by itself
    assert len(set(commits.values())) == 1
    for epsilon in plan.epsilons:
        left = attacked.left(name, epsilon)
        assert set(left) == {*RUNGS, *RELATIVES, WORST} - set(CENTERED if plan.spec.loss == "SCE" else ())
        assert {len(mask) for mask in left.values()} == {plan.images}
        assert all((mask | ~left[WORST]).all() for mask in left.values()), "nothing is left that a rung has felled"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """One small plan, its untrained network and its weights, with records of its own."""
    spec = catalogue.FIRST["digits"].with_changes(loss="MMC", epochs=1)
    plan = attacked.Plan(spec, 30, (EPSILON,), steps=2, presets=("pgd10-ce-8",), costly=("pgd10-margin-8",), few=10)
    model = networks.initial(spec, 0).eval().requires_grad_(False)
    (tmp_path / f"{NAME}.safetensors").write_bytes(b"weights")
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setattr(attacked, "SHELF", tmp_path)
    monkeypatch.setattr(attacked, "plans", lambda: {NAME: plan})
    monkeypatch.setattr(attacked, "network", lambda name: model)
    return model, networks.dataset("digits").test.first(30)


def test_each_part_is_measured_once_and_kept_at_once(tiny, tmp_path):
    seen = []

    def interrupt(part):
        seen.append(part)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attacked.measure(NAME, interrupt)
    assert list(attacked.found(NAME)) == seen[:2]
    attacked.measure(NAME, seen.append)
    assert seen == ["headings", "ladder 0.1", "presets", "presets", "costly"]
    attacked.measure(NAME, seen.append)
    assert len(seen) == 5, "all of it was there"
    (tmp_path / f"{NAME}.safetensors").write_bytes(b"other weights")
    attacked.measure(NAME, seen.append)
    assert len(seen) == 9, "other weights are another network"


def test_what_is_read_is_what_was_found(tiny):
    model, images = tiny
    attacked.measure(NAME)
    left = attacked.left(NAME, EPSILON)
    assert has_centers(model) and set(left) == {*RUNGS, *RELATIVES, WORST}
    assert torch.equal(attacked.suite(NAME, "presets").clean, correct(model, images.x, images.y))
    assert len(attacked.suite(NAME, "costly").clean) == 10
    for name, found in attacked.found(NAME)["headings"].items():
        if isinstance(found, dict) and "zero" in found:
            assert 0 <= found["none ahead"] <= 1 and sorted(found["runner-up"]) == found["runner-up"], name


def test_an_unknown_network_or_one_that_was_not_measured_is_refused(tiny):
    with pytest.raises(ValueError, match=r"cifar11.*digits-mlp-mmc"):
        attacked.plan("cifar11")
    with pytest.raises(FileNotFoundError, match=r"python -m mmc\.attacked digits-mlp-mmc"):
        attacked.found(NAME)
