"""What a catalogue lists, and what several of them share."""

from __future__ import annotations

from dataclasses import dataclass

from mmc.lab import Spec
from mmc.training.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A spec and the seeds that its record shall hold.

    What a run costs is estimated from its spec and is nobody's to type.

    Attributes:
        spec: what is run.
        seeds: of its networks, from the one that is wanted most.
        worth: of the first of them, beside other jobs: how many questions it answers, such as printed cells.
    """

    spec: Spec
    seeds: tuple[int, ...]
    worth: float = 1.0


#: The losses that the paper's tables compare.
PAPER_LOSSES = ("SCE", "Center", "L-GM", "MMLDA", "MMC", "MMC (rand)")

#: The small networks' recipe.
ADAM = Recipe(epochs=6, batch_size=128, optimizer="adam", learning_rate=1e-3)
#: ResNet-32 with today's schedule: a linear rise and fall, light weight decay, 16-bit arithmetic.
CIFAR = Recipe(
    epochs=20,
    batch_size=128,
    learning_rate=0.03,  # at 0.1 MMC's squared error starts unstably
    nesterov=True,
    weight_decay=5e-4,
    schedule="one-cycle",
    warmup=0.2,
    augmentation="crop-flip",
    precision="bf16",
)
#: The authors' schedule for CIFAR: 200 epochs, drops after 100 and 150, batches of 50, shifts and flips.
PAPER_CIFAR = Recipe(
    epochs=200,
    batch_size=50,
    learning_rate=0.01,
    weight_decay=1e-4,
    schedule="step",
    augmentation="shift-flip",
    precision="bf16",
)
