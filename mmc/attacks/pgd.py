"""Projected gradient descent in the L-inf ball, with any objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.attacks.checks import confirm, correct, input_gradient, refuse_bad_input

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective


def pgd(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    objective: Objective,
    epsilon: float,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    seed: int = 0,
) -> Float[Tensor, "N C H W"]:
    """Ascend an objective by signed gradient steps from a random start, within epsilon of each image.

    An example that is fooled leaves the batch with the image that fooled it; what stands is tried again at the next
    restart. Source: Madry et al. 2018.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        objective: `objective(model, x, y) -> (N,)`, one of `OBJECTIVES` or your own.
        epsilon: radius of the L-inf ball in units of a pixel's range [0, 1], >= 0.
        steps: steps per restart, >= 1.
        step_size: in the units of epsilon; 2.5 * epsilon / steps where not given.
        restarts: random starts, >= 1.
        seed: of the random starts.

    Returns:
        One image for each of x: one that fools the model where one was found, else the end of the last climb.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, epsilon)
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, not {steps} and {restarts}")
    step_size = 2.5 * epsilon / steps if step_size is None else step_size
    if not step_size >= 0:
        raise ValueError(f"step_size must be >= 0, not {step_size}")
    generator = torch.Generator().manual_seed(seed)
    low, high = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
    result = x.detach().clone()
    standing = correct(model, x, y).nonzero().flatten()
    for _ in range(restarts):
        # Drawn for every image, fallen or not: an example's start then depends on no other example.
        start = (2 * torch.rand(x.shape, generator=generator) - 1).to(x)
        result[standing] = (x + epsilon * start).clamp(low, high)[standing]
        standing = standing[correct(model, result[standing], y[standing])]
        for _ in range(steps):
            if not len(standing):
                break
            gradient = input_gradient(objective, model, result[standing], y[standing])
            moved = result[standing] + step_size * gradient.sign()
            result[standing] = moved.clamp(low[standing], high[standing])
            standing = standing[correct(model, result[standing], y[standing])]
    confirm(x, result, epsilon)
    return result
