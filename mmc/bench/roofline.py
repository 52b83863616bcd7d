"""What a training step takes at the very least: the roofline of its products.

A convolution or a product of matrices takes no less than its multiplications at the rate of the fastest product of this
device, and no less than its operands, moved once, at the rate of a plain copy. All else in a step could be done on the
way, and counts nothing: what a step takes above its roofline is norms, activations, traffic and overhead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mmc.bench.ratio import timed
from mmc.provenance import device


@dataclass(frozen=True)
class Product:
    """One call of a convolution, of its backward pass, or of a product of matrices.

    Attributes:
        dtype: of its operands.
        flops: additions and multiplications, those with padded zeros counted as libraries do them.
        bytes: of all operands and results.
    """

    dtype: torch.dtype
    flops: int
    bytes: int


@dataclass(frozen=True)
class Rates:
    """What a device does at best.

    Attributes:
        flops: per second, in products of large square matrices, by dtype.
        bytes: per second, read and written, in a copy of a large tensor.
    """

    flops: Mapping[torch.dtype, float]
    bytes: float


class _Listener(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            tensors = [leaf for leaf in tree_leaves((args, found)) if isinstance(leaf, torch.Tensor)]
            flops = count(*args, **(kwargs or {}), out_val=found)
            self.products.append(Product(tensors[0].dtype, flops, sum(t.numel() * t.element_size() for t in tensors)))
        return found


def products(step: Callable[[], Any]) -> list[Product]:
    """The products that a step makes, in order; the step is run once, without compiled parts."""
    with _Listener() as listener:
        step()
    return listener.products


def rates(dtypes: Iterable[torch.dtype], seconds: float = 1.0) -> Rates:
    """Measure what this device does at best.

    Args:
        dtypes: of the products to measure.
        seconds: that each measurement takes, > 0; the fastest turn counts.
    """
    where, on_gpu = device(), device() == "cuda"
    side, megabytes = (8192, 1024) if on_gpu else (2048, 128)
    found = {}
    for dtype in dict.fromkeys(dtypes):
        a, b = (torch.randn(side, side, device=where).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        found[dtype] = 2 * side**3 / _fastest(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), seconds)
    source = torch.zeros(megabytes << 20, dtype=torch.uint8, device=where)
    target = torch.ones_like(source)
    return Rates(found, 2 * source.numel() / _fastest(lambda: target.copy_(source), seconds))


def _fastest(run: Callable[[], Any], seconds: float) -> float:
    run()
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < seconds:
        best = min(best, timed(run)[0])
    return best


def floor(made: Iterable[Product], best: Rates) -> float:
    """Seconds that products take at least at these rates, one after another."""
    return sum(max(one.flops / best.flops[one.dtype], one.bytes / best.bytes) for one in made)
