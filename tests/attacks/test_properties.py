"""What every attack promises, whichever it is: bounds, bits, company, order, and that it leaves things as they were."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from attack_cases import Alone, case, images, two_classes, worst_in_ball
from attack_registry import ATTACKS, TARGETED, each
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.attacks import correct, pairwise
from mmc.attacks.balls import lengths
from mmc.attacks.checks import confirm
from mmc.attacks.cw import distances

few = settings(max_examples=3, deadline=None)
seeds = st.integers(0, 10_000)


@each()
@few
@given(seed=seeds, share=st.floats(0, 4), loss=st.sampled_from(["MMC", "SCE"]))
def test_every_image_keeps_to_its_ball_to_the_box_and_to_its_type(
    name: str, seed: int, share: float, loss: str
) -> None:
    entry, (model, x, y) = ATTACKS[name], case(seed, loss, 8)
    x[:, :, 0] = x[:, :, 0].round()  # black and white pixels among others
    y = model(x).argmax(1)
    room = {} if entry.room is None else {entry.room[0]: max(share * entry.room[1], 1e-3)}
    far = {"step_size": 1.0, "learning_rate": 1.0} if entry.room else {}
    x_adv = entry(model, x, y, **room, **{option: size for option, size in far.items() if option in entry.takes})
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype and not x_adv.requires_grad
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    if entry.norm:
        assert lengths(x_adv - x, entry.norm).max() <= room["epsilon"] + 1e-6


@each()
def test_everything_else_is_left_as_it_was(name: str) -> None:
    """Images, labels, parameters, their gradients and whether they want one, buffers, modes, and torch's own chance."""
    model, x, y = case(1, count=6)
    model.backbone.append(nn.BatchNorm1d(6).eval())
    model.backbone[-1].running_mean += 0.1
    first, second, *_ = model.parameters()
    first.requires_grad_(False)
    second.grad = torch.ones_like(second)
    before = [tensor.clone() for tensor in (x, y, *model.state_dict().values(), second.grad, torch.get_rng_state())]
    wants = [parameter.requires_grad for parameter in model.parameters()]
    ATTACKS[name](model, x, y)
    after = [x, y, *model.state_dict().values(), second.grad, torch.get_rng_state()]
    assert all(one.equal(other) for one, other in zip(before, after, strict=True))
    assert wants == [parameter.requires_grad for parameter in model.parameters()]
    assert all(parameter.grad is None for parameter in model.parameters() if parameter is not second)
    assert not x.requires_grad and not any(module.training for module in model.modules())


@each()
def test_it_works_where_no_gradient_is_kept_and_where_x_wants_one(name: str) -> None:
    model, x, y = case(2, count=6)
    plain = ATTACKS[name](model, x, y)
    with torch.no_grad():
        model.requires_grad_(False)
    assert ATTACKS[name](model, x.clone().requires_grad_(), y).equal(plain)


@each()
@few
@given(seed=seeds)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(name: str, seed: int) -> None:
    entry, (model, x, y) = ATTACKS[name], case(seed, "SCE", 6)
    if not entry.seeded:
        assert entry(model, x, y).equal(entry(model, x, y))
        return
    attack = partial(entry, model, x, y, **{"active_set": False} if "active_set" in entry.takes else {})
    first, again, other = (attack(seed=number) for number in (seed, seed, seed + 1))
    assert first.equal(again)
    # A network that puts all noise into one class gives an attack by decisions no start: then nothing moves.
    assert not first.equal(other) or (name == "hop-skip-jump" and first.equal(x))


@each(lambda entry: entry.alone)
@settings(max_examples=2, deadline=None)
@given(seed=seeds)
def test_no_example_depends_on_its_company_or_on_its_place(name: str, seed: int) -> None:
    """Single images, and another order: to the bit, with a model that rounds each image by itself."""
    entry, (model, x, y) = ATTACKS[name], case(seed, count=5)
    model = Alone(model).eval()
    whole, order = entry(model, x, y), torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    assert entry(model, x[order], y[order]).equal(whole[order])
    pieces = zip(x.split([1, 4]), y.split([1, 4]), strict=True)
    assert torch.cat([entry(model, *piece) for piece in pieces]).equal(whole)


