"""What is kept of the diagnoses: of these very weights, whole, from a commit, made once, and read back as it was."""

from __future__ import annotations

import json

import pytest

from mmc import catalogue, diagnosed, lab, networks
from mmc.diagnose import Report
from mmc.diagnose.finding import VERDICTS

EPSILON = 0.1


@pytest.mark.parametrize("name", diagnosed.plans())
def test_the_kept_reports_are_those_of_the_plan_and_of_the_weights(name):
    plan = diagnosed.plan(name)
    kept = json.loads((lab.folder() / diagnosed.place(name)).read_text(encoding="utf-8"))
    head = diagnosed.head(name)
    assert {key: kept[key] for key in head} == head, f"diagnose {name} again"
    [commit] = {part["made"]["commit"] for part in kept["parts"].values()}
    assert "changes" not in commit
    assert set(kept["parts"]) == {diagnosed.part(a, e) for a in plan.attacks for e in plan.epsilons}
    for attack in plan.attacks:
        for epsilon in plan.epsilons:
            report = diagnosed.found(name, epsilon, attack)
            assert report.about["epsilon"] == epsilon and report.about["attack"] == attack
            assert report.about["effort"] == plan.effort and report.accuracy["images"] == plan.images
            assert {finding.check for finding in report.findings} == set(range(1, 9))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """One small plan on an untrained network, with records of its own."""
    spec = catalogue.FIRST["digits"].with_changes(epochs=1)
    plan = diagnosed.Plan(spec, "a", ("b", spec), "detached image", 12, (EPSILON, 0.2), ("pgd10-ce",), "quick")
    models = {name: networks.initial(spec, seed).eval() for seed, name in enumerate("ab")}
    for name in models:
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setattr(diagnosed, "SHELF", tmp_path)
    monkeypatch.setattr(diagnosed, "plans", lambda: {"tiny": plan})
    monkeypatch.setattr(diagnosed, "network", lambda name, spec: models[name])
    return tmp_path


def test_each_report_is_made_once_and_read_back(tiny):
    seen = []

    def interrupt(part):
        seen.append(part)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diagnosed.measure("tiny", interrupt)
    diagnosed.measure("tiny", seen.append)
    assert seen == ["pgd10-ce 0.1", "pgd10-ce 0.2", "pgd10-ce 0.2"], "what was there is not made again"
    report = diagnosed.found("tiny", EPSILON, "pgd10-ce")
    assert isinstance(report, Report) and report["zero gradients"].verdict == VERDICTS[2], "the broken one is diagnosed"
    assert report.made["commit"] and report.about["twin"]
    with pytest.raises(KeyError, match=r"pgd10-ce 0\.3.*pgd10-ce 0\.1"):
        diagnosed.found("tiny", 0.3, "pgd10-ce")
    (tiny / "b.safetensors").write_bytes(b"another twin")
    diagnosed.measure("tiny", seen.append)
    assert len(seen) == 5, "another twin is another diagnosis"


def test_what_is_not_there_is_refused_by_name(tiny):
    with pytest.raises(ValueError, match=r"'none'; there are: tiny"):
        diagnosed.plan("none")
    with pytest.raises(FileNotFoundError, match=r"python -m mmc\.diagnosed tiny"):
        diagnosed.found("tiny", EPSILON)
