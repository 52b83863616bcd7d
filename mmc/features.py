"""What trained features look like: how tight, how dense, and in how many directions they leave their centers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmc.density import knn_density

if TYPE_CHECKING:
    from jaxtyping import Float

    from mmc.data import Split
    from mmc.models import Classifier


@torch.no_grad()
def class_features(
    model: Classifier, data: Split, num_classes: int, most: int = 1000
) -> list[Float[np.ndarray, "N d"]]:
    """The features of each class in float64, the first `most` of each."""
    found = []
    for k in range(num_classes):
        chosen = data[data.y == k].first(most)
        parts = [chosen.images(pixels) for pixels in chosen.pixels.split(500)]
        found.append(torch.cat([model.features(x) for x in parts]).double().cpu().numpy())
    return found


def direction_dim(features: Float[np.ndarray, "N d"], center: Float[np.ndarray, " d"]) -> float:
    """How many directions the features of a class take, seen from a center: d where they are spread evenly.

    The participation ratio 1 / sum of squared eigenvalues of the mean outer product of the unit directions.
    """
    offsets = features - center
    directions = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    moment = directions.T @ directions / len(directions)
    return float(1 / np.square(moment).sum())


def feature_statistics(
    model: Classifier, data: Split, num_classes: int, most: int = 1000, neighbors: int = 10
) -> dict[str, Any]:
    """How tight and how even features are, in units that do not depend on the scale of the features.

    `tightness`: root mean squared distance of a feature to its class's mean over the mean distance between class means.
    `log_density`: median over features of log10 of the k-NN density with that mean distance as the unit of length.
    `direction_dim`: median over classes, around the loss's own centers where it has them, else around class means.
    """
    features = class_features(model, data, num_classes, most)
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
