"""Images per second in training on a GPU, for one run and for several at once."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import torch

from mmc.bench.training import stepper
from mmc.networks import ROOT
from mmc.processes import environment
from mmc.training.rules import AT


def gpu_throughput(seconds: float = 20.0, at_once: tuple[int, ...] = (1, 3)) -> list[dict[str, Any]]:
    """Images per second on the GPU, for one run and for several at once, counted together."""
    found = []
    for backbone in ("resnet32", "preactresnet18"):
        for rule in ("standard", "AT"):
            for runs in at_once:
                command = [sys.executable, "-m", "mmc.bench.throughput", backbone, rule, str(seconds)]
                started = [
                    subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(ROOT))
                    for _ in range(runs)
                ]
                rates = [float(process.communicate()[0]) for process in started]
                found.append({"backbone": backbone, "rule": rule, "runs": runs, "images_per_second": round(sum(rates))})
    return found


def throughput(backbone: str, rule: str, seconds: float, batch_size: int = 512) -> float:
    """Images per second of one run."""
    step = stepper(backbone, "SCE", rule=AT() if rule == "AT" else None, batch_size=batch_size)
    for _ in range(20):
        step()
    torch.cuda.synchronize()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        steps += 10
    return steps * batch_size / (time.perf_counter() - started)


if __name__ == "__main__":
    print(throughput(sys.argv[1], sys.argv[2], float(sys.argv[3])))
