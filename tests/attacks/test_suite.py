"""Suites: worst cases, what each attack added, and verdicts that belong to the example."""

from __future__ import annotations

import dataclasses
import functools
import json
import math

import pytest
import torch
from attack_cases import Alone, case, few, images, network, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import PRESETS, WORST, Attacked, Preset, Verdicts, correct, margin, pgd, run_suite, suite, survivors
from mmc.attacks.preset import NEAREST
from mmc.attacks.verdicts import bits, mask_of
from mmc.oracle import random_oracle

fewer = settings(max_examples=2)
#: Attacks of every kind, at budgets that a test can pay.
CUT = {
    "margin-pgd-8": {"steps": 8, "restarts": 2},
    "apgd-targets-8": {"steps": 6},
    "apgd-targets-l2-0.5": {"steps": 6},
    "cw": {"search_steps": 2, "iterations": 25},
    "cw-target": {"search_steps": 2, "iterations": 25},
    "cw-fitted": {"search_steps": 2, "iterations": 25},
    "spsa10-margin-8": {"iterations": 3, "samples": 8},
    "random-8": {"draws": 20},
    "pgd10-target-center-8": {},
    "pgd10-own-center-8": {},
    "mim10-ce-8": {},
    "noise": {},
    "rotation": {},
    "worst-rotation": {"angles": 7},
}


def some() -> list[Preset]:
    return [
        dataclasses.replace(PRESETS[slug], options=tuple((dict(PRESETS[slug].options) | options).items()))
        for slug, options in CUT.items()
    ]


def verdicts(found: Verdicts) -> dict:
    """What must be the same bits again: all but the cost."""
    return {key: value for key, value in found.to_json().items() if key != "cost"}