@each()
def test_what_was_wrong_already_comes_back_and_nothing_gives_nothing(name: str) -> None:
    model, x, y = case(3, count=8)
    mixed = torch.where(torch.arange(8) % 2 == 0, y, (y + 1) % 4)
    x_adv = ATTACKS[name](model, x, mixed)
    assert x_adv[1::2].equal(x[1::2]) and not x_adv[::2].equal(x[::2])
    assert ATTACKS[name](model, x[:0], y[:0]).equal(x[:0])


@each(lambda entry: entry.more)
@few
@given(seed=seeds)
def test_more_fells_all_that_less_felled(name: str, seed: int) -> None:
    """Steps, restarts, draws, targets, search steps: what has fallen stays fallen, and the nearest is no farther."""
    entry, (model, x, y) = ATTACKS[name], case(seed)
    for option, values in entry.more.items():
        found = [entry(model, x, y, **entry.held, **{option: value}) for value in values]
        away = [distances(model, x, y, x_adv) for x_adv in found]
        for less, more in itertools.pairwise(away):
            assert not (more.isinf() & less.isfinite()).any(), option
            assert entry.room or (more <= less).all(), option


@each(lambda entry: entry.room and "degrees" not in entry.room)
@settings(max_examples=2, deadline=None)
@given(seed=seeds)
def test_more_room_fells_all_that_less_felled(name: str, seed: int) -> None:
    """Before one plane, where an attack's path does not depend on its room; far inside the box."""
    entry = ATTACKS[name]
    model, x, y = two_classes(seed, 30, signs=entry.exact == "signs")
    x = 0.45 + 0.1 * x
    middle = (x.flatten(1) @ model.weight[1]).median() + 1e-3
    model.bias = torch.stack([middle, -middle])
    y = model(x).argmax(1)
    rooms = [share * entry.room[1] for share in (0.02, 0.5, 1.0, 2.0)]
    standing = [correct(model, entry(model, x, y, **{entry.room[0]: room}), y) for room in rooms]
    assert standing[0].sum() > standing[-1].sum()
    assert all(not (more & ~less).any() for less, more in itertools.pairwise(standing))


@each(lambda entry: "active_set" in entry.takes)
@few
@given(seed=seeds)
def test_the_active_set_changes_no_verdict(name: str, seed: int) -> None:
    entry, (model, x, y) = ATTACKS[name], case(seed)
    model, less = Alone(model).eval(), {"samples": 16, "iterations": 4} if "samples" in entry.takes else {}
    on, off = (correct(model, entry(model, x, y, active_set=active, **less), y) for active in (True, False))
    assert on.equal(off)


@each(lambda entry: entry.exact and entry.norm == "linf")
def test_two_affine_classes_are_solved_exactly(name: str) -> None:
    """Each pixel to its end of the ball or of the box: there is one worst image, and the attack's verdict is its."""
    entry = ATTACKS[name]
    model, x, y = two_classes(1, 60, entry.exact == "signs")
    for epsilon in (0.05, 0.1):
        truth = correct(model, worst_in_ball(model, x, y, epsilon), y)
        assert 0 < truth.float().mean() < 1
        assert correct(model, entry(model, x, y, epsilon=epsilon), y).equal(truth)


@pytest.mark.parametrize("name", TARGETED)
def test_a_target_is_what_is_climbed(name: str) -> None:
    """Of four classes the target's logit gains on the label's, and more than under another target."""
    model, x, y = case(4)
    targets, others = (y + 1) % 4, (y + 2) % 4
    one, other = (TARGETED[name](model, x, y, targets=classes) for classes in (targets, others))
    gain = [pairwise(model, x_adv, y, targets) for x_adv in (x, one, other)]
    assert (gain[1] > gain[0]).float().mean() > 0.8 and gain[1].mean() > gain[2].mean()


class NotANumber(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x), 4), torch.nan)


