"""The loop: it learns, repeats itself bit by bit, goes on where it was broken off, and stops with a reason."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import parameters_to_vector

from mmc.attacks import correct
from mmc.data import Split
from mmc.losses import LOSSES, build
from mmc.models import Classifier, build_backbone, mlp
from mmc.training import Interrupted, NonFiniteLossError, Recipe, accuracy, checkpoint, rate, train
from mmc.training.loop import History, Run, decayed
from mmc.training.rules import Standard

SHAPE = (1, 4, 4)
QUICK = Recipe(epochs=3, batch_size=32, learning_rate=1e-2, optimizer="adam")


def blobs(count: int = 300) -> Split:
    """Three well separated classes, as bytes."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (count,), generator=generator)
    middle = 0.1 + 0.8 * torch.rand(3, *SHAPE, generator=generator)
    x = (middle[y] + 0.03 * torch.randn(count, *SHAPE, generator=generator)).clamp(0, 1)
    return Split((x * 255).round().to(torch.uint8), y)


def network(name: str = "MMC", seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(mlp(SHAPE, 6, 0.5, 0.3, width=16), build(name, 3, 6))


def residual(seed: int = 0) -> Classifier:
    """A network with batch norm, whose running statistics are part of what must repeat."""
    torch.manual_seed(seed)
    return Classifier(build_backbone("resnet8", SHAPE, 6, width=4), build("Center", 3, 6))


def everything(model: Classifier) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_learns_three_blobs(name: str) -> None:
    model, data = network(name), blobs()
    history = train(model, data, dataclasses.replace(QUICK, epochs=30), validation=data)
    assert len(history.loss) == len(history.validation) == len(history.seconds) == 30
    assert history.loss[-1] < history.loss[0]
    assert not model.training and model.autocast is None
    assert correct(model, data.x, data.y).float().mean() > 0.98
    assert history.validation[-1] == accuracy(model, data)


@pytest.mark.parametrize("name", ["SCE", "Center", "MMC"])
def test_same_seed_same_bits(name: str) -> None:
    def run(seed: int) -> tuple[list[float], torch.Tensor]:
        model = network(name)
        torch.manual_seed(seed + 100)  # the global generator has no say
        return train(model, blobs(), QUICK, seed=seed).loss, parameters_to_vector(model.parameters())

    (curve, first), (again, second), (_, other) = run(1), run(1), run(2)
    assert curve == again and first.equal(second) and not first.equal(other)


def test_a_ramp_is_told_how_far_the_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Standard, "at", lambda self, progress: seen.append(progress) or self)
    train(network(), blobs(), QUICK)
    steps = QUICK.epochs * math.ceil(len(blobs()) / QUICK.batch_size)
    assert seen == [step / steps for step in range(steps)]


