"""Auto-PGD: momentum, a step size that halves itself, and restarts from the best point. All targets, if you like.

Source: Croce and Hein 2020, written anew from the description: the first step size is twice epsilon; after 22 % of the
steps, then at intervals that shrink by 3 % down to 6 %, the step is halved wherever fewer than three quarters of the
steps since the last check rose, or nothing was gained since a check at which the step stayed; a halved climb goes on
from its best point.

A ball that shrinks is Croce and Hein's of 2021, made there for L1. Where gradients are jagged a climb with more room
gets past what would hold it up, and what it found is a better start than a random one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch

from mmc.attacks.balls import Radius, check_norm, of, project, random_start, steepest
from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.attacks.climb import look
from mmc.attacks.objectives import margin, pairwise

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective

#: Share of a step that goes along the new gradient; the rest keeps the last direction.
MOMENTUM = 0.75
#: The step stays where at least this share of the steps since the last check rose.
RISING = 0.75
#: A ball that shrinks: its radii in units of epsilon, and the share of the steps that each gets.
SHRINKING = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))


def checkpoints(steps: int) -> list[int]:
    """The steps after which step sizes are looked at."""
    found, position, gap = [], 0.22, 0.22
    while position < 1:
        found.append(math.ceil(position * steps - 1e-9))  # 0.57 * 100 is a little more than 57
        gap = max(gap - 0.03, 0.06)
        position += gap
    return sorted(set(found))


def apgd(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: Radius,
    objective: Objective = margin,
    steps: int = 100,
    restarts: int = 1,
    seed: int = 0,
    norm: str = "linf",
    targets: Int[Tensor, " N"] | None = None,
    shrink: bool = False,
) -> Float[Tensor, "N C H W"]:
    """Ascend an objective by Auto-PGD, within epsilon of each image; arguments and result are those of `pgd`.

    Here epsilon may be one radius for all examples, or one for each. With `shrink` the same steps begin in a ball three
    times as wide, see `SHRINKING`, and each smaller one starts at the nearest point to where the last one ended.

    Raises:
        ValueError: bad input, named.
    """
    refuse_bad_input(model, x, y, epsilon, targets)
    check_norm(norm)
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, not {steps} and {restarts}")
    labels = (y,) if targets is None else (y, targets)
    result = x.detach().clone()
    standing = correct(model, x, y).nonzero().flatten()
    for restart in range(restarts):
        if not len(standing):
            break
        images, own, radius = x[standing], [label[standing] for label in labels], of(epsilon, standing)
        climb = partial(_climb, model, images, own, objective=objective, norm=norm)
        (widest, first), *smaller = _balls(steps, shrink)
        start = random_start(images, widest * radius, norm, seed, "apgd", restart)
        found, left = climb(start=start, epsilon=widest * radius, steps=first)
        for times, some in smaller:
            start = project(found, images, times * radius, norm)
            found, left = climb(start=start, epsilon=times * radius, steps=some)
        result[standing], standing = found, standing[left]
    confirm(x, result, epsilon, norm)
    return result


def _balls(steps: int, shrink: bool) -> list[tuple[float, int]]:
    """The radii of a climb in units of epsilon, and how many of the steps each gets; the last gets what is left."""
    if not shrink:
        return [(1.0, steps)]
    wide = [(times, int(share * steps)) for times, share in SHRINKING[:-1]]
    return [*wide, (SHRINKING[-1][0], steps - sum(some for _, some in wide))]


def _climb(
    model: nn.Module,
    x: Tensor,
    labels: list[Tensor],
    start: Tensor,
    objective: Objective,
    epsilon: Radius,
    steps: int,
    norm: str,
) -> tuple[Float[Tensor, "N C H W"], Bool[Tensor, " N"]]:
    """One climb for all examples: the image that fooled, or the best point; and which examples still stand."""
    count, wide = len(x), (slice(None), None, None, None)
    result, left = start.clone(), torch.ones(count, dtype=torch.bool, device=x.device)
    here, before = start.clone(), start.clone()
    best, best_gradient = start.clone(), torch.zeros_like(x)
    best_value = torch.full((count,), -torch.inf, dtype=x.dtype, device=x.device)
    value_before = best_value.clone()
    size = torch.as_tensor(2.0 * epsilon, dtype=x.dtype, device=x.device).expand(count).clone()
    rises = torch.zeros(count, device=x.device)
    value_at_check, halved_at_check = best_value.clone(), torch.ones(count, dtype=torch.bool, device=x.device)
    checks, last_check = checkpoints(steps), 0
    for step in range(steps):
        live = left.nonzero().flatten()
        if not len(live):
            break
        values, gradient, stands = look(objective, model, here[live], *(label[live] for label in labels))
        fell = live[~stands]
        result[fell], left[fell] = here[fell], False
        live, values, gradient = live[stands], values[stands], gradient[stands]
        if not len(live):
            continue
        rises[live] += (values > value_before[live]).float()
        value_before[live] = values
        better = values > best_value[live]
        gained = live[better]
        best[gained], best_value[gained], best_gradient[gained] = here[gained], values[better], gradient[better]
        if step in checks:
            few = rises[live] < RISING * (step - last_check)
            stuck = ~halved_at_check[live] & (value_at_check[live] >= best_value[live])
            halve = few | stuck
            halved_at_check[live], value_at_check[live], rises[live] = halve, best_value[live], 0.0
            size[live] = torch.where(halve, size[live] / 2, size[live])
            back = live[halve]
            here[back], before[back] = best[back], best[back]
            gradient[halve] = best_gradient[back]
            last_check = step
        now, old, origin = here[live], before[live], x[live]
        radius = of(epsilon, live)
        ahead = project(now + size[live][wide] * steepest(gradient, norm), origin, radius, norm)
        share = MOMENTUM if step else 1.0
        after = project(now + share * (ahead - now) + (1 - share) * (now - old), origin, radius, norm)
        before[live], here[live] = now, after
    live = left.nonzero().flatten()
    if len(live):
        still = correct(model, here[live], labels[0][live])
        fell = live[~still]
        result[fell], left[fell] = here[fell], False
        result[left] = best[left]
    return result, left


def targets_by_rank(
    model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], most: int | None = None
) -> Iterator[Int[Tensor, " N"]]:
    """The other classes of each example, the most likely first: one target for each example at a time."""
    with torch.no_grad():
        logits = model(x)
    ranked = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
    for rank in range(min(logits.shape[1] - 1, most or logits.shape[1])):
        yield ranked[:, rank]


def apgd_all_targets(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: Radius,
    objective: Objective = pairwise,
    steps: int = 100,
    restarts: int = 1,
    seed: int = 0,
    norm: str = "linf",
    most: int | None = None,
    shrink: bool = False,
) -> Float[Tensor, "N C H W"]:
    """Auto-PGD toward every other class in turn, the most likely first; who has fallen is left alone.

    With the pairwise margin each target's objective has no kink at which another class takes over, which is what holds
    up a climb of the margin.

    Args:
        model, x, y, epsilon, steps, restarts, seed, norm, shrink: see `apgd`.
        objective: a targeted one.
        most: how many targets, all where not given.
    """
    refuse_bad_input(model, x, y, epsilon)
    result = x.detach().clone()
    if not len(x):
        return result
    options = {
        "objective": objective,
        "steps": steps,
        "restarts": restarts,
        "seed": seed,
        "norm": norm,
        "shrink": shrink,
    }
    for targets in targets_by_rank(model, x, y, most):
        standing = correct(model, result, y).nonzero().flatten()
        if not len(standing):
            break
        chosen = (x[standing], y[standing])
        result[standing] = apgd(model, *chosen, epsilon=of(epsilon, standing), targets=targets[standing], **options)
    confirm(x, result, epsilon, norm)
    return result
