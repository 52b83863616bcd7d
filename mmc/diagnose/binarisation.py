"""Check 6: the binarisation test. Can the attack find an image that fools where one exists by construction?

Around an image, many inner points of the ball and one point on its border are told apart by a readout of two classes
on the model's features. So the border point fools, and the attack must find it or another. Source: Zimmermann et al.
2022. What is ours: the readout is the linear discriminant in closed form, and it is given the two logits of a
center-based head whose gap at the image is the model's own, so that softmax saturates here as it does there. Yet inner
points come near the border by construction, so an attack from a random start may pass and be blind on the model: the
test can fail an attack, and prove none.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmc.attacks import margin, random_search
from mmc.chance import seeded
from mmc.diagnose.finding import NOT_APPLICABLE, Observation, judge_share, percent, places
from mmc.diagnose.subject import watched_run
from mmc.losses.fixed import MMC

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from mmc.diagnose.subject import Subject

NAME = "binarisation test"
WHY = "An attack that misses an image that fools where one surely is finds nothing by finding nothing."
REMEDY = "Strengthen or adapt the attack until it passes, and evaluate again with that one."
#: Inner points lie within this share of epsilon.
INNER = 0.95
#: Border points that are tried, until one can be told apart from the inner ones.
TRIES = 10
#: Of the covariance's mean variance, added to each direction so that it can be inverted.
RIDGE = 1e-6


class Readout(nn.Module):
    """Two classes, inner (0) and border (1), on one number: the linear discriminant of the model's features.

    Args:
        model: whose features are read.
        direction: of the discriminant, shape (d,).
        threshold: halfway between the largest inner point and the border point.
        scale: from the discriminant to the one feature of the head.
        gap: of the two logits at the image.
    """

    def __init__(
        self, model: nn.Module, direction: Float[Tensor, " d"], threshold: float, scale: float, gap: float
    ) -> None:
        super().__init__()
        self.model, self.direction, self.threshold, self.scale = model, direction, threshold, scale
        # Logits -1/2 (z -+ c)^2 differ by 2 c z: a gap of 2 c^2 at the own center.
        size = math.sqrt(gap / 2)
        self.loss = MMC(2, 1, centers=torch.tensor([[-size], [size]])).to(direction)
        self.eval()

    def features(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 1"]:
        score = self.model.features(x) @ self.direction - self.threshold
        return (self.scale * score)[:, None]

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 2"]:
        return self.loss.logits(self.features(x))


@torch.no_grad()
def readout(
    model: nn.Module, image: Float[Tensor, "C H W"], epsilon: float, gap: float, inner: int, seed: int
) -> Readout | None:
    """The two-class model around one image; None where no border point can be told apart from the inner ones.

    Args:
        model: with features; in eval mode.
        image: in [0, 1].
        epsilon: radius of the L-inf ball.
        gap: of the two logits at the image, > 0.
        inner: points with the image among them, >= 2.
        seed: of the points.
    """
    generator = seeded(
        torch.Generator(), seed, "binarisation", *image.flatten()[:: max(1, image.numel() // 16)].tolist()
    )
    draws = 2 * torch.rand(inner - 1, *image.shape, generator=generator).to(image) - 1
    signs = 2 * torch.randint(0, 2, (TRIES, *image.shape), generator=generator).to(image) - 1
    within = torch.cat([image[None], (image + INNER * epsilon * draws).clamp(0, 1)])
    border = (image + epsilon * signs).clamp(0, 1)
    z, far = (torch.cat([model.features(x) for x in points.split(500)]).double() for points in (within, border))
    offsets = z - z.mean(0)
    covariance = offsets.T @ offsets / len(z)
    ridge = RIDGE * covariance.diagonal().mean() + torch.finfo(torch.float64).tiny
    covariance += ridge * torch.eye(len(covariance)).to(covariance)
    for point in far:
        direction = torch.linalg.solve(covariance, point - z.mean(0))
        scores, score = z @ direction, point @ direction
        threshold = (scores.max() + score).item() / 2
        away = threshold - scores[0].item()
        if not (score > scores.max() and math.isfinite(away) and away > 0):
            continue
        # At the image the one feature lies on the own center, -sqrt(gap / 2).
        found = Readout(model, direction.to(image), threshold, math.sqrt(gap / 2) / away, gap)
        chosen = torch.cat([within, border[(far == point).all(1)][:1]])
        verdicts = torch.cat([found(x) for x in chosen.split(500)]).argmax(1)
        if int(verdicts[:-1].sum()) == 0 and int(verdicts[-1]) == 1:  # in the model's own precision too
            return found
    return None


def binarisation_test(subject: Subject) -> Observation:
    """How often the attack finds what exists by construction, in units of what as many random images leave to find.

    A score of 1 finds all, 0 no more than random search with as many looks; below 0.95 is raised.
    """
    model, effort = subject.model, subject.effort
    if not hasattr(model, "features"):
        return Observation(6, NAME, NOT_APPLICABLE, "the model shows no features to read from", {}, WHY, REMEDY)
    chosen = subject.clean.nonzero().flatten()[: effort.binarised].tolist()
    gaps = -margin(model, subject.x, subject.y).detach()
    made, missed, lucky = [], [], []
    for place in chosen:
        image = subject.x[place]
        two = readout(model, image, subject.epsilon, gaps[place].item(), effort.inner, subject.seed)
        if two is None:
            continue
        made.append(place)
        label = torch.zeros(1, dtype=torch.long, device=image.device)
        attack = partial(subject.attack, epsilon=subject.epsilon, seed=subject.seed)
        run = watched_run(two, image[None], label, subject.epsilon, attack)
        blind = partial(random_search, epsilon=subject.epsilon, draws=max(run.looks, 1), seed=subject.seed)
        luck = watched_run(two, image[None], label, subject.epsilon, blind)
        if bool(run.standing):
            missed.append(place)
        if not bool(luck.standing):
            lucky.append(place)
    if not made or len(lucky) == len(made):
        reason = "the features tell no border point from inner ones" if not made else "random search finds all"
        return Observation(6, NAME, NOT_APPLICABLE, reason, {"tried": len(chosen)}, WHY, REMEDY)
    found, random = 1 - len(missed) / len(made), len(lucky) / len(made)
    score = (found - random) / (1 - random)
    evidence = {
        "made": len(made),
        "tried": len(chosen),
        "inner points": effort.inner,
        "found": round(found, 6),
        "found by random search": round(random, 6),
        "score": round(score, 6),
        "missed": places(missed),
    }
    seen = f"finds {percent(found)} of {len(made)}, random search {percent(random)}: score {score:.2f}"
    return Observation(6, NAME, judge_share(1 - score, 0.05, 0.2), seen, evidence, WHY, REMEDY)
