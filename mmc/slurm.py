"""The same sweep on a cluster: one Slurm job per run, through submitit.

Nothing is asked of Slurm's accounting, which many clusters do not have: a job that the queue lists is alive, and one
that it no longer lists has done its work if the record holds its seed, and has died if not.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mmc import experiments, lab, networks
from mmc.files import write_text
from mmc.sweep import RETRIES, Outcome, Report, Task
from mmc.worker import dumps, keep_every, loads, teller

#: Seconds between two looks at the queue.
LOOK_EVERY = 5.0
#: submitit takes the warning before a time limit of ten minutes or less for the limit itself.
SHORTEST = 11


class Remote:
    """What a job does: settle one seed of one spec. A job that is pre-empted is queued again, and goes on."""

    def __call__(self, job: str) -> str:
        spec, seed = loads(job)
        tell = teller(lambda text: print(text, flush=True))
        experiments.settle(spec, seed, report=tell, keep_every=keep_every())
        return f"{spec.place} seed {seed}"

    def checkpoint(self, job: str) -> Any:
        """Called by submitit before the machine is taken away; the run's own checkpoint is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, job)


def listed() -> set[str] | None:
    """The jobs of this user that the queue lists, array elements one by one; None where Slurm did not answer."""
    command = ["squeue", "--noheader", "--me", "--array", "--format=%i"]
    found = subprocess.run(command, capture_output=True, text=True)
    return set(found.stdout.split()) if found.returncode == 0 else None


def measured(task: Task) -> bool:
    """Does the record hold this task's seed? A stale or damaged one does not."""
    try:
        file = lab.path(task.spec)
        return file.exists() and task.seed in lab.read(file).seeds
    except lab.StaleRecordError:
        return False


def _executor(folder: Path, partition: str, minutes: int, gpus: int, cores: int, at_once: int) -> Any:
    try:
        import submitit
    except ModuleNotFoundError:
        raise ValueError(
            "a sweep on Slurm needs submitit: install the book's extra with  pip install 'mmc[book]'"
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    except RuntimeError as error:
        raise ValueError(f"Slurm is not at hand here ({error}): run the sweep without --executor slurm") from None
    settings: dict[str, Any] = {"timeout_min": minutes, "cpus_per_task": cores, "slurm_array_parallelism": at_once}
    if partition:
        settings["slurm_partition"] = partition
    if gpus:
        settings["gpus_per_node"] = gpus
    executor.update_parameters(name="mmc", **settings)
    return executor


def run_slurm(
    tasks: Iterable[Task],
    *,
    partition: str = "",
    minutes: int = 24 * 60,
    gpus: int = 1,
    cores: int = 4,
    at_once: int = 64,
    retries: int = RETRIES,
    look_every: float = LOOK_EVERY,
    report: Report = print,
    ended: Callable[[Task, Outcome], None] = lambda task, outcome: None,
) -> Outcome:
    """Run tasks as Slurm jobs and wait for them; one that dies is submitted again and goes on.

    The jobs that were submitted are written down beside the runs: a supervisor that is started anew waits for those
    that still live instead of submitting them twice.

    Args:
        tasks: in the order in which they are submitted.
        partition: Slurm's; its default where empty.
        minutes: time limit of a job, at least 11; a run that takes longer is queued again and goes on.
        gpus: per job; 0 asks for none.
        cores: per job.
        at_once: how many jobs may run at the same time.
        retries: how often a job that died is submitted again.
        look_every: seconds between two looks at the queue.
        report: told when a job is submitted, ends or dies.
        ended: told when a task ended.

    Raises:
        ValueError: Slurm or submitit is not at hand, or the time limit is too short.
    """
    if minutes < SHORTEST:
        raise ValueError(f"a job's time limit must be at least {SHORTEST} minutes, not {minutes}")
    folder = networks.runs_folder() / "slurm"
    executor = _executor(folder, partition, minutes, gpus, cores, at_once)
    waiting, outcome, tries = {task.name: task for task in tasks}, Outcome(), dict[str, int]()
    ledger = folder / "submitted.json"
    submitted: dict[str, str] = json.loads(ledger.read_text()) if ledger.exists() else {}
    alive = listed() or set()
    jobs = {name: submitted[name] for name in waiting if submitted.get(name) in alive}
    for name, job in jobs.items():
        report(f"{name}: waiting for job {job}, which is in the queue already")

    def submit(names: list[str]) -> None:
        if not names:
            return
        made = executor.map_array(Remote(), [dumps(waiting[name].spec, waiting[name].seed) for name in names])
        for name, job in zip(names, made, strict=True):
            jobs[name] = submitted[name] = job.job_id
            report(f"{name}: submitted as job {job.job_id}")
        write_text(ledger, json.dumps(submitted, indent=1))

    submit([name for name in waiting if name not in jobs])
    gone: set[str] = set()  # missing from the queue at the last look: only twice in a row counts
    while waiting:
        time.sleep(look_every)
        alive = listed()
        if alive is None:
            continue
        missing = {name for name in waiting if jobs[name] not in alive}
        again = []
        for name in sorted(missing & gone):
            task = waiting[name]
            if measured(task):
                outcome.done.append(name)
                report(f"{name}: done")
            elif tries.setdefault(name, 0) < retries:
                tries[name] += 1
                report(f"{name}: job {jobs[name]} died ({_last_words(folder, jobs[name])}), submitting it again")
                again.append(name)
                continue
            else:
                outcome.failed[name] = f"job {jobs[name]} died: {_last_words(folder, jobs[name])}"
            ended(waiting.pop(name), outcome)
        gone = missing - set(again)
        submit(again)
    return outcome


def _last_words(folder: Path, job: str) -> str:
    """The last line of a job's log, which names the reason where the run had one."""
    logs = sorted(folder.glob(f"{job}_*_log.err")) + sorted(folder.glob(f"{job}_*_log.out"))
    for log in logs:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()
    return f"it left no log in {folder}"
