"""Claims on training: who converges faster on data, and what a step costs.

Speed is read without choosing a finish line: one loss is as fast as another if it reaches every accuracy that both
reach no later. Seconds are compared only between runs that were trained side by side.
"""

from __future__ import annotations

import numpy as np

from mmc import bench, lab
from mmc.bench import Ratio
from mmc.claims import Finding, claim, open_claim
from mmc.lab import Record

MNIST, CIFAR = "first-experiment/laptop/mnist-*.json", "convergence/laptop/cifar10-*.json"
#: SCE and what the paper calls its variants.
RIVALS = ("SCE", "Center", "L-GM", "MMLDA")
#: A median ratio of costs up to this is "little"; two times whose ratio is smaller than this are level.
LITTLE = 1.02


def records(pattern: str) -> dict[str, Record]:
    """The records that match a pattern, by loss."""
    found = {record.spec.loss: record for record in lab.load(pattern)}
    if not found:
        raise ValueError(f"no records {pattern}: `mmc sweep {pattern.split('/')[0]} --scale laptop` makes them")
    return found


def best_so_far(record: Record) -> np.ndarray:
    """The highest validation accuracy up to each epoch, seeds by epochs."""
    return np.maximum.accumulate(record.values("curve", "validation"), axis=1)


def lines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Every finish line at which two curves that never fall can differ in order, up to where both end."""
    return np.unique(np.minimum(np.concatenate([first, second]), min(first[-1], second[-1])))


def cost_to(curve: np.ndarray, line: np.ndarray, cost: np.ndarray | float = 1.0) -> np.ndarray:
    """What was spent until a curve that never falls reached each line, at so much per epoch."""
    spent = np.cumsum(np.broadcast_to(cost, curve.shape))
    return spent[np.searchsorted(curve, line)]


def order(first: Record, second: Record, processor: bool = False) -> tuple[int, int, int]:
    """At how many finish lines the first record is earlier, level, and later, by the mean over the seeds."""
    curves = [best_so_far(record).mean(0) for record in (first, second)]
    costs = [r.times("epoch_processor_seconds").mean(0) if processor else 1.0 for r in (first, second)]
    met = [cost_to(curve, lines(*curves), cost) for curve, cost in zip(curves, costs, strict=True)]
    earlier, later = met[0] * LITTLE <= met[1], met[1] * LITTLE <= met[0]
    return int(earlier.sum()), int((~earlier & ~later).sum()), int(later.sum())


@claim(
    "faster-convergence-laptop",
    paper="MMC",
    source="our measurement at laptop scale of the claim on convergence",
    printed="MMC converges faster than SCE and its variants, read as: every validation accuracy that both losses reach "
    "MMC reaches no later. Tested on MNIST (small CNN, one recipe, mean over seeds, epochs) against SCE, Center loss, "
    "L-GM and MMLDA, and on CIFAR-10 (ResNet-32, one recipe, one seed, epochs and processor seconds, where less than "
    "2 % apart is level) against SCE.",
    exact="MMC is ahead of SCE after the first epoch, on MNIST in every seed and on CIFAR-10. But on MNIST Center loss "
    "is, in every seed, ahead of MMC after every epoch.",
    chapter="convergence-measured",
)
def faster_convergence_laptop() -> Finding:
    mnist, cifar = records(MNIST), records(CIFAR)
    against = {rival: order(mnist["MMC"], mnist[rival]) for rival in RIVALS}
    epochs, seconds = (order(cifar["MMC"], cifar["SCE"], processor) for processor in (False, True))
    best = {loss: best_so_far(mnist[loss]) for loss in ("MMC", "SCE", "Center")}
    start = [best_so_far(cifar[loss])[:, 0] for loss in ("MMC", "SCE")]
    ahead_of_sce = (best["MMC"][:, 0] > best["SCE"][:, 0]).all() and (start[0] > start[1]).all()

    def told(count: tuple[int, int, int]) -> str:
        return f"{count[0]} earlier, {count[1]} level, {count[2]} later"

    behind = best["Center"] - best["MMC"]
    return Finding(
        printed=not any(count[2] for count in (*against.values(), epochs, seconds)),
        exact=bool(ahead_of_sce and (behind > 0).all()),
        evidence="Finish lines at which MMC is there earlier, level or later. MNIST, "
        f"{len(mnist['MMC'].seeds)} seeds: "
        + "; ".join(f"against {rival} {told(count)}" for rival, count in against.items())
        + f". Center loss is ahead by {100 * behind.min():.2f} to {100 * behind.max():.2f} points. CIFAR-10, one seed, "
        f"against SCE: {told(epochs)} in epochs, {told(seconds)} in processor seconds; after the first epoch "
        f"{start[0][0]:.1%} against {start[1][0]:.1%}.",
    )


open_claim(
    "faster-convergence-data",
    paper="MMC",
    source="Experiments: convergence",
    printed="Networks trained with MMC converge faster than with SCE and its variants on MNIST, CIFAR-10 and "
    "CIFAR-100.",
    missing="Networks of the paper's size on the paper's schedule with every loss, several seeds, and CIFAR-100: "
    "`mmc sweep convergence --scale gpu` runs the CIFAR-10 part, and CIFAR-100 is not in that catalogue. What the "
    "laptop records say, a small CNN on MNIST and one seed of two losses on CIFAR-10, is `faster-convergence-laptop`.",
    chapter="convergence-measured",
)


def kept_ratio(start: str) -> Ratio:
    """The kept benchmark whose name starts like this."""
    _, sections = bench.kept()
    return next(row for rows in sections.values() for row in rows if row.name.startswith(start))


@claim(
    "little-extra-computation",
    paper="MMC",
    source="Method and experiments",
    printed="MMC costs little more computation than SCE (our reading: time and peak memory of a training step of "
    "ResNet-32 are at most 1.02 times SCE's, in the median of measurements that take turns).",
    chapter="convergence-measured",
)
def little_extra_computation() -> Finding:
    made, _ = bench.kept()
    step, memory = kept_ratio("MMC's step over SCE's"), kept_ratio("MMC's peak memory over SCE's")
    time, space = (f"{r.median:.3f} ({r.low:.3f} to {r.high:.3f}, {r.pairs} pairs)" for r in (step, memory))
    return Finding(
        printed=bool(max(step.median, memory.median) <= LITTLE),
        evidence=f"MMC over SCE, ResNet-32, batch 256: time of a step {time}, peak memory {space}; medians with their "
        f"range. {made['hardware']}, {made['threads']} thread{'s' if made['threads'] > 1 else ''}.",
    )
