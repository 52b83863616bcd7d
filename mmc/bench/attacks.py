"""Our attacks beside their peers' on the networks that travel with the book.

Radii are such that the truth is neither none nor all. Both sides have the same steps, restarts and queries; ours climbs
cross-entropy where it has a gradient at every image, and the margin where it has not. Every contest is kept as soon as
it is held, so a bench that was broken off goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mmc import lab, parts, shelf
from mmc.attacks import (
    PRESETS,
    SUITES,
    apgd,
    apgd_all_targets,
    carlini_wagner,
    correct,
    cross_entropy,
    margin,
    mim,
    pairwise,
    pgd,
    spsa,
    target_dlr,
    zero_gradient_share,
)
from mmc.attacks.preset import SCHEDULES
from mmc.bench import growth, peers
from mmc.bench.contest import BATCH, DISTANCE, Comparison, Contest, hold
from mmc.files import digest_files

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmc.attacks import Preset
    from mmc.attacks.objectives import Objective
    from mmc.bench.contest import Attack

#: Where the kept table lies below the folder of records.
PLACE = "bench/attacks.json"
#: How the names of those parts begin that are no contests.
GROWTH = "growth | "
#: What times may be at most, ours over theirs.
GOALS = {"PGD-50": 0.5, "C&W": 0.5, "SPSA-10": 1 / 3, "AutoAttack": 0.3}
#: Contests that ask what Auto-PGD toward every class comes to alone, by its objectives.
PAIRWISE, BOTH_SCALES = "APGD, every target pairwise", "APGD, every target pairwise, both scales"
#: The printed step of SPSA belongs to 8/255; both sides take the same share of the radius.
SPSA = {"iterations": 10, "samples": 128, "delta": 0.01}
SPSA_STEP, SPSA_QUERIES = 0.01 / (8 / 255), 512


@dataclass(frozen=True)
class Plan:
    """What is run on a network.

    Attributes:
        epsilon: radius of the L-inf ball, in units of a pixel's range [0, 1].
        climbs: how many images for PGD and MIM.
        auto: for Auto-PGD of one climb.
        targets: for those that climb to every class.
        searches: for Carlini and Wagner's.
        queries: for SPSA.
        ensemble: for AutoAttack.
        directions: that our one-sided SPSA needs for the same result.
        tile: how many by how many pixels share a sign of a direction: strokes are wide, textures are not.
        brief: that our brief search of Carlini and Wagner's needs to come as near: descents, and iterations of each.
        pairs: of runs, for all other contests.
        ensembles: pairs of runs beside AutoAttack.
    """

    epsilon: float
    climbs: int
    auto: int
    targets: int
    searches: int
    queries: int
    ensemble: int
    directions: int = 88
    tile: int = 1
    brief: tuple[int, int] = (3, 100)
    pairs: int = 3
    ensembles: int = 2


_MNIST, _TRAINED, _CIFAR = (
    Plan(0.1, 1000, 1000, 500, 100, 200, 500, directions=72, tile=2),
    Plan(8 / 255, 500, 1000, 200, 60, 100, 300, brief=(2, 20), pairs=2, ensembles=1),
    Plan(1 / 255, 300, 300, 100, 40, 40, 100, pairs=2, ensembles=1),
)
PLANS = {
    "mnist-cnn-sce": replace(_MNIST, brief=(3, 120)),
    "mnist-cnn-mmc": _MNIST,
    "cifar10-cnn-at-sce": _TRAINED,
    "cifar10-cnn-at-mmc": _TRAINED,
    "cifar10-resnet32-sce": replace(_CIFAR, auto=1000, brief=(2, 20)),
    "cifar10-resnet32-mmc": replace(_CIFAR, brief=(4, 50)),
}


def contests(plan: Plan, objective: Objective) -> list[Contest]:
    """Every contest on a network, those first that take the least; an objective for what climbs one."""
    epsilon, pairs = plan.epsilon, {"pairs": plan.pairs}
    climbs = {"images": plan.climbs, **pairs}
    falling = SCHEDULES["cosine"](epsilon, 50)
    ours = _ours(pgd, objective=objective, epsilon=epsilon, steps=50, step_size=falling)
    budget, goal = "50 steps, one random start", {"goal": GOALS["PGD-50"]}
    theirs = peers.torchattacks_attack("PGD", eps=epsilon, alpha=2.5 * epsilon / 50, steps=50)
    found = [
        Contest("PGD-50", budget, "foolbox", ours, peers.foolbox_pgd(objective, epsilon, 50), **climbs, **goal),
        Contest("PGD-50", budget, "torchattacks", ours, theirs, **climbs, **goal),
    ]
    ours, budget = _ours(mim, objective=objective, epsilon=epsilon, steps=10), "10 steps from the image"
    theirs = peers.torchattacks_attack("MIFGSM", eps=epsilon, alpha=epsilon / 10, steps=10)
    found += [
        Contest("MIM-10", budget, "foolbox", ours, peers.foolbox_mim(objective, epsilon, 10), **climbs),
        Contest("MIM-10", budget, "torchattacks", ours, theirs, **climbs),
    ]
    ours = _ours(apgd, objective=objective, epsilon=epsilon, steps=100)
    theirs = peers.pyautoattack_apgd(epsilon, targeted=False)
    images = {"images": plan.auto, **pairs}
    found.append(Contest("APGD-100", "100 steps, one random start", "pyautoattack", ours, theirs, **images))
    ours = _ours(apgd_all_targets, objective=target_dlr, epsilon=epsilon, steps=100)
    theirs, images = peers.pyautoattack_apgd(epsilon, targeted=True), {"images": plan.targets, **pairs}
    found.append(Contest("APGD, every target DLR", "100 steps a target", "pyautoattack", ours, theirs, **images))
    rate = SPSA_STEP * epsilon
    ways = {"update": "corner", "two_sided": False, "delta": min(SPSA["delta"], epsilon)}
    fewer = SPSA | {"samples": plan.directions, "tile": plan.tile} | ways
    ours = _ours(spsa, epsilon=epsilon, budget=SPSA_QUERIES, **fewer)
    queries, theirs = (SPSA["iterations"] * count for count in (plan.directions, 2 * SPSA["samples"]))
    tiles = f", in tiles of {plan.tile} by {plan.tile} pixels" if plan.tile > 1 else ""
    budget = f"theirs {theirs} queries as the paper sets it, ours {queries}, one-sided, to a corner of the ball{tiles}"
    theirs = peers.torchattacks_attack(
        "SPSA",
        eps=epsilon,
        lr=rate,
        delta=SPSA["delta"],
        nb_iter=SPSA["iterations"],
        nb_sample=SPSA["samples"],
        # Directions for the whole batch in one forward pass: as many images in it as ours may have.
        max_batch_size=max(1, SPSA_QUERIES // plan.queries),
    )
    images = {"images": plan.queries, **pairs, "goal": GOALS["SPSA-10"]}
    found.append(Contest("SPSA-10", budget, "torchattacks", ours, theirs, **images))
    images = {"images": plan.searches, "pairs": 1, "goal": GOALS["C&W"], "measure": DISTANCE}
    for title, budget, theirs, ours in searches(plan):
        both = _ours(carlini_wagner, **ours), peers.foolbox_carlini_wagner(**theirs)
        found.append(Contest(title, budget, "foolbox", *both, **images))
    suite = [PRESETS[slug].at(epsilon) for slug in SUITES["swift"]]
    ours, budget = partial(cascade, suite), "; ".join(map(_told, suite))
    budget = f"ours the suite `swift`, one after another {budget}; theirs the standard version"
    images = {"images": plan.ensemble, "pairs": plan.ensembles, "goal": GOALS["AutoAttack"]}
    theirs = peers.pyautoattack_standard(epsilon)
    found.append(Contest("AutoAttack", budget, "pyautoattack", ours, theirs, **images))
    images["goal"] = 0.0
    climb, balls = partial(apgd_all_targets, epsilon=epsilon, steps=100), (False, True)
    plain, scaled = ([partial(climb, objective=way, shrink=ball) for ball in balls] for way in (pairwise, target_dlr))
    twice = "100 steps a target in the ball, then 100 in one that shrinks"
    for title, chosen, on in (
        (PAIRWISE, plain, ""),
        (BOTH_SCALES, plain + scaled, ", first on the difference of two logits, then on the scaled difference"),
    ):
        budget = f"ours {twice}{on}; theirs the standard AutoAttack"
        found.append(Contest(title, budget, "pyautoattack", partial(cascade, chosen), theirs, **images))
    return found


def _told(preset: Preset) -> str:
    """A preset with its settings, so that a contest under other settings is another contest."""
    options = [name if value is True else f"{name} {value}" for name, value in preset.options if value is not False]
    return f"{preset.title} ({', '.join(options).replace('_', ' ')})"


def searches(plan: Plan) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Carlini and Wagner's: what it is called, both budgets in words, the peer's settings and ours."""
    descents, iterations = plan.brief
    return [
        (
            "C&W",
            "theirs as the paper sets it, 9 constants of 1000 iterations; ours by default",
            {"binary_search_steps": 9, "steps": 1000, "stepsize": 0.005, "initial_const": 0.01},
            {},
        ),
        (
            "C&W, brief",
            f"theirs 9 constants of 200 longer steps; ours {descents} descents of {iterations}",
            {"binary_search_steps": 9, "steps": 200, "stepsize": 0.02, "initial_const": 0.01},
            {"iterations": iterations, "rivals": 1, "search_steps": descents - 1},
        ),
    ]


