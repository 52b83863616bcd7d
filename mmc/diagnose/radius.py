"""Check 2: does accuracy fall with epsilon, below chance where all images can be grey, and to zero in the whole box?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mmc.diagnose.finding import NOT_APPLICABLE, WARNING, Observation, judge, percent, places, worse

if TYPE_CHECKING:
    from mmc.diagnose.subject import Subject

NAME = "accuracy against epsilon"
WHY = "With room enough every image can become one of another class. What still stands then was not attacked well."
REMEDY = "Look at why the climb stalls: zero gradients, steps too small for the radius, an objective with plateaus."
ONE_CLASS = "the model puts every image into one class"
#: From here on each image can become the same grey; and the whole box.
GREY, BOX = 0.5, 1.0


def radii(epsilon: float) -> list[float]:
    """Half of epsilon, epsilon, twice and four times that, the radius of grey, and the whole box."""
    around = [share * epsilon for share in (0.5, 1, 2, 4) if share <= 1 or share * epsilon < GREY]
    return [*around, *(end for end in (GREY, BOX) if end > epsilon)]


def one_class(subject: Subject) -> bool:
    """Does the model put every image into one class? Then no image need fool it, not even in the whole box."""
    with torch.no_grad():
        predicted = torch.cat([subject.model(x).argmax(1) for x in subject.x.split(500)])
    return not bool((predicted != predicted[0]).any())


def accuracy_against_epsilon(subject: Subject) -> Observation:
    """Accuracy under the attack at radii from half of epsilon to the whole box.

    In the whole box every image may become any other one, so nothing may stand if two images of the set are of
    different classes to the model. At 1/2 all can be the same grey, which is of one class: no more may stand than the
    largest class has. What falls at a radius must not stand at a larger one.
    """
    if one_class(subject):
        return Observation(2, NAME, NOT_APPLICABLE, ONE_CLASS, {}, WHY, REMEDY)
    standing = {0.0: subject.clean}
    for radius in radii(subject.epsilon):
        standing[radius] = subject.attacked(epsilon=radius).standing
    # More room than a larger radius needed: standing there though felled at some smaller radius.
    fallen, regained = ~subject.clean, 0
    for mask in standing.values():
        regained = max(regained, int((fallen & mask).sum()))
        fallen = fallen | ~mask
    total, chance = len(subject), int(subject.y[subject.clean].bincount().max()) if subject.clean.any() else 0
    in_box = standing[BOX]
    over_chance = max(0, int(standing[GREY].sum()) - chance) if GREY in standing else 0
    verdict = worse(judge(int(in_box.sum()), total), judge(over_chance, total))
    if verdict == "sound" and judge(regained, total) != "sound":
        verdict = WARNING
    seen = ", ".join(f"{radius:.3g}: {percent(mask.float().mean().item())}" for radius, mask in standing.items())
    evidence = {
        "accuracy": {f"{radius:.6g}": round(mask.float().mean().item(), 6) for radius, mask in standing.items()},
        "largest class": round(chance / total, 6),
        "stand in the whole box": places(in_box.nonzero().flatten().tolist()),
        "stand though felled at a smaller radius": regained,
    }
    return Observation(2, NAME, verdict, seen, evidence, WHY, REMEDY)
