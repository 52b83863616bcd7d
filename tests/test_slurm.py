"""Jobs on a real Slurm of one node: submitted, mapped, killed, preempted.

What the tests below pin down, for whoever supervises such jobs. Where Slurm keeps no accounting, `sacct` fails, and
submitit then knows one sign only, a job's result file: the state of every job stays UNKNOWN, and a job that was killed
is never `done()`, so that its `result()` waits for ever. `squeue` does know. Ask it first, then look for the result:

- listed: alive (pending, running, or not quite dead), whatever result file there is. A requeue can leave one behind
  that reports an error, which goes when the job has run again;
- not listed, with a result file: that is the outcome;
- not listed, without one: it died, and can be submitted again;
- `squeue` failed: nothing is known. Asked with `--jobs` for one job that is long over, it fails too, so list all.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import pytest
import submitit
import torch
from slurm.cluster import cluster, missing
from submitit.helpers import DelayedSubmission

from mmc import experiments, lab, networks
from mmc.catalogue import Job
from mmc.lab import Spec
from mmc.recipe import Recipe
from mmc.slurm import run_slurm
from mmc.sweep import plan

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no Slurm was tried: {missing()}")

# A job's process cannot import this file: it gets the functions themselves.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A cluster that this process and all it starts talk to."""
    with cluster() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def executor(slurm: None, tmp_path: Path) -> submitit.AutoExecutor:
    """Requests more than ten minutes: submitit takes any signal to a shorter job for its time limit."""
    executor = submitit.AutoExecutor(tmp_path / "jobs", cluster="slurm")
    executor.update_parameters(timeout_min=30, cpus_per_task=1)
    return executor


def alive() -> dict[str, str]:
    """The state of every job that is not over, by the identifier submitit uses."""
    command = ["squeue", "--noheader", "--me", "--array", "--format=%i %T"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split() for line in lines)


def wait(what: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} seconds; jobs: {alive()}"
        time.sleep(0.1)


def wait_until_over(*jobs: submitit.Job) -> None:
    wait(lambda: not alive().keys() & {job.job_id for job in jobs})


def square(number: int) -> int:
    return number * number


def stall_once(trace: Path) -> str:
    """The first time, never comes back; says so in `trace`."""
    if trace.exists():
        return "second"
    trace.write_text("first")
    time.sleep(600)
    return "first"


class Count:
    """Counts up without end, unless it was preempted: then it tells where it was."""

    def __init__(self, trace: Path, start: int = 0) -> None:
        self.trace, self.start, self.number = trace, start, start

    def __call__(self) -> int:
        while not self.start:
            self.number += 1
            self.trace.touch()
            time.sleep(0.05)
        return self.start

    def checkpoint(self) -> DelayedSubmission:
        """What submitit puts in the place of this when the job is preempted."""
        self.trace.write_text(str(self.number))
        return DelayedSubmission(Count(self.trace, self.number))


def test_a_batch_script_runs(slurm: None, tmp_path: Path) -> None:
    output = tmp_path / "output"
    subprocess.run(["sbatch", "--wait", f"--output={output}", "--wrap=hostname"], check=True, timeout=40)
    assert output.read_text().strip() == socket.gethostname()


def test_a_mapped_array_returns_its_results(executor: submitit.AutoExecutor) -> None:
    jobs = executor.map_array(square, [1, 2, 3])
    assert {job.job_id.split("_")[0] for job in jobs} == {jobs[0].job_id.split("_")[0]}, "one array"
    wait_until_over(*jobs)
    assert [job.result() for job in jobs] == [1, 4, 9]


def test_a_killed_job_leaves_no_result_and_comes_through_when_run_again(
    executor: submitit.AutoExecutor, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job = executor.submit(stall_once, trace)
    wait(trace.exists)
    assert alive()[job.job_id] == "RUNNING"
    subprocess.run(["scancel", job.job_id], check=True)
    wait_until_over(job)
    assert not job.paths.result_pickle.exists()
    assert (job.state, job.done(force_check=True)) == ("UNKNOWN", False), "submitit knows by itself: no need for squeue"

    again = executor.submit(stall_once, trace)
    wait_until_over(again)
    assert again.result() == "second"


def test_a_preempted_job_goes_on_where_it_was(executor: submitit.AutoExecutor, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    job = executor.submit(Count(trace))
    wait(trace.exists)
    subprocess.run(["scancel", "--signal=USR2", job.job_id], check=True)
    wait(lambda: alive().get(job.job_id) == "PENDING")
    wait_until_over(job)
    assert job.result() == int(trace.read_text())


#: So long that `scancel` comes before the end of a run on a fast machine, too.
LONG = Recipe(epochs=160, batch_size=16, optimizer="adam", learning_rate=1e-3)
TINY = Spec("on-slurm", "smoke", "digits", "mlp", "MMC", feature_dim=16, recipe=LONG)


def test_a_sweep_with_one_job_cancelled_gives_the_records_of_a_sweep_left_alone(
    slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the project's own runs as jobs; `scancel` kills one in the middle, and the sweep submits it again."""
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv(networks.RUNS, str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MMC_KEEP_EVERY", "0.2")
    tasks = plan([Job(TINY, (0, 1))]).tasks
    victim, lines, killed = tasks[0].name, [], []

    def watch(line: str) -> None:
        lines.append(line)
        if "submitted as job" in line and line.startswith(victim) and not killed:
            killed.append(line.split()[-1])

    def assassin() -> None:
        place = experiments.net_folder(TINY, 0)
        wait(lambda: bool(killed) and (place / "checkpoint").exists(), 60)
        subprocess.run(["scancel", killed[0]], check=True)

    thread = threading.Thread(target=assassin)
    thread.start()
    outcome = run_slurm(tasks, gpus=0, cores=1, minutes=30, look_every=0.5, report=watch)
    thread.join()
    assert sorted(outcome.done) == sorted(task.name for task in tasks) and not outcome.failed
    assert any("died" in line and "submitting it again" in line for line in lines), lines
    record = lab.read(lab.path(TINY))
    assert record.seeds == (0, 1)
    torch.set_num_threads(1)
    for run in record.runs:
        assert run["values"] == experiments.measure(TINY, run["seed"])["values"]
    assert not plan([Job(TINY, (0, 1))]).tasks, "given again, the same sweep has nothing to do"
