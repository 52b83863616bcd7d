"""What a run costs, estimated from its spec: passes through the network, times its size, over a measured speed.

An image through the network counts one, and back twice that, whether the gradient is for weights or for pixels. So a
step of training is three, and one of adversarial training with k inner steps three times k + 1. A network's size is its
multiply-adds, counted layer by layer. The speed comes from records made on the same kind of device: the median of those
with the same network, else of all. So does the share of an attack's full cost that is spent before its images have
fallen, which is small where nothing withstands. Without any record of a GPU the speed is assumed, see `ASSUMED`.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mmc import lab
from mmc.attacks.preset import NEAREST, Preset
from mmc.experiments import asked
from mmc.lab import Record, Spec
from mmc.models import build_backbone

#: Shape, classes, and training and test images of each data set.
SIZES = {
    "digits": ((1, 8, 8), 10, 1097, 500),
    "mnist": ((1, 28, 28), 10, 55_000, 10_000),
    "cifar10": ((3, 32, 32), 10, 45_000, 10_000),
    "cifar100": ((3, 32, 32), 100, 45_000, 10_000),
}
#: Images for which a rule goes through the network and back once, beside its inner steps.
PLAIN_RULES = {"standard": 1, "FGSM-RS": 2, "N-FGSM": 2}
#: Standard AutoAttack on one image that stands: forward and backward passes, from 43.2 and 10.7 million for 10,000.
AUTOATTACK = (4320, 1080)
#: Before there is a record of a GPU: 5,000 multiply-adds in a nanosecond once a batch is large, and 30 microseconds for
#: each layer and pass of a batch, which small batches wait for.
ASSUMED, LAUNCH = 5000.0, 30e-6
BATCH = 250


@dataclass(frozen=True)
class Work:
    """What is to be done, in passes of one image forward through the network, and in batches' passes."""

    passes: float
    batches: float

    def __add__(self, other: Work) -> Work:
        return Work(self.passes + other.passes, self.batches + other.batches)


@functools.lru_cache(maxsize=256)
def _size(backbone: str, dataset: str, feature_dim: int, options: lab.Options) -> tuple[float, int]:
    """Millions of multiply-adds of one image forward, and layers that have any."""
    counted: list[float] = []

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        per_output = module.weight[0].numel()
        counted.append(per_output * output[0].numel() / 1e6)

    shape = SIZES[dataset][0]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network = build_backbone(backbone, shape, feature_dim, **dict(options)).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        network(torch.zeros(1, *shape))
    return sum(counted), len(counted)


def size(spec: Spec) -> tuple[float, int]:
    """Millions of multiply-adds of one image forward, and how many layers there are.

    Raises:
        ValueError: a data set or network that is not known.
    """
    if spec.dataset not in SIZES:
        raise ValueError(f"nothing is known of the size of {spec.dataset!r}; there are: {', '.join(SIZES)}")
    return _size(spec.backbone, spec.dataset, spec.feature_dim, spec.backbone_options)


