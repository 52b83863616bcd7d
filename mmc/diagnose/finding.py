"""What one check found: a verdict, the numbers behind it, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SOUND, WARNING, FAILED, NOT_APPLICABLE = VERDICTS = ("sound", "warning", "failed", "not applicable")
#: Shares of the examples by which an accuracy may be overstated: up to the first nothing is raised, up to the second a
#: warning. The first is one example of 200; the second would change what a table says.
SLIGHT, GROSS = 0.005, 0.05


@dataclass(frozen=True)
class Observation:
    """What one check of an evaluation found.

    Attributes:
        check: its number, from 1 to 8, in the order of the report.
        name: of the check, or of the part of a check.
        verdict: one of `VERDICTS`. Sound says that this check found nothing; no check can prove an evaluation.
        seen: what was seen, in a line: what raised it, where it is raised, or why it is not applicable.
        evidence: the numbers, as plain JSON values; examples are named by their places, see `places`.
        why: why it matters.
        remedy: what to do where it is raised.

    Raises:
        ValueError: an unknown verdict, or evidence that JSON cannot hold as it is.
    """

    check: int
    name: str
    verdict: str
    seen: str
    evidence: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"a verdict must be one of {', '.join(VERDICTS)}, not {self.verdict!r}")
        try:
            same = json.loads(json.dumps(self.evidence, allow_nan=False)) == self.evidence
        except (TypeError, ValueError) as error:
            raise ValueError(f"the evidence of {self.name!r} is no JSON: {error}") from None
        if not same:
            raise ValueError(f"the evidence of {self.name!r} would change in JSON: {self.evidence!r}")

    @property
    def raised(self) -> bool:
        """Is there something to do?"""
        return self.verdict in (WARNING, FAILED)


def judge(count: int, total: int, slight: float = SLIGHT, gross: float = GROSS) -> str:
    """The verdict on so many examples that speak against an evaluation; one alone raises nothing.

    Args:
        count: how many, >= 0.
        total: of how many, >= count.
        slight, gross: see `judge_share`.
    """
    return judge_share(count / total, slight, gross) if count > 1 else SOUND


def judge_share(share: float, slight: float = SLIGHT, gross: float = GROSS) -> str:
    """The verdict on a share that speaks against an evaluation.

    Args:
        share: >= 0; what is not a number fails.
        slight: up to this share nothing is raised.
        gross: up to this share it is a warning.
    """
    return SOUND if share <= slight else WARNING if share <= gross else FAILED


def worse(*verdicts: str) -> str:
    """The worst of some verdicts: failed before warning before sound; a part that is not applicable does not count."""
    counted = [verdict for verdict in (FAILED, WARNING, SOUND) if verdict in verdicts]
    return counted[0] if counted else NOT_APPLICABLE


def places(numbers: Iterable[int]) -> str:
    """Numbers as runs, rising: 0, 1, 2 and 7 are `0-2, 7`; none is the empty text."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def numbers(text: str) -> list[int]:
    """The inverse of `places`."""
    found: list[int] = []
    for run in filter(None, text.split(", ")):
        first, _, last = run.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def percent(share: float) -> str:
    """A share in words."""
    return f"{share:.1%}"
