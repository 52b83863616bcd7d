"""The best part of a sweep that fits into a time: what is worth most per minute first, each network trained once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mmc.catalogue import cost
from mmc.catalogue.cost import Speed
from mmc.lab import Spec
from mmc.networks import net_folder
from mmc.sweep import GRACE, Task

#: The least share of a budget that is left for running, where the time to stop in would take it all.
LEAST = 0.5


def device_of(scale: str) -> str:
    """The kind of device whose minutes a scale is counted in."""
    return "cuda" if scale == "gpu" else "cpu"


def stop_after(minutes: float) -> float:
    """Seconds after which runs are asked to stop, so that all have left within the budget.

    Raises:
        ValueError: not a positive number of minutes.
    """
    if not 0 < minutes < float("inf"):
        raise ValueError(f"a budget is a positive number of minutes, not {minutes}")
    return max(60 * minutes - GRACE, LEAST * 60 * minutes)


@functools.lru_cache(maxsize=4096)
def networks_of(task: Task) -> dict[str, tuple[Spec, int]]:
    """The networks that a task needs, by name; its own first, then those on which images are crafted."""
    pairs = [(task.spec, task.seed), *((source, task.seed + 1) for source in task.spec.evaluation.sources)]
    return {"/".join(net_folder(spec, seed).parts[-2:]): (spec, seed) for spec, seed in pairs}


def trained(tasks: Iterable[Task]) -> frozenset[str]:
    """The names of the networks that the tasks need and that are there already."""
    found = {name: pair for task in tasks for name, pair in networks_of(task).items()}
    return frozenset(n for n, (spec, seed) in found.items() if (net_folder(spec, seed) / "training.json").exists())


def minutes(task: Task, speed: Speed, there: Iterable[str] = ()) -> float:
    """How long a task takes when some networks are there already."""
    missing = [spec for name, (spec, _) in networks_of(task).items() if name not in there]
    return cost.minutes(task.spec, speed, trained=True) + sum(cost.network_minutes(spec, speed) for spec in missing)


@dataclass
class Timetable:
    """Tasks in the order in which they start, and when each ends, in minutes from now.

    A run starts at the first place that is free, and waits while another run holds a network that it needs.

    Attributes:
        ends: of each place, when it is free.
        tasks: in order.
        held: by network, when the run ends that holds it; networks that are there already end at 0.
    """

    ends: list[float]
    tasks: list[Task] = field(default_factory=list)
    held: dict[str, float] = field(default_factory=dict)

    def end_of(self, task: Task, minutes: float) -> float:
        """When a task would end that is started next."""
        return max([min(self.ends), *(self.held.get(name, 0.0) for name in networks_of(task))]) + minutes

    def add(self, task: Task, minutes: float) -> None:
        """Start a task next."""
        end = self.end_of(task, minutes)
        self.ends[self.ends.index(min(self.ends))] = end
        self.held |= dict.fromkeys(networks_of(task), end)
        self.tasks.append(task)

    @property
    def length(self) -> float:
        """When the last task ends."""
        return max(self.ends)

    @property
    def worth(self) -> float:
        """What all tasks are worth together."""
        return sum(task.worth for task in self.tasks)


def within(
    tasks: Sequence[Task],
    budget: float,
    places: int,
    estimate: Callable[[Task, Iterable[str]], float],
    there: Iterable[str] = (),
) -> Timetable:
    """Choose tasks that together end within a budget.

    One after another the task that is worth most per minute, as far as it fits; or the one that is worth most alone, if
    that is more than all of these. At one place, and where no network is shared, this is worth at least half of the
    best choice there is.

    Args:
        tasks: what is left to do.
        budget: minutes.
        places: how many runs go on at once.
        estimate: minutes of a task, given the networks that are there.
        there: names of networks that are there already.

    Raises:
        ValueError: no place to run at.
    """
    if places < 1:
        raise ValueError(f"a sweep needs at least one place to run at, not {places}")

    def empty() -> Timetable:
        return Timetable([0.0] * places, held=dict.fromkeys(there, 0.0))

    table, rest = empty(), list(tasks)
    while rest:
        priced = [(task, estimate(task, table.held)) for task in rest]
        fitting = [(task, spent) for task, spent in priced if table.end_of(task, spent) <= budget]
        if not fitting:
            break
        task, spent = max(fitting, key=lambda pair: pair[0].worth / max(pair[1], 1e-9))
        table.add(task, spent)
        rest.remove(task)
    alone = [(task, spent) for task in tasks if (spent := estimate(task, there)) <= budget]
    task, spent = max(alone, key=lambda pair: pair[0].worth, default=(None, 0.0))
    if task is not None and task.worth > table.worth:
        table = empty()
        table.add(task, spent)
    return table
