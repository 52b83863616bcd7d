"""One entry of a report: in words, as a number, and whether it is exact or measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

EXACT, MEASURED = "exact", "measured"


@dataclass(frozen=True)
class Quantity:
    """One entry of a report.

    Attributes:
        text: what the table shows.
        how: `exact`, from a formula of `mmc.theory`, or `measured`.
        number: the same as a number; None where there is none, such as a margin that no feature has.
        source: the formula or the procedure.
        measured: what was measured beside an exact number.

    Raises:
        ValueError: a number that is not finite, or another word for how.
    """

    text: str
    how: str
    number: float | None = None
    source: str = ""
    measured: float | None = None

    def __post_init__(self) -> None:
        if self.how not in (EXACT, MEASURED):
            raise ValueError(f"an entry is {EXACT} or {MEASURED}, not {self.how!r}")
        for value in (self.number, self.measured):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"the number of {self.text!r} must be finite, not {value}")

    @property
    def label(self) -> str:
        """How it is known, with what was measured beside it."""
        beside = f"; measured {self.measured:.4g}" if self.measured is not None else ""
        return f"{self.how}{beside}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
