"""How a Spec is run: build the network, train it, attack it, look at its features, and keep what was found."""

from __future__ import annotations

import functools
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmc import lab, weights
from mmc.attacks import OBJECTIVES, WORST, applicable, correct, survivors, zero_gradient_share
from mmc.data import Dataset
from mmc.data import load as load_data
from mmc.features import feature_statistics
from mmc.files import clear_leftovers, digest_files, one_at_a_time, write_text
from mmc.lab import Evaluation, Options, Record, Spec
from mmc.lab.revisions import current
from mmc.losses import build
from mmc.models import Classifier, build_backbone
from mmc.provenance import commit, device, hardware, versions
from mmc.training import History, Progress, build_rule, train

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: The environment variable that names the folder of checkpoints, weights and logs; `_build/runs` where it is not set.
RUNS = "MMC_RUNS"
ROOT = Path(__file__).resolve().parents[1]


@functools.lru_cache(maxsize=4)
def dataset(name: str, variant: Options = ()) -> Dataset:
    """The data set, loaded once per process, where the networks are."""
    return load_data(name, variant=variant).to(device())


def about(data: Dataset) -> dict[str, Any]:
    """What a record says about its data."""
    sizes = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    return {"name": data.name, "digest": data.digest(), "official": data.official, **sizes}


@functools.lru_cache(maxsize=4)
def _about(name: str, variant: Options) -> dict[str, Any]:
    return about(dataset(name, variant))


def initial(spec: Spec, seed: int) -> Classifier:
    """The untrained classifier of a spec; leaves torch's own generator as it was."""
    data = dataset(spec.dataset, spec.variant)
    # Random centers are part of what MMC (rand) draws, so each seed has its own.
    own = {"MMC (rand)": {"center_seed": seed}}.get(spec.loss, {})
    if spec.loss == "MMC (hier)" and data.groups:
        own = {"groups": data.groups}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = dict(spec.backbone_options)
        backbone = build_backbone(spec.backbone, data.shape, spec.feature_dim, data.mean, data.std, **options)
        loss = build(spec.loss, data.num_classes, spec.feature_dim, **own | dict(spec.loss_options))
    return Classifier(backbone, loss).to(device())


def identity(spec: Spec, seed: int) -> str:
    """What a checkpoint must have been made for: spec, seed, data and revision."""
    parts = [repr(spec), seed, _about(spec.dataset, spec.variant)["digest"], current(spec).number]
    return " | ".join(map(str, parts))


def fit(
    spec: Spec,
    seed: int,
    *,
    keep: Path | None = None,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    keep_every: float = 60.0,
) -> tuple[Classifier, History]:
    """The trained classifier of a spec, in eval mode, and how its training went.

    Args:
        spec: what to train.
        seed: of the network, its centers where they are random, order, augmentation and crafting.
        keep: the checkpoint; see `mmc.training.train` for this and the rest.
    """
    model, data = initial(spec, seed), dataset(spec.dataset, spec.variant)
    history = train(
        model,
        data.train,
        spec.recipe,
        rule=build_rule(spec.rule, **dict(spec.rule_options)),
        seed=seed,
        validation=data.validation,
        keep=keep,
        keep_every=keep_every,
        identity=identity(spec, seed) if keep else "",
        report=report,
        stop=stop,
    )
    return model, history


def attack(model: Classifier, data: Dataset, evaluation: Evaluation, seed: int = 0) -> dict[str, Any]:
    """Accuracy under PGD by radius and objective and at worst, shares of exactly zero gradients, and logit gaps.

    A gap is the label's logit minus the largest other, on the clean images; they are given by their quantiles.
    """
    test = data.test.first(evaluation.num_attacked)
    x, options = test.x, {"steps": evaluation.steps, "restarts": evaluation.restarts, "seed": seed}
    robust = {
        f"{epsilon:g}": _means(survivors(model, x, test.y, epsilon=epsilon, **options))
        for epsilon in evaluation.epsilons
    }
    zero = {n: round(zero_gradient_share(OBJECTIVES[n], model, x, test.y), 6) for n in applicable(model)}
    with torch.no_grad():
        gaps = np.quantile(-OBJECTIVES["margin"](model, x, test.y).double().cpu().numpy(), QUANTILES)
    return {
        "robust": robust,
        "zero_gradients": {name: zero.get(name) for name in OBJECTIVES},
        "gaps": {f"{q:g}": round(float(gap), 3) for q, gap in zip(QUANTILES, gaps, strict=True)},
    }


def _means(masks: dict[str, torch.Tensor]) -> dict[str, float | None]:
    shares = {name: mask.float().mean().item() for name, mask in masks.items()}
    return {name: None if name not in shares else round(shares[name], 6) for name in (*OBJECTIVES, WORST)}


