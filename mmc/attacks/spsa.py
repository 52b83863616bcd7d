"""SPSA: ascent without gradients, along slopes that are measured between pairs of nearby images.

The pairs lie around the image that the attack has reached, x + delta v and x - delta v, wherever that is. One side of
them will do, too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mmc.attacks.balls import content, project
from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.attacks.directions import directions
from mmc.attacks.objectives import margin

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective

UPDATES = ("adam", "sign", "corner")
#: Adam's memory of slopes and of their squares, and what keeps it from dividing by zero.
BETAS, TINY = (0.9, 0.999), 1e-8


def spsa(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    objective: Objective = margin,
    iterations: int = 10,
    samples: int = 128,
    delta: float = 0.01,
    learning_rate: float = 0.01,
    update: str = "adam",
    tile: int = 1,
    two_sided: bool = True,
    targets: Int[Tensor, " N"] | None = None,
    seed: int = 0,
    budget: int = 512,
    active_set: bool = True,
) -> Float[Tensor, "N C H W"]:
    """Ascend an objective by simultaneous perturbation, from the image itself, in the L-inf ball.

    Each iteration draws directions v of signs and takes the mean of (f(x + delta v) - f(x - delta v)) / (2 delta) v
    for the slope; the model may be asked up to delta outside the box. An example's directions are orthogonal as far as
    that goes, over all iterations: see `mmc.attacks.directions`. They depend on its image and the seed alone. Source:
    Uesato et al. 2018.

    Args:
        model: maps images to logits; in eval mode. It is never differentiated.
        x: images in [0, 1].
        y: labels.
        epsilon: radius of the L-inf ball in units of a pixel's range [0, 1], >= 0.
        objective: `objective(model, x, y) -> (N,)`, or with targets `objective(model, x, y, targets) -> (N,)`.
        iterations: >= 1.
        samples: directions for each iteration, >= 1, or 2 if one-sided; each costs two forward images, or one.
        delta: half the distance between the images of a pair, in the units of epsilon, > 0.
        learning_rate: of the update, in the units of epsilon, > 0.
        update: `adam`; `sign` for steps of the learning rate along the sign of the slope; or `corner` for the corner of
            the ball that is farthest along the sum of all slopes so far. Where the objective is linear no point is
            higher, so in small balls it makes the most of few samples. It takes no learning rate.
        tile: side of the squares of pixels that move together, >= 1: the more pixels, the fewer slopes to measure. With
            2 a third of the samples fell more of the book's networks' images; 1 is SPSA as printed.
        two_sided: measure between x + delta v and x - delta v, as printed. If not, between x + delta v and the mean of
            all directions of an iteration: twice as many directions for the same queries, less exact in curved places.
        targets: a class for each example, for targeted objectives; fooled is fooled, into whatever class.
        seed: of the directions.
        budget: the most images in one forward pass, >= 2; it bounds the memory, and what outgrows the caches is slower.
        active_set: a fooled example leaves with the image that fooled. If not, it climbs on to the last iteration and
            has the last image that fooled: the same verdicts.

    Returns:
        One image for each of x: one that fools where one was met, else the last; the image itself where it was wrong.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, epsilon, targets)
    if iterations < 1 or samples < 1 or budget < 2:
        raise ValueError(
            f"iterations and samples must be at least 1 and budget 2, not {iterations}, {samples} and {budget}"
        )
    if samples < 2 and not two_sided:
        raise ValueError(f"samples must be at least 2 where slopes are one-sided, not {samples}")
    if tile < 1:
        raise ValueError(f"tile must be at least 1, not {tile}")
    if not (0 < delta < math.inf and 0 < learning_rate < math.inf):
        raise ValueError(f"delta and learning_rate must be > 0, not {delta} and {learning_rate}")
    if update not in UPDATES:
        raise ValueError(f"update must be one of {', '.join(UPDATES)}, not {update!r}")
    result = x.detach().clone()
    live = correct(model, x, y).nonzero().flatten()
    labels = [label[live] for label in ((y,) if targets is None else (y, targets))]
    moved, keys = result[live], [content(image) for image in x[live]]
    first, second = torch.zeros_like(moved), torch.zeros_like(moved)
    fallen = torch.zeros_like(live, dtype=torch.bool)
    each = 2 if two_sided else 1
    together = max(1, budget // (each * min(samples, budget // each)))
    for step in range(1, iterations + 1):
        if not len(live):
            break
        slope = torch.cat(
            [
                _slope(
                    model,
                    moved[part],
                    [label[part] for label in labels],
                    objective,
                    [f"{seed}:spsa:{key}" for key in keys[part]],
                    range((step - 1) * samples, step * samples),
                    delta,
                    budget,
                    tile,
                    two_sided,
                )
                for part in (slice(begin, begin + together) for begin in range(0, len(live), together))
            ]
        )
        if update == "corner":
            first = first + slope
            goal = x[live] + epsilon * first.sign()
        elif update == "adam":
            first, second = first.lerp(slope, 1 - BETAS[0]), second.lerp(slope.square(), 1 - BETAS[1])
            scale = (second / (1 - BETAS[1] ** step)).sqrt() + TINY
            goal = moved + learning_rate * (first / (1 - BETAS[0] ** step) / scale)
        else:
            goal = moved + learning_rate * slope.sign()
        moved = project(goal, x[live], epsilon, "linf")
        stands = correct(model, moved, labels[0])
        fallen |= ~stands
        # The last image that fooled; where none did, the last.
        kept = ~stands | ~fallen
        result[live[kept]] = moved[kept]
        if active_set and bool(fallen.any()):
            keys = [key for key, still in zip(keys, stands.tolist(), strict=True) if still]
            live, moved, first, second, fallen = (kept[stands] for kept in (live, moved, first, second, fallen))
            labels = [label[stands] for label in labels]
    confirm(x, result, epsilon)
    return result


@torch.no_grad()
def _slope(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    labels: list[Int[Tensor, " N"]],
    objective: Objective,
    streams: list[str],
    numbers: range,
    delta: float,
    budget: int,
    tile: int,
    two_sided: bool = True,
) -> Float[Tensor, "N C H W"]:
    """The mean slope along some of the directions, in as many forward passes as the budget asks for."""
    each = 2 if two_sided else 1
    total, most = torch.zeros_like(x), min(len(numbers), budget // each)
    level, drawn = x.new_zeros(len(x), 1, 1, 1), torch.zeros_like(x)
    for begin in range(0, len(numbers), most):
        some = numbers[begin : begin + most]
        signs = directions(x, streams, some, tile)
        if two_sided:
            shown = torch.stack([x[:, None] + delta * signs, x[:, None] - delta * signs], 1)
        else:
            shown = (x[:, None] + delta * signs)[:, None]
        several = [label.repeat_interleave(each * len(some)) for label in labels]
        values = objective(model, shown.flatten(0, 2), *several).view(len(x), each, len(some))
        rise = (values[:, 0] - values[:, 1]) / (2 * delta) if two_sided else values[:, 0] / delta
        total += torch.einsum("nk,nk...->n...", rise, signs)
        if not two_sided:
            level += rise.sum(1).view(level.shape)
            drawn += signs.sum(1)
    if two_sided:
        return total / len(numbers)
    # What the mean takes from its own direction it takes from the slope: n - 1 of n are left.
    return (total - level / len(numbers) * drawn) / (len(numbers) - 1)
