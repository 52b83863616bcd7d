"""The first experiment: train one small network per loss, look at its features, attack it with every objective.

python -m mmc.experiments mnist        # makes what is missing of book/records/first-experiment/
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmc import lab
from mmc.attacks import OBJECTIVES, WORST, applicable, correct, survivors, zero_gradient_share
from mmc.data import Dataset
from mmc.data import load as load_data
from mmc.density import knn_density
from mmc.lab import Spec
from mmc.losses import build
from mmc.models import Classifier, build_backbone
from mmc.provenance import device
from mmc.training import train

if TYPE_CHECKING:
    from jaxtyping import Float

LOSSES = ("SCE", "Center", "L-GM", "MMLDA", "MMC", "MMC (rand)")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: The experiment's settings by data set: digits live in the chapter, MNIST once, as records.
SETTINGS = {
    "digits": Spec(
        "first-experiment", "smoke", "digits", "mlp", "SCE", (), 16, 60, 64, 1e-3, (0.05, 0.1, 0.15, 0.2), 40
    ),
    "mnist": Spec("first-experiment", "laptop", "mnist", "cnn", "SCE", (), 64, 6, 128, 1e-3, (0.1, 0.2, 0.3), 40),
}


def specs(dataset: str, **changes: Any) -> list[Spec]:
    """One spec per loss.

    Args:
        dataset: `digits` or `mnist`.
        changes: fields of `Spec` to set otherwise.

    Raises:
        ValueError: no settings for this data set.
    """
    if dataset not in SETTINGS:
        raise ValueError(f"no first experiment on {dataset!r}; there are: {', '.join(SETTINGS)}")
    return [dataclasses.replace(SETTINGS[dataset], **{"loss": loss} | changes) for loss in LOSSES]


@functools.cache
def dataset(name: str) -> Dataset:
    """The data set, loaded once per process, where the networks are."""
    return load_data(name).to(device())


def about(data: Dataset) -> dict[str, Any]:
    """What a record says about its data."""
    sizes = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    return {"name": data.name, "digest": data.digest(), "official": data.official, **sizes}


def initial(spec: Spec, seed: int) -> Classifier:
    """The untrained classifier of a spec; leaves torch's own generator as it was."""
    data = dataset(spec.dataset)
    # Random centers are part of what MMC (rand) draws, so each seed has its own.
    options = dict(spec.loss_options) | ({"center_seed": seed} if spec.loss == "MMC (rand)" else {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(spec.backbone, data.shape, spec.feature_dim, data.mean, data.std)
        loss = build(spec.loss, data.num_classes, spec.feature_dim, **options)
    return Classifier(backbone, loss).to(device())


def fit(spec: Spec, seed: int) -> Classifier:
    """The trained classifier of a spec, in eval mode."""
    model, data = initial(spec, seed), dataset(spec.dataset)
    settings = {"epochs": spec.epochs, "batch_size": spec.batch_size, "learning_rate": spec.learning_rate}
    train(model, data.train, seed=seed, **settings)
    return model


def attack(spec: Spec, seed: int, model: Classifier) -> dict[str, Any]:
    """Accuracy under PGD by radius and objective and at worst, shares of exactly zero gradients, and logit gaps.

    A gap is the label's logit minus the largest other, on the clean images; they are given by their quantiles.
    """
    test = dataset(spec.dataset).test.first(spec.num_attacked)
    options = {"steps": spec.steps, "restarts": spec.restarts, "seed": seed}
    robust = {
        f"{epsilon:g}": _means(survivors(model, test.x, test.y, epsilon=epsilon, **options))
        for epsilon in spec.epsilons
    }
    zero = {n: round(zero_gradient_share(OBJECTIVES[n], model, test.x, test.y), 6) for n in applicable(model)}
    with torch.no_grad():
        gaps = np.quantile(-OBJECTIVES["margin"](model, test.x, test.y).double().cpu().numpy(), QUANTILES)
    return {
        "robust": robust,
        "zero_gradients": {name: zero.get(name) for name in OBJECTIVES},
        "gaps": {f"{q:g}": round(float(gap), 3) for q, gap in zip(QUANTILES, gaps, strict=True)},
    }


def _means(masks: dict[str, torch.Tensor]) -> dict[str, float | None]:
    shares = {name: mask.float().mean().item() for name, mask in masks.items()}
    return {name: None if name not in shares else round(shares[name], 6) for name in (*OBJECTIVES, WORST)}


@torch.no_grad()
def class_features(spec: Spec, model: Classifier, most: int = 1000) -> list[Float[np.ndarray, "N d"]]:
    """The training features of each class in float64, the first `most` of each."""
    data = dataset(spec.dataset)
    chosen = [data.train[data.train.y == k].first(most) for k in range(data.num_classes)]
    return [model.features(split.x).double().cpu().numpy() for split in chosen]


def direction_dim(features: Float[np.ndarray, "N d"], center: Float[np.ndarray, " d"]) -> float:
    """How many directions the features of a class take, seen from a center: d where they are spread evenly.

    The participation ratio 1 / sum of squared eigenvalues of the mean outer product of the unit directions.
    """
    offsets = features - center
    directions = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    moment = directions.T @ directions / len(directions)
    return float(1 / np.square(moment).sum())


def feature_statistics(spec: Spec, model: Classifier, neighbors: int = 10) -> dict[str, Any]:
    """How tight and how even the training features are, in units that do not depend on the scale of the features.

    `tightness`: root mean squared distance of a feature to its class's mean over the mean distance between class means.
    `log_density`: median over features of log10 of the k-NN density with that mean distance as the unit of length.
    `direction_dim`: median over classes, around the loss's own centers where it has them, else around class means.
    """
    features = class_features(spec, model)
    means = np.stack([f.mean(0) for f in features])
    apart = np.linalg.norm(means[:, None] - means, axis=2)
    unit = apart.sum() / (len(means) * (len(means) - 1))
    spread = np.sqrt(np.concatenate([np.square(f - m).sum(1) for f, m in zip(features, means, strict=True)]).mean())
    centers = getattr(model.loss, "centers", None)
    centers = means if centers is None else centers.detach().double().cpu().numpy()
    logs = np.concatenate([knn_density(f / unit, neighbors=neighbors, log=True) for f in features]) / np.log(10)
    return {
        "tightness": round(float(spread / unit), 6),
        "log_density": round(float(np.median(logs)), 3),
        "direction_dim": round(
            float(np.median([direction_dim(f, c) for f, c in zip(features, centers, strict=True)])), 3
        ),
    }


def measure(spec: Spec, seed: int) -> dict[str, Any]:
    """Everything the first experiment measures, for one loss and one seed."""
    model, test = fit(spec, seed), dataset(spec.dataset).test
    clean = correct(model, test.x, test.y).float().mean().item()
    return {"clean": round(clean, 6), **attack(spec, seed, model), "features": feature_statistics(spec, model)}


def main(argv: list[str]) -> int:
    """Make the missing records of one data set, three seeds each."""
    torch.set_num_threads(1)
    (name,) = argv or ["mnist"]
    for seed in range(3):
        for spec in specs(name):
            record = lab.run(spec, [seed], measure, about(dataset(name)))
            print(spec.slug, "seed", seed, record.runs[-1]["made"]["seconds"], "s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