def clean_accuracy(model: Classifier, data: Dataset) -> float:
    """Share of the test images classified correctly by a float32 forward pass."""
    hits = [
        correct(model, data.test.images(pixels), y)
        for pixels, y in zip(data.test.pixels.split(1000), data.test.y.split(1000), strict=True)
    ]
    return round(torch.cat(hits).float().mean().item(), 6)


def evaluate(model: Classifier, data: Dataset, evaluation: Evaluation, seed: int = 0) -> dict[str, Any]:
    """Everything that is measured on a trained network."""
    values: dict[str, Any] = {"clean": clean_accuracy(model, data)}
    if evaluation.epsilons:
        values |= attack(model, data, evaluation, seed)
    if evaluation.features:
        values["features"] = feature_statistics(model, data.train, data.num_classes)
    return values


def measure(
    spec: Spec,
    seed: int,
    *,
    workplace: Path | None = None,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    keep_every: float = 60.0,
) -> dict[str, Any]:
    """Train and measure one seed of a spec: its entry in the record.

    Args:
        spec: what to run.
        seed: see `fit`.
        workplace: a folder for the checkpoint and the weights; nothing is written where it is not given.
        report: see `mmc.training.train`.
        stop: likewise.
        keep_every: seconds between checkpoints.
    """
    made, started = provenance(spec), time.monotonic()
    keep = workplace / "checkpoint" if workplace else None
    model, history = fit(spec, seed, keep=keep, report=report, stop=stop, keep_every=keep_every)
    if workplace:
        weights.save(workplace / "weights.safetensors", model, about={"spec": spec.place, "seed": str(seed)})
    curve = {"loss": [round(v, 6) for v in history.loss], "validation": [round(v, 6) for v in history.validation]}
    values = {"curve": curve, **evaluate(model, dataset(spec.dataset, spec.variant), spec.evaluation, seed)}
    times = {
        "seconds": round(time.monotonic() - started, 1),
        "epoch_seconds": history.seconds,
        "epoch_processor_seconds": history.processor,
        "images_per_second": round(history.images_per_second, 1),
        "peak_memory_mib": peak_memory(),
    }
    return {"seed": seed, "values": values, "made": made | times}


def peak_memory() -> int:
    """The most memory that was held so far, in MiB: on the GPU where there is one, else by the process."""
    if device() == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def provenance(spec: Spec) -> dict[str, Any]:
    """What is about to make a number: code, versions, hardware, device, types, and whether a rerun gives its bits."""
    exact = device() == "cpu" or torch.are_deterministic_algorithms_enabled()
    return {
        "revision": current(spec).number,
        "commit": commit(ROOT),
        "code": digest_files(ROOT, (ROOT / "mmc").rglob("*.py")),
        "versions": versions("torch", "numpy"),
        "hardware": hardware(),
        "device": device(),
        "dtype": f"{spec.recipe.precision} in training, float32 in measurement",
        "threads": torch.get_num_threads(),
        "repeatable": "bit for bit" if exact else "not bit for bit: some GPU kernels add in varying order",
    }


def runs_folder() -> Path:
    """Where checkpoints, weights and logs of all runs are."""
    return Path(os.environ.get(RUNS) or ROOT / "_build" / "runs")


def workplace(spec: Spec, seed: int) -> Path:
    """The folder of one run's checkpoint, weights and log."""
    return runs_folder() / spec.place / f"seed-{seed}"


def settle(
    spec: Spec,
    seed: int,
    *,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    keep_every: float = 60.0,
) -> Record:
    """See to it that a spec's record holds a seed: load it, or run what is left of it.

    Several processes may ask at once: one runs, the others wait and load. After a kill the next call goes on from the
    checkpoint.

    Raises:
        StaleRecordError: the record at this place is stale, damaged, or of another spec or other data.
        OSError: a file could not be written; everything written before is still there.
    """
    place, data = workplace(spec, seed), _about(spec.dataset, spec.variant)
    with one_at_a_time(place / "lock"):
        record = lab.open_record(spec, data)
        if seed in record.seeds:
            return record
        for name in ("checkpoint", "weights.safetensors"):
            clear_leftovers(place / name)
        run = measure(spec, seed, workplace=place, report=report, stop=stop, keep_every=keep_every)
        write_text(place / "record.json", Record(spec, data, (run,)).dumps())  # what `mmc evaluate` opens
        record = lab.add(spec, data, run, runs_folder() / "locks")
        (place / "checkpoint").unlink(missing_ok=True)
        return record


def record(spec: Spec, seeds: Iterable[int] = (0,)) -> Record:
    """The record of a spec with these seeds: loaded where it was measured, run where not."""
    for seed in seeds:
        found = settle(spec, seed)
    return found
