"""One way of a comparison in a process of its own, for what one way does to its whole process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from mmc.networks import ROOT
from mmc.processes import environment

BEGIN = "import sys, torch\ntorch.set_num_threads({threads})\n"
END = "\nfor line in sys.stdin:\n    step()\n    print(flush=True)"


@contextmanager
def elsewhere(made: str) -> Iterator[Callable[[], None]]:
    """A step that runs in another process, with as many threads as this one has, and is waited for.

    Args:
        made: lines of Python that define `step`.

    Raises:
        RuntimeError: on a call, if the other process has ended.
    """
    script = BEGIN.format(threads=torch.get_num_threads()) + made + END
    command, pipe = [sys.executable, "-c", script], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment(ROOT)) as process:

        def step() -> None:
            with suppress(BrokenPipeError):  # the answer that does not come says it
                print(file=process.stdin, flush=True)
            if not process.stdout.readline():
                raise RuntimeError(f"the process of {made!r} has ended with {process.wait()}")

        try:
            yield step
        finally:
            process.kill()
