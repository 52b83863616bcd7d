"""What made a number: commit and hardware, in words a reader understands."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from mmc.processes import cores


def commit(root: Path) -> str:
    """The short commit of a checkout, with `+changes` where tracked files differ; `unknown` outside git."""

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", "mmc", "notebooks", "book", "constraints.txt"
        )
        return git("rev-parse", "--short=10", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """Python's version and those of some installed packages."""
    import importlib.metadata

    found = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    return ", ".join([f"Python {platform.python_version()}", *found])


def device() -> str:
    """Where networks are trained and attacked: `cuda` where torch sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def hardware() -> str:
    """Processor, cores this process may use, and the GPU where there is one."""
    words = f"{_processor()}, {cores()} cores"
    import torch

    return f"{words}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else f"{words}, no GPU"


def surroundings(root: Path) -> dict[str, Any]:
    """What a number was made on: the commit of a checkout, versions, hardware, device and threads."""
    import torch

    return {
        "commit": commit(root),
        "versions": versions("torch", "numpy"),
        "hardware": hardware(),
        "device": device(),
        "threads": torch.get_num_threads(),
    }
