"""One look at a model: objective, its gradient in the pixels, and the verdict, from a single forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.models import Classifier

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective


class Remembering:
    """A model that remembers the logits of its last forward pass; for the objective it looks like the model itself."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.loss = getattr(model, "loss", None)
        self.logits: Tensor | None = None

    def features(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N d"]:
        z = self._model.features(x)
        # A classifier decides by its loss's logits of z. How another model decides, it alone knows.
        if isinstance(self._model, Classifier):
            self.logits = self.loss.logits(z)
        return z

    def __call__(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
        self.logits = self._model(x)
        return self.logits


def look(
    objective: Objective, model: nn.Module, x: Float[Tensor, "N C H W"], *labels: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N C H W"], Bool[Tensor, " N"]]:
    """The objective, its gradient with respect to the pixels, and which images are still classified correctly.

    Args:
        objective: see `mmc.attacks.objectives`.
        model: in eval mode; its parameters get no gradient.
        x: images.
        labels: the labels, and the targets where the objective takes them.

    Returns:
        Values, gradients, verdicts. Logits that are not finite count as wrong.
    """
    x = x.detach().requires_grad_()
    remembering = Remembering(model)
    values = objective(remembering, x, *labels)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    logits = remembering.logits if remembering.logits is not None else model(x)
    logits = logits.detach()
    return values.detach(), gradient, (logits.argmax(1) == labels[0]) & logits.isfinite().all(1)
