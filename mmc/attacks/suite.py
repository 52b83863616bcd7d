"""Several objectives against one model, and what is left when the attacker may pick the best one per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmc.attacks.checks import correct
from mmc.attacks.objectives import OBJECTIVES
from mmc.attacks.pgd import pgd

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

WORST = "worst case"


def applicable(model: nn.Module) -> tuple[str, ...]:
    """The names of the objectives that this model allows: the own center needs centers."""
    has_centers = getattr(getattr(model, "loss", None), "centers", None) is not None
    return tuple(name for name in OBJECTIVES if has_centers or name != "own center")


def survivors(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    objectives: Sequence[str] | None = None,
    **options: object,
) -> dict[str, Bool[Tensor, " N"]]:
    """Which examples stay correct under PGD with each objective, and under all of them.

    Args:
        model: in eval mode.
        x: images in [0, 1].
        y: labels.
        epsilon: radius of the L-inf ball.
        objectives: names in `OBJECTIVES`; by default all that the model allows.
        options: steps, step_size, restarts and seed of `pgd`.

    Returns:
        By objective: correct after the attack. Under `worst case`: correct after every attack, example by example.

    Raises:
        ValueError: an unknown objective, or what `pgd` refuses.
    """
    names = applicable(model) if objectives is None else tuple(objectives)
    if not names or (unknown := [name for name in names if name not in OBJECTIVES]):
        raise ValueError(f"no objective {unknown if names else names}; there are: {', '.join(OBJECTIVES)}")
    found = {}
    for name in names:
        x_adv = pgd(model, x, y, objective=OBJECTIVES[name], epsilon=epsilon, **options)
        found[name] = correct(model, x_adv, y)
    worst = correct(model, x, y)
    for mask in found.values():
        worst = worst & mask
    return {**found, WORST: worst}