def _ours(attack: Callable[..., Tensor], **options: Any) -> Attack:
    seeded = attack in (pgd, apgd, apgd_all_targets, spsa)

    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        return attack(model, x, y, **options, **({"seed": seed} if seeded else {}))

    return run


def cascade(
    attacks: Sequence[Preset | Callable[..., Tensor]], model: nn.Module, x: Tensor, y: Tensor, seed: int
) -> Tensor:
    """One attack after another on what still stands: the worst case over all of them, at the price of the survivors."""
    result = x.clone()
    for attack in attacks:
        left = correct(model, result, y).nonzero().flatten()
        if len(left):
            result[left] = attack(model, x[left], y[left], seed=seed)
    return result


def sections(networks: Sequence[str] = tuple(PLANS)) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is measured, part by part; each part is plain values once it is called.

    Contests with a peer that is not installed are left out; `kept` and the table name it.

    Args:
        networks: names in `PLANS`.
    """
    found = {f"{GROWTH}{title}": run for title, run in growth.sections().items()}
    for name in networks:
        for contest in contests(PLANS[name], _objective(name)):
            if peers.installed(contest.peer):
                found[f"{contest.name} | {contest.peer} | {name}"] = partial(_held, contest, name)
    return found


def names(networks: Sequence[str] = tuple(PLANS)) -> list[str]:
    """What all parts are called, with every peer there; neither data nor networks are opened."""
    held = [f"{c.name} | {c.peer} | {name}" for name in networks for c in contests(PLANS[name], margin)]
    return [*(f"{GROWTH}{title}" for title in growth.COUNTS), *held]


def measure(
    keep: bool = False, report: Callable[[str], None] = lambda text: None, networks: Sequence[str] = tuple(PLANS)
) -> Table:
    """Measure every part.

    Args:
        keep: keep each part as soon as it is measured, and measure only those that are not kept yet.
        report: called with the name of each part before it is measured.
        networks: names in `PLANS`.
    """
    files = [shelf.place(name) for name in PLANS]
    plans = {name: asdict(plan) for name, plan in PLANS.items()}
    head = {"peers": peers.versions(), "left out": peers.LEFT_OUT, "plans": plans}
    head["weights"] = digest_files(shelf.SHELF, files)
    if keep:
        return Table.of(parts.measure(PLACE, head, sections(networks), report))
    found = {}
    for name, run in sections(networks).items():
        report(name)
        found[name] = run()
    return Table.of({**head, "parts": found})


def _objective(name: str) -> Objective:
    """Cross-entropy, as peers have it, unless its gradient is exactly zero at some image: then the margin."""
    images = shelf.images(name, BATCH)
    vanishes = zero_gradient_share(cross_entropy, shelf.network(name), images.x, images.y) > 0
    return margin if vanishes else cross_entropy


def _held(contest: Contest, name: str) -> dict[str, Any]:
    images = shelf.images(name, contest.images)
    load = (lambda: os.getloadavg()[0]) if hasattr(os, "getloadavg") else (lambda: 0.0)
    epsilon = 0.0 if contest.measure == DISTANCE else PLANS[name].epsilon
    return hold(contest, name, shelf.network(name), images.x, images.y, epsilon, load).to_json()


class Table(NamedTuple):
    """Everything that was measured.

    Attributes:
        outcomes: of the contests.
        growth: of cost with the number of images, by preset; see `mmc.bench.growth.grows`.
        peers: the libraries by name with their versions; `not installed` where one is absent.
        left_out: what is not put beside ours, and why.
        made: what made each part, by its name.
    """

    outcomes: list[Comparison]
    growth: dict[str, dict[str, Any]]
    peers: dict[str, str]
    left_out: dict[str, str]
    made: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Table:
        """From plain values."""
        grown = {n.removeprefix(GROWTH): p for n, p in content["parts"].items() if n.startswith(GROWTH)}
        held = [Comparison.from_json(p) for n, p in content["parts"].items() if not n.startswith(GROWTH)]
        made = {name: part["made"] for name, part in content["parts"].items() if "made" in part}
        return cls(held, grown, content["peers"], content["left out"], made)


def kept() -> Table:
    """The kept table.

    Raises:
        FileNotFoundError: none was kept.
    """
    return Table.of(lab.table(PLACE, "`mmc bench attacks --keep`"))
