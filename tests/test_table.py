"""Tables: nothing is lost between the rows and the page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmc.table import Table, in_math, unbroken

CELL = st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False), st.text("abc|$ ", max_size=5))


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_every_row_is_shown_in_both_forms(rows):
    table = Table(["a", "b"], rows, made="for a test")
    markdown, text = table._repr_markdown_(), repr(table)
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == len(rows) + 2
    assert len(text.splitlines()) >= 1
    for line in lines:
        assert line.replace(r"\|", "").count("|") == 3, "a bar in a cell must not open a column"


@given(st.floats(-1e6, 1e6, allow_nan=False), st.integers(2, 12))
def test_floats_keep_the_digits_asked_for(value, digits):
    (cells,) = Table(["x"], [(value,)], made="m", digits=digits).cells()
    assert float(cells[0]) == pytest.approx(value, rel=10.0 ** (1 - digits), abs=1e-300)


@given(st.floats(1e-30, 1e30), st.integers(1, 6))
def test_a_number_in_a_formula_is_the_number_in_the_text(value, digits):
    shown = in_math(value, digits)
    assert float(shown.replace(r" \cdot 10^{", "e").removesuffix("}")) == float(f"{value:.{digits}g}")
    assert "e" not in shown


@given(st.text("a1 ±", max_size=12))
def test_a_number_and_its_spread_stay_together(text):
    kept = unbroken(text)
    assert kept.replace("\u00a0", " ") == text.replace("\u00a0", " ") and " ± " not in kept


def test_how_it_was_made_is_on_the_page():
    assert "by hand, n = 3" in Table(["x"], [(1,)], made="by hand, n = 3")._repr_markdown_()


def test_ragged_row_is_refused():
    with pytest.raises(ValueError, match="1 cells, the table has 2 columns"):
        Table(["a", "b"], [(1,)], made="m")
