"""How a Spec is run: train its network, attack it, look at its features, and keep what was found."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmc import boundary, lab
from mmc.attacks import OBJECTIVES, WORST, applicable, correct, run_suite, survivors, zero_gradient_share
from mmc.attacks.preset import Preset
from mmc.attacks.presets import chosen
from mmc.attacks.verdicts import Verdicts, bits, summary
from mmc.data import Dataset
from mmc.features import feature_statistics
from mmc.files import clear_leftovers, one_at_a_time, write_text
from mmc.lab import Evaluation, Record, Spec
from mmc.lab.revisions import current
from mmc.margins import margins_of
from mmc.models import Classifier
from mmc.networks import (
    about,
    data_of,
    dataset,
    fit,
    initial,
    net_folder,
    opened,
    provenance,
    runs_folder,
    trained,
)
from mmc.training import Progress

# What chapters need of the networks, by one name.
__all__ = [
    "attack",
    "attack_by_name",
    "clean_accuracy",
    "dataset",
    "evaluate",
    "fit",
    "initial",
    "job_folder",
    "measure",
    "net_folder",
    "opened",
    "outcome",
    "record",
    "settle",
    "trained",
]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


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


def evaluate(
    model: Classifier,
    data: Dataset,
    evaluation: Evaluation,
    seed: int = 0,
    sources: Mapping[str, Classifier] | None = None,
) -> dict[str, Any]:
    """Everything that is measured on a trained network; with sources, the suite's images are crafted on them."""
    values: dict[str, Any] = {"clean": clean_accuracy(model, data)}
    if evaluation.epsilons:
        values |= attack(model, data, evaluation, seed)
    if evaluation.per_class:
        values["boundary"] = boundary.measure(model, data, evaluation.per_class, seed)
    if evaluation.margins:
        radius = (*evaluation.radii, *evaluation.epsilons)[0]
        values["margins"] = margins_of(model, data, evaluation.margins, radius, seed)
    if evaluation.features:
        values["features"] = feature_statistics(model, data.train, data.num_classes)
    if sources:
        values["transfer"] = attack_from(sources, model, data, evaluation, seed)
    elif evaluation.suite:
        values["suite"] = attack_by_name(model, data, evaluation, seed).to_json()
    return values


def attack_by_name(model: Classifier, data: Dataset, evaluation: Evaluation, seed: int = 0) -> Verdicts:
    """Every verdict of the evaluation's suite, at each of its radii.

    Raises:
        ValueError: an unknown name, or a radius that none of the attacks takes.
    """
    test = data.test.first(evaluation.num_attacked)
    return run_suite(model, test.x, test.y, asked(evaluation), seed=seed)


def asked(evaluation: Evaluation) -> tuple[Preset, ...]:
    """The attacks of an evaluation's suite, at each of its radii.

    Raises:
        ValueError: an unknown name, or a radius that none of the attacks takes.
    """
    radii = evaluation.radii or (None,)
    return chosen(p for radius in radii for p in chosen(evaluation.suite, radius, evaluation.l2 or None))


def attack_from(
    sources: Mapping[str, Classifier], model: Classifier, data: Dataset, evaluation: Evaluation, seed: int = 0
) -> dict[str, Any]:
    """Which images a network has right, as they are and as the suite's attacks on each source leave them.

    An attack climbs on when its own source is fooled, because that carries farther.

    Returns:
        `num_examples`, `clean`, and by source and attack `accuracy`, `interval` and `correct`, a string of 0 and 1.
    """
    test = data.test.first(evaluation.num_attacked)
    parts = [test[i : i + 250] for i in range(0, len(test), 250)]
    right = torch.cat([correct(model, part.x, part.y).cpu() for part in parts])
    found: dict[str, Any] = {"num_examples": len(test), "clean": summary(right) | {"correct": bits(right)}}
    for name, source in sources.items():
        found[name] = {}
        for preset in asked(evaluation):
            if preset.misfit(source, data.num_classes):
                continue
            carrier = climbing_on(preset)
            left = [correct(model, carrier(source, part.x, part.y, seed=seed), part.y).cpu() for part in parts]
            stands = right & torch.cat(left)
            found[name][preset.slug] = summary(stands) | {"correct": bits(stands)}
    return found


