"""Every attack of the package as tests call it, `attack(model, x, y, **options)`, with what it promises."""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch

from mmc.attacks import (
    apgd,
    apgd_all_targets,
    autoattack,
    carlini_wagner,
    fgsm,
    gaussian_noise,
    hop_skip_jump,
    margin,
    mim,
    nearest_by_radius,
    pairwise,
    pgd,
    random_search,
    rotation,
    spsa,
    worst_rotation,
)


@dataclass(frozen=True)
class Entry:
    """One attack, at a budget that is enough for sixteen pixels.

    Attributes:
        attack: the function, with all else settled.
        module: where it is written.
        room: the option that gives it room, and two values for networks of sixteen pixels; None where it seeks the
            nearest image.
        norm: of its ball; empty where it keeps to the box alone.
        seeded: does another seed give other images?
        more: options of which more fells all that less felled, example by example, and three values of each.
        held: options that `more` needs held.
        exact: `any` where it solves two affine classes exactly, `signs` where their slopes must be of one size.
        alone: are an example's images the same in every batch and order?
        needs: a library.
    """

    attack: Callable[..., torch.Tensor]
    module: str
    room: tuple[str, float, float] | None = ("epsilon", 0.05, 0.1)
    norm: str = "linf"
    seeded: bool = True
    more: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    held: Mapping[str, Any] = field(default_factory=dict)
    exact: str = ""
    alone: bool = True
    needs: str = ""

    def __call__(self, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, **options: Any) -> torch.Tensor:
        given = {self.room[0]: self.room[2]} if self.room else {}
        return self.attack(model, x, y, **given | options)

    @property
    def takes(self) -> set[str]:
        """The options by name."""
        return set(inspect.signature(self.attack).parameters)


BALL = {"linf": ("epsilon", 0.05, 0.1), "l2": ("epsilon", 0.3, 0.6)}


def _in_both(name: str, attack: Callable[..., torch.Tensor], **promises: Any) -> dict[str, Entry]:
    return {
        f"{name} {norm}": Entry(partial(attack, norm=norm), room=BALL[norm], norm=norm, **promises) for norm in BALL
    }


_climb = partial(pgd, objective=margin, steps=8)
_search = partial(carlini_wagner, search_steps=3, iterations=60, learning_rate=0.03, look_every=30)

ATTACKS: dict[str, Entry] = {
    "fgsm": Entry(fgsm, "simple", seeded=False, exact="any"),
    **_in_both(
        "pgd", _climb, module="pgd", more={"steps": (2, 6), "restarts": (1, 3)}, held={"step_size": 0.03}, exact="any"
    ),
    **_in_both("apgd", partial(apgd, steps=12), module="apgd", more={"restarts": (1, 3)}, exact="any"),
    **_in_both("all-targets", partial(apgd_all_targets, steps=6), module="apgd", more={"most": (1, 3)}, exact="any"),
    **_in_both("all-targets shrinking", partial(apgd_all_targets, steps=10, shrink=True), module="apgd", exact="any"),
    "mim": Entry(mim, "mim", seeded=False, more={"steps": (2, 8)}, held={"step_size": 0.03}, exact="any"),
    "spsa": Entry(
        partial(spsa, samples=64, iterations=10, learning_rate=0.05),
        "spsa",
        more={"iterations": (2, 8)},
        exact="signs",
    ),
    "noise": Entry(gaussian_noise, "simple", ("sigma", 0.05, 0.2), "", more={"draws": (1, 9)}),
    "random": Entry(partial(random_search, draws=9), "simple", more={"draws": (1, 20)}),
    "rotation": Entry(rotation, "simple", ("degrees", 30.0, 60.0), "", more={"draws": (1, 9)}),
    "worst-rotation": Entry(
        partial(worst_rotation, angles=5),
        "simple",
        ("degrees", 45.0, 90.0),
        "",
        seeded=False,
        more={"angles": (1, 3, 5)},
    ),
    "carlini-wagner": Entry(_search, "cw", None, "", seeded=False, more={"search_steps": (1, 3)}),
    "carlini-wagner as printed": Entry(
        partial(_search, first_constant=0.1), "cw", None, "", seeded=False, more={"search_steps": (2, 5)}
    ),
    "bisection": Entry(
        partial(nearest_by_radius, partial(apgd, steps=6), rounds=4), "bisection", None, "", False, {"rounds": (3, 8)}
    ),
    "hop-skip-jump": Entry(partial(hop_skip_jump, steps=1, queries=10), "boundary", None, "", needs="foolbox"),
    "autoattack": Entry(
        partial(autoattack, version="custom", attacks=["apgd-ce"]),
        "autoattack",
        seeded=False,
        alone=False,
        exact="any",
        needs="pyautoattack",
    ),
}
#: The attacks with a target, by name, with the objective that takes it where there is one.
TARGETED = {
    name: partial(entry, objective=pairwise) if "objective" in entry.takes else entry
    for name, entry in ATTACKS.items()
    if "targets" in entry.takes
}


#: The module whose mutant is being tested, if any; see tests/mutation.py.
MUTATED = os.environ.get("MUTATED", "")
#: Whose attacks stand for all where the mutated module is one that every attack uses.
COMMON = ("pgd", "apgd", "mim")


def concerned(entry: Entry) -> bool:
    """Can this attack notice what is being mutated? Every attack where nothing is."""
    own = {other.module for other in ATTACKS.values()}
    return not MUTATED or entry.module in ((MUTATED,) if MUTATED in own else COMMON)


def each(where: Callable[[Entry], Any] = lambda entry: True) -> pytest.MarkDecorator:
    """Run a test once for each attack of a kind; skipped where its library is not installed."""
    chosen = []
    for name, entry in ATTACKS.items():
        if where(entry) and concerned(entry):
            missing = bool(entry.needs) and importlib.util.find_spec(entry.needs) is None
            marks = pytest.mark.skipif(missing, reason=f"{entry.needs} is not installed")
            chosen.append(pytest.param(name, marks=marks))
    return pytest.mark.parametrize("name", chosen)