RECIPES = {
    "sgd": Recipe(epochs=3, batch_size=64, learning_rate=0.05, weight_decay=1e-3, nesterov=True, schedule="step"),
    "adam": dataclasses.replace(QUICK, schedule="one-cycle", warmup=0.3, clip=1.0),
    "averaged": Recipe(epochs=3, batch_size=64, learning_rate=0.05, average=0.9, augmentation="crop-flip"),
    "bf16": Recipe(epochs=3, batch_size=64, learning_rate=0.05, precision="bf16", augmentation="shift-flip"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_that_is_broken_off_anywhere_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    recipe, data = RECIPES[name], blobs(200)
    whole = residual()
    history = train(whole, data, recipe, seed=5, validation=data)
    steps = recipe.epochs * math.ceil(200 / recipe.batch_size)
    for broken_at in range(1, steps + 1):
        keep = tmp_path / f"{broken_at}"
        seen = 0

        def stop(at: int = broken_at) -> bool:
            nonlocal seen
            seen += 1
            return seen == at

        if broken_at < steps:
            with pytest.raises(Interrupted, match=f"after step {broken_at} of {steps}"):
                train(residual(), data, recipe, seed=5, validation=data, keep=keep, stop=stop)
        resumed = residual(seed=99)  # its weights come from the checkpoint
        if broken_at == steps:
            resumed = residual()
        again = train(resumed, data, recipe, seed=5, validation=data, keep=keep)
        assert everything(resumed).equal(everything(whole)), broken_at
        assert (again.loss, again.validation) == (history.loss, history.validation)
        finished = residual(seed=7)  # and who asks again is handed the end
        train(finished, data, recipe, seed=5, validation=data, keep=keep)
        assert everything(finished).equal(everything(whole))


def test_a_checkpoint_of_something_else_is_not_used_and_a_damaged_one_is_put_aside(tmp_path: Path) -> None:
    keep, data = tmp_path / "checkpoint", blobs()
    train(network(), data, QUICK, keep=keep, identity="one")
    other, alone = network(), network()
    train(other, data, QUICK, seed=1, keep=keep, identity="two")
    train(alone, data, QUICK, seed=1)
    assert everything(other).equal(everything(alone))
    for damage in (lambda b: b[: len(b) // 2], lambda b: b[:10], lambda b: b[:-1] + bytes([b[-1] ^ 1])):
        keep.write_bytes(damage(keep.read_bytes()))
        with pytest.raises(checkpoint.DamagedCheckpointError, match="checkpoint is cut off or altered"):
            checkpoint.load(keep)
        again = network()
        train(again, data, QUICK, seed=1, keep=keep, identity="two")
        assert everything(again).equal(everything(alone))
        assert keep.with_suffix(".damaged").exists()


def test_averaged_weights_are_the_running_mean_by_hand() -> None:
    data, recipe = blobs(96), Recipe(epochs=2, batch_size=32, learning_rate=0.05, average=0.6)
    model = network("SCE")
    run = Run(model, data, recipe, Standard(), 0)
    mean = parameters_to_vector(model.parameters()).detach().clone()
    for step in range(6):
        run.advance()
        if run.step % run.per_epoch == 0:
            run.end_epoch()
        decay = min(0.6, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * parameters_to_vector(model.parameters()).detach()
    trained = network("SCE")
    train(trained, data, recipe)
    torch.testing.assert_close(parameters_to_vector(trained.parameters()).detach(), mean)


def test_the_first_step_is_sgd_with_decay_on_weights_alone() -> None:
    model, data = network("L-GM"), blobs(50)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients = torch.autograd.grad(
        model.loss(model.features(data.x), data.y).mean(), [p for p in model.parameters() if p.requires_grad]
    )
    train(model, data, Recipe(epochs=1, batch_size=50, learning_rate=0.1, weight_decay=0.5))
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for (name, parameter), gradient in zip(named, gradients, strict=True):
        decay = 0.5 * before[name] if decayed(name, parameter) else 0
        torch.testing.assert_close(parameter.detach(), before[name] - 0.1 * (gradient + decay), msg=name)
    assert not decayed("loss.centers", before["loss.centers"])


def test_the_first_step_is_adam_by_hand() -> None:
    """Adam's first step moves every parameter by the learning rate, against the sign of its gradient."""
    model, data = network("SCE"), blobs(50)
    before = parameters_to_vector(model.parameters()).detach().clone()
    gradient = torch.autograd.grad(model.loss(model.features(data.x), data.y).mean(), list(model.parameters()))
    train(model, data, dataclasses.replace(QUICK, epochs=1, batch_size=50, learning_rate=1e-3))
    moved = parameters_to_vector(model.parameters()).detach() - before
    flat = torch.cat([g.flatten() for g in gradient])
    clear = flat.abs() > 1e-4
    torch.testing.assert_close(moved[clear], -1e-3 * flat[clear].sign(), rtol=1e-2, atol=1e-6)


def test_bf16_and_channels_last_change_the_arithmetic_not_the_outcome() -> None:
    data = blobs()
    base = Recipe(epochs=8, batch_size=64, learning_rate=0.02)
    found = {}
    for change in ({}, {"precision": "bf16"}, {"channels_last": False}):
        model = residual()
        found[str(change)] = train(model, data, dataclasses.replace(base, **change)).loss
        assert accuracy(model, data) > 0.95
        assert all(p.dtype == torch.float32 for p in model.parameters())
    plain, low, first = found.values()
    assert low != plain
    assert low == pytest.approx(plain, rel=0.3)
    assert first == pytest.approx(plain, rel=1e-2)


def test_center_loss_moves_its_centers_while_training() -> None:
    model, data = network("Center"), blobs()
    train(model, data, dataclasses.replace(QUICK, epochs=30))
    with torch.no_grad():
        means = torch.stack([model.features(data.x[data.y == k]).mean(0) for k in range(3)])
    assert (model.loss.centers - means).norm(dim=1).max() < 0.1 * means.norm(dim=1).max()


def test_progress_counts_every_step_and_knows_what_is_left() -> None:
    told = []
    history = train(network(), blobs(), QUICK, validation=blobs(), report=told.append)
    assert [p.step for p in told] == list(range(1, 31)) and told[-1].left == 0
    assert [p.step for p in told if p.epoch_ended] == [10, 20, 30]
    assert all(p.left >= 0 and p.images_per_second > 0 for p in told)
    assert history.images == 300 and history.images_per_second > 0


@settings(max_examples=60, deadline=None)
@given(
    schedule=st.sampled_from(["constant", "cosine", "step", "one-cycle"]),
    warmup=st.sampled_from([0.0, 0.1, 0.5]),
    steps=st.integers(1, 500),
)
def test_the_learning_rate_rises_once_and_falls_once(schedule: str, warmup: float, steps: int) -> None:
    recipe = Recipe(learning_rate=0.3, schedule=schedule, warmup=warmup)
    rates = [rate(recipe, step, steps) for step in range(steps)]
    assert all(0 < r <= 0.3 + 1e-12 for r in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert all(b <= a + 1e-12 for a, b in zip(rates[top:], rates[top + 1 :], strict=False))
    if steps > 20 and schedule in ("cosine", "one-cycle"):
        assert rates[-1] < 0.2 * max(rates)


def test_step_schedule_drops_where_the_paper_drops() -> None:
    recipe = Recipe(epochs=200, learning_rate=0.01, schedule="step")
    rates = [rate(recipe, epoch * 900, 200 * 900) for epoch in (0, 99, 100, 149, 150, 199)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_a_loss_that_is_not_finite_stops_with_its_cause() -> None:
    data = blobs()
    wild = dataclasses.replace(QUICK, learning_rate=1e18, epochs=20)
    with pytest.raises(NonFiniteLossError, match=r"MMC became (nan|inf) at step \d+; likely cause: .*learning_rate"):
        train(network(), data, wild)
    bad = Split(data.x.clone(), data.y)
    bad.pixels[0] = torch.nan
    with pytest.raises(NonFiniteLossError, match="images of this batch"):
        train(network(), bad, dataclasses.replace(QUICK, epochs=1))
    broken = network()
    with torch.no_grad():
        broken.backbone[-1].bias[0] = torch.inf
    with pytest.raises(NonFiniteLossError, match=r"step 0; .*parameters backbone\.\d+\.bias are no longer finite"):
        train(broken, data, dataclasses.replace(QUICK, epochs=1))
    assert not broken.training and broken.autocast is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1, not 0"),
        ({"batch_size": 0}, "batch_size must be >= 1, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": math.nan}, "learning_rate must be positive"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'; there are: sgd, adam"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; there are: constant, cosine"),
        ({"augmentation": "flip"}, "unknown augmentation 'flip'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
        ({"average": -0.1}, r"average must lie in \[0, 1\)"),
        ({"weight_decay": -1.0}, "weight_decay must be >= 0"),
        ({"milestones": (0.5, 150)}, "milestones are shares"),
    ],
)
def test_bad_recipes_are_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        train(network(), blobs(0), QUICK)
    assert math.isnan(History().images_per_second)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and found none")
def test_a_compiled_network_trains_to_the_same_numbers() -> None:
    data, recipe = blobs(64), Recipe(epochs=1, batch_size=32, learning_rate=0.02)
    plain, compiled = network("SCE"), network("SCE")
    expected = train(plain, data, recipe).loss
    assert train(compiled, data, dataclasses.replace(recipe, compiled=True)).loss == pytest.approx(expected, rel=1e-4)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(everything(compiled), everything(plain), rtol=1e-3, atol=1e-5)


def test_what_a_step_draws_follows_from_seed_and_step_and_from_both() -> None:
    drawn: dict[int, list[float]] = {}

    class Listening(Standard):
        def __call__(self, model: Classifier, x: torch.Tensor, y: torch.Tensor, moment: object) -> tuple:
            heard.append(torch.rand(1, generator=moment.generator).item())
            return super().__call__(model, x, y, moment)

    for run, seed in enumerate((1, 1, 2)):
        heard = drawn.setdefault(run, [])
        train(network("SCE"), blobs(64), QUICK, rule=Listening(), seed=seed)
    assert drawn[0] == drawn[1] and len(drawn[0]) == 6
    assert len({*drawn[0], *drawn[2]}) == 12
