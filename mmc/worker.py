"""One run in a process of its own: what a sweep starts, on this machine or on a cluster.

`python -m mmc.worker JOB.json` with a spec, a seed and the environment variables of `mmc.lab` and `mmc.experiments`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmc.lab import Spec

#: Exit status of a run that was asked to stop and left a checkpoint.
STOPPED = 75
#: Seconds between two lines of progress.
TELL_EVERY = 30.0


def dumps(spec: Spec, seed: int) -> str:
    """A job as JSON text."""
    return json.dumps({"spec": dataclasses.asdict(spec), "seed": seed})


def loads(text: str) -> tuple[Spec, int]:
    """The inverse of `dumps`."""
    job = json.loads(text)
    return Spec.from_json(job["spec"]), job["seed"]


def duration(seconds: float) -> str:
    """A time in words: `48 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def line(progress: Any) -> str:
    """One line of progress."""
    history = progress.history
    words = [f"epoch {progress.epoch}/{progress.epochs}", f"step {progress.step}/{progress.steps}"]
    if history.loss:
        words.append(f"loss {history.loss[-1]:.4g}")
    if history.validation:
        words.append(f"validation {history.validation[-1]:.2%}")
    words.append(f"{progress.images_per_second:,.0f} images/s")
    if progress.step < progress.steps:
        words.append(f"{duration(progress.left)} left")
    return ", ".join(words)


def teller(tell: Callable[[str], None], every: float = TELL_EVERY) -> Callable[[Any], None]:
    """A `report` for `mmc.training.train` that tells a line at the end of an epoch, but not more often than `every`."""
    last = [time.monotonic()]

    def report(progress: Any) -> None:
        now = time.monotonic()
        done = progress.step == progress.steps
        if done or (now - last[0] >= every and (progress.epoch_ended or now - last[0] >= 4 * every)):
            last[0] = now
            tell(line(progress))

    return report


def settle(spec: Spec, seed: int, tell: Callable[[str], None] = print) -> None:
    """Run one seed of a spec until its record holds it.

    On SIGTERM, SIGINT or SIGUSR2 (a cluster's warning before it takes the machine away) the run leaves a checkpoint.

    Raises:
        Interrupted: it was asked to stop.
    """
    from mmc import experiments

    asked = threading.Event()
    for name in ("SIGTERM", "SIGINT", "SIGUSR2"):
        signal.signal(getattr(signal, name), lambda *_: asked.set())
    experiments.settle(spec, seed, report=teller(tell), stop=asked.is_set, keep_every=keep_every())


def keep_every() -> float:
    """Seconds between checkpoints: MMC_KEEP_EVERY, or a minute."""
    return float(os.environ.get("MMC_KEEP_EVERY", "60"))


def _end_with_parent() -> None:
    """A supervisor that is killed closes this process's standard input: then stop at once, the checkpoint is enough."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(STOPPED)

    threading.Thread(target=watch, daemon=True).start()


def main(argv: list[str]) -> int:
    """Run the job in a file; its progress goes to standard output, a failure's reason is its last line."""
    from mmc.training import Interrupted

    if os.environ.get("MMC_SUPERVISED"):
        _end_with_parent()
    spec, seed = loads(Path(argv[0]).read_text())
    try:
        settle(spec, seed, lambda text: print(text, flush=True))
    except Interrupted as error:
        print(error, flush=True)
        return STOPPED
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
