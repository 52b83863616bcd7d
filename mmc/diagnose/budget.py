"""Check 3: do more steps, more restarts or other step sizes fell more?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmc.diagnose.finding import NOT_APPLICABLE, Observation, judge, percent, places

if TYPE_CHECKING:
    from mmc.diagnose.subject import Subject

NAME = "accuracy against budget"
WHY = "An accuracy that falls further with more steps, restarts or another step size is the attack's, not the model's."
REMEDY = "Raise the budget until doubling it changes nothing, and take the best step size."
#: Step sizes that are tried, as shares of epsilon.
SIZES = (1 / 2, 1 / 8, 1 / 32)


def variations(subject: Subject) -> dict[str, dict[str, Any]]:
    """What is changed, by name: only settings that the attack has."""
    attack, found = subject.attack, {}
    if attack.steps:
        found[f"twice the {attack.steps}"] = {attack.steps: 2 * attack.settings[attack.steps]}
    if isinstance(attack.settings.get("restarts"), int):
        more = attack.settings["restarts"] + subject.effort.restarts
        found[f"{more} restarts"] = {"restarts": more}
    if "step_size" in attack.settings:
        for share in SIZES:
            found[f"steps of epsilon/{1 / share:.0f}"] = {"step_size": share * subject.epsilon}
    return found


def accuracy_against_budget(subject: Subject) -> Observation:
    """Which examples fall to the same attack with twice the steps, more restarts, or another step size."""
    changed = variations(subject)
    if not changed:
        return Observation(3, NAME, NOT_APPLICABLE, "the attack has no steps, restarts or step size", {}, WHY, REMEDY)
    base, total = subject.attacked(), len(subject)
    felled = {name: base.standing & ~subject.attacked(**changes).standing for name, changes in changed.items()}
    accuracy = {"as it is": base.accuracy} | {n: subject.attacked(**changed[n]).accuracy for n in changed}
    most = max(felled, key=lambda name: int(felled[name].sum()))
    count = int(felled[most].sum())
    seen = f"{percent(base.accuracy)} as it is; with {most} {count} more fall" if count else "no change fells any more"
    evidence = {
        "accuracy": {name: round(value, 6) for name, value in accuracy.items()},
        "felled besides": {name: places(mask.nonzero().flatten().tolist()) for name, mask in felled.items()},
    }
    return Observation(3, NAME, judge(count, total), seen, evidence, WHY, REMEDY)
