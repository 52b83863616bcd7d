"""What several tests share: the built site, and a tiny project for tests of the pipeline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, settings

from mmc.book import notebook as nb
from mmc.book.project import Project
from mmc.book.site import build

ROOT = Path(__file__).resolve().parents[1]

# A loaded machine is no failure, and two runs in CI must draw the same examples.
settings.register_profile(
    "book", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("book")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-mutants", action="store_true", help="every mutant of formulas and attacks, not a sample")
    parser.addoption("--all-oracles", action="store_true", help="every attack before all oracles, not a sample")
    parser.addoption("--all-faults", action="store_true", help="kill runs and sweeps 30 times each, not 6")


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the rendered book, brought up to date (the workers of one run take turns)."""
    return build(Project(ROOT))


def chapter(*cells: tuple[str, ...], parameters: str = "seed = 0") -> nbformat.NotebookNode:
    """A notebook from (source, tag, ...) code cells, after a title and a parameters cell."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell("# A tiny chapter")]
    for source, *tags in [(parameters, "parameters"), *cells]:
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags} if tags else {}))
    return nb.normalise(notebook)


class TinyBook:
    """A project with its own copy of `mmc`, driven through the command line as a user would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "mmc", root / "mmc", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "mmc" / "answer.py").write_text("ANSWER = 41\n")
        (root / "notebooks").mkdir()
        (root / "book" / "records" / "one").mkdir(parents=True)
        (root / "book" / "index.md").write_text("# A tiny book\n")
        (root / "_config.yml").write_text("title: Tiny\nexecute: {execute_notebooks: 'off'}\nrepository: {url: ''}\n")
        (root / "constraints.txt").write_text("numpy==2\n")
        self.write("alpha", chapter(("from mmc.answer import ANSWER\nprint('answer', ANSWER + seed)",)))
        self.write("beta", chapter(("print('beta')",)))

    def write(self, name: str, notebook: nbformat.NotebookNode) -> None:
        """Add or change a chapter, and list all of them in the table of contents."""
        nb.write(notebook, self.root / "notebooks" / f"{name}.ipynb")
        names = sorted(path.stem for path in (self.root / "notebooks").glob("*.ipynb"))
        pages = "\n".join(f"- file: notebooks/{name}" for name in names)
        (self.root / "_toc.yml").write_text(f"format: jb-book\nroot: book/index\nchapters:\n{pages}\n")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mmc.cli", *arguments]

    def mmc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `mmc ...` in this project."""
        return subprocess.run(self.command(*arguments), cwd=self.root, capture_output=True, text=True, timeout=300)

    def page(self, name: str) -> str:
        """A rendered chapter."""
        return (self.root / "_build" / "html" / "notebooks" / f"{name}.html").read_text()

    def ran(self, result: subprocess.CompletedProcess[str]) -> list[str]:
        """Which chapters a call of `mmc book` ran."""
        return sorted(line.split()[1] for line in result.stdout.splitlines() if line.startswith("ran "))


@pytest.fixture(scope="session")
def tiny_chapter():
    """Makes a small notebook in normal form."""
    return chapter


@pytest.fixture
def tiny(tmp_path: Path) -> TinyBook:
    """A tiny project of two chapters; `alpha` prints a constant of its own `mmc`."""
    return TinyBook(tmp_path / "tiny")
