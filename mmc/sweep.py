"""Running what is missing of a catalogue: what there is to do, and several runs at once on this machine.

Everything that counts is in the records and the checkpoints, nothing in the supervisor: it may be killed at any
moment, and the same command goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mmc import experiments, lab, networks, processes
from mmc.catalogue import Job
from mmc.files import write_text
from mmc.lab import Spec
from mmc.worker import STOPPED, dumps

#: How often a run that was killed by a signal is started again.
RETRIES = 2
#: Seconds that runs get to leave a checkpoint when the sweep is asked to stop.
GRACE = 60.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One seed of one spec, and what it is worth beside others."""

    spec: Spec
    seed: int
    worth: float = 1.0

    @property
    def name(self) -> str:
        """What lines of progress begin with."""
        return f"{self.spec.place} seed {self.seed}"


@dataclass
class Outcome:
    """How a sweep ended: names of tasks, and why some failed."""

    done: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a sweep would do.

    Attributes:
        measured: how many seeds the records hold already.
        tasks: what is left.
        stale: records that no longer fit, by place, with the reason; `tasks` leaves them out unless told otherwise.
    """

    measured: int
    tasks: list[Task]
    stale: dict[str, str]


def plan(jobs: Iterable[Job], replaced: bool = False) -> Plan:
    """What is measured, what is left, and what is stale.

    Args:
        jobs: a catalogue's.
        replaced: plan as if stale records were put aside already: their tasks are in `tasks` too.
    """
    measured, tasks, stale = 0, [], {}
    for job in jobs:
        try:
            held = lab.read(lab.path(job.spec)) if lab.path(job.spec).exists() else None
            if held is not None and held.spec != job.spec:
                raise lab.StaleRecordError(f"{job.spec.place}.json was made from another spec")
        except lab.StaleRecordError as error:
            stale[job.spec.place], held = str(error), None
            if not replaced:
                continue
        seeds = held.seeds if held else ()
        measured += sum(seed in seeds for seed in job.seeds)
        # The second network of a kind adds half of what the first one did, the third a third.
        worths = {seed: job.worth / place for place, seed in enumerate(job.seeds, 1)}
        tasks += [Task(job.spec, seed, worths[seed]) for seed in job.seeds if seed not in seeds]
    return Plan(measured, tasks, stale)


def discard_stale(jobs: Iterable[Job]) -> list[str]:
    """Put stale records aside, as `.json.stale` beside their place, and name them."""
    found = plan(jobs).stale
    for place in found:
        file = lab.folder() / f"{place}.json"
        file.replace(file.with_suffix(".json.stale"))
    return list(found)


def slots(workers: int | None = None, per_gpu: int = 1) -> list[dict[str, str]]:
    """The environment of each run that may go on at once.

    On GPUs: `per_gpu` runs on each. Without one: as many runs as cores, or `workers`, which share the cores evenly; a
    run takes no more threads than OMP_NUM_THREADS allows, so two sweeps can share a machine.

    Raises:
        ValueError: fewer than one.
    """
    import torch

    if per_gpu < 1 or (workers is not None and workers < 1):
        raise ValueError(f"a sweep needs at least one run at once, not {per_gpu if workers is None else workers}")
    gpus = torch.cuda.device_count()
    if gpus:
        named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        places = [{"CUDA_VISIBLE_DEVICES": name} for _ in range(per_gpu) for name in named[:gpus]]
        return places[:workers]
    workers = workers or processes.cores()
    threads = max(1, processes.cores() // workers)
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdecimal() and int(allowed) > 0:
        threads = min(threads, int(allowed))
    return [{"OMP_NUM_THREADS": str(threads)}] * workers


class _Runner:
    """One run in a process of its own, watched by a thread of its own."""

    def __init__(self, task: Task, settings: dict[str, str], report: Report) -> None:
        self.task, self.report = task, report
        place = experiments.job_folder(task.spec, task.seed)
        write_text(place / "job.json", dumps(task.spec, task.seed))
        self.log = place / "log.txt"
        self.last = ""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mmc.worker", str(place / "job.json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**processes.environment(networks.ROOT), **settings, "MMC_SUPERVISED": "1"},
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which asks the runs to stop
                text=True,
            )
        self.reader = threading.Thread(target=self._relay, daemon=True)
        self.reader.start()

    def _relay(self) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            for line in self.process.stdout:
                self.last = line.strip()
                log.write(line)
                log.flush()
                self.report(f"{self.task.name}: {self.last}")

    def reason(self) -> str:
        """Why it failed, in one line."""
        code = self.process.returncode
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        written = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if not self.last else []
        return f"{self.last or (written or ['no output'])[-1]} (exit status {code}; log: {self.log})"


def run_local(
    tasks: Iterable[Task],
    *,
    places: list[dict[str, str]] | None = None,
    retries: int = RETRIES,
    until: float | None = None,
    report: Report = print,
    ended: Callable[[Task, Outcome], None] = lambda task, outcome: None,
) -> Outcome:
    """Run tasks, several at once, each in a process of its own; one that is killed is started again.

    On Ctrl-C or SIGTERM every run leaves a checkpoint, and so it does, without being asked, when this process dies.

    Args:
        tasks: in the order in which they shall start.
        places: an environment per run at once; see `slots`.
        retries: how often a run that was killed is started again.
        until: on the clock of `time.monotonic`: then every run is asked to stop, as on Ctrl-C.
        report: told each line of progress.
        ended: told when a task ended.
    """
    waiting, outcome, tries = list(tasks), Outcome(), {}
    free, running = list(places if places is not None else slots()), []
    asked = threading.Event()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {name: signal.signal(name, lambda *_: asked.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        while (waiting and not asked.is_set()) or running:
            if until is not None and time.monotonic() >= until:
                asked.set()
            while waiting and free and not asked.is_set():
                place = free.pop(0)
                running.append((_Runner(waiting.pop(0), place, report), place))
            if asked.is_set():
                _ask_to_stop([runner for runner, _ in running])
            for runner, place in [pair for pair in running if pair[0].process.poll() is not None]:
                runner.reader.join()
                running.remove((runner, place))
                free.append(place)
                task, code = runner.task, runner.process.returncode
                if code == 0:
                    outcome.done.append(task.name)
                elif code == STOPPED or asked.is_set():
                    outcome.stopped.append(task.name)
                elif code < 0 and tries.setdefault(task, 0) < retries:
                    tries[task] += 1
                    report(f"{task.name}: {runner.reason()}, starting it again from its checkpoint")
                    waiting.insert(0, task)
                    continue
                else:
                    outcome.failed[task.name] = runner.reason()
                ended(task, outcome)
            time.sleep(0.05)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    outcome.stopped += [task.name for task in waiting]
    return outcome


def _ask_to_stop(runners: list[_Runner]) -> None:
    for runner in runners:
        if runner.process.poll() is None:
            runner.process.terminate()
    limit = time.monotonic() + GRACE
    for runner in runners:
        try:
            runner.process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            runner.process.kill()
            runner.process.wait()
