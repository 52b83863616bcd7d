"""The 8 by 8 digits that scikit-learn carries: no download, 17 gray levels, seconds to train on.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmc.data.split import Dataset, carve


def load(folder: Path | None = None, allow_unofficial: bool = False) -> Dataset:
    """The embedded digits, (1, 8, 8): 1,097 to train, 200 to validate, 500 to test; the arguments have no say."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = found.images.astype(np.uint8)[:, None]
    test, validation, train = carve([pixels], found.target, (500, 200), levels=16)
    return Dataset("digits", 10, train, validation, test, classes=tuple("0123456789"))
