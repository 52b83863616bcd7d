"""What the commands do; errors a user can mend are told in one message, without a traceback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mmc.book.project import SCALES, Project

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def _told() -> Iterator[None]:
    """Turn an error that has a message for the user into that message and exit status 1."""
    try:
        yield
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mmc")
def cli() -> None:
    """The executable book on losses for adversarial robustness."""


@cli.command()
@click.option(
    "--chapter", "chapters", multiple=True, metavar="NAME", help="Only these chapters run at SCALE; may be repeated."
)
@click.option(
    "--scale", default="smoke", show_default=True, metavar="|".join(SCALES), help="How large the experiments are."
)
@click.option(
    "-p", "given", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter of the chapter; may be repeated."
)
@click.option("--list", "listed", is_flag=True, help="List the chapters and their parameters, then stop.")
def book(chapters: tuple[str, ...], scale: str, given: tuple[tuple[str, str], ...], listed: bool) -> None:
    """Bring the book up to date: run the chapters that changed, render the site in _build/html.

    \b
    A chapter runs again exactly when its notebook, mmc, the records it reads, its parameters or
    constraints.txt changed. Examples:
      mmc book
      mmc book --chapter density-mmc --scale laptop
      mmc book --chapter density-mmc -p num_features 100000 -p seed 1
    """
    from mmc.book.site import build

    with _told():
        project = Project.find()
        if listed:
            return _list(project)
        if given and len(chapters) != 1:
            raise ValueError("-p needs exactly one --chapter, since each chapter has parameters of its own")
        started = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("chapters and pages", total=None)

            def report(line: str, done: int, total: int) -> None:
                progress.console.print(line, markup=False)
                progress.update(bar, completed=done, total=total)

            html = build(project, chapters=list(chapters) or None, scale=scale, given=dict(given), report=report)
        console.print(f"The book is up to date ({time.monotonic() - started:.1f} s). Open:", markup=False)
        console.print(f"  {html / 'index.html'}", markup=False)


def _list(project: Project) -> None:
    from mmc.book import notebook as nb

    for name, path in project.chapters().items():
        values = nb.parameters(nb.read(path))
        console.print(f"{name:18s} " + ", ".join(f"{key} = {value!r}" for key, value in values.items()), markup=False)


@cli.command()
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
def store(chapters: tuple[str, ...]) -> None:
    """Run chapters at their smoke defaults and store their text outputs in notebooks/ (all, if none is named).

    Do this after changing a notebook or mmc, look at the diff, and commit it: nbval compares with what is stored.
    """
    from mmc.book.store import store as store_chapter

    with _told():
        project = Project.find()
        for name in chapters or project.chapters():
            changed = store_chapter(project, name)
            console.print(f"{name}: {'stored' if changed else 'unchanged'}", markup=False)


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def normalise(paths: tuple[Path, ...]) -> None:
    """Bring notebooks into normal form (no images, no noise) and name what still keeps them from being checked."""
    from mmc.book import notebook as nb

    failed = False
    with _told():
        project = Project.find()
        for path in paths or project.chapters().values():
            notebook = nb.read(path)
            normal = project.normal(notebook)
            if nb.dumps(normal) != path.read_text(encoding="utf-8"):
                nb.write(normal, path)
                console.print(f"{path}: normalised", markup=False)
                failed = True
            for problem in nb.problems(normal):
                console.print(f"{path}: {problem}", markup=False)
                failed = True
    if failed:
        raise click.exceptions.Exit(1)


@cli.command()
def ledger() -> None:
    """Check every claim now and print its verdict."""
    from mmc import claims

    with _told():
        for name, entry in claims.ledger().items():
            finding = entry.check() if entry.check else None
            console.print(f"{finding.verdict if finding else claims.OPEN:24s} {name}", markup=False)