def climbing_on(preset: Preset) -> Preset:
    """The same attack as a carrier to other networks: it climbs on with what fools its source already.

    PGD keeps the first image that fools. Its twin that climbs on is MIM without momentum: the same steps, from the
    image itself. An attack of another kind, or in another norm, is left as it is.
    """
    if preset.attack not in ("pgd", "mim") or preset.norm != "linf":
        return preset
    given = dict(preset.options)
    if preset.attack == "pgd":
        plain = isinstance(given.get("step_size"), float)  # a schedule's steps become steps of one length
        given = {name: given[name] for name in ("steps", *(["step_size"] if plain else []))} | {"decay": 0.0}
    return dataclasses.replace(preset, attack="mim", options=tuple((given | {"active_set": False}).items()))


def outcome(run: dict[str, Any]) -> Verdicts:
    """The verdicts that a record's run holds; the inverse of what `measure` keeps.

    Raises:
        KeyError: the run was not attacked by name.
    """
    return Verdicts.from_json(run["values"]["suite"])


def measure(spec: Spec, seed: int, *, place: Path | None = None, **options: Any) -> dict[str, Any]:
    """Train and measure one seed of a spec: its entry in the record.

    Args:
        spec: what to run.
        seed: see `fit`.
        place: the network's folder, see `trained`.
        options: report, stop and keep_every of `fit`.
    """
    model, history, made = trained(spec, seed, place=place, **options)
    # A source is trained from the next seed, never the same one: two networks of one seed begin alike. So whoever waits
    # for a source waits for a later seed, and no two runs for each other.
    sources = {
        source.slug: trained_alone(source, seed + 1, kept=bool(place), **options)[0]
        for source in spec.evaluation.sources
    }
    here, started = provenance(), time.monotonic()
    curve = {"loss": [round(v, 6) for v in history.loss], "validation": [round(v, 6) for v in history.validation]}
    values = {"curve": curve, **evaluate(model, dataset(*data_of(spec)), spec.evaluation, seed, sources)}
    measured = {key: here[key] for key in ("commit", "code", "versions", "hardware", "device")}
    measured["seconds"] = round(time.monotonic() - started, 1)
    if "suite" in values:  # times are no values: a rerun gives the verdicts again, and not these
        measured["cost"] = values["suite"].pop("cost")
    return {"seed": seed, "values": values, "made": {"revision": current(spec).number, **made, "measured": measured}}


def trained_alone(spec: Spec, seed: int, *, kept: bool = True, **options: Any) -> tuple[Classifier, Any, Any]:
    """See `trained`: in the network's own folder, where there is one, while no other process trains there."""
    if not kept:
        return trained(spec, seed, **options)
    place = net_folder(spec, seed)
    with one_at_a_time(place / "lock"):
        return trained(spec, seed, place=place, **options)


def job_folder(spec: Spec, seed: int) -> Path:
    """The folder of one run's order and log."""
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
    checkpoint. A network that another experiment has trained already is only measured.

    Raises:
        StaleRecordError: the record at this place is stale, damaged, or of another spec or other data.
        OSError: a file could not be written; everything written before is still there.
    """
    place, data = net_folder(spec, seed), about(*data_of(spec))
    with one_at_a_time(place / "lock"):
        record = lab.open_record(spec, data)
        if seed in record.seeds:
            return record
        for name in ("checkpoint", "weights.safetensors", "training.json"):
            clear_leftovers(place / name)
        run = measure(spec, seed, place=place, report=report, stop=stop, keep_every=keep_every)
        write_text(place / "record.json", Record(spec, data, (run,)).dumps())  # what `mmc evaluate` opens
        return lab.add(spec, data, run, runs_folder() / "locks")


def record(spec: Spec, seeds: Iterable[int] = (0,)) -> Record:
    """The record of a spec with these seeds: loaded where it was measured, run where not."""
    for seed in seeds:
        found = settle(spec, seed)
    return found
