"""A step in another process, and what preparing a training does to the process it is in."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from mmc.bench.elsewhere import elsewhere
from mmc.networks import ROOT
from mmc.processes import environment

#: A step that writes down its process and torch's threads, one line a call.
NOTED = """
import os
def step():
    with open({place!r}, "a") as file:
        print(os.getpid(), torch.get_num_threads(), file=file)
"""
#: Prints how many pages are new in each of ten times 64 MiB asked for, written and freed.
FAULTS = """
import resource, torch
from mmc.training.prepare import keep_freed_memory
if {keeps}: keep_freed_memory()
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_each_call_is_one_step_of_the_other_process_and_is_over_when_it_returns(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    place = tmp_path / "steps"
    with elsewhere(NOTED.format(place=str(place))) as step:
        for count in range(1, 4):
            step()
            lines = [line.split() for line in place.read_text().splitlines()]
            assert len(lines) == count
    assert len({process for process, _ in lines}) == 1
    assert {int(seen) for _, seen in lines} == {threads}
    assert not Path("/proc", lines[0][0]).exists()  # it ends with the block


@pytest.mark.parametrize("made", ["step = lambda: sys.exit(3)", "raise SystemExit(3)"])
def test_that_the_other_process_has_ended_is_said(made: str) -> None:
    with elsewhere(made) as step, pytest.raises(RuntimeError, match="has ended with 3"):
        step()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, and is left alone")
@pytest.mark.parametrize("keeps", [True, False])
def test_freed_memory_is_not_asked_for_again_page_by_page(keeps: bool) -> None:
    command = [sys.executable, "-c", FAULTS.format(keeps=keeps)]
    # The library adapts by itself unless a threshold is set; here it is set to what it starts with.
    environ = environment(ROOT) | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    new = [int(line) for line in found.stdout.split()]
    pages, typical = 2**24 * 4 // 4096, statistics.median(new)  # the system may take single pages back at any time
    assert (typical < pages / 600) == keeps, new  # huge pages are 512 times as large
