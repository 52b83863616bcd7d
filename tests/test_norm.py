"""Batch norm merged with the sum and the ReLU after it: the numbers and gradients of the three one after another."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from mmc.models import BACKBONES, Classifier, build_backbone, norm
from mmc.models.norm import BatchNorm, Rectified, merge
from mmc.recipe import Recipe
from mmc.training.prepare import prepare

few = settings(max_examples=30, deadline=None)
shapes = st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))


def draw(shape: tuple[int, ...], seed: int, mean: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) + mean
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.fixture
def as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two functions as Python runs them, so that float64 and many shapes cost no compiling."""
    monkeypatch.setattr(norm, "_compiled", lambda: (norm.forward_images, norm.backward_images))


def one_after_another(layer: nn.BatchNorm2d, x: torch.Tensor, added: torch.Tensor | None) -> torch.Tensor:
    out = nn.BatchNorm2d.forward(layer, x)
    return F.relu(out if added is None else out + added)


def pair(channels: int, seed: int) -> tuple[BatchNorm, BatchNorm]:
    """Two layers with the same weights and statistics, of no special values."""
    layer = BatchNorm(channels).double()
    generator = torch.Generator().manual_seed(seed)
    for tensor in (layer.weight.data, layer.bias.data, layer.running_mean):
        tensor.copy_(torch.randn(channels, generator=generator))
    return layer, copy.deepcopy(layer)


