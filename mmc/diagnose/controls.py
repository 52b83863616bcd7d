"""Check 8: controls. What is known to fall must fall, what is known to be broken must be caught, what is known must be
found.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch

from mmc.attacks import correct, margin
from mmc.attacks.preset import has_centers, num_classes
from mmc.diagnose.broken import BROKEN
from mmc.diagnose.evaluated import evaluation
from mmc.diagnose.finding import FAILED, NOT_APPLICABLE, SOUND, WARNING, Observation, judge, percent, places, worse
from mmc.diagnose.gradients import zero_gradients
from mmc.diagnose.indicators import unstable_predictions
from mmc.diagnose.strength import adaptive
from mmc.diagnose.subject import Subject, watched_run
from mmc.oracle import random_oracle

if TYPE_CHECKING:
    from torch import nn

#: How much an undefended network may keep of its accuracy at an epsilon that tells anything.
HALF = 0.5
#: On so many images the model is broken.
FEW = 24
#: The checks that between them must catch every way of breaking a model.
CATCHING = (zero_gradients, unstable_predictions)


def undefended_twin(subject: Subject, twin: nn.Module | None = None) -> Observation:
    """The same attack on a network of the same kind that nothing defends: it must fall, as far as it can be felled.

    Args:
        subject: see `Subject`.
        twin: for the same images and classes; not applicable without.
    """
    name = "undefended twin"
    why = "Where an undefended network stands too, either the attack is weak or epsilon is too small to tell."
    remedy = "Mend the attack until the twin falls; or report a larger epsilon beside this one."
    if twin is None:
        return Observation(8, name, NOT_APPLICABLE, "no twin was given", {}, why, remedy)
    x, y, epsilon = subject.x, subject.y, subject.epsilon
    attack = partial(subject.attack, epsilon=epsilon, seed=subject.seed)
    strongest = partial(adaptive, epsilon=epsilon, steps=subject.effort.steps, seed=subject.seed)
    clean = correct(twin, x, y)
    ours = watched_run(twin, x, y, epsilon, attack).standing
    best = watched_run(twin, x, y, epsilon, strongest).standing
    short = ours & ~best
    kept = int(best.sum()) / max(1, int(clean.sum()))
    verdict = worse(judge(int(short.sum()), len(x)), WARNING if kept > HALF else SOUND)
    accuracy = {"clean": clean, "under the attack": ours, "under the adaptive attack": ours & best}
    shares = {name: mask.float().mean().item() for name, mask in accuracy.items()}
    seen = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    if kept > HALF:
        seen += ": this epsilon tells little"
    evidence = {
        "accuracy": {name: round(share, 6) for name, share in shares.items()},
        "missed": places(short.nonzero().flatten().tolist()),
    }
    return Observation(8, name, verdict, seen, evidence, why, remedy)


def broken_models(subject: Subject) -> Observation:
    """The model, broken in every way of `BROKEN`, under the usual attack: each must be caught."""
    some = subject.clean.nonzero().flatten()[:FEW]
    why = "A diagnosis that cannot see what was broken on purpose says nothing by being silent."
    remedy = "Report nothing of this diagnosis; look at why the broken model passed."
    if not len(some):
        return Observation(8, "broken models", NOT_APPLICABLE, "the model has nothing right", {}, why, remedy)
    caught = {}
    for name, broken in BROKEN.items():
        model = broken(subject.model)
        with torch.random.fork_rng([subject.x.device] if subject.x.is_cuda else []):
            torch.manual_seed(subject.seed)
            hurt = Subject(
                model, subject.x[some], subject.y[some], subject.epsilon, evaluation(), subject.effort, subject.seed
            )
            caught[name] = [finding.name for check in CATCHING if (finding := check(hurt)).raised]
    passed = [name for name, by in caught.items() if not by]
    seen = f"not caught: {', '.join(passed)}" if passed else f"all {len(caught)} ways of breaking it are caught"
    verdict = FAILED if passed else SOUND
    return Observation(8, "broken models", verdict, seen, {"images": len(some), "caught by": caught}, why, remedy)


def oracle(subject: Subject, count: int = 40) -> Observation:
    """The attack on models whose robust accuracy is known, with logits as far apart as the model's: it must reach it.

    The oracles are affine, of 64 pixels, with MMC's head where the model has centers and a linear one where not, at a
    radius at which half of the images are robust.

    Args:
        subject: see `Subject`.
        count: images of each oracle.
    """
    name = "closed-form oracle"
    why = "Here the truth is known, so whatever the attack leaves above it is the attack's own failure."
    remedy = "Use an attack that reaches the truth here, such as Auto-PGD on every target's pairwise margin."
    gap = -margin(subject.model, subject.x, subject.y).detach()[subject.clean]
    if not len(gap):
        return Observation(8, name, NOT_APPLICABLE, "the model has nothing right", {}, why, remedy)
    wanted = gap.median().item()
    classes = max(4, min(10, num_classes(subject.model, subject.x)))
    loss, features = ("MMC" if has_centers(subject.model) else "SCE"), max(6, classes - 1)
    reported, exact, missed, impossible, total = [], [], 0, 0, 0
    for number in range(subject.effort.oracles):
        options = {"loss": loss, "count": count}
        seed = 1000 * subject.seed + number
        there = random_oracle(seed, 64, classes, features, **options)
        scale = wanted / -margin(there.model, there.x, there.y).median().item()
        case = random_oracle(seed, 64, classes, features, reach=scale, **options)
        epsilon = case.radius(0.5)
        attack = partial(subject.attack, epsilon=epsilon, seed=subject.seed)
        standing = watched_run(case.model, case.x, case.y, epsilon, attack).standing
        truth, surely = case.robust(epsilon), case.safe_distances("linf") > epsilon * (1 + 1e-5)
        reported.append(standing.float().mean().item())
        exact.append(truth.float().mean().item())
        missed += int((standing & ~truth).sum())
        impossible += int((~standing & surely).sum())
        total += count
    verdict = FAILED if impossible else judge(missed, total)
    seen = f"left {percent(math.fsum(reported) / len(reported))}, the truth is {percent(math.fsum(exact) / len(exact))}"
    if impossible:
        seen = f"{impossible} images fell that are exactly robust: the attack leaves its ball"
    evidence = {
        "loss": loss,
        "classes": classes,
        "median gap of logits": round(wanted, 4),
        "images": total,
        "reported": [round(value, 6) for value in reported],
        "exact": [round(value, 6) for value in exact],
        "missed": missed,
    }
    return Observation(8, name, verdict, seen, evidence, why, remedy)
