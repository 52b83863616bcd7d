"""The guards of the guards: each way in which nbval could pass without checking anything fails here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mmc.book import notebook as nb

FORMULA = "import sympy as sp\nx = sp.Symbol('x')\nsp.integrate(x**2, x)"


@pytest.fixture(scope="module")
def stored(tiny_chapter) -> nbformat.NotebookNode:
    """A chapter with a printed number, a formula and a figure, executed and in normal form."""
    figure = "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.show()"
    notebook = tiny_chapter(("print('value', 3 + seed)",), (FORMULA,), (figure,))
    notebook.cells[-1].metadata["mystnb"] = {"image": {"alt": "a rising line"}}
    executed = NotebookClient(nb.normalise(notebook), kernel_name="python3").execute()
    assert any("image/png" in o.get("data", {}) for c in executed.cells for o in c.get("outputs", []))
    return nb.normalise(executed)


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "--nbval-current-env",
        str(path),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=path.parent)


def copy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.from_dict(nbformat.reads(nb.dumps(notebook), as_version=4))


def test_stored_chapter_passes_every_guard(stored, tmp_path):
    assert nb.problems(stored) == []
    nb.write(stored, tmp_path / "good.ipynb")
    assert nbval(tmp_path / "good.ipynb").returncode == 0


def test_stale_output_and_tampered_formula_fail_nbval(stored, tmp_path):
    """One nbval session for both; each must fail in its own cell."""
    stale, tampered, text = copy(stored), copy(stored), copy(stored)
    stale.cells[2].outputs[0].text = "value 4\n"
    latex = tampered.cells[3].outputs[0].data
    assert "3" in latex["text/latex"]
    latex["text/latex"] = latex["text/latex"].replace("3", "2")
    text.cells[3].outputs[0].data["text/plain"] = "x**3/2"
    for name, notebook in {"stale": stale, "tampered": tampered, "text": text}.items():
        assert nb.problems(notebook) == [], "only a comparison can see this one"
        nb.write(notebook, tmp_path / f"{name}.ipynb")
    result = nbval(tmp_path)
    assert result.returncode == 1
    assert "3 failed" in result.stdout
    for name in ("stale", "tampered", "text"):
        assert re.search(rf"FAILED \S*{name}\.ipynb::Cell", result.stdout)


def test_unexecuted_notebook_passes_nbval_and_is_caught_here(tiny_chapter, tmp_path):
    notebook = tiny_chapter(("print('never run')",))
    nb.write(notebook, tmp_path / "unexecuted.ipynb")
    assert nbval(tmp_path / "unexecuted.ipynb").returncode == 0, "the trap this guard is for"
    assert any("not executed" in problem for problem in nb.problems(notebook))


def tamper_image(notebook):
    notebook.cells[4].outputs[0].data["image/png"] = "iVBORw0KGgo="


def tamper_alt(notebook):
    del notebook.cells[4].metadata["mystnb"]


def tamper_error(notebook):
    notebook.cells[2].outputs = [nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])]


def tamper_one_unexecuted_cell(notebook):
    notebook.cells[3].execution_count = None


def tamper_skip(notebook):
    notebook.cells[2].metadata["tags"] = ["nbval-skip"]


def tamper_raises(notebook):
    notebook.cells[2].metadata["tags"] = ["raises-exception"]


def tamper_whole_notebook_ignored(notebook):
    for cell in notebook.cells[2:]:
        cell.metadata["tags"] = [nb.UNCOMPARED]


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (tamper_image, "stores an image"),
        (tamper_alt, "without alt text"),
        (tamper_error, "stores an error"),
        (tamper_one_unexecuted_cell, "cell 3 was not executed"),
        (tamper_skip, "nbval-skip"),
        (tamper_raises, "raises-exception"),
        (tamper_whole_notebook_ignored, "every cell's output is left out"),
    ],
)
def test_each_way_around_the_comparison_is_named(stored, tamper, said):
    notebook = copy(stored)
    tamper(notebook)
    assert any(said in problem for problem in nb.problems(notebook))


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "n = 2 * 3",
        "values = [1, 2]",
        "a = b = 1",
        "a, b = 1, 2",
        "n = len('abc')",
        "x = seed",
        "print(1)",
        "n: int = 3",
        "s = None",
    ],
)
def test_parameters_cell_holds_flat_constants_only(tiny_chapter, source):
    notebook = tiny_chapter(("print(1)",), parameters=source)
    with pytest.raises(ValueError, match="parameter"):
        nb.parameters(notebook)
    assert nb.problems(notebook)


def test_parameters_cell_is_there_exactly_once(tiny_chapter):
    notebook = tiny_chapter(("a = 1", "parameters"))
    with pytest.raises(ValueError, match="exactly one"):
        nb.parameters(notebook)


def test_normal_form_is_a_fixed_point_and_keeps_every_source(stored):
    once = nb.normalise(stored)
    assert nb.dumps(once) == nb.dumps(stored)
    noisy = copy(stored)
    noisy.metadata["widgets"] = {"state": {}}
    noisy.cells[2].metadata["collapsed"] = True
    noisy.cells[2].execution_count = 17
    noisy.cells[4].outputs[0].data["image/png"] = "iVBORw0KGgo="
    text = noisy.cells[2].outputs[0].text
    noisy.cells[2].outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=part) for part in (text[:3], text[3:])
    ]
    assert nb.dumps(nb.normalise(noisy)) == nb.dumps(stored)


def test_install_cell_for_colab_comes_and_goes_with_the_address(stored):
    once = nb.with_install_cell(stored, "https://github.com/owner/book")
    assert "git+https://github.com/owner/book" in once.cells[1].source and nb.problems(once) == []
    assert nb.dumps(nb.with_install_cell(once, "https://github.com/owner/book")) == nb.dumps(once)
    moved = nb.with_install_cell(once, "https://github.com/other/book")
    assert sum("%pip" in cell.source for cell in moved.cells) == 1 and "other" in moved.cells[1].source
    assert nb.dumps(nb.with_install_cell(moved, "")) == nb.dumps(stored)
