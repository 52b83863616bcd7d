"""Benchmarks: what a step costs, always two things side by side in one run, and the ratio first.

Machines are noisy and drift, so a time alone says little. Here two ways take turns, A B B A, and what is reported is
the median of the ratios of neighbours, with their range. `make bench` prints the tables; `mmc bench --keep` also writes
them to the book's records, where the chapter on convergence reads them.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mmc import lab
from mmc.data.split import Split
from mmc.files import write_text
from mmc.losses import LOSSES, build
from mmc.models import Classifier, build_backbone
from mmc.processes import environment
from mmc.provenance import commit, device, hardware, versions
from mmc.training.loop import Run
from mmc.training.recipe import Recipe
from mmc.training.rules import AT, Rule, Standard

ROOT = Path(__file__).resolve().parents[1]
#: Where the kept table lies below the folder of records.
PLACE = "bench/training-step.json"
SHAPE, FEATURES, CLASSES = (3, 32, 32), 64, 10
FAST = Recipe(epochs=1000, learning_rate=1e-4, precision="bf16", augmentation="crop-flip")


@dataclass(frozen=True)
class Ratio:
    """How two ways compare.

    Attributes:
        name: what is compared, as a sentence's start: "our step over the plain loop's".
        median: of the ratios of neighbouring measurements.
        low: the smallest of them.
        high: the largest of them.
        pairs: how many.
        first: median seconds (or MiB) of the first way.
        second: of the second.
        unit: of these two.
        goal: what the ratio shall not exceed; 0 where there is none.
    """

    name: str
    median: float
    low: float
    high: float
    pairs: int
    first: float
    second: float
    unit: str = "s"
    goal: float = 0.0


def compare(
    name: str, first: Callable[[], Any], second: Callable[[], Any], *, pairs: int = 7, goal: float = 0.0
) -> Ratio:
    """Time two functions in turns, after one unmeasured call of each.

    Args:
        name: see `Ratio`.
        first: the way whose time is divided.
        second: the way it is divided by.
        pairs: how many measurements of each.
        goal: see `Ratio`.
    """
    for way in (first, second):
        way()
    times: list[list[float]] = [[], []]
    for pair in range(pairs):
        for index in (0, 1) if pair % 2 == 0 else (1, 0):  # who goes first takes turns, too
            _wait()
            started = time.perf_counter()
            (first, second)[index]()
            _wait()
            times[index].append(time.perf_counter() - started)
    return _ratio(name, *times, goal=goal)


def _ratio(name: str, first: list[float], second: list[float], unit: str = "s", goal: float = 0.0) -> Ratio:
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    middle = [statistics.median(values) for values in (ratios, first, second)]
    return Ratio(name, middle[0], min(ratios), max(ratios), len(ratios), middle[1], middle[2], unit, goal)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_images(count: int, seed: int = 0) -> Split:
    """Random bytes in CIFAR's shape; a step's cost does not depend on what they show."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return Split(pixels, torch.randint(CLASSES, (count,), generator=generator)).to(device())


def stepper(
    backbone: str, loss: str, recipe: Recipe = FAST, rule: Rule | None = None, batch_size: int = 256
) -> Callable[[], None]:
    """One step of our loop after another, on a new network."""
    recipe = Recipe(**{**asdict(recipe), "batch_size": batch_size})
    torch.manual_seed(0)
    model = Classifier(build_backbone(backbone, SHAPE, FEATURES), build(loss, CLASSES, FEATURES)).to(device())
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    model.train()
    model.autocast = torch.bfloat16 if recipe.precision == "bf16" else None
    run = Run(model, random_images(batch_size * 4), recipe, rule or Standard(), 0)
    return lambda: run.advance()


def plain_stepper(backbone: str, batch_size: int = 256) -> Callable[[], None]:
    """The loop as it is usually first written: float32, NCHW, the optimizer's defaults, images moved as floats."""
    torch.manual_seed(0)
    network = nn.Sequential(build_backbone(backbone, SHAPE, FEATURES), nn.Linear(FEATURES, CLASSES)).to(device())
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    data = random_images(batch_size)
    x, y = data.x, data.y

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()

    return step


def repeated(step: Callable[[], None], times: int) -> Callable[[], None]:
    """Several steps as one function."""

    def run() -> None:
        for _ in range(times):
            step()

    return run


