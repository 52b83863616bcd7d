"""Presets: the paper's numbers, names that say what is run, and every one of them before a model that is solved."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import json
import math
import re

import pytest
import torch
from attack_cases import Affine, case, few, images, network, seeds
from hypothesis import given
from hypothesis import strategies as st

from mmc.attacks import LADDER, PRESETS, SUITES, TARGETED, NotApplicableError, correct, preset, run_suite
from mmc.attacks.balls import NORMS, lengths
from mmc.attacks.preset import ATTACKS, LABELS, NEAREST, Preset, radius, random_targets
from mmc.attacks.presets import PAPER, chosen
from mmc.oracle import Oracle, random_oracle

#: Radii at which half of the oracle's images are robust.
EPSILON, L2 = 0.08, 0.3
#: Budgets that are cut where a test asks for bounds and truth, not for strength.
CUT = {
    "carlini_wagner": {"search_steps": 3, "iterations": 60},
    "hop_skip_jump": {"steps": 2},
    "random_search": {"draws": 40},
    "spsa": {"iterations": 3, "samples": 16},
}


@functools.cache
def oracle() -> Oracle:
    return random_oracle(5, dim=36, num_classes=5, feature_dim=6, count=8, epsilon=EPSILON)


def cut(preset: Preset) -> Preset:
    options = dict(preset.options) | CUT.get(preset.attack, {})
    return dataclasses.replace(preset, options=tuple(options.items()))


def test_the_papers_numbers_are_the_papers() -> None:
    assert PAPER["epsilons"] == (8 / 255, 16 / 255)
    assert PAPER["steps"] == (10, 50)
    assert PAPER["pgd"] == {"step_size": 2 / 255, "restarts": 1}
    cw = {"search_steps": 9, "iterations": 1000, "learning_rate": 0.005, "first_constant": 0.01}
    assert PAPER["carlini_wagner"] == cw and PAPER["images"] == {"carlini_wagner": 500, "spsa": 1000}
    assert PAPER["spsa"] == {"iterations": 10, "samples": 128, "delta": 0.01, "learning_rate": 0.01}
    assert PAPER["gaussian_noise"] == {"sigma": 0.05} and PAPER["rotation"] == {"degrees": 30.0}


def test_every_preset_of_the_paper_has_its_numbers_from_there() -> None:
    papers = [p for p in PRESETS.values() if p.source.startswith("Pang et al. 2020")]
    for one in papers:
        options = dict(one.options)
        if one.attack in ("pgd", "mim"):
            assert options.pop("steps") in PAPER["steps"] and options.pop("step_size") == PAPER["pgd"]["step_size"]
            assert options == ({"restarts": 1} if one.attack == "pgd" else {"active_set": False})
        else:
            assert options == PAPER[one.attack] and one.images == PAPER["images"].get(one.attack)
        assert one.norm != "linf" or one.epsilon in PAPER["epsilons"]
    white = [p for p in papers if p.attack == "pgd"]
    asked = itertools.product(
        PAPER["steps"],
        ("cross-entropy", "own center", "margin", "target cross-entropy", "target center", "pairwise margin"),
        PAPER["epsilons"],
    )
    assert sorted((dict(p.options)["steps"], p.objective, p.epsilon) for p in white) == sorted(asked)
    assert {p.slug for p in white} == set(SUITES["paper-white-box"])
    assert {PRESETS[s].attack for s in SUITES["paper-gradient-free"]} == {
        "carlini_wagner",
        "spsa",
        "gaussian_noise",
        "rotation",
    }


def test_names_can_be_typed_and_say_what_is_run() -> None:
    assert not set(PRESETS) & set(SUITES)
    assert PRESETS["pgd10-own-center-8"].name == "pgd-10 untargeted own-center 8/255"
    assert PRESETS["margin-pgd-l2-0.5"].name == "margin PGD L2 0.5"
    assert len({p.name for p in PRESETS.values()}) == len(PRESETS)
    for slug, one in PRESETS.items():
        assert slug == one.slug and re.fullmatch(r"[a-z0-9.-]+", slug)
        assert one.label in LABELS and one.source and one.norm in ("", *NORMS)
        assert one.targeted == ("targeted" in one.title.split())
        assert not one.objective or one.objective in LADDER | TARGETED
        json.dumps(dataclasses.asdict(one), allow_nan=False)
    for slugs in SUITES.values():
        assert slugs and len(set(slugs)) == len(slugs) and set(slugs) <= set(PRESETS)


@given(epsilon=st.floats(1e-3, 1.0))
def test_steps_keep_their_share_of_a_radius_that_is_not_printed(epsilon: float) -> None:
    for slug in ("pgd10-ce-8", "pgd50-margin-16", "mim10-margin-8", "spsa10-margin-16", "cw", "margin-pgd-l2-0.5"):
        one, moved = PRESETS[slug], PRESETS[slug].at(epsilon)
        assert moved.epsilon == epsilon
        before, after = dict(one.options), dict(moved.options)
        assert list(before) == list(after)
        for name, value in before.items():
            steps = one.norm == "linf" and name in ("step_size", "learning_rate")
            share = 1.0 if not steps or radius(epsilon) in ("8/255", "16/255") else epsilon / (8 / 255)
            assert after[name] == (pytest.approx(value * share) if isinstance(value, float) else value)
        if one.norm == "linf":  # whichever printed radius it came from
            assert moved == PRESETS[one.short + "-8"].at(epsilon) and moved.at(one.epsilon).slug == slug


@given(pixels=st.integers(1, 255), exact=st.sampled_from([0.5, 0.1, 0.2, 0.031, 1.0]))
def test_radii_are_read_as_they_are_written(pixels: int, exact: float) -> None:
    text = radius(pixels / 255)
    assert text == f"{pixels}/255" or float(text) == pixels / 255
    assert float(radius(exact)) == exact


def test_presets_of_the_paper_become_one_at_another_radius() -> None:
    found = chosen(["paper-white-box", "noise", "pgd10-ce-8"], epsilon=0.1)
    assert len(found) == len(SUITES["paper-white-box"]) // 2 + 1
    assert {p.epsilon for p in found if p.norm} == {0.1}
    assert [p.slug for p in chosen(["cw", PRESETS["noise"], "cw"])] == ["cw", "noise"]
    assert chosen(["cw"], l2=0.5)[0].slug == "cw-l2-0.5" and chosen(["cw"], l2=0.5)[0].threat == "L2 0.5"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: chosen(["pgd11-ce-8"]), r"no preset or suite 'pgd11-ce-8'; suites are quick, .*pgd10-ce-8"),
        (lambda: chosen(["noise"], epsilon=0.1), "a radius 0.1 in L-inf, but no attack in L-inf: noise"),
        (lambda: chosen(["quick"], l2=0.5), "a radius 0.5 in L2, but no attack in L2"),
        (lambda: PRESETS["noise"].at(0.1), "gaussian noise is no attack in a ball"),
        *((lambda e=e: PRESETS["cw"].at(e), f"epsilon must be > 0.*{e}") for e in (0.0, -0.1, math.inf, math.nan)),
    ],
)
def test_bad_input_is_refused_by_name(ask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask()


@few
@given(seed=seeds, classes=st.integers(2, 10))
def test_targets_are_other_classes_and_belong_to_the_image(seed: int, classes: int) -> None:
    x = images(seed, 60)
    y = torch.randint(classes, (60,), generator=torch.Generator().manual_seed(seed))
    targets = random_targets(x, y, classes, seed)
    assert not (targets == y).any() and targets.min() >= 0 and targets.max() < classes and targets.dtype == y.dtype
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    assert random_targets(x[order], y[order], classes, seed).equal(targets[order])
    assert classes == 2 or not random_targets(x, y, classes, seed + 1).equal(targets)
    assert random_targets(x[:0], y[:0], classes).shape == (0,)


def test_every_other_class_is_as_likely_a_target() -> None:
    y = torch.arange(900) % 4
    targets = random_targets(images(0, 900), y, 4)
    counts = torch.zeros(4, 4).index_put_((y, targets), torch.ones(900), accumulate=True)
    assert (counts.diag() == 0).all()
    assert ((counts[~torch.eye(4, dtype=torch.bool)] - 75).abs() < 4 * (75 * 2 / 3) ** 0.5).all()


@pytest.mark.parametrize(("loss", "own"), [("SCE", True), ("MMLDA", True), ("MMC", False), ("Center", False)])
def test_cross_entropy_is_the_papers_objective_where_the_head_trains_with_it(loss: str, own: bool) -> None:
    model = network(0, loss)
    for slug in ("pgd10-ce-8", "spsa10-target-ce-16"):
        assert PRESETS[slug].label_for(model) == ("the paper's" if own else "weak")
    assert PRESETS["pgd10-margin-8"].label_for(model) == "adaptive"
    assert PRESETS["pgd10-ce-8"].label_for(Affine(torch.ones(2, 16), torch.zeros(2))) == "weak"


def test_what_a_head_has_not_is_not_applicable_and_never_replaced() -> None:
    model, x, y = case(0, "SCE")
    for slug, one in PRESETS.items():
        if one.objective in ("own center", "target center"):
            with pytest.raises(NotApplicableError, match=f"{re.escape(one.name)}.*no centers"):
                one(model, x, y)
            with pytest.raises(ValueError, match=f"no attack applies: {slug}"):
                run_suite(model, x, y, [slug])
    two = Affine(torch.randn(2, 16), torch.zeros(2)).eval()
    for slug in ("apgd-dlr-8", "apgd-targets-dlr-8", "autoattack-8"):
        with pytest.raises(NotApplicableError, match=r"needs \d classes or more, the model has 2"):
            PRESETS[slug](two, x, y % 2)


#: Every preset, once where radii are replaced.
EVERY = chosen(PRESETS, EPSILON, L2)


@pytest.mark.parametrize("one", EVERY, ids=[p.slug for p in EVERY])
def test_every_preset_runs_keeps_to_its_ball_and_fells_nothing_that_cannot_fall(one: Preset) -> None:
    o = oracle()
    some = slice(None) if one.attack != "autoattack" else ~o.robust(EPSILON)  # what stands takes long
    x, y = o.x[some], o.y[some]
    before = x.clone()
    x_adv = cut(one)(o.model, x, y, seed=1)
    assert x.equal(before) and x_adv.shape == x.shape and x_adv.dtype == x.dtype and not x_adv.requires_grad
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    fell = ~correct(o.model, x_adv, y)
    if one.norm and one.attack not in NEAREST:
        assert lengths(x_adv - x, one.norm).max() <= one.epsilon + 1e-6
        assert not (fell & (o.safe_distances(one.norm)[some] > one.epsilon)).any()
    if one.attack in NEAREST:
        assert (lengths(x_adv - x, "l2")[fell] >= o.safe_distances("l2")[fell] - 1e-5).all()


@pytest.mark.parametrize("slug", ["apgd-targets-8", "apgd-targets-dlr-8"])
@few
@given(seed=seeds)
def test_all_targets_reach_the_exact_robust_accuracy(slug: str, seed: int) -> None:
    o = random_oracle(seed, dim=16, num_classes=4, count=12, epsilon=EPSILON)
    x_adv = PRESETS[slug].at(EPSILON)(o.model, o.x, o.y)
    assert correct(o.model, x_adv, o.y).equal(o.robust(EPSILON))


@pytest.mark.parametrize("one", EVERY, ids=[p.slug for p in EVERY])
def test_the_settings_reach_the_attack(one: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what an attack is called with: its options, radius, norm, seed and targets, and nothing left to a default."""
    heard: dict = {}
    attack = ATTACKS[one.attack]

    @functools.wraps(attack)
    def spy(model, x, y, **options):
        inspect.signature(attack).bind(model, x, y, **options)
        heard.update(options)
        return x.clone()

    monkeypatch.setitem(preset.ATTACKS, one.attack, spy)
    model, x, y = case(3)
    one(model, x, y, seed=7)
    options = dict(one.options)
    if options.get("step_size") == "cosine":
        del options["step_size"]
        sizes = [heard["step_size"](step) for step in range(options["steps"])]
        assert sizes[0] == one.epsilon and all(a > b > 0 for a, b in itertools.pairwise(sizes))
    assert options.items() <= heard.items()
    taken = inspect.signature(attack).parameters
    given_by = {"epsilon": one.epsilon, "norm": one.norm, "seed": 7}
    for name in taken.keys() & given_by.keys():
        if name != "epsilon" or not one.nearest:
            assert heard[name] == given_by[name]
    if one.objective:
        assert heard["objective"] is (LADDER | TARGETED)[one.objective]
    assert ("targets" in heard) == one.targeted
    if one.targeted:
        assert heard["targets"].equal(random_targets(x, y, 4, 7))


def test_an_option_that_an_attack_has_not_is_refused() -> None:
    model, x, y = case(0)
    misspelt = dataclasses.replace(PRESETS["pgd10-margin-8"], options=(("stepsize", 0.1),))
    with pytest.raises(TypeError, match="stepsize"):
        misspelt(model, x, y)
