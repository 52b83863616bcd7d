"""Training rules by name: which inputs the loss sees, and how the samples are weighted.

To add one: a frozen dataclass that is a `Rule`, and a line in `RULES`. Any rule goes with any loss: where the sources
write cross-entropy at the training images, the model's own loss is taken.
"""

from __future__ import annotations

from typing import Any

from mmc.training.rules.adversarial import AT, FGSMRS, NFGSM
from mmc.training.rules.base import Crafting, Moment, Rule, Standard
from mmc.training.rules.mma import MMA
from mmc.training.rules.tradeoff import MART, SOVR, TRADES, TSOVR
from mmc.training.rules.weighted import EWAT, GAIRAT, MAIL

#: Every rule by the name that is printed in tables.
RULES: dict[str, type[Rule]] = {
    "standard": Standard,
    "AT": AT,
    "FGSM-RS": FGSMRS,
    "N-FGSM": NFGSM,
    "TRADES": TRADES,
    "MART": MART,
    "MMA": MMA,
    "GAIRAT": GAIRAT,
    "MAIL": MAIL,
    "EWAT": EWAT,
    "SOVR": SOVR,
    "TSOVR": TSOVR,
}


def build_rule(name: str, **options: Any) -> Rule:
    """Make a rule by its printed name.

    Raises:
        ValueError: no such rule, or an option it does not have; the message lists what there is.
    """
    if name not in RULES:
        raise ValueError(f"no training rule {name!r}; there are: {', '.join(RULES)}")
    try:
        return RULES[name](**options)
    except TypeError as error:
        raise ValueError(f"training rule {name!r}: {error}") from error


__all__ = [
    "AT",
    "EWAT",
    "FGSMRS",
    "GAIRAT",
    "MAIL",
    "MART",
    "MMA",
    "NFGSM",
    "RULES",
    "SOVR",
    "TRADES",
    "TSOVR",
    "Crafting",
    "Moment",
    "Rule",
    "Standard",
    "build_rule",
]
