"""Check 7: AutoAttack with its warnings, on what the attack under evaluation leaves standing."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from mmc.attacks import autoattack_with_flags
from mmc.attacks.autoattack import FEWEST
from mmc.attacks.preset import num_classes
from mmc.diagnose.finding import FAILED, NOT_APPLICABLE, WARNING, Observation, judge, places, worse

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmc.diagnose.subject import Subject

NAME = "AutoAttack and its flags"
WHY = "It is the standard of published numbers. Its flags say when even it should not be believed."
REMEDY = "Report AutoAttack beside an adaptive attack; where a flag is up, trust the adaptive one alone."
#: Words in a warning that say more than that it may be so.
GRAVE = ("Square", "randomized")


def autoattack_flags(subject: Subject) -> Observation:
    """What AutoAttack fells of the first examples that withstand, and what it warns of.

    Square doing better than its gradient attacks, and a random model, fail; other warnings are warnings.
    """
    effort = subject.effort
    if not effort.autoattack:
        return Observation(7, NAME, NOT_APPLICABLE, f"left out at the effort {effort.name}", {}, WHY, REMEDY)
    if importlib.util.find_spec("pyautoattack") is None:
        return Observation(7, NAME, NOT_APPLICABLE, "pyautoattack is not installed", {}, WHY, REMEDY)
    classes = num_classes(subject.model, subject.x)
    attacks = tuple(name for name in effort.autoattack if FEWEST[name] <= classes)
    some = subject.withstanding(effort.few)
    if not len(some):
        return Observation(7, NAME, "sound", "nothing withstands that it could fell", {}, WHY, REMEDY)
    heard: list[str] = []

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        options = {"seed": subject.seed, "version": "custom", "attacks": attacks}
        x_adv, warned = autoattack_with_flags(model, x, y, subject.epsilon, **options)
        heard.extend(warned)
        return x_adv

    run = subject.run(attack, subject.epsilon, ("AutoAttack",), some)
    felled = some[~run.standing]
    flags = [flag.split(" See ")[0].strip() for flag in dict.fromkeys(heard)]
    grave = any(word in flag for flag in flags for word in GRAVE)
    verdict = worse(FAILED if grave else WARNING if flags else "sound", judge(len(felled), len(subject)))
    seen = f"fells {len(felled)} of {len(some)} that withstand; " + ("; ".join(flags) or "no flag")
    evidence = {
        "attacks": list(attacks),
        "run on": places(some.tolist()),
        "felled": places(felled.tolist()),
        "flags": flags,
    }
    return Observation(7, NAME, verdict, seen, evidence, WHY, REMEDY)
