"""Batch norm together with what follows it: the sum with a shortcut, and the ReLU.

PyTorch runs the three one after another, and each reads all its numbers and writes as many. A processor with 16-bit
products spends a third of a ResNet's training step on this. Merged, they are one pass over the numbers for the moments
and one for the result, forward and backward alike; `torch.compile` makes the loops. Of a whole network it makes norms
for a processor that are slower than PyTorch's own, so it is given these two functions alone, with moments as plain
sums.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Each channel count, batch size and precision is a variant; beyond torch's default of 8 it would stop compiling.
VARIANTS = 64
#: From how many reads on the compiler writes a half-way result to memory, to read it back. Here reading again what it
#: is made of is cheaper: without this the backward pass takes nearly twice as long.
ANEW = {"realize_reads_threshold": 64, "realize_acc_reads_threshold": 64, "realize_opcount_threshold": 1000}


def forward(
    x: Float[Tensor, "M C"],
    weight: Float[Tensor, " C"],
    bias: Float[Tensor, " C"],
    shift: Float[Tensor, " C"],
    added: Float[Tensor, "M C"] | None,
    eps: float,
) -> tuple[Float[Tensor, "M C"], Float[Tensor, " C"], Float[Tensor, " C"]]:
    """ReLU of batch norm plus what is added; the moments are taken in the precision of the weights.

    Args:
        x: a row for each place of each image.
        weight, bias: of the norm.
        shift: near the mean; it keeps the second moment from cancelling where the mean is large.
        added: of the same shape as x, or nothing.
        eps: of the norm.

    Returns:
        The result in the precision of x, the mean, and one over the standard deviation.
    """
    wide = x.to(weight.dtype) - shift
    first, second = wide.mean(0), (wide * wide).mean(0)
    inverse = torch.rsqrt((second - first * first).clamp_min(0) + eps)
    result = (wide - first) * (weight * inverse) + bias
    if added is not None:
        result = result + added
    return result.clamp_min(0).to(x.dtype), first + shift, inverse


def backward(
    gradient: Float[Tensor, "M C"],
    x: Float[Tensor, "M C"],
    weight: Float[Tensor, " C"],
    bias: Float[Tensor, " C"],
    mean: Float[Tensor, " C"],
    inverse: Float[Tensor, " C"],
    result: Float[Tensor, "M C"] | None,
) -> tuple[Float[Tensor, "M C"], Float[Tensor, " C"], Float[Tensor, " C"], Float[Tensor, "M C"] | None]:
    """Gradients by x, weight, bias and what was added, from the gradient by the result of `forward`.

    The result is asked for where something was added. Elsewhere x says where the ReLU let through, and is read anyway.
    """
    away = (x.to(weight.dtype) - mean) * inverse
    passed = torch.where((away * weight + bias if result is None else result) > 0, gradient, 0)
    wide = passed.to(weight.dtype)
    by_bias, by_weight = wide.sum(0), (wide * away).sum(0)
    by_x = (wide - by_bias / len(x) - away * (by_weight / len(x))) * (weight * inverse)
    return by_x.to(x.dtype), by_weight, by_bias, None if result is None else passed


def _rows(x: Float[Tensor, "N C H W"]) -> Float[Tensor, "M C"]:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _in_rows(x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """The images with their rows one after another in memory, copied if need be: `channels_last`.

    Where the compiler has to transpose 16-bit numbers itself, its loops read beyond them (PyTorch 2.13).
    """
    return x.contiguous(memory_format=torch.channels_last)


def _images(rows: Float[Tensor, "M C"], like: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


def forward_images(
    x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor, added: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`forward`, for images; the views between the two cost nothing where they are compiled along."""
    rows, mean, inverse = forward(_rows(x), weight, bias, shift, None if added is None else _rows(added), eps)
    return _images(rows, x), mean, inverse


def backward_images(
    gradient: Tensor, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, result: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """`backward`, for images; see `forward_images`."""
    rows = None if result is None else _rows(result)
    by_x, by_weight, by_bias, by_added = backward(_rows(gradient), _rows(x), weight, bias, mean, inverse, rows)
    return _images(by_x, x), by_weight, by_bias, None if by_added is None else _images(by_added, x)


@functools.cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)
    return tuple(torch.compile(way, dynamic=False, options=ANEW) for way in (forward_images, backward_images))


class _Merged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor, added: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        added = None if added is None else _in_rows(added)
        result, mean, inverse = _compiled()[0](x, weight, bias, shift, added, eps)
        ctx.save_for_backward(x, weight, bias, mean, inverse, None if added is None else result)
        ctx.mark_non_differentiable(mean, inverse)
        return result, mean, inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *moments: Tensor) -> tuple[Tensor | None, ...]:
        by_x, by_weight, by_bias, by_added = _compiled()[1](_in_rows(gradient), *ctx.saved_tensors)
        return by_x, by_weight, by_bias, None, by_added, None


def rectify(
    x: Float[Tensor, "N C H W"], added: Float[Tensor, "N C H W"] | None = None, inplace: bool = False
) -> Float[Tensor, "N C H W"]:
    """ReLU of x, plus what is added if anything is."""
    return F.relu(x if added is None else x + added, inplace)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that can be merged with what follows it.

    Attributes:
        merged: the number of images for which it is, in training and in `channels_last`; other batches, such as the
            last one of an epoch, go through PyTorch's own norm. 0 merges none.
    """

    merged = 0

    def rectified(
        self, x: Float[Tensor, "N C H W"], added: Float[Tensor, "N C H W"] | None = None
    ) -> Float[Tensor, "N C H W"]:
        """ReLU of the norm of x, plus what is added if anything is."""
        fits = self.training and len(x) == self.merged and x.is_contiguous(memory_format=torch.channels_last)
        if not fits or x.numel() == self.num_features:  # of one value a channel PyTorch's norm says what is wrong
            return rectify(nn.BatchNorm2d.forward(self, x), added, inplace=True)
        with torch.autocast(x.device.type, enabled=False):
            result, mean, inverse = _Merged.apply(x, self.weight, self.bias, self.running_mean, added, self.eps)
        if self.track_running_stats:
            self._follow(mean, inverse, x.numel() // x.shape[1])
        return result

    @torch.no_grad()
    def _follow(self, mean: Float[Tensor, " C"], inverse: Float[Tensor, " C"], count: int) -> None:
        """Move the running statistics as PyTorch's norm does."""
        self.num_batches_tracked += 1
        variance = (inverse**-2 - self.eps) * (count / (count - 1))
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class Rectified(BatchNorm):
    """Batch norm and ReLU as one layer."""

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return self.rectified(x)


def merge(network: nn.Module, images: int) -> int:
    """Merge every norm of a network with what follows it, for batches of so many images; see `BatchNorm.merged`.

    Returns:
        How many norms there are to merge.
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for norm in norms:
        norm.merged = images
    return len(norms)
