"""The experiments as lists of Specs, at three scales; `mmc sweep` runs what is missing of them.

A catalogue entry maps a scale to jobs, the ones worth most per minute first. To add one: a module with a function of
the scale, and a line in `CATALOGUE`.
"""

from __future__ import annotations

from collections.abc import Callable

from mmc.catalogue import (
    ablations,
    adversarial,
    architectures,
    boundary,
    convergence,
    density,
    first,
    important_samples,
    other_attacks,
    transfer,
    white_box,
)
from mmc.catalogue.first import FIRST, first_experiment
from mmc.catalogue.job import PAPER_CIFAR, PAPER_LOSSES, Job
from mmc.lab import SCALES

__all__ = ["CATALOGUE", "FIRST", "PAPER_CIFAR", "PAPER_LOSSES", "Job", "first_experiment", "jobs"]

#: Catalogues by name.
CATALOGUE: dict[str, Callable[[str], list[Job]]] = {
    "first-experiment": first.jobs,
    "convergence": convergence.jobs,
    "white-box": white_box.jobs,
    "adversarial-training": adversarial.jobs,
    "boundary": boundary.jobs,
    "other-attacks": other_attacks.jobs,
    "transfer": transfer.jobs,
    "architectures": architectures.jobs,
    "ablations": ablations.jobs,
    "density": density.jobs,
    "important-samples": important_samples.jobs,
}


def jobs(name: str, scale: str) -> list[Job]:
    """The jobs of a catalogue at a scale.

    Args:
        name: a key of `CATALOGUE`, or `all`.
        scale: `smoke`, `laptop` or `gpu`.

    Raises:
        ValueError: an unknown name or scale; the message lists what there is.
    """
    if scale not in SCALES:
        raise ValueError(f"unknown scale {scale!r}; there are: {', '.join(SCALES)}")
    if name != "all" and name not in CATALOGUE:
        raise ValueError(f"no catalogue {name!r}; there are: {', '.join(CATALOGUE)}, all")
    chosen = CATALOGUE if name == "all" else {name: CATALOGUE[name]}
    return [job for make in chosen.values() for job in make(scale)]
