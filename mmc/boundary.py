"""Where a trained network's boundary lies: how far from the images of each class, and where between two of them.

Distances are found by attacks, so they are bounds from above. A crossing is found by looking, and needs no gradient.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from mmc.attacks import (
    apgd,
    apgd_all_targets,
    carlini_wagner,
    correct,
    cross_entropy,
    distances,
    input_gradient,
    margin,
    nearest_by_radius,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from mmc.data import Dataset, Split
    from mmc.models import Classifier

#: Places that are looked at on the way from one image to another, and halvings of the interval found.
LOOKS, HALVINGS = 32, 14
#: The two searches for the nearest image; whichever comes nearer counts.
CARLINI_WAGNER = {"search_steps": 3, "iterations": 100, "rivals": 3, "steps": 0, "look_every": 100}
AUTO_PGD = {"steps": 20, "most": 3}
ROUNDS = 8
#: How much farther than the distance found a single attack may go when it is asked whether it finds the way as well.
ROOM = 1.1
STEPS = 40  # of that attack
DIGITS = 5  # that are kept


def training_loss(model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """What the network was trained to make small; an objective for attacks that is flat at a stationary point."""
    return model.loss(model.features(x), y)


#: What an attacker may climb, from the loss itself to the margin.
OBJECTIVES = {"training loss": training_loss, "cross-entropy": cross_entropy, "margin": margin}


def some_of_each(split: Split, count: int, num_classes: int) -> Split:
    """The first images of each class, at most so many, class by class."""
    return split[torch.cat([(split.y == k).nonzero().flatten()[:count] for k in range(num_classes)])]


def nearest_of_another_class(x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """For each image the position of the nearest one, in L2, that has another label.

    Raises:
        ValueError: all labels are the same.
    """
    if len(y.unique()) < 2:
        raise ValueError("a way from class to class needs two classes at least")
    away = torch.cdist(x.flatten(1).double(), x.flatten(1).double())
    return away.masked_fill(y[:, None] == y, torch.inf).argmin(1)


@torch.no_grad()
def crossings(
    model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], ends: Float[Tensor, "N C H W"]
) -> Float[Tensor, " N"]:
    """The share of the straight way from x to another image at which the model stops saying y for the first time.

    A half is the middle. Found among `LOOKS` places and by halving, so a shorter stay in another class is overlooked.

    Args:
        model: in eval mode.
        x: where the ways begin.
        y: their labels.
        ends: where they end.

    Returns:
        In [0, 1]: zero where the model is wrong at x, one where it says y all the way.
    """
    shares = torch.linspace(0, 1, LOOKS + 1).to(x)
    holds = torch.stack([correct(model, torch.lerp(x, ends, share), y) for share in shares], dim=1)
    kept = holds.long().cumprod(1).sum(1)  # so many looks before the first that fails
    low, high = shares[(kept - 1).clamp_min(0)], shares[kept.clamp_max(LOOKS)]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        right = correct(model, torch.lerp(x, ends, middle[:, None, None, None]), y)
        low, high = torch.where(right, middle, low), torch.where(right, high, middle)
    return torch.where(kept == 0, 0, torch.where(kept > LOOKS, 1, high))


def nearest_found(
    model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], seed: int = 0, batch_size: int = 250
) -> dict[str, Float[Tensor, " N"]]:
    """L2 distances to the nearest image that fools: by Carlini and Wagner, and by Auto-PGD with bisection.

    Zero where the image itself is wrong, infinite where nothing was found. Each is a bound from above.
    """
    attack = partial(apgd_all_targets, seed=seed, **AUTO_PGD)
    found: dict[str, list[Tensor]] = {"carlini-wagner": [], "auto-pgd": []}
    for images, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        crafted = carlini_wagner(model, images, labels, **CARLINI_WAGNER)
        found["carlini-wagner"].append(distances(model, images, labels, crafted))
        crafted = nearest_by_radius(attack, model, images, labels, first_radius=1.0, rounds=ROUNDS)
        found["auto-pgd"].append(distances(model, images, labels, crafted))
    return {name: torch.cat(parts) for name, parts in found.items()}


def outward(model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"]) -> dict[str, float]:
    """Of the images that the model has right, where climbing an objective does not lower the margin to first order.

    `zero`: the share at which the training loss has no gradient at all. `inward`: the share at which its gradient leads
    away from the boundary, because the margin is beyond the stationary point.
    """
    right = correct(model, x, y)
    climb, escape = (input_gradient(aim, model, x[right], y[right]).flatten(1) for aim in (training_loss, margin))
    return {
        "zero": _share((climb == 0).all(1)),
        "inward": _share((climb.double() * escape.double()).sum(1) < 0),
    }


def felled(
    model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], away: Float[Tensor, " N"], seed: int = 0
) -> dict[str, float]:
    """By objective: the share of images that one Auto-PGD fells, each within 1.1 times its own distance in L2.

    Every one of these images can be felled there, so a share below 1 is what the attack misses, not robustness.

    Args:
        away: distances that were found, see `nearest_found`; only those that are finite and positive are asked for.
    """
    asked = away.isfinite() & (away > 0)
    x, y, radius = x[asked], y[asked], ROOM * away[asked].to(x)
    options = {"epsilon": radius, "steps": STEPS, "seed": seed, "norm": "l2"}
    return {
        name: _share(~correct(model, apgd(model, x, y, objective=objective, **options), y))
        for name, objective in OBJECTIVES.items()
    }


def _share(mask: Tensor) -> float | None:
    return round(mask.float().mean().item(), 6) if len(mask) else None


def measure(model: Classifier, data: Dataset, per_class: int, seed: int = 0) -> dict[str, Any]:
    """Everything about the boundary that a record keeps, as plain values, one entry per image where it is a list.

    Args:
        model: in eval mode.
        data: its test images are attacked; its training images are looked at as well.
        per_class: images of each class.
        seed: of Auto-PGD's starts.
    """
    found: dict[str, Any] = {"class accuracy": class_accuracy(model, data.test, data.num_classes)}
    for part in ("train", "test"):
        split = some_of_each(getattr(data, part), per_class, data.num_classes)
        x, y = split.x, split.y
        ends = x[nearest_of_another_class(x, y)]
        way = crossings(model, x, y, ends)
        found[part] = {"labels": y.tolist(), "crossings": _plain(way)}
    away = nearest_found(model, x, y, seed)
    # Without gradients: where the way to the nearest image of another class crosses the boundary.
    away["crossing"] = torch.where(way < 1, way * (ends - x).flatten(1).norm(dim=1), torch.inf)
    nearest = torch.stack(list(away.values())).amin(0)
    with torch.no_grad():
        found["test"] |= {"margins": _plain(-margin(model, x, y))}
    found["test"] |= {name: _plain(distance) for name, distance in (away | {"nearest": nearest}).items()}
    return found | outward(model, x, y) | {"felled": felled(model, x, y, nearest, seed)}


def class_accuracy(model: Classifier, split: Split, num_classes: int) -> list[float]:
    """The share of right answers among the images of each class."""
    parts = zip(split.pixels.split(1000), split.y.split(1000), strict=True)
    hits = torch.cat([correct(model, split.images(pixels), y) for pixels, y in parts])
    return [_share(hits[split.y == k]) for k in range(num_classes)]


def _plain(values: Float[Tensor, " N"]) -> list[float | None]:
    """Rounded, and None for infinite."""
    return [round(value, DIGITS) if math.isfinite(value) else None for value in values.tolist()]


def by_class(found: dict[str, Any], name: str, part: str = "test") -> list[list[float]]:
    """The values of one name that `measure` kept, class by class; infinite where nothing was found."""
    values, labels = found[part][name], found[part]["labels"]
    plain = [math.inf if value is None else value for value in values]
    return [[v for v, label in zip(plain, labels, strict=True) if label == k] for k in range(max(labels) + 1)]
