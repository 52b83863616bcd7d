"""Check 1: at how many images is the gradient exactly zero, objective by objective?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.attacks import input_gradient
from mmc.attacks.objectives import LADDER
from mmc.attacks.preset import CENTERS, has_centers, num_classes
from mmc.diagnose.finding import WARNING, Observation, judge, percent, places
from mmc.diagnose.watch import Watched

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective
    from mmc.diagnose.subject import Subject

NAME = "zero gradients"
WHY = "From an image with a gradient of zero no gradient step leads anywhere: it stands, whether or not it is robust."
REMEDY = "Climb differences of logits instead: the margin, or the pairwise margin to every target."


def ladder(model: nn.Module, x: Float[Tensor, "N C H W"]) -> dict[str, Objective]:
    """The objectives by name that are defined for a model: some need centers, some three classes."""
    classes = num_classes(model, x)
    centers = has_centers(model) and hasattr(model, "features")
    return {
        name: objective
        for name, objective in LADDER.items()
        if (name not in CENTERS or centers) and (name != "DLR" or classes > 2)
    }


def no_gradient(subject: Subject, objective: Objective, x: Float[Tensor, "N C H W"]) -> Bool[Tensor, " N"]:
    """Where an objective's gradient is zero in every pixel, or not finite in some: there is no direction to go."""
    found = []
    for images, labels in zip(x.split(500), subject.y.split(500), strict=True):
        watched = Watched(subject.model, images, labels, 0.0)
        gradient = input_gradient(objective, watched, images, labels).flatten(1)
        found.append((gradient == 0).all(1) | ~gradient.isfinite().all(1))
    return torch.cat(found)


def zero_gradients(subject: Subject) -> Observation:
    """Share of the images at which each objective has no gradient; what the attack climbs decides on the verdict.

    Where it is not known what the attack climbs, a blind objective of the ladder is a warning.
    """
    own, own_name = subject.attack.objective, subject.attack.objective_name
    objectives = ladder(Watched(subject.model, subject.x, subject.y, 0.0), subject.x)
    if own is not None:
        objectives[own_name] = own
    blind = {name: no_gradient(subject, objective, subject.x) for name, objective in objectives.items()}
    shares = {name: round(mask.float().mean().item(), 6) for name, mask in blind.items()}
    worst = own_name or max(shares, key=shares.get)
    count = int(blind[worst].sum())
    verdict = judge(count, len(subject))
    if own is None and verdict != "sound":
        verdict = WARNING
    seen = f"{percent(shares[worst])} of the images have none under {worst}"
    if worst != "margin":
        seen += f", {percent(shares['margin'])} under margin"
    evidence = {
        "images": len(subject),
        "objective": own_name,
        "shares": shares,
        "without gradient": places(blind[worst].nonzero().flatten().tolist()),
    }
    return Observation(1, NAME, verdict, seen, evidence, WHY, REMEDY)
