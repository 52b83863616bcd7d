"""The inner maximisation of adversarial training: a few signed gradient steps on frozen parameters.

It differs from the attacks of `mmc.attacks` in what it leaves out: no restarts, no check of every image, no early
leave; each image of the batch is moved in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    Value = Callable[[Tensor], Tensor]

#: How batch norm behaves while images are crafted: `eval` uses the running statistics, `train` those of the batch.
MODES = ("eval", "train")


@contextmanager
def frozen(model: nn.Module, batch_norm: str) -> Iterator[None]:
    """Parameters need no gradient and no running statistic moves while the body crafts images.

    Args:
        model: left exactly as it was, mode and all.
        batch_norm: one of `MODES`.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    modes = [(m, m.training) for m in model.modules()]
    learned = [p for p in model.parameters() if p.requires_grad]
    model.train(batch_norm == "train")
    for norm in norms:
        norm.track_running_stats = batch_norm == "eval"
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
        for norm in norms:
            norm.track_running_stats = True
        for module, training in modes:
            module.training = training


def noise(x: Float[Tensor, "N C H W"], generator: torch.Generator, kind: str = "uniform") -> Float[Tensor, "N C H W"]:
    """Noise like x: uniform in [-1, 1], or standard normal."""
    if kind == "normal":
        return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) * 2 - 1


def gradient_sign(value: Value, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """The sign of the gradient of each example's value with respect to its pixels."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(value(x).sum(), x)
    return gradient.sign()


def ascend(
    value: Value,
    x: Float[Tensor, "N C H W"],
    start: Float[Tensor, "N C H W"],
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    watch: Callable[[Tensor], None] | None = None,
) -> Float[Tensor, "N C H W"]:
    """Climb `value` by signed steps within epsilon of x in L-inf and within the box [0, 1].

    Args:
        value: images to one value per example, to be made large.
        x: the clean images, in [0, 1].
        start: where to begin; brought into ball and box.
        epsilon: radius, in units of a pixel's range [0, 1].
        step_size: in the same units.
        steps: how many.
        watch: called with the images before each step.

    Returns:
        The images after the last step, detached.
    """
    low, high = (x - epsilon).clamp_(min=0), (x + epsilon).clamp_(max=1)
    moved = start.clamp(low, high)
    for _ in range(steps):
        if watch is not None:
            watch(moved)
        moved = (moved + step_size * gradient_sign(value, moved)).clamp(low, high)
    return moved.detach()
