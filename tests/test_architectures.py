"""Depth and parts: what is read from the records is what they hold, and the proposition bounds what was trained."""

from __future__ import annotations

import pytest

from mmc import lab, reported
from mmc.attacks import WORST
from mmc.claims import architectures as measured
from mmc.claims.white_box import papers, standing


def test_every_depth_is_recorded_for_both_losses_and_attacked() -> None:
    found = measured.depths()
    assert {loss for loss, _ in found} == set(measured.LOSSES)
    for (loss, depth), record in found.items():
        assert record.spec.backbone == f"resnet{depth}" and record.spec.loss == loss
        worst, papers_own = (standing(record, name, measured.RADIUS) for name in (WORST, papers(loss)))
        assert worst.shape[1] == record.spec.evaluation.num_attacked
        assert (worst <= papers_own).all() and papers_own.mean() <= 1


def test_every_part_is_recorded_under_one_recipe() -> None:
    found = measured.parts()
    assert set(found) == {(loss, part) for loss in measured.LOSSES for part in measured.PARTS}
    assert len({(r.spec.recipe, r.spec.variant) for r in found.values()}) == 1
    options = {part: dict(found["MMC", part].spec.backbone_options) for part in measured.PARTS}
    assert options["whole"] == {}
    assert options["without the linear layer"] == {"linear": False}
    assert options["without batch norm"] == {"batch_norm": False}


def test_without_the_layer_no_accuracy_exceeds_what_nine_classes_allow() -> None:
    """No class of MNIST's test images has less than eight percent of them."""
    assert measured.clean(measured.parts()["MMC", "without the linear layer"]) < 0.92


def test_the_printed_columns_are_those_of_the_table() -> None:
    for row in reported.table("white-box-architectures").rows:
        if row["dataset"] == "CIFAR-100":
            found = measured.hundred(row["method"], row["architecture"])
            assert found == tuple(float(row[c].removeprefix("<=")) for c in ("pgd50_tar_8", "pgd50_un_8"))


def test_without_records_it_says_what_makes_them(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lab.RECORDS, str(tmp_path))
    assert measured.parts() == {}
    with pytest.raises(ValueError, match="mmc sweep architectures --scale laptop"):
        measured.depths()
