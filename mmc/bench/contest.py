"""Our attack and another library's on the same images, in turns: what each leaves standing, and what it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from mmc.attacks import correct, distances
from mmc.bench.ratio import Ratio, ratio, timed, turns
from mmc.provenance import device

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    #: `attack(model, x, y, seed) -> x_adv`, with all else settled.
    Attack = Callable[[nn.Module, Tensor, Tensor, int], Tensor]

#: What is compared, with how far ours may lie above theirs: robust accuracy in points of a percent, distance by share.
ACCURACY, DISTANCE = "robust accuracy, %", "median L2 distance"
#: Both attack the images in batches of so many.
BATCH = 100
#: Rounding that a projection in float32 may leave.
SLACK = 1e-5


@dataclass(frozen=True)
class Contest:
    """Two attacks of the same budget.

    Attributes:
        name: of the attack, as a reader knows it.
        budget: what both may spend, in words.
        peer: the other library's name.
        ours: our attack.
        theirs: the peer's.
        images: how many test images, from the first.
        goal: what the ratio of times shall not exceed; 0 where only results are compared.
        measure: `ACCURACY` or `DISTANCE`.
        pairs: how often each is run, each time with another seed.
    """

    name: str
    budget: str
    peer: str
    ours: Attack
    theirs: Attack
    images: int
    goal: float = 0.0
    measure: str = ACCURACY
    pairs: int = 3


@dataclass(frozen=True)
class Comparison:
    """How a contest ended on a network.

    Attributes:
        name, budget, peer, images, measure: see `Contest`.
        network: the name of its weights.
        epsilon: radius of the L-inf ball; 0 where the nearest image is sought.
        ours: what our attack came to, seed by seed.
        theirs: the same of the peer's.
        time: ours over theirs.
        load: how many processes shared the machine's cores, on average over the minute before and after.
    """

    name: str
    budget: str
    peer: str
    network: str
    epsilon: float
    images: int
    measure: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    time: Ratio
    load: tuple[float, ...] = field(default=())

    @property
    def allowed(self) -> float:
        """What ours may come to at most, in the mean over seeds: 0.1 points or a thousandth above theirs."""
        theirs = statistics.fmean(self.theirs)
        return theirs + 0.1 if self.measure == ACCURACY else theirs * 1.001

    @property
    def as_strong(self) -> bool:
        """Is our attack as strong as the peer's?"""
        return statistics.fmean(self.ours) <= self.allowed + 1e-9

    @property
    def met(self) -> bool:
        """Does it come to the same result in the time of the goal?"""
        return self.as_strong and self.time.met

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Comparison:
        """From plain values; what else lies beside them is left alone."""
        rest = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items() if name != "made"}
        return cls(**rest | {"time": Ratio(**content["time"])})


def clock() -> float:
    """Seconds of this process's own work on a CPU, so that others on the machine do not count; by the wall on a GPU."""
    return time.process_time() if device() == "cpu" else time.perf_counter()


def hold(
    contest: Contest,
    network: str,
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    epsilon: float,
    load: Callable[[], float] = lambda: 0.0,
) -> Comparison:
    """Hold a contest: both attack the first images in turns, after a few of them unmeasured.

    Args:
        contest: see there.
        network: the name of the model's weights.
        model: in eval mode.
        x: images in [0, 1], at least as many as the contest asks for.
        y: labels.
        epsilon: see `Comparison`.
        load: asked before and after.
    """
    x, y = x[: contest.images], y[: contest.images]
    ways = (contest.ours, contest.theirs)
    for way in ways:
        _attacked(way, model, x[:4], y[:4], 0)
    times, found, before = ([], []), ([], []), load()
    for pair, way in turns(contest.pairs):
        seconds, x_adv = timed(lambda way=way, pair=pair: _attacked(ways[way], model, x, y, pair), clock)
        times[way].append(seconds)
        found[way].append(result(model, x, y, x_adv, contest.measure, epsilon))
    unit = "s of the processor" if device() == "cpu" else "s"
    name = f"{contest.name} over {contest.peer}, {network}"
    taken = ratio(name, *times, unit=unit, goal=contest.goal)
    said = (contest.name, contest.budget, contest.peer, network, epsilon, len(x), contest.measure)
    return Comparison(*said, tuple(found[0]), tuple(found[1]), taken, (round(before, 2), round(load(), 2)))


def _attacked(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
    batches = zip(x.split(BATCH), y.split(BATCH), strict=True)
    return torch.cat([attack(model, images, labels, seed) for images, labels in batches])


def result(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, measure: str, epsilon: float) -> float:
    """What an attack came to, counted in the same way for everyone: an image that breaks its bounds counts as clean.

    Robust accuracy is over all images; the median distance is over those that the model classifies correctly.
    """
    allowed = keeps_bounds(x, x_adv, epsilon if measure == ACCURACY else torch.inf)
    x_adv = torch.where(allowed[:, None, None, None], x_adv, x)
    if measure == ACCURACY:
        return round(100 * correct(model, x_adv, y).double().mean().item(), 4)
    return distances(model, x, y, x_adv)[correct(model, x, y)].median().item()


def keeps_bounds(x: Float[Tensor, "N C H W"], x_adv: Float[Tensor, "N C H W"], epsilon: float) -> Bool[Tensor, " N"]:
    """Which images are finite, in the box [0, 1] and within epsilon of their originals, up to rounding."""
    flat, moved = x_adv.flatten(1), (x_adv - x).flatten(1).abs()
    inside = (flat >= -SLACK).all(1) & (flat <= 1 + SLACK).all(1)
    return flat.isfinite().all(1) & inside & (moved <= epsilon + SLACK).all(1)
