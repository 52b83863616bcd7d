"""Transfer: images that are crafted on one model and judged by others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mmc.attacks.checks import confirm, correct

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    #: An attack with everything else settled, e.g. `partial(mim, epsilon=0.03, active_set=False)`.
    Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def transfer_matrix(
    models: Mapping[str, nn.Module], x: Float[Tensor, "N C H W"], y: Int[Tensor, " N"], attack: Attack
) -> dict[tuple[str, str], Bool[Tensor, " N"]]:
    """Craft on every model, judge by every model.

    An attack that lets an example leave once its source is fooled crosses over less than one that climbs on. What a
    source had wrong already comes back as it was, and says nothing about the targets.

    Args:
        models: by name, in eval mode, for images of one shape and the same classes.
        x: images in [0, 1].
        y: labels.
        attack: `attack(model, x, y) -> x_adv`.

    Returns:
        By (source, target): which examples the target has right, both as they were and as the source's attack left
        them. On the diagonal the source judges its own images: the white-box attack.

    Raises:
        ValueError: no models, what the attack refuses, or an image outside the box.
    """
    if not models:
        raise ValueError("there are no models to craft on")
    clean = {name: correct(model, x, y) for name, model in models.items()}
    found = {}
    for source, crafted_on in models.items():
        x_adv = attack(crafted_on, x, y)
        confirm(x, x_adv, math.inf)
        for target, judge in models.items():
            found[source, target] = clean[target] & correct(judge, x_adv, y)
    return found
