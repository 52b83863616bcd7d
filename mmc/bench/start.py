"""How long it takes until work begins: imports, and data onto the device."""

from __future__ import annotations

import subprocess
import sys

from mmc.bench.ratio import Ratio, ratio
from mmc.networks import ROOT
from mmc.processes import environment


def data_and_import() -> list[Ratio]:
    """Seconds to load CIFAR-10 from its folder onto the device, and to import mmc once torch is there; goals in s."""
    found = []
    code = {
        "import of every room of mmc, torch's own import aside": (
            "import torch, time; t = time.perf_counter(); import mmc.losses, mmc.models, mmc.data, mmc.attacks,"
            " mmc.training, mmc.lab, mmc.experiments, mmc.catalogue, mmc.sweep; print(time.perf_counter() - t)",
            2.0,
        ),
        "CIFAR-10 from its folder to the device": (
            "import torch, time; from mmc.data import load; from mmc.provenance import device;"
            " torch.zeros(1, device=device()); t = time.perf_counter(); load('cifar10').to(device());"
            " print(time.perf_counter() - t)",
            1.0,
        ),
    }
    for name, (script, goal) in code.items():
        times = []
        for _ in range(5):
            run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment(ROOT))
            if run.returncode:
                break
            times.append(float(run.stdout))
        if times:
            found.append(ratio(f"{name}, seconds", times, [1.0] * len(times), goal=goal))
    return found
