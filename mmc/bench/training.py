"""What a training step costs, against its yardsticks."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from mmc.bench.elsewhere import elsewhere
from mmc.bench.memory import peak_of
from mmc.bench.ratio import Ratio, compare, ratio, repeated, timed
from mmc.bench.roofline import floor, operations, products, rates
from mmc.data.split import Split
from mmc.losses import LOSSES, build
from mmc.models import Classifier, build_backbone
from mmc.provenance import device
from mmc.recipe import Recipe
from mmc.training.loop import Run
from mmc.training.precision import fastest
from mmc.training.prepare import has_compiler, prepare
from mmc.training.rules import AT, Rule, Standard

SHAPE, FEATURES, CLASSES = (3, 32, 32), 64, 10
EAGER = Recipe(epochs=1000, learning_rate=1e-4, precision=fastest(device()), augmentation="crop-flip")
FAST = replace(EAGER, compiled=device() == "cpu" and has_compiler())
OURS = f"our {FAST.precision} step" + (", norms compiled," if FAST.compiled else "")


def random_images(count: int, seed: int = 0) -> Split:
    """Random bytes in CIFAR's shape; a step's cost does not depend on what they show."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return Split(pixels, torch.randint(CLASSES, (count,), generator=generator)).to(device())


def stepper(
    backbone: str, loss: str, recipe: Recipe = EAGER, rule: Rule | None = None, batch_size: int = 256
) -> Callable[[], None]:
    """One step of our loop after another, on a new network."""
    recipe = replace(recipe, batch_size=batch_size)
    torch.manual_seed(0)
    model = Classifier(build_backbone(backbone, SHAPE, FEATURES), build(loss, CLASSES, FEATURES)).to(device())
    prepare(model, recipe)
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


def plain_elsewhere() -> AbstractContextManager[Callable[[], None]]:
    """The plain loop's step in a process of its own: ours tells its process to keep freed memory, which helps both."""
    return elsewhere("from mmc.bench.training import plain_stepper\nstep = plain_stepper('resnet32')")


def step_memory(backbone: str, loss: str, batch_size: int = 256) -> float:
    """MiB that three training steps need at their peak, in a process of their own."""
    made = f"stepper({backbone!r}, {loss!r}, batch_size={batch_size})"
    return peak_of(f"from mmc.bench.training import stepper\nstep = {made}\nfor _ in range(3): step()")


def training_step(pairs: int = 7) -> list[Ratio]:
    """A training step against its yardsticks: the plain loop, SCE's step, eleven plain steps."""
    ours = stepper("resnet32", "SCE", FAST)
    with plain_elsewhere() as plain:
        name = f"{OURS} over a plain float32 NCHW loop's, ResNet-32, batch 256"
        found = [compare(name, ours, plain, pairs=pairs, calls=2, goal=round(1 / 3, 3))]
    if FAST.compiled:
        name = f"{OURS} over the same not compiled, ResNet-32, batch 256"
        found.append(compare(name, ours, stepper("resnet32", "SCE"), pairs=pairs, calls=2))
    found.append(
        compare(
            "MMC's step over SCE's, ResNet-32, batch 256",
            stepper("resnet32", "MMC", FAST),
            ours,
            pairs=pairs,
            calls=4,
            goal=1.02,
        )
    )
    memory = [[step_memory("resnet32", loss) for _ in range(3)] for loss in ("MMC", "SCE")]
    found.append(ratio("MMC's peak memory over SCE's, ResNet-32, batch 256", *memory, unit="MiB", goal=1.02))
    small = {"batch_size": 128}
    found.append(
        compare(
            "AT-PGD-10 step over eleven plain steps, ResNet-32, batch 128",
            stepper("resnet32", "SCE", FAST, AT(), **small),
            repeated(stepper("resnet32", "SCE", FAST, **small), 11),
            pairs=max(3, pairs // 2),
            goal=1.0,
        )
    )
    gc.collect()
    return found


def rooflines(pairs: int = 7) -> list[Ratio]:
    """How near our step and the plain loop's come to what they take at least on this machine; see `mmc.bench.roofline`.

    First their products alone, which any program has to do, then all operations one after another, as PyTorch runs
    them where nothing is compiled. And how far the floors of the products lie apart: what 16 bits alone can gain.
    """
    steps = {"our step": stepper("resnet32", "SCE"), "the plain loop's step": plain_stepper("resnet32")}
    made = {name: operations(step) for name, step in steps.items()}
    best = rates(one.dtype for step in made.values() for one in products(step))
    found, least = [], []
    with plain_elsewhere() as plain:
        for name, step in zip(made, (stepper("resnet32", "SCE", FAST), plain), strict=True):
            timed(step)  # what is compiled is compiled here
            times = [timed(step)[0] for _ in range(pairs)]
            for what, chosen in (("the products", products(made[name])), ("all operations", made[name])):
                floors = [floor(chosen, best)] * pairs
                found.append(ratio(f"least time of {what} of {name} over what it takes", floors, times))
            least.append([floor(products(made[name]), best)])
    return [*found, ratio("least time of our products over that of the plain loop's", *least)]


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
