"""Run the chapters that need it, several at once; the others are left as they are."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmc.book import notebook as nb
from mmc.book.execute import ChapterError, is_current
from mmc.book.project import Project, resolve, workers
from mmc.files import digest_text


@dataclass(frozen=True)
class Job:
    """One chapter at one setting, and where its executed notebook goes."""

    name: str
    scale: str
    values: dict[str, Any]
    target: Path
    current: bool


def plan(project: Project, name: str, scale: str = "smoke", given: dict[str, str] | None = None) -> Job:
    """What running one chapter would mean; bad names and values are refused here, before anything runs."""
    source = nb.read(project.chapter(name))
    try:
        values = resolve(source, scale, given)
    except ValueError as error:
        raise ValueError(f"chapter {name}: {error}") from None
    variant = "smoke"
    if values:
        variant = f"{scale}-{digest_text(json.dumps(values, sort_keys=True))[:8]}"
    target = project.build / "executed" / variant / f"{name}.ipynb"
    return Job(name, scale, values, target, is_current(project, target, project.inputs_digest(source, values)))


def _run(project: Project, job: Job) -> float:
    started = time.monotonic()
    arguments = [str(project.root), job.name, job.scale, json.dumps(job.values), str(job.target)]
    process = subprocess.run(
        [sys.executable, "-m", "mmc.book.execute", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=project.environment(),
    )
    if process.returncode:
        died = f"chapter {job.name}: its process died ({process.returncode})\n{process.stderr[-2000:]}"
        raise ChapterError(process.stdout.strip() or died)
    return time.monotonic() - started


def run(project: Project, jobs: list[Job], report: Callable[[str], None] = print) -> int:
    """Run the jobs that are not current, several at once, each reported as it ends; returns how many ran.

    Raises:
        ChapterError: one or more chapters failed, after the others ended; the message holds every failure.
    """
    todo = [job for job in jobs if not job.current]
    failures: list[str] = []
    pool = ThreadPoolExecutor(workers())
    try:
        futures = {pool.submit(_run, project, job): job for job in todo}
        for future in as_completed(futures):
            job = futures[future]
            try:
                report(f"ran {job.name} ({job.scale}) in {future.result():.1f} s")
            except ChapterError as error:
                failures.append(str(error))
                report(f"FAILED {job.name}")
    finally:  # after Ctrl-C no further chapter starts
        pool.shutdown(cancel_futures=True)
    if failures:
        raise ChapterError("\n\n".join(failures))
    return len(todo)
