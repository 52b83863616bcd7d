"""How commands speak: one console, and messages in place of tracebacks where the user can mend the error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mmc.worker import duration, line, teller

console = Console(highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """Print a line as it is."""
    console.print(text, markup=False)


@contextmanager
def told() -> Iterator[None]:
    """Turn an error that has a message for the user into that message and exit status 1."""
    try:
        yield
    except click.exceptions.Exit:  # a RuntimeError too, and no error
        raise
    except (ValueError, OSError, RuntimeError, FloatingPointError, KeyError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
        raise click.ClickException(str(text)) from error


def counter() -> Progress:
    """A bar that counts finished things; lines printed meanwhile scroll above it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


@contextmanager
def training_progress(description: str) -> Iterator[Callable[[Any], None]]:
    """A `report` for `mmc.training.train`: a bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield teller(lambda text: say(f"{description}: {text}"), every=10.0)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar, lines = progress.add_task(description, total=None, text=""), teller(say, every=0.0)

        def report(now: Any) -> None:
            text = f"{now.step}/{now.steps} steps, {now.images_per_second:,.0f} images/s, {duration(now.left)} left"
            progress.update(bar, total=now.steps, completed=now.step, text=text)
            if now.epoch_ended:
                lines(now)

        yield report


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns; the first is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


__all__ = ["console", "counter", "duration", "line", "say", "table", "told", "training_progress"]
