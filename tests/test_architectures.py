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


def test_ten_classes_and_a_hundred_are_recorded_under_one_recipe_and_met_every_class() -> None:
    found = measured.classes()
    assert set(found) == {(count, loss) for count in (10, 100) for loss in measured.LOSSES}
    assert len({(r.spec.recipe, r.spec.backbone, r.spec.evaluation) for r in found.values()}) == 1
    assert all("apgd-targets-8" in r.spec.evaluation.suite for r in found.values())
    assert {(count, r.spec.dataset) for (count, _), r in found.items()} == {(10, "cifar10"), (100, "cifar100")}


def test_the_finding_on_classes_follows_the_records() -> None:
    found = measured.classes()
    ten = {loss: found[10, loss] for loss in measured.LOSSES}
    both = {(count, loss): record for count in (10, 100) for loss, record in ten.items()}
    assert measured.kept_on_classes(both).printed
    swapped = {(count, loss): found[count, {"MMC": "SCE", "SCE": "MMC"}[loss]] for count, loss in found}
    told = measured.kept_on_classes(swapped)
    assert not told.printed and not told.exact


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
