"""Check 5: the six indicators of attack failure. Source: Pintor et al. 2022, written anew from the description.

An indicator is computed example by example, from what the attack under evaluation looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.attacks import correct, cross_entropy, input_gradient, margin
from mmc.attacks.balls import chance
from mmc.diagnose.finding import (
    FAILED,
    NOT_APPLICABLE,
    SOUND,
    WARNING,
    Observation,
    judge,
    judge_share,
    percent,
    places,
    worse,
)
from mmc.diagnose.gradients import no_gradient
from mmc.diagnose.radius import BOX, ONE_CLASS, one_class
from mmc.diagnose.watch import Watched, leads

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from mmc.diagnose.subject import Subject

#: Share of its whole rise that an example may still gain in the last tenth of the looks.
LATE = 0.05
#: Rounding of two forward passes, in units of the largest logit.
ROUNDING = 1e-4


def six_indicators(subject: Subject, source: nn.Module | None = None) -> list[Observation]:
    """All six, in the order of the paper."""
    return [
        unavailable_gradients(subject),
        unstable_predictions(subject),
        silent_success(subject),
        incomplete_optimisation(subject),
        transfer_failure(subject, source),
        unconstrained_failure(subject),
    ]


def unavailable_gradients(subject: Subject) -> Observation:
    """Examples that withstand, and have no gradient at the image where the attack ended.

    Of the objective that the attack climbs; of both cross-entropy and margin where that is not known.
    """
    run, own = subject.attacked(), subject.attack.objective
    objectives = [own] if own is not None else [cross_entropy, margin]
    blind = torch.stack([no_gradient(subject, objective, run.x_adv) for objective in objectives]).all(0)
    stuck = run.standing & blind
    return Observation(
        5,
        "unavailable gradients",
        judge(int(stuck.sum()), len(subject)),
        f"{int(stuck.sum())} of {int(run.standing.sum())} that withstand have no gradient at the end",
        {"stuck": places(stuck.nonzero().flatten().tolist()), "withstand": int(run.standing.sum())},
        "Where the attack ended it had no direction to go: it did not fail to find, it could not look.",
        "Climb an objective with a gradient there; smooth or leave out what cannot be differentiated.",
    )


def unstable_predictions(subject: Subject, draws: int = 10) -> Observation:
    """Does the model answer twice alike, does its margin hold still nearby, and does it rise as its gradient promises?

    Nearby is a tenth of epsilon. The paper takes the attack's loss; the value of cross-entropy has no scale where
    softmax saturates, so this is the margin, its mean change in units of the median margin. The third is ours: along
    the signs of its gradient the margin rises by so much of what the gradient promises, in the median over the images
    that have a gradient.

    Args:
        subject: see `Subject`.
        draws: nearby images of each.
    """
    model, x, y = subject.model, subject.x, subject.y
    first, again = (_logits(model, x) for _ in range(2))
    apart = (first - again).abs().amax().item() / max(first.abs().amax().item(), 1e-30)
    flips = int((first.argmax(1) != again.argmax(1)).sum())
    here = leads(first, y)
    nearby = [(x + subject.epsilon / 10 * chance(x, subject.seed, "nearby", d)).clamp(0, 1) for d in range(draws)]
    change = torch.stack([leads(_logits(model, images), y) - here for images in nearby]).abs().mean()
    varies = change.item() / max(here.abs().median().item(), 1e-30)
    kept = _kept_promise(subject, here)
    random = FAILED if flips else WARNING if apart > ROUNDING else SOUND
    promise = judge_share(1 - kept, 0.5, 0.8) if kept is not None else SOUND
    evidence = {
        "answers that differ": flips,
        "change when asked twice": round(apart, 9),
        "change nearby": round(varies, 6),
        "kept of the promised rise": None if kept is None else round(kept, 6),
    }
    seen = f"{flips} answers differ, margins move by {percent(varies)} nearby"
    seen += f", {percent(kept)} of the promised rise" if kept is not None else ""
    return Observation(
        5,
        "unstable predictions",
        worse(random, judge_share(varies, 0.1, 0.5), promise),
        seen,
        evidence,
        "A gradient of a function that jumps, ripples or draws anew says little about where it rises.",
        "Average out what is random or ripples (expectation over transformations); smooth what jumps.",
    )


@torch.no_grad()
def _logits(model: nn.Module, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
    return torch.cat([model(part) for part in x.split(500)])


def _kept_promise(subject: Subject, here: Float[Tensor, " N"]) -> float | None:
    """Median share of the rise that the margin's gradient promises for a short step; None without any gradient."""
    kept = []
    for x, y, before in zip(subject.x.split(500), subject.y.split(500), here.split(500), strict=True):
        gradient = input_gradient(margin, Watched(subject.model, x, y, 0.0), x, y)
        step = (x + subject.epsilon / 10 * gradient.sign()).clamp(0, 1) - x
        promised = (gradient * step).flatten(1).sum(1)
        risen = leads(_logits(subject.model, x + step), y) - before
        kept.append((risen / promised)[(promised > 0) & promised.isfinite()])
    found = torch.cat(kept)
    return found.median().item() if len(found) else None


