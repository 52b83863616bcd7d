"""Check 4: does each kind of attack fell what every weaker kind fells, example by example?

Noise, then an attack that only asks for logits, then images crafted on another model, then the attack under evaluation,
then an adaptive one. An example that falls to a weaker kind and stands before a stronger one is evidence against the
stronger. What is left when each example meets the best of all is the number to report.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from mmc.attacks import apgd_all_targets, autoattack, margin, mim, pgd, random_search, spsa
from mmc.diagnose.finding import WARNING, Observation, judge, percent, places, worse
from mmc.diagnose.gradients import ladder
from mmc.diagnose.watch import Watched

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor, nn

    from mmc.diagnose.subject import Subject

NAME = "order of strength"
WHY = "An attack that knows the model and misses what a blinder one finds is broken or blinded by the model."
REMEDY = "Report the pointwise worst case, and adapt the attack: climb what decides, not what was trained."
EVALUATED = "evaluated"
#: The kinds that are run on few.
FEW = ("noise", "queries")


def adaptive(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    steps: int = 40,
    seed: int = 0,
) -> Float[Tensor, "N C H W"]:
    """Every objective that the model allows by PGD, then every target's pairwise margin by Auto-PGD, on what stands.

    Args:
        model, x, y, epsilon, seed: see `mmc.attacks.pgd`.
        steps: of each climb.
    """
    result = x.detach().clone()
    climbs = [partial(pgd, objective=objective) for objective in ladder(model, x).values()]
    for climb in [*climbs, apgd_all_targets]:
        with torch.no_grad():
            left = (model(result).argmax(1) == y).nonzero().flatten()
        if len(left):
            result[left] = climb(model, x[left], y[left], epsilon=epsilon, steps=steps, seed=seed)
    return result


def transferred(
    model: nn.Module, x: Tensor, y: Tensor, *, source: nn.Module, epsilon: float, steps: int = 40
) -> Float[Tensor, "N C H W"]:
    """Images crafted on another model by momentum, which carry over well; the model itself is not asked."""
    crafted = Watched(source, x, y, epsilon)
    return mim(crafted, x, y, epsilon=epsilon, objective=margin, steps=steps, active_set=False)


def order_of_strength(subject: Subject, source: nn.Module | None = None) -> Observation:
    """The kinds of attack in their order, and what speaks against the one under evaluation and the adaptive one.

    Noise and queries, an attack that is told logits and no gradients, are run on the first examples that withstand the
    attack under evaluation.

    Args:
        subject: see `Subject`.
        source: another model for the same images and classes, to craft on; that kind is left out without.
    """
    effort, epsilon, seed = subject.effort, subject.epsilon, subject.seed
    some, everyone = subject.withstanding(effort.few), torch.arange(len(subject), device=subject.x.device)
    noise = partial(random_search, epsilon=epsilon, draws=effort.draws, seed=seed)
    square = partial(autoattack, epsilon=epsilon, seed=seed, version="custom", attacks=("square",))
    iterations, samples = effort.slopes
    slopes = {"iterations": iterations, "samples": samples, "learning_rate": epsilon / 4, "delta": epsilon / 10}
    blind = partial(spsa, epsilon=epsilon, seed=seed, **slopes)
    kinds = {"noise": (noise, some), "queries": (square if effort.gradient_free == "square" else blind, some)}
    if source is not None:
        kinds["transfer"] = (partial(transferred, source=source, epsilon=epsilon, steps=effort.steps), everyone)
    standing = {name: _left(subject, name, attack, only) for name, (attack, only) in kinds.items()}
    standing[EVALUATED] = subject.attacked().standing
    strongest = partial(adaptive, epsilon=epsilon, steps=effort.steps, seed=seed)
    standing["adaptive"] = _left(subject, "adaptive", strongest, everyone)
    return _judged(subject, standing, len(some))


def _left(subject: Subject, name: str, attack: partial, only: Int[Tensor, " M"]) -> Bool[Tensor, " N"]:
    """What is right and withstands an attack; examples it was not run on count as standing."""
    standing = subject.clean.clone()
    standing[only] = subject.run(attack, subject.epsilon, (name,), only).standing
    return standing


def _judged(subject: Subject, standing: dict[str, Bool[Tensor, " N"]], few: int) -> Observation:
    names, total = list(standing), len(subject)
    reversed_ = {
        f"{weaker} before {stronger}": standing[stronger] & ~standing[weaker]
        for place, weaker in enumerate(names)
        for stronger in names[place + 1 :]
    }
    worst, ours = subject.worst, standing[EVALUATED]
    beaten = [mask for pair, mask in reversed_.items() if pair.endswith((EVALUATED, "adaptive")) and bool(mask.any())]
    short = int((ours & ~worst).sum())
    verdict = worse(WARNING if beaten else "sound", judge(short, total))
    on_some = {name: int((ours & ~standing[name]).sum()) for name in FEW}
    left = {n: m.float().mean().item() for n, m in [*standing.items(), ("worst case", worst)] if n not in FEW}
    seen = ", ".join(f"{name} {percent(share)}" for name, share in left.items())
    if few:
        seen += "; " + ", ".join(f"{name} {count}" for name, count in on_some.items()) + f" of {few} felled"
    evidence = {
        "accuracy": {name: round(share, 6) for name, share in left.items()},
        "run on the first that withstand": few,
        "of these felled": on_some,
        "felled by the weaker only": {
            pair: places(mask.nonzero().flatten().tolist()) for pair, mask in reversed_.items() if bool(mask.any())
        },
        "stand": {
            name: places(mask.nonzero().flatten().tolist()) for name, mask in standing.items() if name not in FEW
        },
        "stand in the worst case": places(worst.nonzero().flatten().tolist()),
    }
    return Observation(4, NAME, verdict, seen, evidence, WHY, REMEDY)
