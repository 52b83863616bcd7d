"""Printed numbers: every cell is one, every row has its source, and what is asked for is found or refused by name."""

from __future__ import annotations

import pytest

from mmc import lab, reported

WORDS = ("method", "dataset", "architecture", "model", "adversarial_training", "attack", "source")


@pytest.mark.parametrize("name", reported.TABLES)
def test_every_cell_is_a_number_or_a_bound(name):
    table = reported.table(name)
    assert len(table.source.split()) > 5 and table.rows
    for row in table.rows:
        for column, cell in row.items():
            if column in WORDS:
                assert cell, f"{column} of {row}"
            else:
                low, high = reported.bounds(cell)
                assert 0 <= low <= high <= 100


def test_every_file_has_a_name_here():
    assert {file.stem for file in (lab.folder() / "reported").glob("*.csv")} == set(reported.TABLES)


def test_a_bound_is_anything_up_to_it():
    assert reported.bounds("<=1") == (0, 1) and reported.bounds("24.8") == (24.8, 24.8)


def test_one_row_or_none_is_refused():
    table = reported.table("white-box-cifar10")
    assert table.row(method="MMC-10")["pgd50_un_8"] == "24.8"
    with pytest.raises(ValueError, match="0 rows"):
        table.row(method="MMC-11")
    with pytest.raises(ValueError, match="white-box-cifar10"):
        reported.table("white-box-cifar11")


def test_a_chapter_that_reads_a_table_leaves_a_trace(tmp_path, monkeypatch):
    monkeypatch.setenv(lab.TRACE, str(tmp_path / "trace"))
    reported.table("reevaluations")
    [place] = (tmp_path / "trace").read_text().split()
    assert (lab.folder() / place).exists() and lab.digest(place) != lab.digest("nothing")