class Tallied(nn.Module):
    """A model that keeps how many images it was shown at once, and counts those whose gradient is asked for."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.sizes, self.back = model, [], 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if x.requires_grad:
            x.register_hook(self.came_back)
        return self.model(x)

    def came_back(self, gradient: torch.Tensor) -> None:
        self.back += len(gradient)


masks = st.lists(st.booleans(), min_size=6, max_size=6).map(torch.tensor)


@given(clean=masks, felled=st.lists(st.tuples(st.sampled_from(list(PRESETS)), masks), max_size=8))
def test_worst_case_added_and_alone_are_what_sets_say(clean: torch.Tensor, felled: list) -> None:
    """Against sets of examples, threat by threat."""
    attacks = {slug: Attacked(PRESETS[slug], "weak", clean & ~mask) for slug, mask in dict(felled).items()}
    found = Verdicts(clean, attacks, {}, 0)
    fell = {slug: set((clean & ~one.correct).nonzero().flatten().tolist()) for slug, one in attacks.items()}
    assert sorted(slug for slugs in found.threats.values() for slug in slugs) == sorted(attacks)
    for threat, slugs in found.threats.items():
        assert {PRESETS[slug].threat for slug in slugs} == {threat}
        assert len({(PRESETS[slug].norm, PRESETS[slug].epsilon) for slug in slugs}) == 1
        union = set().union(*(fell[slug] for slug in slugs))
        stands = set(clean.nonzero().flatten().tolist()) - union
        assert set(found.worst[threat].nonzero().flatten().tolist()) == stands
        before: set[int] = set()
        for slug in slugs:
            others = set().union(*(fell[other] for other in slugs if other != slug))
            assert set(found.added(slug).nonzero().flatten().tolist()) == fell[slug] - before
            assert set(found.alone(slug).nonzero().flatten().tolist()) == fell[slug] - others
            before |= fell[slug]
    values = found.to_json()
    for slug, one in values["attacks"].items():
        low, high = one["interval"]
        assert low <= one["accuracy"] <= high and one["accuracy"] == round(
            attacks[slug].correct.float().mean().item(), 6
        )
        assert values["worst"][one["threat"]]["accuracy"] <= one["accuracy"] <= values["clean"]["accuracy"]


def test_threats_are_kept_apart() -> None:
    asked = ["pgd10-ce-8", "pgd10-ce-16", "margin-pgd-l2-0.5", "cw", "noise", "rotation"]
    threats = {PRESETS[slug].threat for slug in asked}
    assert threats == {"L-inf 8/255", "L-inf 16/255", "L2 0.5", "L2, any distance", "noise 0.05", "rotation 30 degrees"}
    assert PRESETS["worst-rotation"].threat == PRESETS["rotation"].threat
    assert PRESETS["cw"].at(0.5).threat == PRESETS["margin-pgd-l2-0.5"].threat


@fewer
@given(seed=seeds)
def test_verdicts_belong_to_the_example_not_to_its_batch_or_place(seed: int) -> None:
    model, x = network(seed), images(seed, 6)
    alone = Alone(model).eval()
    alone.loss, alone.features = model.loss, lambda x: torch.cat([model.features(image[None]) for image in x])
    y = alone(x).argmax(1)
    y[0] = (y[0] + 1) % 4  # one that is wrong as it is
    run = functools.partial(run_suite, alone, presets=some(), epsilon=0.1, l2=0.4, seed=seed)
    whole = run(x, y, batch_size=100)
    assert verdicts(whole) == verdicts(run(x, y, batch_size=4))
    order = torch.tensor([5, 2, 4, 0])
    part = run(x[order], y[order], batch_size=3)
    assert part.clean.equal(whole.clean[order]) and not whole.clean[0]
    for slug, one in whole.attacks.items():
        assert part.attacks[slug].correct.equal(one.correct[order])
        assert one.distances is None or part.attacks[slug].distances.equal(one.distances[order])


@fewer
@given(seed=seeds)
def test_json_and_back_is_the_same(seed: int) -> None:
    model, x, y = case(seed, count=5)
    found = run_suite(model, x, y, some(), epsilon=0.1, seed=seed)
    text = json.dumps(found.to_json(), allow_nan=False)
    again = Verdicts.from_json(json.loads(text))
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert again.clean.equal(found.clean) and again.seed == seed
    for slug, one in found.attacks.items():
        other = again.attacks[slug]
        assert other.preset == one.preset and other.correct.equal(one.correct) and other.notes == one.notes
        assert (other.distances is None) == (one.distances is None)
        assert one.distances is None or other.distances.equal(one.distances)


@given(mask=st.lists(st.booleans(), max_size=50))
def test_a_string_of_verdicts_and_back(mask: list[bool]) -> None:
    tensor = torch.tensor(mask, dtype=torch.bool)
    assert mask_of(bits(tensor), len(mask)).equal(tensor)
    with pytest.raises(ValueError, match=f"{len(mask) + 1} verdicts"):
        mask_of(bits(tensor), len(mask) + 1)
    with pytest.raises(ValueError, match="string of as many 0 and 1"):
        mask_of(bits(tensor) + "2", len(mask) + 1)


@fewer
@given(seed=seeds)
def test_the_nearest_image_decides_at_every_radius(seed: int) -> None:
    o = random_oracle(seed, count=8, epsilon=0.4, threat="l2", correct_share=0.9)
    asked = [one for one in some() if one.attack in NEAREST]
    anywhere = run_suite(o.model, o.x, o.y, asked)
    for l2 in (0.2, 0.4, 0.8):
        found = run_suite(o.model, o.x, o.y, asked, l2=l2)
        for (slug, there), here in zip(found.attacks.items(), anywhere.attacks.values(), strict=True):
            assert slug.endswith(f"-l2-{l2:g}") and there.distances.equal(here.distances)
            assert there.correct.equal(here.distances > l2) and here.correct.equal(here.distances.isinf())
            assert not (found.clean & (there.distances == 0)).any() and (there.distances[~found.clean] == 0).all()
            assert (there.distances >= o.safe_distances("l2") - 1e-5)[found.clean].all()


@fewer
@given(seed=seeds)
def test_our_suite_finds_the_exact_robust_accuracy(seed: int) -> None:
    o = random_oracle(seed, num_classes=4, count=12, epsilon=0.08)
    found = run_suite(o.model, o.x, o.y, ["ours"], epsilon=0.08)
    assert found.worst["L-inf 0.08"].equal(o.robust(0.08)) and len(found.attacks) == 3


@pytest.mark.parametrize("batch_size", [1, 7])
def test_memory_is_bounded_and_the_counts_are_right(batch_size: int) -> None:
    model, x, y = case(1, count=8)
    tallied = Tallied(model).eval()
    for one in some():
        if one.objective in ("own center", "target center"):
            continue
        tallied.sizes, tallied.back = [], 0
        found = run_suite(tallied, x, y, [one], batch_size=batch_size)
        assert max(tallied.sizes) <= max(batch_size, 2)  # SPSA measures between two images
        [attacked] = found.attacks.values()
        before = 2 * len(x) + 1  # checking and judging the images as they are, and the number of classes
        assert attacked.forward == sum(tallied.sizes) - before
        assert attacked.backward == tallied.back and attacked.seconds > 0
        assert (tallied.back > 0) == (one.attack in ("pgd", "mim", "apgd_all_targets", "carlini_wagner"))
    assert not tallied._forward_hooks


def test_a_classifier_is_counted_at_its_backbone() -> None:
    model, x, y = case(1)
    found = run_suite(model, x, y, ["pgd10-own-center-8"]).attacks["pgd10-own-center-8"]
    assert found.forward > found.backward > len(x) and not model.backbone._forward_hooks


def test_no_hook_is_left_when_an_attack_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = case(1)
    monkeypatch.setattr(suite, "correct", lambda *rest: 1 / 0 if model.backbone._forward_hooks else correct(*rest))
    with pytest.raises(ZeroDivisionError):
        run_suite(model, x, y, ["noise"])
    assert not model.backbone._forward_hooks


def test_progress_is_told_batch_by_batch() -> None:
    model, x, y = case(1, count=7)
    heard = []
    run_suite(model, x, y, ["noise", "rotation"], batch_size=3, report=lambda p, done: heard.append((p.slug, done)))
    assert heard == [(slug, done) for slug in ("noise", "rotation") for done in (3, 6, 7)]


def test_verdicts_from_before_are_taken_over_and_the_rest_is_run() -> None:
    model, x, y = case(2)
    slugs, told, kept = ["noise", "pgd10-own-center-8", "rotation"], [], []
    run = functools.partial(run_suite, model, x, y, report=lambda preset, done: told.append(preset.slug), seed=1)
    first = run(slugs[:2], keep=kept.append)
    assert [list(found.attacks) for found in kept] == [slugs[:1], slugs[:2]]
    assert verdicts(kept[1]) == verdicts(first)
    whole = run(slugs, before=first, keep=kept.append)
    assert told == slugs and len(kept) == 3, "no attack is run twice"
    assert verdicts(whole) == verdicts(run(slugs))
    told.clear()
    other = run([*slugs[:1], "pgd10-own-center-16"], epsilon=0.1, before=whole)
    assert told == ["pgd10-own-center-0.1"] and list(other.attacks) == ["noise", "pgd10-own-center-0.1"]
    with pytest.raises(ValueError, match=r"from before are of seed 1 or of other images"):
        run_suite(model, x, y, slugs, seed=2, before=whole)
    with pytest.raises(ValueError, match=r"from before"):
        run_suite(model, x[:5], y[:5], slugs, seed=1, before=whole)


def test_what_does_not_apply_is_named_and_the_rest_is_run() -> None:
    model, x, y = case(2, "SCE")
    found = run_suite(model, x, y, ["quick"])
    assert list(found.attacks) == ["pgd10-ce-8", "pgd10-margin-8"]
    assert found.not_applicable == {"pgd10-own-center-8": "the model's loss has no centers"}
    assert found.attacks["pgd10-ce-8"].label == "the paper's"
    assert found.to_json()["attacks"]["pgd10-ce-8"]["label"] == "the paper's"


def test_autoattacks_batches_and_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = case(2, count=10)
    sizes = []

    def craft(self: Preset, model, x, y, **options):
        sizes.append(len(x))
        return x.clone(), ("beware", "beware", f"of {len(x)}")

    monkeypatch.setattr(Preset, "craft", craft)
    monkeypatch.setattr(suite, "AUTOATTACK_BATCH", 6)
    found = run_suite(model, x, y, ["autoattack", "noise"], batch_size=5)
    assert sizes == [6, 4, 5, 5]
    assert found.attacks["autoattack-8"].notes == ("beware", "of 6", "of 4")


def test_the_seed_reaches_every_attack_and_what_was_wrong_stays_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = case(2, count=10)
    heard = []

    def craft(self: Preset, model, x, y, *, seed, budget):
        heard.append(seed)
        return rightly[: len(x)], ()

    rightly, wrong = x.clone(), x.clone()
    wrong[:3] = x[(y != y[0]).nonzero()[0]]  # images of another class, which the attack puts right
    monkeypatch.setattr(Preset, "craft", craft)
    found = run_suite(model, wrong, y, ["noise", "rotation"], seed=9)
    assert heard == [9, 9] and found.seed == 9 and not found.clean[0]
    assert all(one.correct.equal(found.clean) for one in found.attacks.values())


@few
@given(seed=seeds)
def test_survivors_and_a_suite_agree(seed: int) -> None:
    model, x, y = case(seed)
    masks = survivors(model, x, y, epsilon=8 / 255, steps=10, step_size=2 / 255, seed=seed)
    found = run_suite(model, x, y, ["quick"], seed=seed)
    assert found.worst["L-inf 8/255"].equal(masks[WORST])
    for mask, one in zip(masks.values(), found.attacks.values(), strict=False):
        assert mask.equal(one.correct)
    by_hand = pgd(model, x, y, objective=margin, epsilon=8 / 255, steps=10, step_size=2 / 255, seed=seed)
    assert correct(model, by_hand, y).equal(found.attacks["pgd10-margin-8"].correct)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"presets": []}, "no attacks to run"),
        ({"presets": ["noise"], "epsilon": 0.1}, "no attack in L-inf"),
        ({"presets": ["noisy"]}, "no preset or suite 'noisy'"),
        ({"epsilon": -1.0}, "epsilon must be > 0"),
        ({"batch_size": 0}, "a batch size of at least 1, not 12 and 0"),
        ({"x": images(0)[:0], "y": torch.zeros(0).long()}, "there must be images.*not 0"),
        ({"x": images(0) + 1}, r"images must lie in \[0, 1\]"),
        ({"y": torch.full((12,), 4)}, "labels must be from 0 to 3"),
        ({"model": network(0).train()}, "training mode"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict, message: str) -> None:
    model, x, y = case(0)
    arguments = {"model": model, "x": x, "y": y, "presets": ["quick"]} | change
    with pytest.raises(ValueError, match=message):
        run_suite(**arguments)


def test_a_distance_that_is_not_finite_has_a_place_in_json() -> None:
    one = PRESETS["cw"]
    distances = torch.tensor([0.5, math.inf], dtype=torch.float64)
    found = Verdicts(torch.tensor([True, True]), {"cw": Attacked(one, "adaptive", distances.isinf(), distances)}, {}, 0)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert values["attacks"]["cw"]["distances"] == [0.5, None] and values["attacks"]["cw"]["correct"] == "01"
    assert Verdicts.from_json(values).attacks["cw"].distances.equal(distances)
