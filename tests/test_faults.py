"""Faults: runs and sweeps killed at random moments, cut-off files, a full disk. Nothing is lost or half-written."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmc import experiments, lab, networks
from mmc.catalogue import Job
from mmc.lab import Evaluation, Spec
from mmc.recipe import Recipe
from mmc.sweep import discard_stale, plan, run_local

ROOT = Path(__file__).resolve().parents[1]
RECIPE = Recipe(epochs=12, batch_size=32, learning_rate=0.02, average=0.99, augmentation="shift")
SPEC = Spec("faults", "smoke", "digits", "mlp", "Center", recipe=RECIPE, evaluation=Evaluation((0.1,), steps=3))
SEEDS = (0, 1, 2)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path / "records"))
    monkeypatch.setenv(networks.RUNS, str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MMC_KEEP_EVERY", "0.05")
    monkeypatch.delenv(lab.TRACE, raising=False)
    torch.set_num_threads(1)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    """What each seed gives when nothing happens to it."""
    torch.set_num_threads(1)
    return {seed: experiments.measure(SPEC, seed)["values"] for seed in SEEDS}


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return 30 if request.config.getoption("--all-faults") else 6


def values_of(record: lab.Record) -> dict[int, dict]:
    return {run["seed"]: run["values"] for run in record.runs}


def all_whole(folder: Path) -> bool:
    """Is every file that goes by a record's name a whole record?"""
    return all(json.loads(file.read_text())["schema"] == lab.SCHEMA for file in folder.rglob("*.json"))


def _settle() -> None:
    torch.set_num_threads(1)
    experiments.settle(SPEC, 0, keep_every=0.02)


def test_a_run_killed_at_random_moments_gives_the_same_record(
    places: Path, undisturbed: dict[int, dict], kills: int
) -> None:
    context, chance = multiprocessing.get_context("fork"), random.Random(kills)
    experiments.dataset("digits")  # loaded here, so that the kills hit the training and not the loading
    started = time.monotonic()
    experiments.measure(SPEC, 1)
    whole, killed = time.monotonic() - started, 0
    while killed < kills:
        process = context.Process(target=_settle)
        process.start()
        process.join(chance.uniform(0, 2.5 * whole / kills))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0 and killed < kills:  # it came through between two kills: begin once more
            lab.path(SPEC).unlink()
        assert all_whole(places / "records")
    record = experiments.record(SPEC, (0,))
    assert values_of(record) == {0: undisturbed[0]}
    assert not list((places / "records").rglob(".*")), "a killed writer's leftovers are cleared"
    assert not list((places / "runs").rglob("checkpoint"))


SWEEP = """
import sys, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location("faults", {file!r})
faults = importlib.util.module_from_spec(spec); spec.loader.exec_module(faults)
from mmc.sweep import plan, run_local
todo = plan([faults.Job(faults.SPEC, faults.SEEDS)]).tasks
outcome = run_local(todo, places=[{{"OMP_NUM_THREADS": "1"}}] * 2, report=lambda line: print(line, flush=True))
sys.exit(bool(outcome.failed))
"""