@functools.lru_cache(maxsize=4096)
def training(spec: Spec) -> Work:
    """What training a network takes; a variant with fewer images counts only where it names their number."""
    images = dict(spec.variant).get("train_size", SIZES[spec.dataset][2])
    rounds = PLAIN_RULES.get(spec.rule) or 1 + dict(spec.rule_options).get("steps", 10)
    passes = 3.0 * rounds * spec.recipe.epochs
    return Work(passes * images, passes * -(-images // spec.recipe.batch_size))


def attacking(preset: Preset, classes: int) -> float:
    """Passes that an attack makes of one image that stands to the end."""
    given = dict(preset.options)
    steps = 3.0 * given.get("steps", 0) * given.get("restarts", 1)
    return {
        "pgd": steps,
        "mim": steps,
        "apgd": steps,
        "apgd_all_targets": steps * (classes - 1),
        "carlini_wagner": 3.0 * given.get("search_steps", 0) * given.get("iterations", 0),
        "spsa": 2.0 * given.get("iterations", 0) * given.get("samples", 0),
        "autoattack": AUTOATTACK[0] + 2.0 * AUTOATTACK[1],
        "hop_skip_jump": float(given.get("steps", 0) * given.get("queries", 0)),
        "worst_rotation": float(given.get("angles", 0)),
    }.get(preset.attack, float(given.get("draws", 1)))


@functools.lru_cache(maxsize=4096)
def measuring(spec: Spec) -> tuple[Work, Work]:
    """What measuring a network takes: for certain, and at most, that is if every image stood to the end."""
    evaluation = spec.evaluation
    classes, test = SIZES[spec.dataset][1], SIZES[spec.dataset][3]
    images = min(evaluation.num_attacked, test)
    sure, most = float(test), 0.0
    if evaluation.features:
        sure += 1000.0 * classes
    if evaluation.epsilons:  # three objectives
        most += 9.0 * len(evaluation.epsilons) * evaluation.steps * evaluation.restarts * images
    for preset in asked(evaluation) if evaluation.suite else ():
        passes = attacking(preset, classes) * images
        if evaluation.sources:
            sure += passes * len(evaluation.sources)
        elif preset.attack in NEAREST:
            sure += passes
        else:
            most += passes
    return Work(sure, sure / min(BATCH, images)), Work(most, most / min(BATCH, images))


@dataclass(frozen=True)
class Speed:
    """How fast a kind of device is, and how much of an attack is spent before its images have fallen.

    Attributes:
        device: `cpu` (one core) or `cuda`.
        rates: by network, millions of multiply-adds in a second; under an empty name, that of any other network.
        standing: by kind of training, `standard` or `adversarial`: share of an attack's full cost; 1 where not known.
        launch: seconds for each layer and pass of a batch.
        records: how many records stand behind it.
    """

    device: str
    rates: dict[str, float] = field(default_factory=dict)
    standing: dict[str, float] = field(default_factory=dict)
    launch: float = 0.0
    records: int = 0

    def seconds(self, spec: Spec, work: Work) -> float:
        """How long some work on a spec's network takes."""
        million, layers = size(spec)
        return (
            work.passes * million / self.rates.get(spec.backbone, self.rates[""]) + work.batches * layers * self.launch
        )


def kind(spec: Spec) -> str:
    """The kind of training that decides how long images withstand."""
    return "standard" if spec.rule == "standard" else "adversarial"


def speed(device: str, records: Iterable[Record] | None = None) -> Speed:
    """The speed of a kind of device, from the records that were made on it.

    Args:
        device: `cpu` or `cuda`.
        records: those to read; all of the book's where not given.
    """
    kept = list(lab.load("*/*/*.json") if records is None else records)
    here = [
        (r.spec, run) for r in kept for run in r.runs if run["made"]["device"] == device and r.spec.dataset in SIZES
    ]
    by_network: dict[str, list[float]] = {}
    for spec, run in here:
        spent = sum(run["made"]["epoch_processor_seconds" if device == "cpu" else "epoch_seconds"])
        if spent > 0:
            rate = training(spec).passes * size(spec)[0] / spent
            by_network.setdefault(spec.backbone, []).append(rate)
    rates = {name: statistics.median(found) for name, found in by_network.items()}
    rates[""] = statistics.median(rates.values()) if rates else {"cuda": ASSUMED * 1000}.get(device, 20_000.0)
    launch = LAUNCH if device == "cuda" and not by_network else 0.0
    return Speed(device, rates, _standing(kept), launch, len(here))


def _standing(records: Iterable[Record]) -> dict[str, float]:
    """Share of an attack's full cost that was spent, by kind of training: of all devices, as images fall alike."""
    found: dict[str, list[float]] = {}
    for record in records:
        sure, most = measuring(record.spec) if record.spec.dataset in SIZES else (None, None)
        if most is None or not most.passes or not record.spec.evaluation.suite:
            continue
        for run in record.runs:
            passes = sum(
                c["forward"] + 2 * c["backward"] for c in run["made"].get("measured", {}).get("cost", {}).values()
            )
            if passes:
                found.setdefault(kind(record.spec), []).append(min(1.0, passes / (sure + most).passes))
    return {name: statistics.median(shares) for name, shares in found.items()}


def minutes(spec: Spec, speed: Speed, *, trained: bool = False) -> float:
    """How long one run of a spec takes, in minutes of one core or of one GPU; its sources are not counted.

    Args:
        spec: what is run.
        speed: see `speed`.
        trained: is its network there already?
    """
    sure, most = measuring(spec)
    share = speed.standing.get(kind(spec), 1.0)
    total = Work(sure.passes + share * most.passes, sure.batches + share * most.batches)
    if not trained:
        total += training(spec)
    return speed.seconds(spec, total) / 60


def network_minutes(spec: Spec, speed: Speed) -> float:
    """How long training a spec's network takes, in minutes."""
    return speed.seconds(spec, training(spec)) / 60
