"""Projected gradient descent in the L-inf or L2 ball, with any objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from mmc.attacks.balls import check_norm, project, random_start, steepest
from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.attacks.climb import look

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
    step_size: float | Callable[[int], float] | None = None,
    restarts: int = 1,
    seed: int = 0,
    norm: str = "linf",
    targets: Int[Tensor, " N"] | None = None,
    start: str = "random",
    active_set: bool = True,
) -> Float[Tensor, "N C H W"]:
    """Ascend an objective by steepest steps from a random start, within epsilon of each image.

    An example that is fooled leaves the batch with the image that fooled it; what stands is tried again at the next
    restart. What an example meets depends on itself and the seed alone. Source: Madry et al. 2018.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        objective: `objective(model, x, y) -> (N,)`, or with targets `objective(model, x, y, targets) -> (N,)`.
        epsilon: radius of the ball in units of a pixel's range [0, 1], >= 0.
        steps: steps per restart, >= 1.
        step_size: in the units of epsilon, or a function of the step's number; 2.5 * epsilon / steps where not given.
        restarts: random starts, >= 1.
        seed: of the random starts.
        norm: `linf` or `l2`.
        targets: a class for each example, for targeted objectives; fooled is fooled, into whatever class.
        start: `random`, or `clean` for the first restart to begin at the image itself.
        active_set: do fooled examples leave the batch? The verdicts are the same if not.

    Returns:
        One image for each of x: one that fools the model where one was found, else the end of the last climb.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, epsilon, targets)
    check_norm(norm)
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, not {steps} and {restarts}")
    if start not in ("random", "clean"):
        raise ValueError(f"start must be random or clean, not {start!r}")
    sizes = _schedule(step_size, epsilon, steps)
    labels = (y,) if targets is None else (y, targets)
    result = x.detach().clone()
    standing = correct(model, x, y).nonzero().flatten()
    for restart in range(restarts):
        origin, own = x[standing], [label[standing] for label in labels]
        if start == "clean" and restart == 0:
            moved = origin.clone()
        else:
            moved = random_start(origin, epsilon, norm, seed, "pgd", restart)
        left = torch.ones(len(moved), dtype=torch.bool, device=x.device)  # which of the standing still stand
        for step in range(steps):
            live = left.nonzero().flatten() if active_set else torch.arange(len(moved), device=x.device)
            if not len(live):
                break
            here = moved[live]
            _, gradient, stands = look(objective, model, here, *(label[live] for label in own))
            stands &= left[live]
            after = project(here + sizes[step] * steepest(gradient, norm), origin[live], epsilon, norm)
            # What is fooled here keeps the image that fooled it.
            moved[live] = torch.where(stands[:, None, None, None], after, here)
            left[live] = stands
        left[left.clone()] = correct(model, moved[left], own[0][left])
        result[standing] = moved
        standing = standing[left]
    confirm(x, result, epsilon, norm)
    return result


def _schedule(step_size: float | Callable[[int], float] | None, epsilon: float, steps: int) -> list[float]:
    if callable(step_size):
        sizes = [float(step_size(step)) for step in range(steps)]
    else:
        sizes = [2.5 * epsilon / steps if step_size is None else float(step_size)] * steps
    if not all(size >= 0 for size in sizes):
        raise ValueError(f"step_size must be >= 0, not {min(sizes)}")
    return sizes
