"""The logit margins of single images, as they are and as PGD leaves them, and how steep the margin is there.

Kept image by image, so that a reader of the record draws histograms, picks out images, and sets a margin beside a
verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.attacks.checks import input_gradient
from mmc.attacks.objectives import cross_entropy, margin
from mmc.chance import seeded
from mmc.training.craft import ascend, frozen, noise

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from mmc.data import Dataset, Split
    from mmc.models import Classifier

#: The parts of a data set whose margins are measured.
PARTS = ("train", "test")
#: How the images are climbed: as in the published adversarial training, for any radius.
STEPS, STEP_SHARE = 10, 1 / 4
BATCH = 250


def crafted(model: Classifier, images: Split, epsilon: float, seed: int = 0) -> Float[Tensor, "N C H W"]:
    """Images as adversarial training crafts them: PGD on cross-entropy that climbs on when an image is fooled.

    Args:
        model: in eval mode.
        images: what is attacked.
        epsilon: L-inf radius in units of a pixel's range [0, 1]; steps are a quarter of it.
        seed: of the random start.
    """
    start = images.x + epsilon * noise(images.x, seeded(torch.Generator(images.y.device), "margins", seed))
    options = {"epsilon": epsilon, "step_size": STEP_SHARE * epsilon, "steps": STEPS}
    parts = zip(images.x.split(BATCH), start.split(BATCH), images.y.split(BATCH), strict=True)
    with frozen(model, "eval"):
        return torch.cat(
            [ascend(lambda moved, y=y: cross_entropy(model, moved, y), x, s, **options) for x, s, y in parts]
        )


def margins_of(model: Classifier, data: Dataset, count: int, epsilon: float, seed: int = 0) -> dict[str, object]:
    """Margins h_y - max_{k != y} h_k of the first training and test images.

    Args:
        model: in eval mode.
        data: its first `count` training and test images are taken, or all where there are fewer.
        count: >= 1.
        epsilon: see `crafted`.
        seed: likewise.

    Returns:
        By part of `PARTS`: `clean`, the margins of the images as they are; `adversarial`, those of the crafted images;
        `slope`, the L1 norm of the margin's gradient in the pixels at these. Margin over slope is, to first order, the
        L-inf distance to the boundary: a factor on all logits leaves it alone. Rounded to a thousandth.
    """
    found: dict[str, object] = {"epsilon": epsilon}
    for part in PARTS:
        images = getattr(data, part).first(count)
        moved = crafted(model, images, epsilon, seed)
        columns: dict[str, list[Tensor]] = {"clean": [], "adversarial": [], "slope": []}
        for x, x_adv, y in zip(images.x.split(BATCH), moved.split(BATCH), images.y.split(BATCH), strict=True):
            with torch.no_grad():
                columns["clean"].append(-margin(model, x, y))
                columns["adversarial"].append(-margin(model, x_adv, y))
            columns["slope"].append(input_gradient(margin, model, x_adv, y).abs().flatten(1).sum(1))
        found[part] = {
            name: [round(value, 3) for value in torch.cat(values).double().tolist()] for name, values in columns.items()
        }
    return found