REFUSED = {
    "doubles": ({"x": images(0).double()}, r"images must be torch\.float32.*torch\.float64.*take x\.float\(\)$"),
    "bytes": ({"x": (255 * images(0)).byte()}, r"torch\.uint8.*take x\.float\(\) / 255"),
    "rows": ({"x": images(0).flatten(1)}, r"of shape \(N, C, H, W\), not torch\.float32 of shape \(12, 16\)"),
    "pixels to 255": ({"x": 255 * images(0)}, r"images must lie in \[0, 1\]"),
    "no numbers": ({"x": images(0) * torch.nan}, r"images must lie in \[0, 1\]"),
    "a model of doubles": ({"model": case(0)[0].double()}, r"computes in torch\.float64.*call model\.float\(\)"),
    "another such": (
        {"model": nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).double().eval()},
        "computes in torch.float64",
    ),
    "training": ({"model": case(0)[0].train()}, "training mode"),
    "logits no numbers": ({"model": NotANumber().eval()}, "not finite for 12 of 12 images"),
    "label 4": ({"y": torch.full((12,), 4)}, "labels must be from 0 to 3, they reach from 4 to 4"),
    "label -1": ({"y": torch.full((12,), -1)}, "labels must be from 0 to 3"),
    "short labels": ({"y": torch.zeros(11).long()}, r"labels must have shape \(12,\), one per image, not \(11,\)"),
    "broken labels": ({"y": torch.zeros(12)}, r"labels must be torch\.int64, not torch\.float32: call \.long\(\)"),
}
ROOMS = {"negative": (-0.1, "must be >= 0|must be from 0"), "no number": (float("nan"), "must be >= 0|must be from 0")}


@each()
@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_refused_by_name(name: str, what: str) -> None:
    change, message = REFUSED[what]
    model, x, y = case(0)
    arguments = {"model": model, "x": x, "y": y} | change
    with pytest.raises(ValueError, match=message):
        ATTACKS[name](arguments["model"], arguments["x"], arguments["y"])


@each(lambda entry: entry.room)
@pytest.mark.parametrize("what", ROOMS)
def test_impossible_room_is_refused_by_name(name: str, what: str) -> None:
    value, message = ROOMS[what]
    with pytest.raises(ValueError, match=message):
        ATTACKS[name](*case(0), **{ATTACKS[name].room[0]: value})


@pytest.mark.parametrize("name", TARGETED)
def test_bad_targets_are_refused_by_name(name: str) -> None:
    model, x, y = case(0)
    for targets, message in (
        (y, "12 targets are the label itself"),
        (y + 4, "targets must be from 0 to 3"),
        (y[:3], r"targets must have shape \(12,\)"),
        (((y + 1) % 4).int(), r"targets must be torch\.int64"),
    ):
        with pytest.raises(ValueError, match=message):
            TARGETED[name](model, x, y, targets=targets)


def test_no_attack_of_the_package_is_left_out() -> None:
    """Whatever the package exports that takes a model, images and labels and gives images back is among them."""
    import inspect

    import mmc.attacks as package

    here = {inspect.unwrap(_function(entry.attack)).__name__ for entry in ATTACKS.values()}
    for public in package.__all__:
        thing = getattr(package, public)
        if inspect.isfunction(thing) and list(inspect.signature(thing).parameters)[:3] == ["model", "x", "y"]:
            returns = str(inspect.signature(thing).return_annotation)
            if "N C H W" in returns and public not in ("autoattack_with_flags", "input_gradient"):
                assert public in here, public


def _function(attack):
    while isinstance(attack, partial):
        attack = attack.func
    return attack


def test_broken_promises_are_caught() -> None:
    x = images(0)
    with pytest.raises(ValueError, match=r"from its original, epsilon is 0\.1"):
        confirm(x, (x - 0.2).clamp(0, 1), 0.1)
    with pytest.raises(ValueError, match="left the box"):
        confirm(x, x + 0.1, 0.11)
    with pytest.raises(ValueError, match="the attack returned"):
        confirm(x, x.double(), 0.1)
