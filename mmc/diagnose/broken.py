"""Models that are broken on purpose: each looks robust under the usual attack, and a named check must catch it.

A diagnosis that lets one of them pass would let its like pass too, so `mmc.diagnose.controls` breaks the very model
that is diagnosed and looks whether it is caught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Broken(nn.Module):
    """A model with something wrong in front of it or behind it; features stay those of what lies in front.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        if hasattr(model, "features"):
            self.features = self._features
        self.eval()

    def before(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return x

    def after(self, logits: Float[Tensor, "N L"]) -> Float[Tensor, "N L"]:
        return logits

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
        return self.after(self.model(self.before(x)))

    def _features(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N d"]:
        return self.model.features(self.before(x))


class Quantised(Broken):
    """Logits are rounded to a hundredth of their range: a staircase, whose slope is zero wherever it has one.

    No decision changes but near-ties. Zero gradients (check 1) must be at every image.
    """

    def after(self, logits: Float[Tensor, "N L"]) -> Float[Tensor, "N L"]:
        step = (logits.amax(1, keepdim=True) - logits.amin(1, keepdim=True)).clamp_min(1e-30) / 100
        return (logits / step.detach()).round() * step.detach()


class Saturated(Broken):
    """Logits are multiplied by a thousand: no decision changes, and softmax saturates.

    Cross-entropy has no gradient (check 1), and an attack that climbs differences of logits fells what it left
    (check 4).
    """

    def after(self, logits: Float[Tensor, "N L"]) -> Float[Tensor, "N L"]:
        return 1000 * logits


class Detached(Broken):
    """The image is cut off from the graph, as where a defence computes in NumPy: there is no gradient at all.

    Zero gradients (check 1) must be at every image, and the binarisation test (check 6) must miss what is there.
    """

    def before(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return x.detach()


class Rippled(Broken):
    """A fine ripple of a few thousandths is laid over every pixel: gradients are there, and point anywhere.

    No gradient is zero, and no answer changes. But along its gradient the margin does not rise as promised (check 5,
    unstable predictions), and images crafted on the model without the ripple fell more than the attack does at home
    (check 4).
    """

    SIZE, WAVES = 4e-3, 2e4

    def before(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return x + self.SIZE * torch.sin(self.WAVES * x)


class Noisy(Broken):
    """Fresh noise is added to every image that is asked about: no two answers are alike.

    Unstable predictions (check 5) must see it.
    """

    SIZE = 0.1

    def before(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return x + self.SIZE * torch.randn_like(x)


#: By name.
BROKEN: dict[str, type[Broken]] = {
    "quantised logits": Quantised,
    "saturated logits": Saturated,
    "detached image": Detached,
    "rippled image": Rippled,
    "noisy image": Noisy,
}
