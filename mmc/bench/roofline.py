"""What a training step takes at the very least: the roofline of its operations.

An operation takes no less than its multiplications at the rate of the fastest product of this device, and no less than
its operands and results, moved once, at the rate of a plain copy. Convolutions and products of matrices alone are the
floor of any program. All operations, one after another, are the floor of this one: to go below it, some have to be
merged, such as a norm into the convolution before it.
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
class Operation:
    """One call that moves numbers; a view moves none.

    Attributes:
        dtype: of its first operand.
        flops: additions and multiplications of a convolution, of its backward pass, or of a product of matrices, those
            with padded zeros counted as libraries do them; of anything else 0.
        bytes: of all operands and results; what is changed in place is both.
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
        self.heard: list[Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        found = func(*args, **options)
        operands, results = ([leaf for leaf in tree_leaves(x) if isinstance(leaf, torch.Tensor)] for x in (args, found))
        if operands and not func.is_view:
            count = flop_registry.get(func._overloadpacket)
            flops = count(*args, **options, out_val=found) if count else 0
            moved = sum(tensor.numel() * tensor.element_size() for tensor in operands + results)
            self.heard.append(Operation(operands[0].dtype, flops, moved))
        return found


def operations(step: Callable[[], Any]) -> list[Operation]:
    """What a step consists of, in order; the step is run once, and must not be compiled."""
    with _Listener() as listener:
        step()
    return listener.heard


def products(made: Iterable[Operation]) -> list[Operation]:
    """Those that multiply: convolutions, and products of matrices."""
    return [one for one in made if one.flops]


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


def floor(made: Iterable[Operation], best: Rates) -> float:
    """Seconds that operations take at least at these rates, one after another.

    Raises:
        KeyError: there is a product of a dtype whose rate is not known.
    """
    return sum(max(one.flops / best.flops[one.dtype] if one.flops else 0.0, one.bytes / best.bytes) for one in made)
