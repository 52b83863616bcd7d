"""Benchmarks: turns that are fair, contests that count both sides alike, and tables that lose nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from attack_cases import case, few, seeds
from hypothesis import given
from hypothesis import strategies as st

from mmc import lab
from mmc.attacks import PRESETS, correct, cross_entropy, distances, margin, pgd, run_suite
from mmc.bench import attacks, peers
from mmc.bench.contest import ACCURACY, DISTANCE, Comparison, Contest, hold, keeps_bounds, result
from mmc.bench.page import page
from mmc.bench.ratio import Ratio, ratio, turns
from mmc.files import digest_files
from mmc.shelf import SHELF


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not peers.installed(name), reason=f"{name} is not installed")


# Ratios


@few
@given(pairs=st.integers(1, 9))
def test_both_ways_are_measured_in_every_pair_and_take_turns_at_going_first(pairs: int) -> None:
    order = list(turns(pairs))
    assert [pair for pair, _ in order] == [pair for pair in range(pairs) for _ in (0, 1)]
    assert [way for _, way in order] == [way for pair in range(pairs) for way in ((0, 1), (1, 0))[pair % 2]]


@few
@given(times=st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=7), goal=st.floats(0, 4))
def test_a_ratio_is_of_neighbours(times: list[tuple[float, float]], goal: float) -> None:
    found = ratio("a over b", *zip(*times, strict=True), goal=goal)
    each = sorted(a / b for a, b in times)
    assert (found.low, found.high, found.pairs) == (each[0], each[-1], len(times))
    assert found.low <= found.median <= found.high
    assert found.met == (goal == 0 or sum(value <= goal for value in each) * 2 > len(each) or found.median <= goal)


# Contests


def nothing(model, x, y, seed):
    return x.clone()


def climb(epsilon, model, x, y, seed):
    return pgd(model, x, y, objective=margin, epsilon=epsilon, steps=8, seed=seed)


@few
@given(seed=seeds)
def test_a_contest_counts_what_stands(seed: int) -> None:
    model, x, y = case(seed)
    asked = Contest("toy", "nothing against eight steps", "nobody", nothing, partial(climb, 0.1), len(x), pairs=2)
    found = hold(asked, "toy", model, x, y, 0.1)
    assert found.ours == (100 * correct(model, x, y).float().mean().item(),) * 2
    expected = [correct(model, climb(0.1, model, x, y, s), y).double().mean().item() * 100 for s in (0, 1)]
    assert found.theirs == pytest.approx(expected, abs=1e-4)
    assert found.as_strong == (sum(found.ours) <= sum(found.theirs) + 0.2) and found.time.pairs == 2
    assert Comparison.from_json(json.loads(json.dumps(found.to_json() | {"made": {"commit": "0"}}))) == found


BROKEN = {
    "not finite": lambda x, moved: torch.full_like(x, torch.nan),
    "out of the ball": lambda x, moved: (x + 3 * (moved - x)).clamp(0, 1),
    "out of the box": lambda x, moved: moved + torch.where(moved > x, 2.0, -2.0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_its_bounds_has_not_fooled(name: str) -> None:
    model, x, y = case(3)
    honest = climb(0.1, model, x, y, 0)
    broken = BROKEN[name](x, honest)
    kept = keeps_bounds(x, broken, 0.1)
    assert keeps_bounds(x, honest, 0.1).all() and not kept.all()
    stands = torch.where(kept, correct(model, broken, y), correct(model, x, y))
    assert result(model, x, y, broken, ACCURACY, 0.1) == pytest.approx(100 * stands.double().mean().item(), abs=1e-4)
    assert result(model, x, y, honest, ACCURACY, 0.1) < result(model, x, y, x, ACCURACY, 0.1)


def test_the_median_distance_is_over_what_was_right() -> None:
    model, x, y = case(3, count=9)
    y = torch.where(torch.arange(9) == 4, (y + 1) % 4, y)
    x_adv = climb(0.3, model, x, y, 0)
    right = correct(model, x, y)
    assert 0 < int((~right).sum()) < 9
    expected = distances(model, x, y, x_adv)[right].median().item()
    assert result(model, x, y, x_adv, DISTANCE, 0.0) == expected
    assert result(model, x, y, x, DISTANCE, 0.0) == float("inf")


TIME = Ratio("a over b", 0.4, 0.3, 0.5, 3, 1.0, 2.0, goal=0.5)


@pytest.mark.parametrize(
    ("measure", "ours", "theirs", "strong"),
    [
        (ACCURACY, 20.1, 20.0, True),
        (ACCURACY, 20.2, 20.0, False),
        (DISTANCE, 1.0, 1.0, True),
        (DISTANCE, 1.0005, 1.0, True),
        (DISTANCE, 1.002, 1.0, False),
    ],
)
def test_a_quick_attack_that_is_weaker_meets_no_goal(measure: str, ours: float, theirs: float, strong: bool) -> None:
    found = Comparison("toy", "", "nobody", "toy", 0.1, 10, measure, (ours,), (theirs,), TIME)
    assert found.as_strong == strong == found.met
    slow = dataclasses.replace(found, time=dataclasses.replace(TIME, median=0.51))
    assert not slow.met


@few
@given(seed=seeds)
def test_a_cascade_is_the_worst_case_of_its_attacks(seed: int) -> None:
    model, x, y = case(seed)
    slugs = ("pgd10-ce-8", "pgd10-margin-8")
    found = attacks.cascade([PRESETS[slug].at(0.08) for slug in slugs], model, x, y, seed)
    [worst] = run_suite(model, x, y, slugs, epsilon=0.08, seed=seed).worst.values()
    assert correct(model, found, y).equal(worst) and keeps_bounds(x, found, 0.08).all()


@pytest.mark.parametrize(("scale", "objective"), [(1.0, cross_entropy), (1e4, margin)])
def test_ours_climbs_cross_entropy_unless_it_vanishes_somewhere(monkeypatch, scale: float, objective) -> None:
    """Logits a thousand apart leave cross-entropy no gradient in float32."""
    model, x, y = case(3, "SCE")
    with torch.no_grad():
        model.backbone[-1].weight *= scale
    monkeypatch.setattr(attacks.shelf, "network", lambda name: model)
    monkeypatch.setattr(attacks.shelf, "images", lambda name, count: SimpleNamespace(x=x, y=y))
    assert attacks._objective("toy") is objective


# Peers


def every_peer() -> list:
    plan = attacks.Plan(0.1, 6, 6, 6, 6, 6, 6)
    brief = {"binary_search_steps": 3, "steps": 20, "stepsize": 0.05, "initial_const": 1.0}
    found = [c for c in attacks.contests(plan, margin) if c.measure == ACCURACY and c.name != "AutoAttack"]
    found.append(Contest("C&W", "", "foolbox", nothing, peers.foolbox_carlini_wagner(**brief), 6, measure=DISTANCE))
    return [pytest.param(c, marks=needs(c.peer), id=f"{c.name}, {c.peer}") for c in found]


@pytest.mark.parametrize("asked", every_peer())
def test_a_peer_repeats_with_its_seed_and_leaves_chance_as_it_was(asked: Contest) -> None:
    """And, on images with room, it fools: what stands beside ours is no stand-in."""
    model, x, y = case(5, count=6)
    before = torch.get_rng_state()
    first, again = (asked.theirs(model, x, y, 1) for _ in range(2))
    assert torch.get_rng_state().equal(before)
    assert first.equal(again) and not first.requires_grad
    epsilon = 0.1 if asked.measure == ACCURACY else torch.inf
    assert keeps_bounds(x, first, epsilon).all() and not correct(model, first, y).all()
    if asked.measure == ACCURACY:
        assert not correct(model, asked.ours(model, x, y, 1), y).all()


@needs("foolbox")
def test_foolbox_climbs_what_it_is_told_to() -> None:
    model, x, y = case(5)
    asked = []

    def objective(network, images, labels):
        asked.append(len(images))
        return cross_entropy(network, images, labels)

    found = peers.foolbox_pgd(objective, 0.1, 4)(model, x, y, 0)
    assert asked == [len(x)] * 4
    assert found.equal(peers.foolbox_pgd(cross_entropy, 0.1, 4)(model, x, y, 0))


@needs("foolbox")
def test_where_foolbox_finds_none_the_image_is_clean() -> None:
    model, x, y = case(5)
    brief = {"binary_search_steps": 1, "steps": 1, "stepsize": 1e-6, "initial_const": 1e-6}
    assert peers.foolbox_carlini_wagner(**brief)(model, x, y, 0).equal(x)


def test_an_absent_peer_is_named_and_its_contests_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchattacks" else there(name))
    monkeypatch.setattr(attacks, "_objective", lambda name: margin)
    assert peers.versions()["torchattacks"] == "not installed"
    assert not any("torchattacks" in name for name in attacks.sections(["mnist-cnn-mmc"]))


def test_every_network_has_each_contest_once_and_those_with_a_goal_are_all_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attacks, "_objective", lambda name: margin)
    monkeypatch.setattr(peers, "installed", lambda name: True)
    names = list(attacks.sections())
    assert len(names) == len(set(names)) and names == attacks.names()
    for network in attacks.PLANS:
        found = {name.split(" | ")[0] for name in names if name.endswith(network)}
        assert set(attacks.GOALS) < found


# The page


def outcome(name: str, peer: str, ours: tuple[float, ...], theirs: tuple[float, ...], median: float, goal: float):
    time = dataclasses.replace(TIME, median=median, goal=goal)
    return Comparison(name, "ten steps", peer, "toy", 0.1, 10, ACCURACY, ours, theirs, time, (1.0, 2.5))


def test_the_page_tells_what_falls_short_and_what_was_not_measured() -> None:
    held = [
        outcome("good", "one", (10.0, 12.0), (20.0, 20.0), 0.3, 0.5),
        outcome("slow", "two", (10.0, 10.0), (10.0, 10.0), 0.6, 0.5),
        outcome("weak", "two", (30.0, 31.0), (20.0, 20.0), 0.1, 0.5),
        outcome("free", "one", (5.0,), (5.0,), 2.0, 0.0),
    ]
    made = {key: key for key in ("hardware", "threads", "versions", "commit")}
    parts = {"good | one | net": made, "slow | one | net": made, "weak | one | net": made | {"commit": "older"}}
    table = attacks.Table(held, {}, {"one": "1.0", "two": "not installed"}, {}, parts)
    asked = [*(f"{one.name} | {one.peer} | toy" for one in held), "other | one | toy", f"{attacks.GROWTH}pgd"]
    text = page(table, asked)
    assert "as strong as the peer in 3 of 4 contests, and weaker in weak beside two on toy (by 10.50" in text
    assert "standard error 0.50; an image is 10.00)." in text
    assert "Of 3 goals on time 1 are met; too slow in slow beside two on toy." in text
    assert "**Not measured here:** other, one, toy; growth, pgd." in text
    rows = {line.split(" | ")[0][2:].split(", ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    assert (
        "11\u00a0±\u00a01.4 | 20\u00a0±\u00a00 | yes | 0.30 (0.30\u2060–\u20600.50) | ≤\u00a00.5: met" in rows["good"]
    )
    assert "missed" in rows["slow"] and "**no**" in rows["weak"] and "missed" in rows["weak"]
    assert rows["free"].endswith("|  |") and "two not installed" in text and "load was 1.0 to 2.5" in text
    assert "- At commit commit, hardware: good, one, net; slow, one, net.\n" in text
    assert "- At commit older, hardware: weak, one, net.\n" in text
    assert "Not measured" not in page(table, asked[:4])


def test_the_kept_table_is_of_this_plan_of_these_weights_and_from_a_commit() -> None:
    kept = json.loads((lab.folder() / attacks.PLACE).read_text(encoding="utf-8"))
    plans = {name: dataclasses.asdict(plan) for name, plan in attacks.PLANS.items()}
    assert kept["plans"] == json.loads(json.dumps(plans)), "measure again"
    files = [SHELF / f"{name}.safetensors" for name in attacks.PLANS]
    assert kept["weights"] == digest_files(SHELF, files), "measure again"
    names = attacks.names()
    assert set(kept["parts"]) <= set(names) and len(names) == len(set(names))
    for name, part in kept["parts"].items():
        assert re.fullmatch("[0-9a-f]{10}", part["made"]["commit"]), f"{name} was measured on code that no commit holds"
    assert {one.network for one in attacks.kept().outcomes} == set(attacks.PLANS)


def test_pairwise_climbs_alone_fall_short_where_the_page_says_so() -> None:
    """Without adversarial training, but for the ResNet-32 with SCE."""
    alone = {one.network: one.as_strong for one in attacks.kept().outcomes if one.name == attacks.PAIRWISE}
    assert alone == {name: "-at-" in name or name == "cifar10-resnet32-sce" for name in attacks.PLANS}


def test_pairwise_climbs_in_both_scales_are_as_strong_as_autoattack_on_every_network() -> None:
    both = {one.network: one.as_strong for one in attacks.kept().outcomes if one.name == attacks.BOTH_SCALES}
    assert both == dict.fromkeys(attacks.PLANS, True)


@pytest.mark.parametrize("network", attacks.PLANS)
def test_the_kept_contests_were_held_under_the_budgets_of_today(network: str) -> None:
    """A preset that changes makes another contest; its part has to be deleted and held again."""
    kept = {(one.name, one.peer): one.budget for one in attacks.kept().outcomes if one.network == network}
    assert kept == {(one.name, one.peer): one.budget for one in attacks.contests(attacks.PLANS[network], margin)}


def test_every_test_that_the_page_names_is_there() -> None:
    root = Path(__file__).resolve().parents[1]
    said = (root / "book" / "peers.md").read_text(encoding="utf-8").replace("\n", " ")
    named = re.findall(r"`(test_\w+)`(?:\s+in `(tests/[\w/]+\.py)`)?", said)
    assert len(named) == 6
    for name, file in named:
        places = [root / file] if file else (root / "tests").rglob("test_*.py")
        assert any(f"def {name}(" in place.read_text(encoding="utf-8") for place in places), name