def step_memory(backbone: str, loss: str, batch_size: int = 256) -> float:
    """MiB that three training steps need at their peak, in a process of their own."""
    code = (
        "import sys, resource, torch; from mmc import bench; torch.set_num_threads(1);"
        f"step = bench.stepper({backbone!r}, {loss!r}, batch_size={batch_size}); [step() for _ in range(3)];"
        "print(torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else"
        " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(ROOT))
    return float(found.stdout)


def training(pairs: int = 7) -> list[Ratio]:
    """A training step against its yardsticks: the plain loop, SCE's step, eleven plain steps."""
    ours = stepper("resnet32", "SCE")
    found = [
        compare(
            "our step over a plain float32 NCHW loop's, ResNet-32, batch 256",
            ours,
            plain_stepper("resnet32"),
            pairs=pairs,
            goal=round(1 / 3, 3),
        )
    ]
    found.append(
        compare(
            "MMC's step over SCE's, ResNet-32, batch 256",
            repeated(stepper("resnet32", "MMC"), 2),
            repeated(ours, 2),
            pairs=pairs,
            goal=1.02,
        )
    )
    memory = [[step_memory("resnet32", loss) for _ in range(3)] for loss in ("MMC", "SCE")]
    found.append(_ratio("MMC's peak memory over SCE's, ResNet-32, batch 256", *memory, unit="MiB", goal=1.02))
    small = {"batch_size": 128}
    found.append(
        compare(
            "AT-PGD-10 step over eleven plain steps, ResNet-32, batch 128",
            stepper("resnet32", "SCE", rule=AT(), **small),
            repeated(stepper("resnet32", "SCE", **small), 11),
            pairs=max(3, pairs // 2),
            goal=1.0,
        )
    )
    gc.collect()
    return found


def losses(pairs: int = 7, batch_size: int = 256) -> list[Ratio]:
    """Every loss's own forward and backward pass over SCE's, on features that are there: no network around it."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(batch_size, FEATURES, generator=generator).to(device())
    y = torch.randint(CLASSES, (batch_size,), generator=generator).to(device())

    def way(name: str) -> Callable[[], None]:
        torch.manual_seed(0)
        loss = build(name, CLASSES, FEATURES).to(device())
        learned = [p for p in loss.parameters() if p.requires_grad]

        def run() -> None:
            for _ in range(20):
                inputs = [z.detach().requires_grad_(), *learned]
                torch.autograd.grad(loss(inputs[0], y).mean(), inputs, allow_unused=True)
                loss.observe(z, y)

        return run

    return [compare(f"{name}, 20 passes, over SCE's", way(name), way("SCE"), pairs=pairs) for name in LOSSES]


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
            found.append(_ratio(f"{name}, seconds", times, [1.0] * len(times), goal=goal))
    return found


def gpu_throughput(seconds: float = 20.0, at_once: tuple[int, ...] = (1, 3)) -> list[dict[str, Any]]:
    """Images per second on the GPU, for one run and for several at once, counted together."""
    found = []
    for backbone in ("resnet32", "preactresnet18"):
        for rule in ("standard", "AT"):
            for runs in at_once:
                command = [sys.executable, "-m", "mmc.bench", "throughput", backbone, rule, str(seconds)]
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
    _wait()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            step()
        _wait()
        steps += 10
    return steps * batch_size / (time.perf_counter() - started)


def made() -> dict[str, Any]:
    """What the benchmarks were made on."""
    return {
        "commit": commit(ROOT),
        "versions": versions("torch", "numpy"),
        "hardware": hardware(),
        "device": device(),
        "threads": torch.get_num_threads(),
    }


def keep(sections: dict[str, list[Ratio]]) -> Path:
    """Write the tables where the book reads them."""
    content = {"made": made(), "sections": {name: [asdict(r) for r in rows] for name, rows in sections.items()}}
    target = lab.folder() / PLACE
    write_text(target, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return target


def kept() -> tuple[dict[str, Any], dict[str, list[Ratio]]]:
    """The kept tables: what they were made on, and the ratios by section.

    Raises:
        FileNotFoundError: none were kept.
    """
    content = lab.table(PLACE)
    return content["made"], {name: [Ratio(**row) for row in rows] for name, rows in content["sections"].items()}


if __name__ == "__main__":
    if sys.argv[1:2] == ["throughput"]:
        print(throughput(sys.argv[2], sys.argv[3], float(sys.argv[4])))
