"""Which changes of the code altered results. A record from before such a change is stale; any other change is not.

Raise the number by hand, with the reason, where a change would alter what a Spec gives; a mere refactoring leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmc.lab.spec import Spec


@dataclass(frozen=True)
class Revision:
    """One change that altered results.

    Attributes:
        number: rises by one.
        reason: what changed, in a sentence.
        concerns: which specs it changes.
    """

    number: int
    reason: str
    concerns: Callable[[Spec], bool] = lambda spec: True


REVISIONS = (
    Revision(1, "The training engine: chance follows from seed and step; optimizers, schedules and rules by recipe."),
    Revision(
        2,
        "PGD's random starts follow from the image and the seed, not from the image's place in the batch.",
        lambda spec: bool(spec.evaluation.epsilons),
    ),
    Revision(
        3,
        "The L2 attacks go to the nearest point of ball and box; before, pixels at the box's edge shortened the step.",
        lambda spec: spec.evaluation.per_class > 0 or any("l2" in name for name in spec.evaluation.suite),
    ),
)


def current(spec: Spec) -> Revision:
    """The newest revision that concerns a spec: its results are made with this one or are stale."""
    return max((r for r in REVISIONS if r.concerns(spec)), key=lambda revision: revision.number)
