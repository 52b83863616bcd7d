"""One call: run every check on a model and report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmc.attacks import correct
from mmc.attacks.checks import refuse_bad_input
from mmc.attacks.preset import Preset, num_classes
from mmc.diagnose import controls
from mmc.diagnose.binarisation import binarisation_test
from mmc.diagnose.budget import accuracy_against_budget
from mmc.diagnose.effort import Effort
from mmc.diagnose.effort import effort as effort_of
from mmc.diagnose.evaluated import EvaluatedAttack, evaluation
from mmc.diagnose.finding import Observation
from mmc.diagnose.flags import autoattack_flags
from mmc.diagnose.gradients import zero_gradients
from mmc.diagnose.indicators import six_indicators
from mmc.diagnose.radius import accuracy_against_epsilon
from mmc.diagnose.report import Report
from mmc.diagnose.strength import order_of_strength
from mmc.diagnose.subject import Subject
from mmc.provenance import surroundings
from mmc.shares import wilson

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]


def diagnose(
    model: nn.Module,
    x: Float[Tensor, "N C H W"],
    y: Int[Tensor, " N"],
    *,
    epsilon: float,
    attack: EvaluatedAttack | Preset | Callable[..., Any] | str | None = None,
    twin: nn.Module | None = None,
    source: nn.Module | None = None,
    effort: str | Effort = "default",
    seed: int = 0,
    name: str = "",
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Can the robust accuracy of a model under an attack be believed? Eight checks, and the number to report instead.

    Args:
        model: maps images in [0, 1] to logits; in eval mode. With `features` the binarisation test is made too; with
            `loss.centers` the objectives of center-based heads are climbed.
        x: images in [0, 1], at least one.
        y: labels.
        epsilon: radius of the L-inf ball in units of a pixel's range [0, 1], in (0, 1): 8/255 is 0.0314.
        attack: the attack under evaluation, a function `attack(model, x, y, epsilon=..., ...) -> x_adv`, a preset or
            its name; PGD on cross-entropy where not given. See `evaluation`.
        twin: a network of the same kind that nothing defends.
        source: another network for the same images and classes, to craft on; the twin where only that is given.
        effort: `quick`, `default`, `full`, or an `Effort`.
        seed: of all chance.
        name: of the model, for the report.
        tell: called with the name of each check before it is run.

    Raises:
        ValueError: bad input, named: see `mmc.attacks.checks.refuse_bad_input`, `evaluation` and `effort`.
    """
    _refuse(model, x, y, epsilon)
    for role, other in (("twin", twin), ("source", source)):
        if other is not None and (classes := num_classes(other, x)) != num_classes(model, x):
            raise ValueError(f"the {role} has {classes} classes, the model {num_classes(model, x)}")
        if other is not None and other.training:
            raise ValueError(f"the {role} is in training mode: call eval() on it first")
    started, budget, evaluated = time.monotonic(), effort_of(effort), evaluation(attack)
    subject = Subject(model, x, y, float(epsilon), evaluated, budget, seed)
    findings = []
    for finding in _checks(subject, twin, twin if source is None else source):
        findings.append(finding)
        if tell:
            tell(f"{finding.name}: {finding.verdict}")
    about = {
        "model": name or type(model).__name__,
        "norm": "L-inf",
        "epsilon": float(epsilon),
        "attack": evaluated.name,
        "seed": seed,
        "effort": budget.name,
        "twin": twin is not None,
        "source": source is not None or twin is not None,
    }
    made = surroundings(ROOT) | {"seconds": round(time.monotonic() - started, 1)}
    return Report(about, accuracies(subject), tuple(findings), made)


def _checks(subject: Subject, twin: nn.Module | None, source: nn.Module | None) -> Iterator[Observation]:
    """Every check, in the order of the report; the order of strength is judged last, when all has been run."""
    yield zero_gradients(subject)
    yield accuracy_against_epsilon(subject)
    yield accuracy_against_budget(subject)
    sixth, seventh = binarisation_test(subject), autoattack_flags(subject)
    fifth = six_indicators(subject, source)
    yield order_of_strength(subject, source)
    yield from fifth
    yield sixth
    yield seventh
    yield controls.undefended_twin(subject, twin)
    yield controls.broken_models(subject)
    yield controls.oracle(subject)


def accuracies(subject: Subject) -> dict[str, Any]:
    """Clean, as reported by the attack under evaluation, and in the worst case over everything that was run."""
    images, left = len(subject), int(subject.worst.sum())
    return {
        "images": images,
        "clean": round(int(subject.clean.sum()) / images, 6),
        "reported": round(int(subject.attacked().standing.sum()) / images, 6),
        "worst case": round(left / images, 6),
        "interval": [round(end, 6) for end in wilson(left, images)],
    }


def _refuse(model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> None:
    if not 0 < epsilon < 1:
        raise ValueError(
            f"epsilon must lie between 0 and 1, in units of a pixel's range, not {epsilon}: 8/255 is 0.0314"
        )
    if not len(x):
        raise ValueError("there are no images to diagnose the model on")
    refuse_bad_input(model, x, y, epsilon)
    if not bool(correct(model, x, y).any()):
        raise ValueError(f"the model has none of the {len(x)} images right: there is no accuracy to diagnose")
