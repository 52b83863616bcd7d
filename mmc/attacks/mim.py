"""The momentum iterative method: signed steps along a sum of gradients, each divided by its L1 norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.attacks.balls import project
from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.attacks.climb import look
from mmc.attacks.objectives import margin

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective


def mim(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    objective: Objective = margin,
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    targets: Int[Tensor, " N"] | None = None,
    active_set: bool = True,
) -> Float[Tensor, "N C H W"]:
    """Ascend an objective by signed steps along an accumulated gradient, from the image itself, in the L-inf ball.

    Each gradient is divided by its L1 norm before it is added: so an early, tiny gradient counts as much as a late one,
    and a pixel counts by its share, which adding up signs would lose. There is no chance in it. Source: Dong et al.
    2018.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        epsilon: radius of the L-inf ball in units of a pixel's range [0, 1], >= 0.
        objective: `objective(model, x, y) -> (N,)`, or with targets `objective(model, x, y, targets) -> (N,)`.
        steps: >= 1.
        step_size: in the units of epsilon, >= 0; epsilon / steps where not given.
        decay: what the accumulated gradient keeps from step to step, >= 0; zero is the basic iterative method.
        targets: a class for each example, for targeted objectives; fooled is fooled, into whatever class.
        active_set: a fooled example leaves with the image that fooled. If not, it climbs on to the last step and has
            the last image that fooled: the same verdicts, and images that transfer better to other models.

    Returns:
        One image for each of x: one that fools where one was met, else the last; the image itself where it was wrong.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, epsilon, targets)
    size = epsilon / max(steps, 1) if step_size is None else step_size
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if not (size >= 0 and decay >= 0):
        raise ValueError(f"step_size and decay must be >= 0, not {size} and {decay}")
    result = x.detach().clone()
    live = correct(model, x, y).nonzero().flatten()
    labels = [label[live] for label in ((y,) if targets is None else (y, targets))]
    moved, sums = result[live], torch.zeros_like(result[live])
    fallen = torch.zeros_like(live, dtype=torch.bool)
    for _ in range(steps):
        if not len(live):
            break
        _, gradient, stands = look(objective, model, moved, *labels)
        result[live[~stands]] = moved[~stands]
        fallen |= ~stands
        sums = decay * sums + share(gradient)
        moved = project(moved + size * sums.sign(), x[live], epsilon, "linf")
        if active_set and bool(fallen.any()):
            live, moved, sums, fallen = (kept[stands] for kept in (live, moved, sums, fallen))
            labels = [label[stands] for label in labels]
    if len(live):
        last = ~correct(model, moved, labels[0]) | ~fallen
        result[live[last]] = moved[last]
    confirm(x, result, epsilon)
    return result


def share(gradient: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Each gradient divided by its L1 norm; zero where it is zero."""
    # First by the largest entry, so that nothing underflows.
    scaled = gradient / gradient.flatten(1).abs().amax(1).clamp_min(1e-38)[:, None, None, None]
    return scaled / scaled.flatten(1).abs().sum(1).clamp_min(1e-30)[:, None, None, None]
