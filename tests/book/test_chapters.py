"""Every chapter of the book: in normal form, executed, with flat parameters and all the parts a reader expects."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from mmc import claims
from mmc.book import notebook as nb
from mmc.book.project import SCALES, Project, resolve

PROJECT = Project.find(Path(__file__).parent)
CHAPTERS = PROJECT.chapters()
THEORY = [name for name in CHAPTERS if name not in ("ledger", "verdict", "errata")]


@pytest.fixture(scope="module", params=CHAPTERS)
def notebook(request):
    return request.param, nb.read(CHAPTERS[request.param])


def prose(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_chapter_can_be_checked_honestly(notebook):
    name, found = notebook
    assert nb.problems(found) == []
    assert nb.dumps(PROJECT.normal(found)) == CHAPTERS[name].read_text(encoding="utf-8"), "run mmc normalise"


def test_scale_presets_name_parameters(notebook):
    _, found = notebook
    for scale in SCALES:
        resolve(found, scale)
    assert resolve(found, "smoke") == {}, "smoke is what the parameters cell says"


def test_outputs_hold_nothing_that_changes_from_run_to_run(notebook):
    _, found = notebook
    for cell in found.cells:
        for output in cell.get("outputs", []):
            text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"\bat 0x[0-9a-f]{6,}", text), text
            assert not re.search(r"/(home|root|work|tmp|Users)/", text), text


def test_chapter_has_one_title_and_no_skipped_heading(notebook):
    _, found = notebook
    text = re.sub(r"```.*?```", "", prose(found), flags=re.S)
    levels = [len(mark) for mark in re.findall(r"^(#+) ", text, flags=re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


@pytest.mark.parametrize("name", THEORY)
def test_theory_chapter_has_its_parts(name):
    found = nb.read(CHAPTERS[name])
    text, source = prose(found), code(found)
    exercises = re.findall(r"\{exercise\}.*?\n:label: (\S+)", text)
    solutions = re.findall(r"\{solution-start\} (\S+)", text)
    assert len(exercises) >= 3, "three exercises or more"
    assert sorted(exercises) == sorted(solutions), "each with a runnable solution"
    assert source.count("assert ") >= 5, "every statement is asserted"
    settled = [claim for claim in claims.ledger().values() if claim.chapter == name and claim.check]
    for claim in settled:
        assert f'"{claim.name}"' in source, f"the chapter shows no verdict on {claim.name}"
    assert not settled or "page.named(" in source, "the verdict is computed"
    for part in ("You will learn", "Where it breaks", "In the library", "What we learned"):
        assert part.lower() in text.lower(), f"no part {part!r}"
    assert len(text.split()) >= 1000


@pytest.mark.parametrize("name", THEORY)
def test_theorems_and_figures_are_labelled(name):
    found = nb.read(CHAPTERS[name])
    for block in re.findall(r"```\{prf:(?!ref|proof|example|remark)\w+\}.*?```", prose(found), flags=re.S):
        assert ":label:" in block, block[:80]
    for cell in found.cells:
        if any("<Figure" in str(o.get("data", {}).get("text/plain", "")) for o in cell.get("outputs", [])):
            figure = cell.metadata["mystnb"].get("figure", {})
            assert figure.get("caption") and figure.get("name", "").startswith("fig-"), cell.source[:80]
            assert len(cell.metadata["mystnb"]["image"]["alt"]) >= 20
