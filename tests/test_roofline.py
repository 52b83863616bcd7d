"""The roofline: multiplications and bytes counted as by hand, and a floor that is one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc.bench.roofline import Operation, Rates, floor, operations, products, rates
from mmc.bench.throughput import throughput
from mmc.bench.training import plain_stepper, stepper

sizes = st.integers(1, 6)
dtypes = st.sampled_from([torch.float32, torch.bfloat16])
few = partial(settings, deadline=None)


@few(max_examples=25)
@given(n=sizes, m=sizes, k=sizes, dtype=dtypes)
def test_a_product_of_matrices(n: int, m: int, k: int, dtype: torch.dtype) -> None:
    a, b = torch.ones(n, k, dtype=dtype), torch.ones(k, m, dtype=dtype)
    size = a.element_size()
    made = operations(lambda: ((a @ b).view(-1).relu_() + 1)[None])  # views move nothing
    expected = [Operation(dtype, 2 * n * m * k, (n * k + k * m + n * m) * size)]
    assert products(made) == expected
    assert made == expected + 2 * [Operation(dtype, 0, 2 * n * m * size)]


@few(max_examples=25)
@given(n=sizes, inputs=sizes, outputs=sizes, side=st.integers(3, 8), stride=st.integers(1, 2), learns=st.booleans())
def test_a_convolution_forward_and_backward(
    n: int, inputs: int, outputs: int, side: int, stride: int, learns: bool
) -> None:
    """Backward there is the product for the weights, and where the image learns too a second one."""
    x = torch.ones(n, inputs, side, side, requires_grad=learns)
    weight = torch.ones(outputs, inputs, 3, 3, requires_grad=True)
    forward, backward = products(operations(lambda: F.conv2d(x, weight, padding=1, stride=stride).sum().backward()))
    out = n * outputs * (-(-side // stride)) ** 2
    assert forward.flops == 2 * out * inputs * 9 and backward.flops == forward.flops * (1 + learns)
    assert forward.bytes == 4 * (x.numel() + weight.numel() + out)
    assert backward.bytes == 4 * (2 * weight.numel() + x.numel() * (1 + learns) + out)


@few(max_examples=50)
@given(
    made=st.lists(st.builds(Operation, dtypes, st.integers(0, 10**9), st.integers(0, 10**9)), max_size=5),
    fast=st.floats(1e6, 1e12),
    slow=st.floats(1e6, 1e12),
    copy=st.floats(1e6, 1e12),
)
def test_the_floor_is_met_by_each_bound_and_adds_up(
    made: list[Operation], fast: float, slow: float, copy: float
) -> None:
    best = Rates({torch.bfloat16: fast, torch.float32: slow}, copy)
    found = floor(made, best)
    assert found == pytest.approx(sum(floor([one], best) for one in made))
    for one in made:
        assert floor([one], best) * best.flops[one.dtype] >= one.flops * (1 - 1e-9)
        assert floor([one], best) * copy >= one.bytes * (1 - 1e-9)
    assert floor(made, Rates(best.flops, 2 * copy)) <= found <= floor(made, Rates(best.flops, copy / 2))


def test_both_loops_multiply_the_same_and_sixteen_bits_halve_what_is_moved() -> None:
    steps = stepper("resnet8", "SCE", batch_size=4), plain_stepper("resnet8", 4)
    ours, plain = (products(operations(step)) for step in steps)
    assert sum(one.flops for one in ours) == sum(one.flops for one in plain)
    share = sum(one.bytes for one in ours) / sum(one.bytes for one in plain)
    assert share == pytest.approx(0.5 if ours[0].dtype == torch.bfloat16 else 1, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rates_are_measured_for_what_is_asked(dtype: torch.dtype) -> None:
    best = rates([dtype, dtype], seconds=0.01)
    assert list(best.flops) == [dtype] and best.flops[dtype] > 0 and best.bytes > 0


def test_images_per_second_are_counted_over_all_runs() -> None:
    [row] = throughput(("mlp",), ("standard",), at_once=(1,), seconds=0.05, batch_size=8)
    assert row["runs"] == 1 and row["images_per_second"] > 0 and row["share_of_roofline"] > 0
