"""Images per second in training, for one run and for several at once on a GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mmc.bench.ratio import repeated, timed
from mmc.bench.roofline import floor, operations, products, rates
from mmc.bench.training import stepper
from mmc.networks import ROOT
from mmc.processes import environment
from mmc.training.rules import AT, Rule

BACKBONES, RULES = ("resnet32", "preactresnet18"), ("standard", "AT")


def throughput(
    backbones: Sequence[str] = BACKBONES,
    rules: Sequence[str] = RULES,
    at_once: Sequence[int] = (1, 3),
    seconds: float = 20.0,
    batch_size: int = 512,
) -> list[dict[str, Any]]:
    """Images per second in training, for one run and for several at once, counted together.

    With the share of what the products of a step allow; see `mmc.bench.roofline`.

    Args:
        backbones: names of `mmc.models`.
        rules: of `RULES`.
        at_once: how many runs share the device.
        seconds: that each is measured.
        batch_size: images per step.
    """
    found = []
    for backbone in backbones:
        for rule in rules:
            made = products(operations(_step(backbone, rule, batch_size)))
            most = batch_size / floor(made, rates((one.dtype for one in made), min(1.0, seconds)))
            for runs in at_once:
                asked = [backbone, rule, str(seconds), str(batch_size)]
                started = [
                    subprocess.Popen(
                        [sys.executable, "-m", "mmc.bench.throughput", *asked],
                        stdout=subprocess.PIPE,
                        text=True,
                        env=environment(ROOT),
                    )
                    for _ in range(runs)
                ]
                total = sum(float(process.communicate()[0]) for process in started)
                row = {"backbone": backbone, "rule": rule, "runs": runs}
                found.append(
                    {**row, "images_per_second": round(total), "share_of_roofline": float(f"{total / most:.3g}")}
                )
    return found


def one_run(backbone: str, rule: str, seconds: float, batch_size: int, unmeasured: int = 20, chunk: int = 10) -> float:
    """Images per second of one run, after some steps unmeasured; the device is waited for after each chunk of steps."""
    steps = repeated(_step(backbone, rule, batch_size), chunk)
    for _ in range(-(-unmeasured // chunk)):
        timed(steps)
    count, taken = 0, 0.0
    while taken < seconds:
        taken += timed(steps)[0]
        count += chunk
    return count * batch_size / taken


def _step(backbone: str, rule: str, batch_size: int) -> Callable[[], None]:
    made: Rule | None = AT() if rule == "AT" else None
    return stepper(backbone, "SCE", rule=made, batch_size=batch_size)


if __name__ == "__main__":
    print(one_run(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
