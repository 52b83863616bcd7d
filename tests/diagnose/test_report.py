"""The report: one page, one JSON that comes back as it was, the same for the same seed; bad input refused by name."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from diagnose_cases import EXACT, SMALL, case, no_op, report, subject
from hypothesis import given
from hypothesis import strategies as st

from mmc.attacks import PRESETS, carlini_wagner, cross_entropy, margin, pairwise, pgd, random_search
from mmc.diagnose import EFFORTS, VERDICTS, Observation, Report, Watched, diagnose, evaluation
from mmc.diagnose.finding import judge, judge_share, numbers, places, worse
from mmc.diagnose.report import LINES, WIDTH
from mmc.oracle import random_oracle

LEAST = dataclasses.replace(SMALL, few=3, binarised=1, steps=5)
ORDER = {verdict: place for place, verdict in enumerate(("sound", "warning", "failed"))}


@pytest.fixture(scope="module")
def made() -> Report:
    return report(attack=no_op)


def test_json_comes_back_as_it_was(made: Report, tmp_path: Path) -> None:
    values = made.to_json()
    again = Report.from_json(json.loads(json.dumps(values, allow_nan=False)))
    assert again.to_json() == values and again.findings == made.findings and "made" not in values
    made.save(tmp_path / "report.json")
    kept = Report.read(tmp_path / "report.json")
    assert kept == made and str(kept) == str(made)
    assert {"commit", "versions", "hardware", "device", "threads", "seconds"} == set(kept.made)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_what_is_no_report_is_refused_by_name(made: Report, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    for text, message in [
        ("{", "r.json: Expecting"),
        ('{"schema": 99}', "schema is 99"),
        ('{"schema": 1}', "no report: 'findings'"),
        (json.dumps(made.to_json() | {"findings": [{"name": "x"}]}), "no report: .*missing"),
    ]:
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            Report.read(file)


def test_the_page_is_one_page_and_says_what_to_report(made: Report) -> None:
    page = str(made)
    assert len(page.splitlines()) <= LINES and max(map(len, page.splitlines())) <= WIDTH
    text = " ".join(page.split())
    assert "Report at most 50.0% robust accuracy: 20 of 40 stand" in text
    assert "(no op) says 100.0%: 50.0 points too many" in text and "Not sound:" in text
    for finding in made.findings:
        assert finding.name in page and f"| {finding.name} | {finding.verdict} |" in made.markdown()
        assert (" ".join(finding.remedy.split()) in text) == finding.raised
        assert finding.why and finding.remedy and finding.seen
    assert sorted({finding.check for finding in made.findings}) == list(range(1, 9))
    assert sum(finding.check == 5 for finding in made.findings) == 6


def test_the_page_stays_one_page_where_everything_is_raised(made: Report) -> None:
    draw = random.Random(0)
    long = " ".join(draw.choice(["gradient", "of", "epsilon", "a", "0.031"]) for _ in range(60))
    findings = tuple(
        dataclasses.replace(f, verdict="failed", seen=long, remedy=f"{f.name} {long}") for f in made.findings
    )
    page = str(dataclasses.replace(made, findings=findings, about=made.about | {"model": long, "attack": long}))
    assert len(page.splitlines()) <= LINES and max(map(len, page.splitlines())) <= WIDTH
    raised = tuple(dataclasses.replace(f, verdict="failed") for f in made.findings)
    assert len(str(dataclasses.replace(made, findings=raised)).splitlines()) <= LINES


def test_the_example_in_the_reference_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    page = Path(__file__).resolve().parents[2] / "book" / "api" / "diagnose.md"
    [example] = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "diagnose.md", "exec"), {"__name__": "example"})
    assert str(Report.read(tmp_path / "report.json")) in capsys.readouterr().out


def test_findings_are_found_by_name(made: Report) -> None:
    assert made["zero gradients"].check == 1
    with pytest.raises(KeyError, match="no check 'gradients'; there are: zero gradients"):
        made["gradients"]


def test_the_same_seed_gives_the_same_values_and_another_may_not() -> None:
    attack = partial(random_search, draws=30)
    first, again, other = (report(attack=attack, seed=seed, twin=None, effort=LEAST).to_json() for seed in (0, 0, 1))
    assert first == again and first != other


def test_the_order_of_the_examples_changes_no_count() -> None:
    oracle, epsilon = case(7)
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    effort = dataclasses.replace(SMALL, few=40, binarised=0)
    one, two = (
        diagnose(oracle.model, oracle.x[order], oracle.y[order], epsilon=epsilon, effort=effort)
        for order in (torch.arange(40), shuffled)
    )
    assert one.accuracy == two.accuracy
    assert [(f.name, f.verdict, f.seen) for f in one.findings] == [(f.name, f.verdict, f.seen) for f in two.findings]


def test_the_worst_case_is_the_truth_on_oracles_and_no_attack_reports_less() -> None:
    for seed, loss in ((1, "SCE"), (2, "MMC")):
        oracle, epsilon = case(seed, loss)
        found = diagnose(oracle.model, oracle.x, oracle.y, epsilon=epsilon, effort=SMALL)
        truth = oracle.robust_accuracy(epsilon)
        assert truth <= found.accuracy["worst case"] <= truth + 0.026
        assert found.accuracy["worst case"] <= found.accuracy["reported"] <= found.accuracy["clean"]
        low, high = found.accuracy["interval"]
        assert low < found.accuracy["worst case"] < high


# what a finding is


def test_a_finding_refuses_what_would_not_come_back() -> None:
    with pytest.raises(ValueError, match=r"must be one of sound, warning, failed, not applicable, not 'fine'"):
        Observation(1, "x", "fine", "")
    for evidence in ({"a": torch.ones(2)}, {"a": float("nan")}, {1: 2}, {"a": (1, 2)}):
        with pytest.raises(ValueError, match="evidence of 'x'"):
            Observation(1, "x", "sound", "", evidence)


@given(st.sets(st.integers(0, 500)))
def test_places_come_back(chosen: set[int]) -> None:
    assert numbers(places(chosen)) == sorted(chosen)


def test_places_are_runs() -> None:
    assert places([7, 0, 1, 2]) == "0-2, 7" and places([]) == ""


@given(total=st.integers(1, 1000), data=st.data())
def test_more_evidence_is_never_a_milder_verdict(total: int, data: st.DataObject) -> None:
    less, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    assert ORDER[judge(less, total)] <= ORDER[judge(more, total)]
    assert judge(0, total) == judge(1, total) == "sound"


def test_the_verdict_on_shares_and_several_parts() -> None:
    assert [judge_share(s) for s in (0.005, 0.006, 0.05, 0.051, float("nan"))] == [
        "sound", "warning", "warning", "failed", "failed"
    ]  # fmt: skip
    assert worse("sound", "failed", "warning") == "failed" and worse("not applicable", "sound") == "sound"
    assert worse() == "not applicable" and len(VERDICTS) == 4


# the watched model


@given(seed=st.integers(0, 100))
def test_an_attack_meets_the_same_on_a_watched_model(seed: int) -> None:
    oracle, epsilon = case()
    watched = Watched(oracle.model, oracle.x, oracle.y, epsilon)
    options = {"objective": margin, "epsilon": epsilon, "steps": 5, "seed": seed}
    x_adv = pgd(watched, oracle.x, oracle.y, **options)
    assert x_adv.equal(pgd(oracle.model, oracle.x, oracle.y, **options))
    assert watched.met[(oracle.model(x_adv).argmax(1) != oracle.y)].all()
    # Once when the input is refused or not, once for what is right, then at most one for each step and the end.
    assert 40 * 3 <= watched.looks <= 40 * 8


def test_looks_outside_of_ball_and_box_do_not_count() -> None:
    oracle, epsilon = case()
    watched = Watched(oracle.model, oracle.x, oracle.y, epsilon)
    watched(oracle.x + 2 * epsilon)
    watched(-oracle.x)
    assert watched.looks == 0 and not watched.met.any() and watched.late_rise().eq(0).all()


# attacks under evaluation


def test_an_attack_is_a_function_a_preset_or_a_name() -> None:
    function = evaluation(partial(pgd, objective=margin, steps=7))
    assert function.name == "pgd, margin, steps 7" and function.objective_name == "margin"
    assert function.steps == "steps" and function.settings["steps"] == 7 and function.settings["restarts"] == 1
    assert evaluation().objective is cross_entropy and evaluation(function) is function
    named, preset = evaluation("pgd50-own-center"), evaluation(PRESETS["pgd50-own-center-8"])
    assert named.name == preset.name == "pgd50-own-center" and named.objective_name == "own center"
    assert evaluation(EXACT).objective_name == "pairwise margin"
    assert evaluation(partial(random_search, draws=9)).steps == "draws" and evaluation(no_op).objective is None


def test_a_preset_climbs_at_the_radius_and_with_the_changes_it_is_given() -> None:
    oracle, epsilon = case()
    attack = evaluation("pgd10-ce")
    same = pgd(
        oracle.model,
        oracle.x,
        oracle.y,
        objective=cross_entropy,
        epsilon=epsilon,
        steps=3,
        step_size=epsilon / 4,
        seed=5,
    )
    assert attack(oracle.model, oracle.x, oracle.y, epsilon=epsilon, seed=5, steps=3).equal(same)


def test_a_targeted_objective_is_looked_at_toward_the_likeliest_other_class() -> None:
    oracle, _ = case()
    objective = evaluation(EXACT).objective
    torch.testing.assert_close(
        objective(oracle.model, oracle.x, oracle.y), margin(oracle.model, oracle.x, oracle.y), atol=1e-4, rtol=1e-4
    )
    assert objective.__wrapped__ is pairwise


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("nonsense", "no attack 'nonsense'; there are: pgd10-ce"),
        (3, "an attack is a function .* not 3"),
        (carlini_wagner, "carlini wagner takes no epsilon"),
        ("cw", "no attack in an L-inf ball of fixed radius"),
        (PRESETS["noise"], "no attack in an L-inf ball"),
    ],
)
def test_what_is_no_attack_in_the_ball_is_refused(attack: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluation(attack)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 8}, r"epsilon must lie between 0 and 1.* not 8: 8/255 is 0\.0314"),
        ({"epsilon": 0.0}, "epsilon must lie between 0 and 1"),
        ({"effort": "much"}, "effort must be one of quick, default, full, not 'much'"),
        ({"x": torch.rand(0, 1, 8, 8), "y": torch.zeros(0).long()}, "no images"),
        ({"y": torch.full((40,), 9)}, "labels must be from 0 to 4"),
        ({"twin": random_oracle(0, 64, 3, 8).model}, "the twin has 3 classes, the model 5"),
        ({"source": random_oracle(0, 64, 5, 8).model.train()}, "the source is in training mode"),
        ({"model": random_oracle(0, 64, 5, 8).model.train()}, "training mode"),
    ],
)
def test_bad_input_is_refused_by_name(changes: dict, message: str) -> None:
    oracle, epsilon = case()
    arguments = {"model": oracle.model, "x": oracle.x, "y": oracle.y, "epsilon": epsilon, "effort": SMALL} | changes
    with pytest.raises(ValueError, match=message):
        diagnose(arguments.pop("model"), arguments.pop("x"), arguments.pop("y"), **arguments)


def test_a_model_that_has_nothing_right_has_no_accuracy_to_diagnose() -> None:
    oracle, epsilon = case()
    with pytest.raises(ValueError, match="none of the 40 images right"):
        diagnose(oracle.model, oracle.x, (oracle.y + 1) % 5, epsilon=epsilon)


def test_every_check_is_told_as_it_ends_and_efforts_grow() -> None:
    told: list[str] = []
    found = report(attack=no_op, tell=told.append)
    assert told == [f"{finding.name}: {finding.verdict}" for finding in found.findings]
    numbers_ = [[v for v in dataclasses.astuple(e) if isinstance(v, int)] for e in EFFORTS.values()]
    assert all(all(a <= b for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(numbers_))


def test_a_run_is_made_once() -> None:
    here = subject()
    assert here.attacked() is here.attacked(epsilon=here.epsilon) and here.attacked() is not here.attacked(epsilon=1.0)
