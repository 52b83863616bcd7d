"""Our ensemble beside AutoAttack: the table is the records', and what it says is counted from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmc import ensemble, lab
from mmc.attacks import PRESETS, Verdicts
from mmc.attacks.verdicts import Attacked
from mmc.catalogue import jobs

IMAGES = 40


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty folder of records, and how to put one network into it, of which such images stand."""
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    spec = next(job.spec for job in jobs("adversarial-training", "laptop")).with_changes(num_attacked=IMAGES)

    def put(loss: str, **left: set[int]) -> None:
        masks = {
            name: torch.tensor([i in stands for i in range(IMAGES)])
            for name, stands in zip(("autoattack", *ensemble.OURS), left.values(), strict=True)
        }
        attacks = {f"{name}-8": Attacked(PRESETS[f"{name}-8"], "", mask) for name, mask in masks.items()}
        suite = Verdicts(torch.ones(IMAGES, dtype=torch.bool), attacks, {}, 0).to_json()
        run = {"seed": 0, "values": {"suite": suite}, "made": {"revision": 1_000, "commit": "c", "hardware": "h"}}
        record = lab.Record(spec.with_changes(loss=loss), {}, (run,))
        lab.path(record.spec).parent.mkdir(parents=True, exist_ok=True)
        lab.path(record.spec).write_text(record.dumps(), encoding="utf-8")

    return put


def test_each_network_is_judged_image_by_image(shelf) -> None:
    assert "No recorded network" in ensemble.page()
    shelf("SCE", auto={1, 2, 3}, one={1, 2, 3, 4}, both={2, 3, 5})
    shelf("MMC", auto={7}, one={7, 8}, both={7, 8, 9})
    mmc, sce = ensemble.networks()
    assert (mmc.epsilon, sce.epsilon) == (8 / 255, 8 / 255)
    assert set(np.flatnonzero(sce.auto)) == {1, 2, 3} and set(np.flatnonzero(sce.both)) == {2, 3}
    assert (
        sce.as_strong(sce.both) and not sce.as_strong(sce.one) and not mmc.as_strong(mmc.both)
    )  # one image of forty is more than a tenth of a point
    told = ensemble.page()
    assert r"CIFAR-10, $\epsilon = 8/255$" in told and "n = 40 test images" in told
    assert "| adversarial-training: cnn, SCE, N-FGSM | 0 | 7.5 | 10.0 | 5.0 | 0, 1 |" in told
    assert "| adversarial-training: cnn, MMC, N-FGSM | 0 | 2.5 | 5.0 | 5.0 | 1, 0 |" in told
    assert "at most 0.1 points more than AutoAttack on 1 of 2 networks, and the very same images on 0;" in told
    assert "as strong on 0. Of 80 images AutoAttack fells 1 that both objectives leave, and they fell 1 that" in told


def test_no_recorded_network_stands_better_under_ours() -> None:
    found = list(ensemble.networks())
    assert len(found) > 20
    weaker = [f"{one.record.spec.place} seed {one.seed}" for one in found if not one.as_strong(one.both)]
    assert not weaker, weaker
