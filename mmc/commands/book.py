"""The book: build it, store what its chapters print, bring notebooks into normal form, check the ledger."""

from __future__ import annotations

import time
from pathlib import Path

import click

from mmc.book.project import SCALES, Project
from mmc.commands.tell import counter, say, told


@click.command()
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

    with told():
        project = Project.find()
        if listed:
            return _list(project)
        if given and len(chapters) != 1:
            raise ValueError("-p needs exactly one --chapter, since each chapter has parameters of its own")
        started = time.monotonic()
        with counter() as progress:
            bar = progress.add_task("chapters and pages", total=None)

            def report(line: str, done: int, total: int) -> None:
                progress.console.print(line, markup=False)
                progress.update(bar, completed=done, total=total)

            html = build(project, chapters=list(chapters) or None, scale=scale, given=dict(given), report=report)
        say(f"The book is up to date ({time.monotonic() - started:.1f} s). Open:")
        say(f"  {html / 'index.html'}")


def _list(project: Project) -> None:
    from mmc.book import notebook as nb

    for name, path in project.chapters().items():
        values = nb.parameters(nb.read(path))
        say(f"{name:18s} " + ", ".join(f"{key} = {value!r}" for key, value in values.items()))


@click.command()
@click.argument("chapters", nargs=-1, metavar="[CHAPTER]...")
def store(chapters: tuple[str, ...]) -> None:
    """Run chapters at their smoke defaults and store their text outputs in notebooks/ (all, if none is named).

    Do this after changing a notebook or mmc, look at the diff, and commit it: nbval compares with what is stored.
    """
    from mmc.book.store import store as store_chapter

    with told():
        project = Project.find()
        for name in chapters or project.chapters():
            changed = store_chapter(project, name)
            say(f"{name}: {'stored' if changed else 'unchanged'}")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def normalise(paths: tuple[Path, ...]) -> None:
    """Bring notebooks into normal form (no images, no noise) and name what still keeps them from being checked."""
    from mmc.book import notebook as nb

    failed = False
    with told():
        project = Project.find()
        for path in paths or project.chapters().values():
            notebook = nb.read(path)
            normal = project.normal(notebook)
            if nb.dumps(normal) != path.read_text(encoding="utf-8"):
                nb.write(normal, path)
                say(f"{path}: normalised")
                failed = True
            for problem in nb.problems(normal):
                say(f"{path}: {problem}")
                failed = True
    if failed:
        raise click.exceptions.Exit(1)


@click.command()
def ledger() -> None:
    """Check every claim now and print its verdict."""
    from mmc import claims

    with told():
        for name, entry in claims.ledger().items():
            finding = entry.check() if entry.check else None
            say(f"{finding.verdict if finding else claims.OPEN:24s} {name}")


COMMANDS = (book, store, normalise, ledger)
