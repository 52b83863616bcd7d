"""The ledger: every claim of the papers, the check that could refute it, and a computed verdict.

A claim is registered with `claim`, by its check, or with `open_claim` where nobody has written one. It is open too
where its check reads a record that is not there yet. Nobody types a verdict: a check returns a `Finding`, and the
verdict follows from it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

HOLDS = "holds"
CORRECTED = "holds with a correction"
FAILS = "does not hold"
OPEN = "open"
VERDICTS = (HOLDS, CORRECTED, FAILS, OPEN)

#: The rooms of the ledger, in the order of the book.
TOPICS = (
    "contours",
    "density",
    "gsce_density",
    "curse",
    "centers",
    "convergence",
    "experiments",
    "white_box",
    "other_attacks",
    "adversarial",
    "architectures",
    "transfer",
    "density_robustness",
    "paper_scale",
    "training",
    "attacks",
    "stationary",
    "boundary",
    "switching",
    "important_samples",
    "designing",
)


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        printed: does the statement hold exactly as printed?
        exact: does the corrected statement hold? None where there is no corrected statement.
        evidence: one sentence with the computed numbers behind it (Markdown, may hold math).
    """

    printed: bool
    evidence: str
    exact: bool | None = None

    @property
    def verdict(self) -> str:
        """The verdict that follows from what was found."""
        if self.printed:
            return HOLDS
        return CORRECTED if self.exact else FAILS


@dataclass(frozen=True)
class Claim:
    """One claim of a paper.

    Attributes:
        name: short slug, unique, e.g. `theorem-2`.
        paper: `MMC`, `SP` or `SOVR`.
        source: where the paper says it, e.g. `Theorem 2, Eq. 9`.
        printed: the claim as printed, in our words and the paper's formula (Markdown with math).
        exact: the corrected statement where one is known, else empty.
        chapter: the notebook that treats it (its file name without ending), or empty.
        check: returns a Finding in a few seconds at most; None for an open claim.
        missing: what an open claim still needs: the experiment and the command that would run it.
        module: the module that registered it: its room.
    """

    name: str
    paper: str
    source: str
    printed: str
    exact: str = ""
    chapter: str = ""
    missing: str = ""
    check: Callable[[], Finding] | None = field(default=None, compare=False)
    module: str = ""

    @property
    def ours(self) -> bool:
        """Does no paper print it, because it is our reading of a claim for networks that a laptop can train?"""
        return self.source.startswith("our ")


_REGISTRY: dict[str, Claim] = {}


def _register(entry: Claim) -> None:
    if entry.name in _REGISTRY:
        raise ValueError(f"claim {entry.name!r} is registered twice")
    _REGISTRY[entry.name] = entry


def _room() -> str:
    """The module that called the caller."""
    return sys._getframe(2).f_globals.get("__name__", "")


def claim(
    name: str, *, paper: str, source: str, printed: str, exact: str = "", chapter: str = "", missing: str = ""
) -> Callable:
    """Register a check: a function without arguments that returns a `Finding`.

    Args:
        missing: what the check would read and is not there, with the command that makes it; the claim is open until
            this is empty. The rest as in `Claim`.
    """

    room = _room()

    def register(check: Callable[[], Finding]) -> Callable[[], Finding]:
        _register(Claim(name, paper, source, printed, exact, chapter, missing, None if missing else check, room))
        return check

    return register


def open_claim(name: str, *, paper: str, source: str, printed: str, missing: str, chapter: str = "") -> None:
    """Register a claim that cannot be checked yet, with what is missing."""
    _register(Claim(name, paper, source, printed, "", chapter, missing, module=_room()))


def ledger() -> dict[str, Claim]:
    """All claims by name, in the order of the rooms, whichever module was imported first."""
    rooms = [importlib.import_module(f"{__name__}.{topic}").__name__ for topic in TOPICS]
    known = sorted(
        (entry for entry in _REGISTRY.values() if entry.module in rooms), key=lambda e: rooms.index(e.module)
    )
    return {entry.name: entry for entry in known}


def check(name: str) -> Finding | None:
    """Run the check of one claim; None where the claim is open.

    Raises:
        KeyError: the ledger has no such claim; the message lists the valid names.
    """
    claims = ledger()
    if name not in claims:
        raise KeyError(f"no claim {name!r}; the ledger has: {', '.join(claims)}")
    run = claims[name].check
    return run() if run else None


def verdict(name: str) -> str:
    """The computed verdict on one claim: one of `VERDICTS`."""
    finding = check(name)
    return finding.verdict if finding else OPEN
