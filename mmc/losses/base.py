"""What every loss is: per-example values from features and labels, and a decision rule."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


def in_full_precision(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method of (z, ...) its features in float32 where they come in half precision, and switch autocast off.

    A difference of two squared distances, or a softmax, has no digits left in bfloat16.
    """

    @functools.wraps(method)
    def run(self: Loss, z: Tensor, *rest: Any) -> Any:
        if z.dtype not in HALF and not torch.is_autocast_enabled(z.device.type):
            return method(self, z, *rest)
        with torch.autocast(z.device.type, enabled=False):
            return method(self, z.float() if z.dtype in HALF else z, *rest)

    return run


class Loss(nn.Module):
    """A loss on features, `loss(z, y) -> (N,)`, with its decision rule, `loss.logits(z) -> (N, L)`.

    A subclass writes `value` and `logits`; the class of a feature is the largest logit. Both run in float32 or
    better, under autocast too (see `in_full_precision`). No value depends on another example or on a random number.

    Args:
        num_classes: L >= 2.
        feature_dim: d >= 1.

    Raises:
        ValueError: a size is too small.
    """

    def __init__(self, num_classes: int, feature_dim: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, not {num_classes}")
        if feature_dim < 1:
            raise ValueError(f"feature_dim must be at least 1, not {feature_dim}")
        self.num_classes = num_classes
        self.feature_dim = feature_dim

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("value", "logits", "observe"):
            if name in cls.__dict__:
                setattr(cls, name, in_full_precision(cls.__dict__[name]))

    def value(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """The loss of each example; called through `loss(z, y)`, which checks the shapes."""
        raise NotImplementedError

    def logits(self, z: Float[Tensor, "N d"]) -> Float[Tensor, "N L"]:
        """The decision rule: one score per class, the largest wins."""
        raise NotImplementedError

    def observe(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> None:
        """Called by the training loop after each step; for a loss whose centers do not follow the gradient."""

    def forward(self, z: Float[Tensor, "N d"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        if z.ndim != 2 or z.shape[1] != self.feature_dim:
            raise ValueError(f"features must have shape (N, {self.feature_dim}), not {tuple(z.shape)}")
        if y.shape != z.shape[:1]:
            raise ValueError(f"labels must have shape ({len(z)},), one per feature, not {tuple(y.shape)}")
        return self.value(z, y)


def squared_distances(z: Float[Tensor, "N d"], centers: Float[Tensor, "L d"]) -> Float[Tensor, "N L"]:
    """The squared distance of each feature to each center.

    From the differences, not from the expanded square: next to a center the expansion cancels in float32.
    """
    return (z[:, None, :] - centers).square().sum(-1)


def own(scores: Float[Tensor, "N L"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Each row's entry at its label."""
    return scores.gather(1, y[:, None]).squeeze(1)


def others(scores: Float[Tensor, "N L"], y: Int[Tensor, " N"]) -> Float[Tensor, "N M"]:
    """Each row without its entry at the label: the M = L - 1 wrong classes in their order."""
    wrong = torch.arange(scores.shape[1] - 1, device=scores.device).expand(len(scores), -1)
    return scores.gather(1, wrong + (wrong >= y[:, None]))


def margins(scores: Float[Tensor, "N L"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The largest other score minus the label's, max_{k != y} s_k - s_y: positive exactly where y does not win.

    The label is masked by minus infinity, never by multiplication: the scores may have any sign.
    """
    return scores.scatter(1, y[:, None], -torch.inf).amax(1) - own(scores, y)


def directions(z: Float[Tensor, "N d"], smallest: float = 1e-12) -> Float[Tensor, "N d"]:
    """Each feature over its norm; one of a norm up to `smallest` has no direction and gives zeros, with gradient zero.

    Elsewhere the gradient grows like 1 / ||z||, as it must.
    """
    norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    some = norm > smallest
    return torch.where(some, z / torch.where(some, norm, 1), 0)


def as_buffer(array: object) -> Tensor:
    """A float tensor of the default type from an array or a tensor."""
    return torch.as_tensor(array).to(torch.get_default_dtype()).clone()
