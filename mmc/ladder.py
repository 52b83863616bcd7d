"""The ladder: one network, one optimiser, one budget, and objectives from weak to strong.

Every rung is Auto-PGD with as many gradient steps for each image, so what differs is what the climb asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch

from mmc.attacks import Preset, Verdicts, input_gradient, run_suite, targets_by_rank
from mmc.attacks.balls import steepest
from mmc.attacks.objectives import pairwise
from mmc.attacks.preset import has_centers, num_classes

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

SOURCE = "ours: one optimiser and one budget for every objective"
#: The rungs by what the climb asks for, weak before strong; the last takes every other class for its target in turn.
EVERY_PAIR = "every pair"
RUNGS = ("cross-entropy", "own center", "nearest other center", "margin", EVERY_PAIR)
#: Relatives: toward the center of one class drawn at random, and of each in turn; margin and pair over a spread.
ONE_CENTER, EVERY_CENTER, DLR, EVERY_DLR = "one target center", "every target center", "DLR", "every target DLR"
RELATIVES = (ONE_CENTER, EVERY_CENTER, DLR, EVERY_DLR)
#: What a model without centers has not.
CENTERED = ("own center", "nearest other center", ONE_CENTER, EVERY_CENTER)


def rungs(
    model: nn.Module, x: Float[Tensor, "N C H W"], *, epsilon: float, steps: int = 20, starts: int | None = None
) -> dict[str, Preset]:
    """The rungs that a model allows, by what they climb, each with (L - 1) `steps` gradient steps for an image.

    Args:
        model: maps images in [0, 1] to L logits.
        x: some images.
        epsilon: radius of the L-inf ball in units of a pixel's range [0, 1].
        steps: of one climb, from one of the random starts or toward one of L - 1 targets.
        starts: L - 1 where not given; fewer of them, and the budgets are no longer the same.
    """
    starts, centered = num_classes(model, x) - 1 if starts is None else starts, has_centers(model)
    return {
        name: _rung(name, epsilon, steps, starts) for name in (*RUNGS, *RELATIVES) if centered or name not in CENTERED
    }


def _rung(name: str, epsilon: float, steps: int, starts: int) -> Preset:
    each = {EVERY_PAIR: "pairwise margin", EVERY_CENTER: "target center", EVERY_DLR: "target DLR"}
    objective = "target center" if name == ONE_CENTER else each.get(name, name)
    options = {"steps": steps} if name in each else {"steps": steps, "restarts": starts}
    return Preset(
        "ladder-" + name.replace(" ", "-"),
        f"APGD, {name}",
        "apgd_all_targets" if name in each else "apgd",
        "weak" if name == "cross-entropy" else "the paper's" if "center" in name else "adaptive",
        SOURCE,
        tuple(options.items()),
        objective=objective,
        targeted=name == ONE_CENTER,
        norm="linf",
        epsilon=epsilon,
    )


def climb(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    steps: int = 20,
    starts: int | None = None,
    seed: int = 0,
    only: Iterable[str] = (),
    batch_size: int = 100,
) -> tuple[dict[str, str], Verdicts]:
    """Run the ladder: the slug of each rung that the model allows, and what was found.

    Args:
        model: in eval mode.
        x: images in [0, 1].
        y: labels.
        epsilon: see `rungs`; so are steps and starts.
        seed: of starts and targets.
        only: some rungs; all that the model allows where none is named.
        batch_size: images attacked at once.
    """
    presets = {
        n: p for n, p in rungs(model, x, epsilon=epsilon, steps=steps, starts=starts).items() if not only or n in only
    }
    found = run_suite(model, x, y, presets.values(), seed=seed, batch_size=batch_size)
    return {name: preset.slug for name, preset in presets.items() if preset.slug in found.attacks}, found


def headings(
    objectives: Mapping[str, Callable[..., Tensor]],
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
) -> dict[str, Float[Tensor, "T N"]]:
    """Where objectives head: the cosine of each one's pixel gradient with that of h_t - h_y, for every other class t.

    The most likely class comes first. At 1 the climb goes toward it by the shortest way. Where the cosine is 0 or below
    for every t, a small step brings no class nearer. Zero gradients give 0.

    Args:
        objectives: untargeted ones, by name.
        model: in eval mode.
        x: images in [0, 1].
        y: labels.
    """

    def ahead(objective: Callable[..., Tensor]) -> Tensor:
        return steepest(input_gradient(objective, model, x, y), "l2").flatten(1)

    ways = torch.stack([ahead(partial(_toward, targets)) for targets in targets_by_rank(model, x, y)])
    return {name: (ahead(objective) * ways).sum(2) for name, objective in objectives.items()}


def _toward(targets: Tensor, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return pairwise(model, x, y, targets)
