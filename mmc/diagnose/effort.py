"""How much a diagnosis runs: three budgets, and whoever wants another makes one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How much is run. What is costly is run on few of the examples that the attack under evaluation leaves standing.

    Attributes:
        name: for the report.
        few: on how many examples noise, the attack without gradients and AutoAttack are run.
        draws: of noise, for each of them.
        gradient_free: `square` (pyautoattack), or `spsa`.
        slopes: iterations and samples of SPSA.
        autoattack: which attacks of AutoAttack are run; none leaves that check out.
        steps: of each climb of the adaptive attack.
        restarts: random starts in the check of the budget.
        binarised: on how many examples the binarisation test is made.
        inner: inner points of each.
        oracles: models with known robustness.
    """

    name: str
    few: int
    draws: int
    gradient_free: str
    slopes: tuple[int, int]
    autoattack: tuple[str, ...]
    steps: int
    restarts: int
    binarised: int
    inner: int
    oracles: int


ALL = 10**9
EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("quick", 10, 100, "spsa", (5, 16), (), 20, 2, 8, 199, 2),
        Effort("default", 20, 500, "spsa", (10, 32), ("apgd-ce", "apgd-t", "square"), 40, 3, 20, 999, 3),
        Effort(
            "full", ALL, 10_000, "square", (20, 128), ("apgd-ce", "apgd-t", "fab-t", "square"), 100, 10, 200, 999, 10
        ),
    )
}


def effort(chosen: str | Effort) -> Effort:
    """An effort by name, or as it is.

    Raises:
        ValueError: no such name.
    """
    if isinstance(chosen, Effort):
        return chosen
    if chosen not in EFFORTS:
        raise ValueError(f"effort must be one of {', '.join(EFFORTS)}, not {chosen!r}")
    return EFFORTS[chosen]
