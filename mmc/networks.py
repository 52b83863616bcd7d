"""Trained networks: built from a Spec, trained once, kept with what made them, and opened again."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mmc import weights
from mmc.data import Dataset
from mmc.data import load as load_data
from mmc.files import digest_files, digest_text, write_text
from mmc.lab import SCALES, Evaluation, Options, Spec
from mmc.lab.revisions import current
from mmc.losses import build
from mmc.models import Classifier, build_backbone
from mmc.provenance import device, surroundings
from mmc.training import History, Progress, build_rule, train

#: The environment variable that names the folder of checkpoints, weights and logs; `_build/runs` where it is not set.
RUNS = "MMC_RUNS"
ROOT = Path(__file__).resolve().parents[1]


@functools.lru_cache(maxsize=4)
def dataset(name: str, variant: Options = ()) -> Dataset:
    """The data set, loaded once per process, where the networks are."""
    return load_data(name, variant=variant).to(device())


@functools.lru_cache(maxsize=4)
def about(name: str, variant: Options = ()) -> dict[str, Any]:
    """What a record says about its data."""
    data = dataset(name, variant)
    sizes = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    return {"name": data.name, "digest": data.digest(), "official": data.official, **sizes}


def initial(spec: Spec, seed: int) -> Classifier:
    """The untrained classifier of a spec; leaves torch's own generator as it was."""
    data = dataset(*data_of(spec))
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
    """What a trained network was made from: what of the spec decides its training, seed, data and revision.

    The attacks that measure it are no part of it, nor is the experiment: one network serves all that ask for it. Nor is
    what stands at its default, so that an option that is added later leaves the networks from before as they are.
    """
    return " | ".join(map(str, [_decides(spec), seed, about(*data_of(spec))["digest"], _revision(spec)]))


def training_part(spec: Spec) -> Spec:
    """The spec without what does not decide its training."""
    return dataclasses.replace(spec, experiment="net", scale=SCALES[0], tag="", evaluation=Evaluation())


def _revision(spec: Spec) -> int:
    return current(training_part(spec)).number


def _decides(spec: Spec) -> str:
    """What decides a training, as far as it is not the default, as text."""
    asked = training_part(spec)
    plain = Spec(asked.experiment, asked.scale, "", "", "")

    def set_here(value: Any, default: Any) -> dict[str, Any]:
        names = [field.name for field in dataclasses.fields(value)]
        return {name: found for name in names if (found := getattr(value, name)) != getattr(default, name)}

    found = set_here(asked, plain)
    return repr(found | ({"recipe": set_here(asked.recipe, plain.recipe)} if "recipe" in found else {}))


def data_of(spec: Spec) -> tuple[str, Options]:
    """What `dataset` takes."""
    return spec.dataset, spec.variant


def fit(
    spec: Spec,
    seed: int,
    *,
    keep: Path | None = None,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    keep_every: float = 60.0,
) -> tuple[Classifier, History]:
    """Train the classifier of a spec; it is in eval mode, and with it comes how its training went.

    Args:
        spec: what to train.
        seed: of the network, its centers where they are random, order, augmentation and crafting.
        keep: the checkpoint; see `mmc.training.train` for this and the rest.
    """
    model, data = initial(spec, seed), dataset(*data_of(spec))
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


def trained(
    spec: Spec, seed: int, *, place: Path | None = None, **options: Any
) -> tuple[Classifier, History, dict[str, Any]]:
    """The trained classifier of a spec: loaded where its folder holds it, else trained and kept there.

    Args:
        spec: what to train.
        seed: see `fit`.
        place: its folder, with `weights.safetensors`, `training.json` and, while it is trained, `checkpoint`; nothing
            is kept where it is not given.
        options: report, stop and keep_every of `fit`.

    Returns:
        The classifier in eval mode, how its training went, and what made it.

    Raises:
        ValueError: the weights in the folder are damaged.
    """
    if place and (place / "training.json").exists():
        kept = json.loads((place / "training.json").read_text(encoding="utf-8"))
        if kept["identity"] == identity(spec, seed):
            return opened(spec, seed, place / "weights.safetensors"), History(**kept["history"]), kept["made"]
    made, started = provenance(), time.monotonic()
    model, history = fit(spec, seed, keep=place / "checkpoint" if place else None, **options)
    made |= {
        "dtype": f"{spec.recipe.precision} in training, float32 in measurement",
        "seconds": round(time.monotonic() - started, 1),
        "epoch_seconds": history.seconds,
        "epoch_processor_seconds": history.processor,
        "images_per_second": round(history.images_per_second, 1),
        "peak_memory_mib": peak_memory(),
    }
    if place:
        weights.save(place / "weights.safetensors", model, about={"spec": spec.place, "seed": str(seed)})
        kept = {"identity": identity(spec, seed), "history": dataclasses.asdict(history), "made": made}
        write_text(place / "training.json", json.dumps(kept, indent=1) + "\n")
        (place / "checkpoint").unlink(missing_ok=True)
    return model, history, made


def opened(spec: Spec, seed: int, file: Path) -> Classifier:
    """The classifier of a spec with the weights in a file, in eval mode.

    Raises:
        ValueError: the weights are damaged or another network's.
        FileNotFoundError: there is no such file.
    """
    model = initial(spec, seed).eval()
    weights.load(file, model)
    if spec.recipe.channels_last:  # as training leaves it: the order in which a convolution adds hangs on it
        model.to(memory_format=torch.channels_last)
    return model


def peak_memory() -> int:
    """The most memory that was held so far, in MiB: on the GPU where there is one, else by the process."""
    if device() == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def provenance() -> dict[str, Any]:
    """What is about to make a number: code, versions, hardware, device, and whether a rerun gives its bits."""
    exact = device() == "cpu" or torch.are_deterministic_algorithms_enabled()
    return {
        **surroundings(ROOT),
        "code": digest_files(ROOT, (ROOT / "mmc").rglob("*.py")),
        "repeatable": "bit for bit" if exact else "not bit for bit: some GPU kernels add in varying order",
    }


def runs_folder() -> Path:
    """Where checkpoints, weights and logs of all runs are."""
    return Path(os.environ.get(RUNS) or ROOT / "_build" / "runs")


def net_folder(spec: Spec, seed: int) -> Path:
    """The folder of a trained network: checkpoint, weights, how it was trained, and the record last made from it."""
    name = f"{training_part(spec).slug}-{digest_text(_decides(spec))}"
    return runs_folder() / "nets" / name / f"seed-{seed}"
