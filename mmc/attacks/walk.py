"""A walk to the boundary: short steps along the gradient that grow, and then back until the label just wins.

Where a network is far from affine, its gradient at the image says neither which class is near nor how near: a step to
the plane through the linearised boundary may lead across the whole box. A walk looks again after every step. It costs a
few dozen gradients, and says where a search for the nearest image can begin.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from mmc.attacks.penalty import WIDE, fooled

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from mmc.attacks.penalty import Leads

#: The longest first step, in units of a pixel's range, and how much longer the next may be: 25 reach 23.
FIRST, GROWTH = 0.01, 1.3
#: A step to a plane goes this much farther.
BEYOND = 1.02
#: Halvings of the way back.
HALVINGS = 6


class Met(NamedTuple):
    """Where the walks of a batch met the boundary.

    Attributes:
        image: just beyond it; the image walked from where nothing was met.
        distance: its L2 distance; infinite where nothing was met.
        slope: length of the gradient there of what the walk climbed.
    """

    image: Float[Tensor, "N C H W"]
    distance: Float[Tensor, " N"]
    slope: Float[Tensor, " N"]


def walk(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    label: Int[Tensor, " N"],
    aim: Int[Tensor, " N"],
    *,
    leads: Leads,
    confidence: float,
    steps: int,
) -> Met:
    """Walk from images that are right until they are not, in the box.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        label, aim: what `leads` takes; see `mmc.attacks.penalty`.
        leads: what is climbed, and what is positive where an image fools.
        confidence: by how much it must be positive.
        steps: at most, >= 1.
    """
    seen = partial(_seen, model, leads=leads, confidence=confidence)
    here, there = x.clone(), torch.zeros_like(label, dtype=torch.bool)
    for step in range(steps + 1):
        live = (~there).nonzero().flatten()
        if not len(live):
            break
        now = here[live]
        gradient, short, there[live] = seen(now, label[live], aim[live])
        free = gradient.masked_fill(((now <= 0) & (gradient < 0)) | ((now >= 1) & (gradient > 0)), 0).double()
        slope = free.flatten(1).norm(dim=1)
        length = (BEYOND * short / slope).clamp_max(FIRST * GROWTH**step).where((slope > 0) & ~there[live], 0)
        moved = now + (length / slope.where(slope > 0, 1))[WIDE] * free
        if step < steps:
            here[live] = moved.clamp(0, 1).to(x.dtype)
    low, high = torch.zeros_like(x[:, 0, 0, 0]), torch.ones_like(x[:, 0, 0, 0])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fools = seen(torch.lerp(x, here, middle[WIDE]), label, aim, slopes=False)[2]
        high, low = torch.where(fools, middle, high), torch.where(fools, low, middle)
    # Where not even halfway back fools, the place itself: an interpolation to the end may round to beside it.
    image = torch.where((there & (high < 1))[WIDE], torch.lerp(x, here, high[WIDE]), here.where(there[WIDE], x))
    slope = seen(image, label, aim)[0].flatten(1).double().norm(dim=1)
    return Met(image, torch.where(there, (image - x).flatten(1).norm(dim=1), math.inf), slope)


def _seen(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    label: Int[Tensor, " N"],
    aim: Int[Tensor, " N"],
    *,
    leads: Leads,
    confidence: float,
    slopes: bool = True,
) -> tuple[Float[Tensor, "N C H W"], Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """The gradient of what is climbed, how much of it is missing, and which images fool by more than rounding."""
    here = x.detach().requires_grad_(slopes)
    with torch.set_grad_enabled(slopes):
        logits = model(here)
        lead, over = leads(logits, label, aim)
    gradient = torch.autograd.grad(lead.sum(), here)[0] if slopes else x
    needed, fools = fooled(logits.detach(), over.detach(), confidence)
    return gradient, needed - lead.detach(), fools
