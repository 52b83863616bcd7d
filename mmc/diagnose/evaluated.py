"""The attack under evaluation: any attack in the L-inf ball, with the settings that a diagnosis may change."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from mmc.attacks import PRESETS, cross_entropy, pgd, targets_by_rank
from mmc.attacks.objectives import LADDER, TARGETED
from mmc.attacks.preset import Preset

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from mmc.attacks.objectives import Objective

#: What most papers report: PGD on cross-entropy.
USUAL = partial(pgd, objective=cross_entropy, steps=50)
#: The attacks in an L-inf ball that have a name.
SHORT = tuple(preset.short for preset in PRESETS.values() if preset.norm == "linf" and not preset.nearest)
#: What an attack may call the number of its steps.
STEPS = ("steps", "iterations", "draws")


@dataclass(frozen=True, eq=False)
class EvaluatedAttack:
    """An attack, what it is called, and its settings.

    Attributes:
        name: for the report.
        run: `run(model, x, y, epsilon=..., **settings) -> x_adv`.
        settings: what can be changed, with what it is.
        objective: what it ascends, where that is known.
    """

    name: str
    run: Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    objective: Objective | None = None

    @property
    def steps(self) -> str | None:
        """What it calls its number of steps; None where it has none, or leaves it open."""
        return next((name for name in STEPS if isinstance(self.settings.get(name), int)), None)

    @property
    def objective_name(self) -> str | None:
        """The objective's name in `mmc.attacks.LADDER`, else its own; None where it is not known."""
        if self.objective is None:
            return None
        known = {function: name for name, function in (LADDER | TARGETED).items()}
        return known.get(inspect.unwrap(self.objective)) or _called(self.objective)

    def __call__(
        self,
        model: nn.Module,
        x: Float[Tensor, "N C H W"],
        y: Int[Tensor, " N"],
        *,
        epsilon: float,
        seed: int = 0,
        **changes: Any,
    ) -> Float[Tensor, "N C H W"]:
        """One image for each of x; the seed is given to an attack that takes one."""
        if "seed" in self.settings:
            changes["seed"] = seed
        return self.run(model, x, y, epsilon=epsilon, **changes)


def evaluation(attack: EvaluatedAttack | Preset | Callable[..., Any] | str | None = None) -> EvaluatedAttack:
    """What `diagnose` is given as an attack, as an `EvaluatedAttack`; `USUAL` where nothing is given.

    A preset, or the name of one, with its radius or without, keeps everything but its radius. Of a function, such as
    `partial(pgd, objective=margin, steps=50)`, the signature tells the settings: `steps` (or `iterations`, or `draws`),
    `restarts`, `step_size`, `seed`, `objective`.

    Raises:
        ValueError: it is no attack in the L-inf ball: an unknown name, nothing to call, without epsilon, or a preset of
            another norm.
    """
    if isinstance(attack, EvaluatedAttack):
        return attack
    if isinstance(attack, str):
        named = [preset for preset in PRESETS.values() if attack in (preset.slug, preset.short)]
        if not named:
            raise ValueError(f"no attack {attack!r}; there are: {', '.join(dict.fromkeys(SHORT))}")
        attack = next((preset for preset in named if preset.norm == "linf"), named[0])
    if isinstance(attack, Preset):
        return _of_preset(attack)
    attack = USUAL if attack is None else attack
    if not callable(attack):
        raise ValueError(f"an attack is a function (model, x, y, epsilon) -> x_adv or a preset, not {attack!r}")
    taken = inspect.signature(attack).parameters
    if "epsilon" not in taken and all(p.kind != p.VAR_KEYWORD for p in taken.values()):
        raise ValueError(f"the attack {_called(attack)} takes no epsilon: a fixed ball is what is diagnosed")
    settings = {name: p.default for name, p in taken.items() if p.default is not p.empty and name != "epsilon"}
    objective = settings.pop("objective", None)
    return EvaluatedAttack(_called(attack), attack, settings, _untargeted(objective) if callable(objective) else None)


def _of_preset(preset: Preset) -> EvaluatedAttack:
    if preset.norm != "linf" or preset.nearest:
        raise ValueError(f"{preset.slug} is no attack in an L-inf ball of fixed radius: choose another preset")

    def run(
        model: nn.Module, x: Tensor, y: Tensor, *, epsilon: float, seed: int = 0, **changes: Any
    ) -> Float[Tensor, "N C H W"]:
        # The radius comes first: a changed step size is in the units of the new radius already.
        given = preset.at(epsilon)
        options = tuple((dict(given.options) | changes).items())
        return dataclasses.replace(given, options=options)(model, x, y, seed=seed)

    settings = {**dict(preset.options), "seed": 0}
    climbed = (LADDER | TARGETED).get(preset.objective)
    return EvaluatedAttack(preset.short, run, settings, None if climbed is None else _untargeted(climbed))


def _untargeted(objective: Objective) -> Objective:
    """An objective as it is; a targeted one, which takes a class more, toward the likeliest other class."""
    if len(inspect.signature(objective).parameters) < 4:
        return objective

    @wraps(objective)
    def toward_the_runner_up(model: nn.Module, x: Tensor, y: Tensor) -> Float[Tensor, " N"]:
        return objective(model, x, y, next(targets_by_rank(model, x, y, 1)))

    return toward_the_runner_up


def _called(attack: Callable[..., Any]) -> str:
    """What a function is called, with what it was given."""
    if isinstance(attack, partial):
        given = [_called(value) if callable(value) else f"{name} {value}" for name, value in attack.keywords.items()]
        return ", ".join([_called(attack.func), *given])
    return getattr(attack, "__name__", type(attack).__name__).replace("_", " ")
