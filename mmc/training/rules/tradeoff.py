"""Rules that weigh clean accuracy against the stability of the prediction: TRADES, TSOVR and MART."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from mmc.losses.base import margins
from mmc.losses.one_vs_rest import one_vs_rest
from mmc.training.craft import ascend, frozen, noise
from mmc.training.rules.adversarial import AT
from mmc.training.rules.base import Crafting, Moment, divergence, largest

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from mmc.models import Classifier


@dataclass(frozen=True)
class TRADES(Crafting):
    """The loss at the clean image plus beta KL(p(x) || p(x')), where x' maximises the divergence. Source: Zhang 2019.

    Attributes:
        beta: weight of the divergence, >= 0.
        jitter: standard deviation of the normal noise that the maximisation starts from.
    """

    beta: float = 6.0
    jitter: float = 1e-3

    def craft(self, model: Classifier, x: Float[Tensor, "N C H W"], moment: Moment) -> Float[Tensor, "N C H W"]:
        """The images of largest divergence found; model and running statistics are left as they were."""
        start = x + self.jitter * noise(x, moment.generator, "normal")
        with frozen(model, self.batch_norm):
            with torch.no_grad():
                clean = model(x)
            return ascend(
                lambda images: divergence(clean, model(images)),
                x,
                start,
                epsilon=self.epsilon,
                step_size=self.step_size,
                steps=self.steps,
            )

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        moved = self.craft(model, x, moment)
        z = model.features(x)
        clean, adversarial = model.loss.logits(z), model.loss.logits(model.features(moved))
        return z, self.fit(model, z, y, clean, adversarial) + self.beta * divergence(clean, adversarial)

    def fit(self, model: Classifier, z: Tensor, y: Tensor, clean: Tensor, adversarial: Tensor) -> Float[Tensor, " N"]:
        """The part that looks at the label."""
        return model.loss(z, y)


@dataclass(frozen=True)
class TSOVR(TRADES):
    """TRADES whose label part switches to one-vs-rest for the examples of smallest margin. Source: Kanai et al. 2023.

    The source's placement and its (share, weight) are not confirmed: both are parameters here.

    Attributes:
        share: M, of the batch, in [0, 1]; those with the largest logit-margin loss switch.
        weight: lambda, of one-vs-rest, >= 0.
        switch_on: is the margin that decides taken at the `adversarial` or at the `clean` image?
    """

    share: float = 0.4
    weight: float = 0.4
    switch_on: str = "adversarial"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_switch(self.share, self.weight)
        if self.switch_on not in ("adversarial", "clean"):
            raise ValueError(f"switch_on must be adversarial or clean, not {self.switch_on!r}")

    def fit(self, model: Classifier, z: Tensor, y: Tensor, clean: Tensor, adversarial: Tensor) -> Float[Tensor, " N"]:
        judged = clean if self.switch_on == "clean" else adversarial
        switched = largest(margins(judged.detach(), y), self.share)
        return torch.where(switched, self.weight * one_vs_rest(clean, y), model.loss(z, y))


@dataclass(frozen=True)
class SOVR(AT):
    """Adversarial training that switches to one-vs-rest for the examples of smallest margin. Source: Kanai et al. 2023.

    At the adversarial images, the share M of the batch with the largest logit-margin loss takes weight (lambda) times
    one-vs-rest, the others keep the model's loss.

    Attributes:
        share: M, of the batch, in [0, 1].
        weight: lambda, >= 0.
    """

    inner: str = "cross-entropy"
    share: float = 0.4
    weight: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_switch(self.share, self.weight)

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        z = model.features(self.craft(model, x, y, moment))
        logits = model.loss.logits(z)
        switched = largest(margins(logits.detach(), y), self.share)
        return z, torch.where(switched, self.weight * one_vs_rest(logits, y), model.loss(z, y))


def _check_switch(share: float, weight: float) -> None:
    if not 0 <= share <= 1 or not weight >= 0:
        raise ValueError(f"share must lie in [0, 1] and weight be >= 0, not {share} and {weight}")


@dataclass(frozen=True)
class MART(AT):
    """Misclassification-aware adversarial training. Source: Wang et al. 2020.

    -log p'_y - log(1 - max_{k != y} p'_k) + beta KL(p || p') (1 - p_y), with p' at the adversarial image. Written for
    softmax probabilities of the model's logits, whatever its loss; both logarithms are taken without subtraction, so
    that they stay exact where a probability rounds to one.

    Attributes:
        beta: weight of the divergence, >= 0.
    """

    inner: str = "cross-entropy"
    beta: float = 5.0

    def __call__(
        self, model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], moment: Moment
    ) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        moved = self.craft(model, x, y, moment)
        z = model.features(x)
        clean, adversarial = model.loss.logits(z), model.loss.logits(model.features(moved))
        label = F.one_hot(y, clean.shape[1]).bool()
        rival = F.one_hot(adversarial.masked_fill(label, -torch.inf).argmax(1), clean.shape[1]).bool()
        total = adversarial.logsumexp(1)
        boosted = 2 * total - adversarial[label] - adversarial.masked_fill(rival, -torch.inf).logsumexp(1)
        doubt = (clean.masked_fill(label, -torch.inf).logsumexp(1) - clean.logsumexp(1)).exp()
        return z, boosted + self.beta * divergence(clean, adversarial) * doubt