@pytest.mark.usefixtures("as_written")
@few
@given(shape=shapes, seed=st.integers(0, 10**6), with_added=st.booleans(), steps=st.integers(1, 3))
def test_merged_it_gives_the_values_gradients_and_statistics_of_the_three_apart(shape, seed, with_added, steps) -> None:
    ours, theirs = pair(shape[1], seed)
    ours.merged = shape[0]
    for step in range(steps):
        x, added = draw(shape, seed + step), draw(shape, seed + step + 99) if with_added else None
        assume(x[:, 0].numel() > 1)
        weights = torch.randn(shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        results = ours.rectified(x, added), one_after_another(theirs, x, added)
        torch.testing.assert_close(*results)
        inputs = [x, *([added] if with_added else [])]
        grads = [
            torch.autograd.grad((result * weights).sum(), [*inputs, layer.weight, layer.bias])
            for result, layer in zip(results, (ours, theirs), strict=True)
        ]
        torch.testing.assert_close(*grads)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert int(ours.num_batches_tracked) == steps


@pytest.mark.parametrize("mean", [0.0, 1.0, 300.0])
def test_a_shift_near_the_mean_keeps_the_variance_where_the_mean_is_large(mean: float) -> None:
    x = draw((4096, 3, 1, 1), 0, mean).detach().flatten(1)
    ones, zeros = torch.ones(3), torch.zeros(3)
    deviation = x.std(0, unbiased=False).float()
    _, _, shifted = norm.forward(x.float(), ones, zeros, x.mean(0).float() + 0.1, None, 0.0)
    torch.testing.assert_close(1 / shifted, deviation, rtol=1e-4, atol=0)
    if mean > 100:
        _, _, plain = norm.forward(x.float(), ones, zeros, zeros, None, 0.0)
        assert ((1 / plain - deviation).abs() / deviation).max() > 1e-4  # what the shift is for


@pytest.mark.parametrize("why", ["another number of images", "evaluation", "another memory layout", "not asked for"])
def test_what_does_not_fit_goes_through_the_norm_of_pytorch(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError("merged")

    monkeypatch.setattr(norm, "_compiled", never)
    ours, theirs = pair(3, 1)
    x = draw((4, 3, 2, 2), 1)
    ours.merged = {"another number of images": 5, "not asked for": 0}.get(why, 4)
    if why == "evaluation":
        ours.eval(), theirs.eval()
    if why == "another memory layout":
        x = x.detach().contiguous()
    assert ours.rectified(x).equal(one_after_another(theirs, x, None))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.usefixtures("as_written")
def test_where_statistics_stand_still_they_stand_still_merged() -> None:
    """So it is while images are crafted with the norm in training mode."""
    ours, _ = pair(3, 2)
    ours.merged, ours.track_running_stats = 4, False
    before = copy.deepcopy(ours.state_dict())
    ours.rectified(draw((4, 3, 2, 2), 2))
    torch.testing.assert_close(ours.state_dict(), before, rtol=0, atol=0)


def same_function(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = build_backbone(name, (3, 8, 8), 5, width=4).to(dtype).to(memory_format=torch.channels_last).train()
    theirs = copy.deepcopy(ours)
    count = merge(ours, 4)
    assert count == sum(isinstance(module, nn.BatchNorm2d) for module in theirs.modules())
    x = draw((4, 3, 8, 8), 3).detach().to(dtype).requires_grad_()
    results = ours(x), theirs(x)
    torch.testing.assert_close(*results)
    nets = zip(results, (ours, theirs), strict=True)
    grads = [torch.autograd.grad(z.square().sum(), [x, *net.parameters()]) for z, net in nets]
    # In float32 a gradient that cancels has the rounding of its terms.
    torch.testing.assert_close(*grads, **({} if dtype == torch.float64 else {"atol": 1e-4, "rtol": 1e-3}))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


@pytest.mark.usefixtures("as_written")
@pytest.mark.parametrize("name", BACKBONES)
def test_a_network_with_its_norms_merged_is_the_same_function(name: str) -> None:
    same_function(name, torch.float64)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and found none")
def test_a_network_with_its_norms_compiled_is_the_same_function() -> None:
    same_function("resnet8", torch.float32)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and found none")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_it_is_what_is_written(dtype: torch.dtype) -> None:
    """In 16 bits the parts round in between and the merged norm does not: both lie within that of the exact values."""
    ours = Rectified(8)
    theirs, exact = copy.deepcopy(ours), copy.deepcopy(ours).double()
    ours.merged = 6
    again = copy.deepcopy(ours)
    x, added = (draw((6, 8, 4, 4), seed).detach().to(dtype).requires_grad_() for seed in (4, 5))
    wide = [tensor.detach().double().requires_grad_() for tensor in (x, added)]
    found = ours.rectified(x, added), one_after_another(theirs, x, added)
    goal = one_after_another(exact, *wide)
    assert {result.dtype for result in found} == {dtype}
    assert again.rectified(x, added).equal(found[0])  # the same bits from the same state
    ways = zip((*found, goal), ([x, added], [x, added], wide), strict=True)
    grads = [torch.autograd.grad(z.sum(), inputs) for z, inputs in ways]
    for mine, plain, true in zip([found[0], *grads[0]], [found[1], *grads[1]], [goal, *grads[2]], strict=True):
        error, usual = ((tensor.double() - true).abs().mean() for tensor in (mine, plain))
        assert error <= 1.5 * usual + 1e-6


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and found none")
@pytest.mark.parametrize("spread", ["images one after another in NCHW", "one number for all places"])
def test_however_gradient_and_shortcut_lie_in_memory(spread: str) -> None:
    """Loops compiled for 16-bit numbers in NCHW read beyond them, so these are brought into rows before."""
    shape = (4, 32, 16, 16)
    x, *drawn = (draw(shape, seed).detach().bfloat16() for seed in (6, 7, 8))
    if spread == "one number for all places":
        drawn = [tensor[..., :1, :1].expand(shape) for tensor in drawn]
    else:
        drawn = [tensor.contiguous() for tensor in drawn]
    found = []
    for added, gradient in (drawn, [tensor.contiguous(memory_format=torch.channels_last) for tensor in drawn]):
        layer = BatchNorm(32)
        layer.merged = 4
        inputs = [x.clone().requires_grad_(), added.detach().requires_grad_()]
        result = layer.rectified(*inputs)
        found.append([result, *torch.autograd.grad(result, inputs, gradient)])
    for one, other in zip(*found, strict=True):
        assert one.isfinite().all()
        assert one.equal(other)


def test_one_value_a_channel_is_refused_as_pytorch_refuses_it() -> None:
    ours = BatchNorm(3)
    ours.merged = 1
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ours.rectified(draw((1, 3, 1, 1), 0).float())


def test_without_a_compiler_a_recipe_that_asks_for_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    from mmc.losses import build

    model = Classifier(build_backbone("resnet8", (3, 8, 8), 4, width=4), build("SCE", 3, 4))
    with pytest.raises(ValueError, match="no C\\+\\+ compiler is here"):
        prepare(model, Recipe(compiled=True))
    prepare(model, Recipe())
    assert model.training
