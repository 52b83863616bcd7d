"""From attacks of fixed radius to the nearest image that fools: each example's radius is sought by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from mmc.attacks.balls import check_norm, lengths
from mmc.attacks.checks import confirm, correct, refuse_bad_input

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn


def nearest_by_radius(
    attack: Callable[..., Tensor],
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    norm: str = "l2",
    first_radius: float = 0.5,
    rounds: int = 12,
) -> Float[Tensor, "N C H W"]:
    """Run an attack again and again: the radius doubles until an example falls, then the interval is halved.

    Whatever fools sets the upper end to its own distance, which may be less than the radius it was looked for in.

    Args:
        attack: `attack(model, x, y, epsilon=(N,), norm=norm) -> x_adv`, with a radius for each example; e.g.
            `apgd_all_targets`, or a `partial` of it.
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        norm: `l2` or `linf`.
        first_radius: tried on every example, > 0, in units of a pixel's range [0, 1].
        rounds: attacks in all, >= 1.

    Returns:
        One image for each of x: the nearest one found; the image itself where none was found, or where it was wrong.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, first_radius)
    check_norm(norm)
    if not 0 < first_radius < math.inf or rounds < 1:
        raise ValueError(f"first_radius must be > 0 and rounds at least 1, not {first_radius} and {rounds}")
    result, seek = x.detach().clone(), correct(model, x, y).nonzero().flatten()
    if not len(seek):
        return result
    images, labels = x.detach()[seek], y[seek]
    widest = 1.0 if norm == "linf" else math.sqrt(images[0].numel())
    radius = torch.full_like(images[:, 0, 0, 0], min(first_radius, widest))
    low, high = torch.zeros_like(radius), torch.full_like(radius, torch.inf)
    nearest = images.clone()
    for _ in range(rounds):
        tried = attack(model, images, labels, epsilon=radius, norm=norm)
        away = lengths(tried - images, norm)
        fell = ~correct(model, tried, labels) & (away < high)
        nearest[fell], high[fell], low[~fell] = tried[fell], away[fell], radius[~fell]
        radius = torch.where(high.isinf(), (2 * low).clamp_max(widest), (low + high) / 2)
    result[seek] = nearest
    confirm(x, result, math.inf, norm)
    return result
