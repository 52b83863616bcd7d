"""The simple attacks: one signed step, noise, blind search in the ball, and rotation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mmc.attacks.balls import chance, content, project
from mmc.attacks.checks import confirm, correct, refuse_bad_input
from mmc.attacks.climb import Remembering, look
from mmc.attacks.objectives import margin

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective

    #: Images, the key of each, and the number of the draw, to what is tried on them.
    Candidate = Callable[[Tensor, Sequence[str], int], Tensor]


def fgsm(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    objective: Objective = margin,
    targets: Int[Tensor, " N"] | None = None,
) -> Float[Tensor, "N C H W"]:
    """One step of length epsilon along the sign of an objective's gradient. Source: Goodfellow et al. 2015.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        epsilon: radius of the L-inf ball in units of a pixel's range [0, 1], >= 0.
        objective: `objective(model, x, y) -> (N,)`, or with targets `objective(model, x, y, targets) -> (N,)`.
        targets: a class for each example, for targeted objectives.

    Returns:
        One image for each of x; the image itself where it was wrong already.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    refuse_bad_input(model, x, y, epsilon, targets)
    result = x.detach().clone()
    standing = correct(model, x, y).nonzero().flatten()
    if len(standing):
        labels = [label[standing] for label in ((y,) if targets is None else (y, targets))]
        _, gradient, _ = look(objective, model, x[standing], *labels)
        result[standing] = project(x[standing] + epsilon * gradient.sign(), x[standing], epsilon, "linf")
    confirm(x, result, epsilon)
    return result


def add_noise(
    x: Float[Tensor, "N C H W"], sigma: float, *, seed: int = 0, draw: int = 0, keys: Sequence[str] | None = None
) -> Float[Tensor, "N C H W"]:
    """Images with normal noise, cut to [0, 1]; the noise depends on the image, the seed and the draw's number alone.

    Args:
        x: images in [0, 1].
        sigma: standard deviation in units of a pixel's range [0, 1], >= 0.
        seed: of the noise.
        draw: another number is other noise.
        keys: the content of each image where it is known; see `mmc.attacks.balls.chance`.
    """
    uniform = chance(x, seed, "normal", draw, keys=keys).clamp(-1 + 1e-7, 1 - 1e-7)
    return (x + sigma * math.sqrt(2) * uniform.erfinv()).clamp(0, 1)


def gaussian_noise(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    sigma: float = 0.05,
    draws: int = 1,
    objective: Objective = margin,
    seed: int = 0,
    budget: int = 1024,
) -> Float[Tensor, "N C H W"]:
    """Normal noise: an example falls if any of its draws fools. In the box, and in no ball.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1].
        y: labels.
        sigma: standard deviation in units of a pixel's range [0, 1], >= 0; the cut to the box comes after.
        draws: >= 1; more draws are these and others.
        objective: says which draw is returned where none fools.
        seed: of the noise.
        budget: the most images in one forward pass, >= 1.

    Returns:
        One image for each of x: the first draw that fools, else the worst; the image itself where it was wrong already.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be >= 0, in units of a pixel's range [0, 1], not {sigma}")

    def candidate(images: Tensor, keys: Sequence[str], draw: int) -> Tensor:
        return add_noise(images, sigma, seed=seed, draw=draw, keys=keys)

    return _worst(model, x, y, candidate, draws, objective, budget, math.inf)


def random_search(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    draws: int = 100,
    objective: Objective = margin,
    seed: int = 0,
    budget: int = 1024,
) -> Float[Tensor, "N C H W"]:
    """Uniform noise in the L-inf ball, the worst of many draws: what an attacker finds who knows nothing.

    Args:
        model, x, y, draws, objective, seed, budget: see `gaussian_noise`.
        epsilon: radius of the L-inf ball in units of a pixel's range [0, 1], >= 0.

    Returns:
        One image for each of x: the first draw that fools, else the worst; the image itself where it was wrong already.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """

    def candidate(images: Tensor, keys: Sequence[str], draw: int) -> Tensor:
        return project(images + epsilon * chance(images, seed, "uniform", draw, keys=keys), images, epsilon, "linf")

    return _worst(model, x, y, candidate, draws, objective, budget, epsilon)


def rotate(x: Float[Tensor, "N C H W"], degrees: Float[Tensor, " N"] | float) -> Float[Tensor, "N C H W"]:
    """Images turned about their centers, counterclockwise as they are shown; bilinear, and zero from outside.

    Args:
        x: images in [0, 1], of any height and width.
        degrees: one angle for each image, or one for all.
    """
    angles = torch.as_tensor(degrees, dtype=x.dtype, device=x.device).expand(len(x)).deg2rad()
    cosine, sine, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    height, width = x.shape[2:]
    # In the grid's units each side of an image is 2 long, so the sine's terms carry the ratio of the sides.
    across = torch.stack([cosine, -sine * (height / width), zero], 1)
    down = torch.stack([sine * (width / height), cosine, zero], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False).clamp(0, 1)


def rotation(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    degrees: float = 30.0,
    draws: int = 1,
    objective: Objective = margin,
    seed: int = 0,
    budget: int = 1024,
) -> Float[Tensor, "N C H W"]:
    """Turn each image by a random angle: it falls if any of its draws fools. In the box, and in no ball.

    Args:
        model, x, y, draws, objective, seed, budget: see `gaussian_noise`.
        degrees: angles are uniform in [-degrees, degrees].

    Returns:
        One image for each of x: the first draw that fools, else the worst; the image itself where it was wrong already.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    _refuse_degrees(degrees)

    def candidate(images: Tensor, keys: Sequence[str], draw: int) -> Tensor:
        return rotate(images, degrees * chance(images, seed, "angle", draw, keys=keys).flatten(1)[:, 0])

    return _worst(model, x, y, candidate, draws, objective, budget, math.inf)


