"""The most memory that something needs, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from mmc.networks import ROOT
from mmc.processes import environment

BEGIN = "import torch\ntorch.set_num_threads(1)\n"
END = "\nfrom mmc.networks import peak_memory\nprint(peak_memory())"


def peak_of(script: str) -> float:
    """MiB that a script needs at its peak: on the GPU where there is one, else all that the process holds."""
    command = [sys.executable, "-c", BEGIN + script + END]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(ROOT))
    return float(found.stdout.splitlines()[-1])
