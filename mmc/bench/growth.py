"""How an attack's cost grows with the number of images: time by a line, memory not at all beyond a stated batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mmc import shelf
from mmc.attacks import PRESETS, run_suite
from mmc.bench.contest import clock
from mmc.bench.memory import peak_of
from mmc.bench.ratio import timed, turns

NETWORK, EPSILON, BATCH = "mnist-cnn-mmc", 0.1, 50
#: Presets, with how many images each is given; the first twice, so that memory is compared over a factor of ten.
COUNTS = {
    "margin-pgd-8": (50, 100, 200, 500),
    "apgd-targets-8": (50, 100, 200),
    "spsa10-margin-8": (5, 10, 20, 50),
}
#: The exponent that time may have at most, and the share by which memory may grow from the fewest images to the most.
MOST = {"exponent": 1.1, "memory": 1.05}


def sections() -> dict[str, Callable[[], dict[str, Any]]]:
    """What is measured, by preset."""
    return {slug: partial(grows, slug, counts) for slug, counts in COUNTS.items()}


def attack(slug: str, count: int) -> None:
    """A preset on the first test images, in batches of `BATCH`: it bounds every forward pass."""
    images = shelf.images(NETWORK, count)
    run_suite(shelf.network(NETWORK), images.x, images.y, [slug], epsilon=EPSILON, batch_size=BATCH)


def grows(slug: str, counts: tuple[int, ...], repeats: int = 2) -> dict[str, Any]:
    """Seconds by number of images with the exponent of their best power law, and peak memory at the ends.

    Args:
        slug: of a preset.
        counts: numbers of images.
        repeats: measurements of each number, there and back; the smaller counts.
    """
    attack(slug, counts[0])
    seconds = {count: [] for count in counts}
    for repeat, _ in turns((repeats + 1) // 2):
        for count in counts if repeat % 2 == 0 else counts[::-1]:
            seconds[count].append(timed(partial(attack, slug, count), clock)[0])
    least = [min(times) for times in seconds.values()]
    exponent = float(np.polyfit(np.log(counts), np.log(least), 1)[0])
    script = "from mmc.bench.growth import attack\nattack({!r}, {})"
    memory = [peak_of(script.format(slug, count)) for count in (counts[0], counts[-1])]
    return {
        "preset": PRESETS[slug].at(EPSILON).name,
        "network": NETWORK,
        "batch": BATCH,
        "counts": list(counts),
        "seconds": [round(value, 4) for value in least],
        "exponent": round(exponent, 4),
        "MiB": memory,
        "most": MOST,
        "met": bool(exponent <= MOST["exponent"] and memory[1] <= MOST["memory"] * memory[0]),
    }
