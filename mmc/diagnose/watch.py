"""A model that is watched: for each example, what an attack looked at, and how near it came to fooling the model.

An attack is a function, so nothing of it is seen but the images it asks the model about. That is enough: each image is
within epsilon of an original, and the nearest original tells which example it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from mmc.attacks.checks import SLACK

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


class Watched(nn.Module):
    """A model that looks to an attack like the original and remembers what it was asked.

    Where the model has no gradient at all, it has one of zeros here: an attack then goes nowhere, instead of stopping
    with an error. Features are shown only where there is a loss that makes logits of them.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: the original images.
        y: their labels.
        epsilon: radius of the L-inf ball; looks outside of it and of the box are not counted.
    """

    def __init__(self, model: nn.Module, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], epsilon: float) -> None:
        super().__init__()
        self.model, self.x, self.y, self.epsilon = model, x, y, epsilon
        self.loss = getattr(model, "loss", None)
        if hasattr(model, "features") and hasattr(self.loss, "logits"):
            self.features = self._features
        self.fooling = x.clone()
        self._looks: list[tuple[Tensor, Tensor]] = []
        self.eval()

    def _features(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N d"]:
        z = _connected(self.model.features(x), x)
        self._remember(x, self.loss.logits(z.detach()))
        return z

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
        logits = _connected(self.model(x), x)
        self._remember(x, logits)
        return logits

    @torch.no_grad()
    def _remember(self, x: Float[Tensor, "M C H W"], logits: Float[Tensor, "M L"]) -> None:
        if not len(x) or not len(self.x):
            return
        near = torch.cdist(x.detach().flatten(1), self.x.flatten(1)).argmin(1)
        away = (x - self.x[near]).flatten(1).abs().amax(1)
        inside = (away <= self.epsilon + SLACK) & (x >= 0).flatten(1).all(1) & (x <= 1).flatten(1).all(1)
        near, x = near[inside], x[inside]
        lead = leads(logits[inside], self.y[near])
        self._looks.append((near, lead))
        self.fooling[near[lead > 0]] = x[lead > 0]

    @property
    def met(self) -> Bool[Tensor, " N"]:
        """For which examples an image that fools was among those looked at, as the attack saw the model."""
        met = torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        for near, lead in self._looks:
            met[near[lead > 0]] = True
        return met

    @property
    def looks(self) -> int:
        """At how many images the model was asked, in the ball and in the box."""
        return sum(len(near) for near, _ in self._looks)

    def late_rise(self, part: float = 0.1) -> Float[Tensor, " N"]:
        """How much of each example's whole rise of the best lead came in the last part of its looks; 0 without any."""
        found = torch.zeros(len(self.x), device=self.x.device)
        if not self._looks:
            return found
        near = torch.cat([near for near, _ in self._looks])
        lead = torch.cat([lead for _, lead in self._looks])
        order = near.argsort(stable=True)
        counts = near.bincount(minlength=len(self.x)).tolist()
        for example, values in enumerate(lead[order].split(counts)):
            if len(values) < 2:
                continue
            best = values.cummax(0).values
            late = best[-1] - best[-1 - max(1, round(part * len(values)))]
            whole = best[-1] - best[0]
            found[example] = late / whole if whole > 0 else 0.0
        return found


def leads(logits: Float[Tensor, "N L"], y: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """By how much the largest other logit exceeds the label's: positive exactly where the model is fooled.

    Fooled is counted as `mmc.attacks.correct` does: ties go to the first class, and what is not finite is wrong.
    """
    own = logits.gather(1, y[:, None])[:, 0]
    lead = logits.scatter(1, y[:, None], -torch.inf).amax(1) - own
    finite = logits.isfinite().all(1)
    tiny = torch.finfo(logits.dtype).tiny
    lead = torch.where(logits.argmax(1) == y, lead, lead.clamp_min(tiny))
    return torch.where(finite, lead, torch.inf)


def _connected(output: Float[Tensor, "N k"], x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N k"]:
    """The same values, with at least a gradient of zeros in x."""
    if not x.requires_grad or not torch.is_grad_enabled():
        return output
    return output + 0 * x.flatten(1).sum(1, keepdim=True)
