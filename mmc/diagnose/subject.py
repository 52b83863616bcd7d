"""What is diagnosed: a model on some images under an attack, and everything that was run on it so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmc.attacks import correct
from mmc.attacks.checks import confirm
from mmc.diagnose.effort import Effort
from mmc.diagnose.evaluated import EvaluatedAttack
from mmc.diagnose.watch import Watched

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    #: An attack with everything settled but model and examples.
    Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]

#: Images that are attacked at once.
BATCH = 500


@dataclass(frozen=True, eq=False)
class Run:
    """What an attack left of some examples.

    Attributes:
        x_adv: the images it returned.
        standing: which of them are classified correctly.
        met: at an image in the ball that fools the model it looked at least once.
        seen: likewise as the attack saw the model, which may differ from the model's own verdict.
        late_rise: see `Watched.late_rise`.
        looks: at how many images the model was asked.
    """

    x_adv: Float[Tensor, "N C H W"]
    standing: Bool[Tensor, " N"]
    met: Bool[Tensor, " N"]
    seen: Bool[Tensor, " N"]
    late_rise: Float[Tensor, " N"]
    looks: int

    @property
    def accuracy(self) -> float:
        return self.standing.float().mean().item()


def watched_run(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, attack: Attack, batch: int = BATCH) -> Run:
    """Run an attack on a watched model, and judge what it returned by the model's own forward pass.

    Raises:
        ValueError: a returned image lies outside of the ball or the box, or whatever the attack refuses.
    """
    parts = []
    for x_part, y_part in zip(x.split(batch), y.split(batch), strict=True):
        watched = Watched(model, x_part, y_part, epsilon)
        x_adv = attack(watched, x_part, y_part)
        confirm(x_part, x_adv, epsilon)
        seen = watched.met
        met = seen & ~correct(model, watched.fooling, y_part)
        late, looks = watched.late_rise(), torch.tensor(watched.looks)
        parts.append((x_adv.detach(), correct(model, x_adv, y_part), met, seen, late, looks[None]))
    *columns, looks = (torch.cat(column) for column in zip(*parts, strict=True))
    return Run(*columns, int(looks.sum()))


class Subject:
    """A model on some images under an attack. Each run is made once and kept, and every image that falls is noted.

    Args:
        model: maps images in [0, 1] to logits; in eval mode.
        x: images in [0, 1], at least one.
        y: labels.
        epsilon: radius of the L-inf ball in units of a pixel's range, in (0, 1).
        attack: the one under evaluation.
        effort: how much is run.
        seed: of all chance.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Float[Tensor, "N C H W"],
        y: Int[Tensor, " N"],
        epsilon: float,
        attack: EvaluatedAttack,
        effort: Effort,
        seed: int = 0,
    ) -> None:
        self.model, self.x, self.y, self.epsilon = model, x, y, epsilon
        self.attack, self.effort, self.seed = attack, effort, seed
        self.clean = correct(model, x, y)
        #: What is right as it is and under everything run so far within epsilon: the pointwise worst case.
        self.worst = self.clean.clone()
        self._runs: dict[tuple[Any, ...], Run] = {}

    def __len__(self) -> int:
        return len(self.x)

    def attacked(self, *, epsilon: float | None = None, **changes: Any) -> Run:
        """What the attack under evaluation leaves, at another radius or with other settings."""
        radius = self.epsilon if epsilon is None else epsilon

        def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return self.attack(model, x, y, epsilon=radius, seed=self.seed, **changes)

        return self.run(attack, radius, ("under evaluation", radius, *sorted(changes.items())))

    def run(self, attack: Attack, epsilon: float, key: tuple[Any, ...], only: Int[Tensor, " M"] | None = None) -> Run:
        """What an attack within epsilon leaves of all examples or of some; run once for each key."""
        if key not in self._runs:
            only = torch.arange(len(self), device=self.x.device) if only is None else only
            found = watched_run(self.model, self.x[only], self.y[only], epsilon, attack)
            self._runs[key] = found
            if epsilon <= self.epsilon:
                self.worst[only] &= found.standing & ~found.met
        return self._runs[key]

    def withstanding(self, most: int) -> Int[Tensor, " M"]:
        """The places of the first examples that the attack under evaluation leaves standing: where all doubt lies."""
        return self.attacked().standing.nonzero().flatten()[:most]
