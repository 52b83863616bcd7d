"""Images of two pixels: scenes in the unit square, networks that follow a loss there, and distances to their boundary.

Models, losses and attacks take these points as they take any image, and one can see and measure everything.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mmc import losses
from mmc.models import Classifier, mlp

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

SHAPE = (1, 1, 2)
HALVINGS = 40


def moons(per_class: int, noise: float = 0.04, seed: int = 0) -> tuple[Float[Tensor, "N 1 1 2"], Int[Tensor, " N"]]:
    """Two interleaved half circles of radius 0.27, evenly filled, with Gaussian noise.

    Args:
        per_class: points on each.
        noise: its standard deviation; what would leave the square is moved to its border.
        seed: of the noise.
    """
    angle = math.pi * (torch.arange(per_class, dtype=torch.float64) + 0.5) / per_class
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    return _images(torch.cat([upper, -upper]) * 0.27 + 0.5, torch.tensor([per_class] * 2), noise, seed)


def long_tail(
    counts: Sequence[int], spread: float = 0.05, seed: int = 0
) -> tuple[Float[Tensor, "N 1 1 2"], Int[Tensor, " N"]]:
    """One Gaussian cloud per class, at the corners of a regular polygon of radius 0.3.

    Args:
        counts: points of each class.
        spread: the clouds' standard deviation.
        seed: of the points.
    """
    angle = 2 * math.pi * torch.arange(len(counts), dtype=torch.float64) / len(counts) + math.pi / 2
    corners = 0.5 + 0.3 * torch.stack([angle.cos(), angle.sin()], dim=1)
    sizes = torch.tensor(counts)
    return _images(corners.repeat_interleave(sizes, 0), sizes, spread, seed)


def _images(places: Tensor, sizes: Tensor, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    moved = places + noise * torch.randn(places.shape, generator=generator, dtype=torch.float64)
    return moved.clamp(0, 1).reshape(-1, *SHAPE), torch.arange(len(sizes)).repeat_interleave(sizes)


def follow(
    loss: str,
    x: Float[Tensor, "N 1 1 2"],
    y: Int[Tensor, " N"],
    marks: Sequence[int],
    rate: float = 0.02,
    momentum: float = 0.9,
    width: int = 32,
    feature_dim: int = 8,
    seed: int = 0,
    **options: float,
) -> dict[int, Classifier]:
    """Train a network of two hidden layers by full-batch descent with momentum, in float64, and keep it on the way.

    Args:
        loss: a key of `mmc.losses.LOSSES`.
        x: the points.
        y: labels 0, ..., L - 1, each at least once.
        marks: the steps at which the network is kept, in rising order; the last one ends the training.
        rate: step size, > 0.
        momentum: 0 to 1.
        width: units of a hidden layer.
        feature_dim: d.
        seed: of the network and of what the loss learns.
        options: what the loss takes besides.

    Returns:
        By step: the network after that many steps, in eval mode.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = losses.build(loss, int(y.max()) + 1, feature_dim, **options)
        model = Classifier(mlp(SHAPE, feature_dim, 0.5, 0.25, width), head).double().eval()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=rate, momentum=momentum)
    kept = {}
    for step in range(marks[-1] + 1):
        if step in marks:
            kept[step] = copy.deepcopy(model)
        optimizer.zero_grad()
        z = model.features(x)
        head(z, y).mean().backward()
        optimizer.step()
        head.observe(z.detach(), y)
    return kept


def grid(side: int) -> Float[Tensor, "M 1 1 2"]:
    """The square's points on a grid of so many lines each way, the first pixel running fastest."""
    line = torch.linspace(0, 1, side, dtype=torch.float64)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, *SHAPE)


@torch.no_grad()
def distances(
    model: Classifier, x: Float[Tensor, "N 1 1 2"], y: Int[Tensor, " N"], side: int = 201
) -> Float[Tensor, " N"]:
    """Euclidean distance from each point to the nearest place of the square that is not classified as its label.

    Every point of a grid is classified, and the way to the nearest wrong one is halved until the boundary is found on
    it. So the result is never below the distance, and above it by at most a mesh, unless a region is thinner than one.

    Args:
        model: maps points to logits.
        x: points in the square.
        y: labels.
        side: lines of the grid each way.

    Returns:
        Zero where the point itself is wrong; infinity where no grid point is.
    """
    places = grid(side).to(x)
    decided = model(places).argmax(1)
    found = torch.full((len(x),), math.inf, dtype=x.dtype)
    for label in y.unique():
        foes, own = places[decided != label], y == label
        if len(foes):
            near, far = x[own].clone(), foes[torch.cdist(x[own].flatten(1), foes.flatten(1)).argmin(1)]
            for _ in range(HALVINGS):
                middle = (near + far) / 2
                right = (model(middle).argmax(1) == label).reshape(-1, 1, 1, 1)
                near, far = torch.where(right, middle, near), torch.where(right, far, middle)
            found[own] = (far - x[own]).flatten(1).norm(dim=1)
    found[model(x).argmax(1) != y] = 0
    return found