def worst_rotation(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    degrees: float = 30.0,
    angles: int = 31,
    objective: Objective = margin,
    budget: int = 1024,
) -> Float[Tensor, "N C H W"]:
    """Turn each image by every angle of a grid: it falls if any angle fools. In the box, and in no ball.

    Args:
        model, x, y, objective, budget: see `gaussian_noise`.
        degrees: the grid reaches from -degrees to degrees, ends included.
        angles: how many, >= 1; an odd number has the image as it is among them.

    Returns:
        One image for each of x: the first angle that fools, from the smallest turn on, else the worst; the image
        itself where it was wrong already.

    Raises:
        ValueError: bad input, named; see `refuse_bad_input`.
    """
    _refuse_degrees(degrees)
    grid = sorted(torch.linspace(-degrees, degrees, max(angles, 1)).tolist(), key=abs)

    def candidate(images: Tensor, keys: Sequence[str], draw: int) -> Tensor:
        return rotate(images, grid[draw])

    return _worst(model, x, y, candidate, angles, objective, budget, math.inf)


def _refuse_degrees(degrees: float) -> None:
    if not 0 <= degrees <= 180:
        raise ValueError(f"degrees must be from 0 to 180, not {degrees}")


@torch.no_grad()
def _worst(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    candidate: Candidate,
    draws: int,
    objective: Objective,
    budget: int,
    epsilon: float,
) -> Float[Tensor, "N C H W"]:
    """Try one candidate after another on what still stands: the first that fools, else the one of the largest value."""
    refuse_bad_input(model, x, y, epsilon)
    if draws < 1 or budget < 1:
        raise ValueError(f"draws or angles, and budget, must be at least 1, not {draws} and {budget}")
    result = x.detach().clone()
    for live in correct(model, x, y).nonzero().flatten().split(budget):
        most = torch.full((len(live),), -torch.inf, dtype=x.dtype, device=x.device)
        images, keys, done = x[live], [content(image) for image in x[live]], 0
        while done < draws and len(live):
            # The fewer still stand, the more draws fit into one forward pass.
            block = min(draws - done, max(1, budget // len(live)))
            tried = torch.stack([candidate(images, keys, draw) for draw in range(done, done + block)])
            remembering, labels = Remembering(model), y[live].repeat(block)
            values = objective(remembering, tried.flatten(0, 1), labels).view(block, -1)
            logits = model(tried.flatten(0, 1)) if remembering.logits is None else remembering.logits
            stands = ((logits.argmax(1) == labels) & logits.isfinite().all(1)).view(block, -1)
            # A draw that fools outdoes all others, and the first of those the later ones.
            best, chosen = torch.where(stands, values, torch.inf).max(0)
            row = torch.where(stands.all(0), chosen, (~stands).to(torch.int8).argmax(0))
            better = best > most
            image = tried[row, torch.arange(len(live), device=x.device)]
            result[live[better]] = image[better]
            most = torch.maximum(most, best)
            left = stands.all(0)
            live, most, images, done = live[left], most[left], images[left], done + block
            keys = [key for key, still in zip(keys, left.tolist(), strict=True) if still]
    confirm(x, result, epsilon)
    return result