def start_sweep() -> subprocess.Popen[str]:
    script = SWEEP.format(tests=str(ROOT / "tests"), file=str(Path(__file__)))
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def workers() -> list[int]:
    """The processes that run `mmc.worker` jobs of this test."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "mmc.worker" in command and os.environ[networks.RUNS] in " ".join(command):
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it finds worker processes through /proc")
def test_a_sweep_whose_supervisor_or_workers_are_killed_comes_through(
    places: Path, undisturbed: dict[int, dict], kills: int
) -> None:
    chance, killed = random.Random(kills + 1), 0
    sweep = start_sweep()
    while killed < kills:
        time.sleep(chance.uniform(0.3, 3.0))
        assert all_whole(places / "records")
        victims = workers()
        if killed % 2 and victims:
            os.kill(chance.choice(victims), signal.SIGKILL)
            killed += 1
        elif sweep.poll() is None:
            sweep.kill()
            sweep.wait()
            killed += 1
            deadline = time.monotonic() + 20
            while workers():
                assert time.monotonic() < deadline, "workers outlive a killed supervisor"
                time.sleep(0.05)
        if sweep.poll() is not None:
            if lab.path(SPEC).exists() and len(lab.read(lab.path(SPEC)).seeds) == len(SEEDS):
                lab.path(SPEC).unlink()
            sweep = start_sweep()
    sweep.kill()
    sweep.wait()
    outcome = run_local(plan([Job(SPEC, SEEDS)]).tasks, places=[{"OMP_NUM_THREADS": "1"}] * 2, report=lambda line: None)
    assert not outcome.failed and not outcome.stopped
    assert values_of(lab.read(lab.path(SPEC))) == undisturbed
    assert not list((places / "records").rglob(".*"))


def test_a_worker_that_is_killed_is_started_again_by_the_same_sweep(places: Path, undisturbed: dict[int, dict]) -> None:
    lines: list[str] = []
    hit: list[int] = []

    def report(line: str) -> None:
        lines.append(line)

    import threading

    def assassin() -> None:
        deadline = time.monotonic() + 60
        while not hit and time.monotonic() < deadline:
            if any(places.glob("runs/nets/*/seed-0/checkpoint")) and (found := workers()):
                hit.append(found[0])
                os.kill(found[0], signal.SIGKILL)
            time.sleep(0.01)

    thread = threading.Thread(target=assassin)
    thread.start()
    outcome = run_local(plan([Job(SPEC, (0,))]).tasks, places=[{"OMP_NUM_THREADS": "1"}], report=report)
    thread.join()
    assert hit and outcome.done == ["faults/smoke/digits-mlp-center seed 0"]
    assert any("killed by SIGKILL, starting it again" in line for line in lines)
    assert values_of(lab.read(lab.path(SPEC))) == {0: undisturbed[0]}


def test_a_sweep_that_is_asked_to_stop_leaves_checkpoints_and_goes_on(
    places: Path, undisturbed: dict[int, dict]
) -> None:
    sweep = start_sweep()
    deadline = time.monotonic() + 60
    while not any(places.glob("runs/nets/*/*/checkpoint")):
        assert time.monotonic() < deadline and sweep.poll() is None
        time.sleep(0.01)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(timeout=60) == 0 and not workers()
    assert start_sweep().wait(timeout=120) == 0
    assert values_of(lab.read(lab.path(SPEC))) == undisturbed


def _on_a_full_disk(limit: int) -> None:
    import resource

    torch.set_num_threads(1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        experiments.settle(SPEC, 0, keep_every=0.02)
    except OSError as error:
        os._exit(0 if "could not write" in str(error) else 3)
    os._exit(2)


@pytest.mark.parametrize("limit", [100, 1500, 20_000])
def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(
    limit: int, places: Path, undisturbed: dict[int, dict]
) -> None:
    experiments.dataset("digits")
    process = multiprocessing.get_context("fork").Process(target=_on_a_full_disk, args=(limit,))
    process.start()
    process.join()
    assert process.exitcode == 0, "an OSError that names the file"
    assert all_whole(places / "records")
    assert values_of(experiments.record(SPEC, (0,))) == {0: undisturbed[0]}


def test_cut_off_records_are_refused_by_name_and_put_aside_when_told(
    places: Path, undisturbed: dict[int, dict]
) -> None:
    experiments.record(SPEC, (0,))
    file = lab.path(SPEC)
    text = file.read_text()
    for cut in (0, 1, len(text) // 2, len(text) - 3):
        file.write_text(text[:cut])
        with pytest.raises(lab.StaleRecordError, match=r"damaged record faults/smoke/digits-mlp-center\.json"):
            experiments.record(SPEC, (0,))
        assert file.read_text() == text[:cut], "a damaged record is not overwritten unasked"
    job = [Job(SPEC, (0,))]
    todo = plan(job)
    assert not todo.tasks and "damaged record" in todo.stale[SPEC.place]
    assert discard_stale(job) == [SPEC.place]
    assert [task.seed for task in plan(job).tasks] == [0]
    assert values_of(experiments.record(SPEC, (0,))) == {0: undisturbed[0]}


def test_two_processes_that_ask_for_one_run_share_it(places: Path, undisturbed: dict[int, dict]) -> None:
    experiments.dataset("digits")
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_settle) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    record = lab.read(lab.path(SPEC))
    assert values_of(record) == {0: undisturbed[0]}


def test_seeds_written_by_several_processes_at_once_are_all_kept(places: Path) -> None:
    data = {"digest": "x"}
    made = {"revision": 2, "seconds": 1.0}

    def write(seed: int) -> None:
        lab.add(SPEC, data, {"seed": seed, "values": {"clean": seed / 100}, "made": made}, places / "locks")
        os._exit(0)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write, args=(seed,)) for seed in range(16)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert lab.read(lab.path(SPEC)).seeds == tuple(range(16))
