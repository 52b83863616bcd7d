"""Budgets: a plan never exceeds one, is near the best there is, trains a network once, and a sweep stops in time."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmc import experiments, lab, networks
from mmc.budget import LEAST, device_of, minutes, networks_of, stop_after, trained, within
from mmc.catalogue import Job, cost
from mmc.catalogue.job import DIGITS_NET
from mmc.lab import Evaluation
from mmc.sweep import GRACE, Task, plan, run_local

SPEED = cost.Speed("cpu", {"": 1.0})
BASE = DIGITS_NET.with_changes(experiment="budget", epochs=1)
#: Two experiments on one network, a third on another, and one that needs both.
FIRST = BASE.with_changes(evaluation=Evaluation((0.1,), 2, num_attacked=20))
SECOND = FIRST.with_changes(experiment="again")
OTHER = FIRST.with_changes(loss="MMC")
CROSSED = OTHER.with_changes(experiment="transfer", suite=("mim10-margin-8",), sources=(BASE,))
tasks_of = st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1, max_size=7)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv(networks.RUNS, str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MMC_KEEP_EVERY", "0.05")
    monkeypatch.delenv(lab.TRACE, raising=False)
    return tmp_path


def made_up(pairs: list[tuple[float, float]]) -> tuple[list[Task], dict[Task, float]]:
    """Tasks on networks of their own, by cost and worth."""
    tasks = [Task(BASE, seed, worth) for seed, (_, worth) in enumerate(pairs)]
    return tasks, {task: spent for task, (spent, _) in zip(tasks, pairs, strict=True)}


@settings(deadline=None, max_examples=60)
@given(pairs=tasks_of, budget=st.floats(0.1, 30), places=st.integers(1, 3))
def test_a_plan_ends_within_its_budget_and_leaves_nothing_that_fits(pairs, budget, places) -> None:
    tasks, spent = made_up(pairs)
    table = within(tasks, budget, places, lambda task, there: spent[task])
    assert table.length <= budget and len(set(table.tasks)) == len(table.tasks)
    free = [0.0] * places
    for task in table.tasks:  # played again by hand: each starts where a place is free first
        free[free.index(min(free))] += spent[task]
    assert max(free) == pytest.approx(table.length)
    if len(table.tasks) > 1 or not table.tasks:
        assert all(min(free) + spent[task] > budget for task in tasks if task not in table.tasks)


@settings(deadline=None, max_examples=60)
@given(pairs=tasks_of, budget=st.floats(0.1, 30))
def test_at_one_place_a_plan_is_worth_half_of_the_best_at_least(pairs, budget) -> None:
    tasks, spent = made_up(pairs)
    every = itertools.chain.from_iterable(itertools.combinations(tasks, n) for n in range(len(tasks) + 1))
    best = max(sum(t.worth for t in some) for some in every if sum(spent[t] for t in some) <= budget)
    assert within(tasks, budget, 1, lambda task, there: spent[task]).worth >= best / 2 - 1e-9


def test_a_shared_network_is_trained_once_and_waited_for() -> None:
    first, second, crossed = Task(FIRST, 1), Task(SECOND, 1), Task(CROSSED, 0)
    assert list(networks_of(first)) == list(networks_of(second)) and len(networks_of(crossed)) == 2
    assert list(networks_of(crossed))[1] == next(iter(networks_of(first))), "a source is of the next seed"
    alone = minutes(first, SPEED)
    assert minutes(second, SPEED, networks_of(first)) == pytest.approx(alone - cost.network_minutes(FIRST, SPEED))
    assert minutes(crossed, SPEED) > minutes(crossed, SPEED, networks_of(first)) > cost.network_minutes(OTHER, SPEED)
    table = within([first, second], 1e9, 2, lambda task, there: minutes(task, SPEED, there))
    together = alone + minutes(second, SPEED, networks_of(first))
    assert table.length == pytest.approx(together), "the second waits, though there is a place"


def test_a_network_that_is_there_costs_nothing_more() -> None:
    tasks = plan([Job(FIRST, (0,)), Job(SECOND, (0,)), Job(OTHER, (0,))]).tasks
    assert trained(tasks) == frozenset()
    experiments.record(FIRST, (0,))
    assert trained(tasks) == frozenset(networks_of(Task(FIRST, 0)))
    assert minutes(tasks[1], SPEED, trained(tasks)) == cost.minutes(SECOND, SPEED, trained=True)


def test_the_first_network_of_a_kind_is_worth_most() -> None:
    tasks = plan([Job(FIRST, (3, 4, 5), 6.0), Job(OTHER, (0,))]).tasks
    assert [task.worth for task in tasks] == [6.0, 3.0, 2.0, 1.0]
    table = within(tasks, 1e9, 1, lambda task, there: 1.0)
    assert [task.seed for task in table.tasks] == [3, 4, 5, 0]


def test_what_is_no_budget_is_refused() -> None:
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a budget is a positive number of minutes"):
            stop_after(wrong)
    with pytest.raises(ValueError, match="at least one place"):
        within([], 1.0, 0, lambda task, there: 1.0)
    assert stop_after(60) == 3600 - GRACE and stop_after(1) == 60 * LEAST
    assert [device_of(scale) for scale in lab.SCALES] == ["cpu", "cpu", "cuda"]


def test_a_sweep_that_runs_out_of_time_goes_on_later_to_the_same_result() -> None:
    """Stopped within the run, given again without a limit: the values of an undisturbed run."""
    spec, one, heard = FIRST.with_changes(epochs=80), [{"OMP_NUM_THREADS": "1"}], []
    tasks = plan([Job(spec, (0,))]).tasks
    started = time.monotonic()
    outcome = run_local(tasks, places=one, until=started + 3.0, report=heard.append)
    assert outcome.stopped == [tasks[0].name] and not outcome.done and not outcome.failed
    assert time.monotonic() - started < 3.0 + GRACE
    assert plan([Job(spec, (0,))]).tasks == tasks, "nothing is recorded that is not whole"
    assert len(run_local(tasks, places=one, report=heard.append).done) == 1
    assert lab.read(lab.path(spec)).runs[0]["values"] == experiments.measure(spec, 0)["values"]