def silent_success(subject: Subject) -> Observation:
    """Examples for which the attack met an image in the ball that fools, and returned one that does not."""
    run = subject.attacked()
    lost = run.met & run.standing
    count = int(lost.sum())
    return Observation(
        5,
        "silent success",
        worse(WARNING if count else SOUND, judge(count, len(subject))),
        f"{count} were fooled on the way but not in the end",
        {"lost": places(lost.nonzero().flatten().tolist())},
        "The attack had won and threw it away.",
        "Return the first image that fools, not the last one looked at.",
    )


def incomplete_optimisation(subject: Subject) -> Observation:
    """Examples that withstand, and whose best margin still rose in the last tenth of the looks.

    By more than a twentieth of its whole rise. Check 3 tells whether that would have mattered.
    """
    run = subject.attacked()
    rising = run.standing & (run.late_rise > LATE)
    stand = int(run.standing.sum())
    return Observation(
        5,
        "incomplete optimisation",
        judge(int(rising.sum()), stand, 0.1, 0.5),
        f"{int(rising.sum())} of {stand} that withstand still rose at the end",
        {"rising": places(rising.nonzero().flatten().tolist()), "withstand": stand},
        "An attack that ends while it climbs says how far it came, not how far one can come.",
        "More steps, or larger ones.",
    )


def transfer_failure(subject: Subject, source: nn.Module | None = None) -> Observation:
    """Does what fools where the attack looks fool the model that is judged?

    Twice: the attack may see the model through its features and head and be judged by its forward pass; and the very
    attack, crafted on another model, may fell examples there that it cannot fell at home.

    Args:
        subject: see `Subject`.
        source: another model for the same images and classes; the second half is left out without.
    """
    run, name = subject.attacked(), "transfer failure"
    why = "What was attacked is not what is judged, or the model hides its gradient and not its errors."
    remedy = "Attack the very function that decides, every part of it; add crafted images of an open model."
    misled = run.seen & ~run.met & run.standing
    evidence = {"fooled as seen, right as judged": places(misled.nonzero().flatten().tolist())}
    verdict, seen = judge(int(misled.sum()), len(subject)), f"{int(misled.sum())} fooled as seen, right as judged"
    if source is not None:
        x, y = subject.x, subject.y

        def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            there = Watched(source, x, y, subject.epsilon)
            return subject.attack(there, x, y, epsilon=subject.epsilon, seed=subject.seed)

        carried = subject.run(attack, subject.epsilon, ("under evaluation, on the source",))
        fooled = correct(source, x, y) & ~correct(source, carried.x_adv, y)
        better = run.standing & ~carried.standing
        evidence |= {
            "fool the source": int(fooled.sum()),
            "of these fool the model": int((fooled & ~carried.standing).sum()),
            "felled from the source only": places(better.nonzero().flatten().tolist()),
        }
        count = int(better.sum())
        verdict = worse(verdict, WARNING if count else SOUND, judge(count, len(subject)))
        seen = f"{count} fall only to images from the source; {seen}"
    elif not hasattr(Watched(subject.model, subject.x[:1], subject.y[:1], 0.0), "features"):
        return Observation(5, name, NOT_APPLICABLE, "no source to craft on was given", {}, why, remedy)
    return Observation(5, name, verdict, seen, evidence, why, remedy)


def unconstrained_failure(subject: Subject) -> Observation:
    """Examples that withstand the attack in the whole box, where every image may become any other one."""
    name, why = "unconstrained failure", "Without a bound an attack that works wins always."
    remedy = "Mend the attack first: nothing it says about a small epsilon counts."
    if one_class(subject):
        return Observation(5, name, NOT_APPLICABLE, ONE_CLASS, {}, why, remedy)
    standing = subject.attacked(epsilon=BOX).standing
    count = int(standing.sum())
    evidence = {"withstand": places(standing.nonzero().flatten().tolist())}
    seen = f"{count} of {len(subject)} withstand in the whole box"
    return Observation(5, name, judge(count, len(subject)), seen, evidence, why, remedy)
