"""Records: list, show, compare, export."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from mmc.commands.tell import say, table, told
from mmc.files import write_text
from mmc.lab import SCALES
from mmc.worker import duration


def flat(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float | None]]:
    """The single values of a run by their path; of a list, such as a curve, the last."""
    if isinstance(values, dict):
        for name, inner in values.items():
            yield from flat(inner, (*path, name))
    elif isinstance(values, list):
        if values and not isinstance(values[-1], list | dict):
            yield "/".join((*path, "last")), values[-1]
    else:
        yield "/".join(path), values


def _files(pattern: str) -> list[Path]:
    from mmc import lab

    every = sorted(lab.folder().glob("*/*/*.json"))
    # A whole name means that record, though another's may hold it: mnist-cnn-mmc is part of mnist-cnn-mmc-rand.
    found = [f for f in every if pattern in (f.stem, _place(f))] or [f for f in every if pattern in _place(f)]
    if not found:
        raise ValueError(f"no record with {pattern!r} in its name; `mmc records list` names them all")
    return found


def _place(file: Path) -> str:
    return "/".join(file.with_suffix("").parts[-3:])


def _read(pattern: str) -> list[Any]:
    from mmc import lab

    return [lab.read(file) for file in _files(pattern)]


def _spread(values: np.ndarray) -> str:
    mean = f"{values.mean():.4g}"
    return mean if len(values) < 2 else f"{mean} ± {values.std(ddof=1):.2g}"


@click.group()
def records() -> None:
    """What was measured, and what made it. A PATTERN is a record's name, or any part of one."""


@records.command("list")
@click.argument("pattern", default="")
def list_records(pattern: str) -> None:
    """List the records, with their seeds, hardware and commit; stale ones are named as such."""
    from mmc import lab

    with told():
        rows = [["record", "seeds", "clean", "device", "made at commit"]]
        for file in _files(pattern):
            try:
                record = lab.read(file)
            except lab.StaleRecordError as error:
                rows.append([_place(file), "stale", str(error), "", ""])
                continue
            seeds = ", ".join(map(str, record.seeds))
            devices, commits = (", ".join(record.made(key)) for key in ("device", "commit"))
            rows.append([record.spec.place, seeds, _spread(100 * record.values("clean")) + " %", devices, commits])
        table(rows)


@records.command()
@click.argument("pattern")
def show(pattern: str) -> None:
    """Show one record in full: its setting, mean and spread of every value, and what made it."""
    with told():
        found = _read(pattern)
        if len(found) > 1:
            raise ValueError("several records match: " + ", ".join(record.spec.place for record in found))
        (record,) = found
        say(record.spec.place)
        for name, value in vars(record.spec).items():
            say(f"  {name}: {value}")
        say("data")
        for name, value in record.data.items():
            say(f"  {name}: {value}")
        say(f"values, mean ± standard deviation over seeds {list(record.seeds)}")
        by_seed = [dict(flat(run["values"])) for run in record.runs]
        for path in by_seed[0]:
            values = [run.get(path) for run in by_seed]
            shown = "does not apply" if None in values else _spread(np.array(values, dtype=float))
            say(f"  {path}: {shown}")
        say("made")
        for name in record.runs[0]["made"]:
            values = record.made(name)
            say(f"  {name}: {'; '.join(values)}")


@records.command()
@click.argument("patterns", nargs=-1, required=True)
@click.option("--value", "paths", multiple=True, help="Only values whose path holds this; may be repeated.")
def compare(patterns: tuple[str, ...], paths: tuple[str, ...]) -> None:
    """Put records side by side, value by value."""
    with told():
        chosen = {record.spec.place: record for pattern in patterns for record in _read(pattern)}
        rows = [["value", *chosen]]
        runs = [[dict(flat(run["values"])) for run in record.runs] for record in chosen.values()]
        for path in dict.fromkeys(path for record in runs for run in record for path in run):
            if paths and not any(part in path for part in paths):
                continue
            cells = []
            for record in runs:
                values = [run.get(path) for run in record]
                cells.append("-" if None in values else _spread(np.array(values, dtype=float)))
            rows.append([path, *cells])
        table(rows)


@records.command()
@click.argument("pattern", default="")
@click.option("--csv", "target", type=click.Path(path_type=Path), help="The file; standard output where not given.")
def export(pattern: str, target: Path | None) -> None:
    """Write every single value as CSV, one row each: record, setting, seed, value, and what made it."""
    heading = ["record", "scale", "dataset", "backbone", "loss", "rule", "seed", "value", "measured"]
    made = ["commit", "hardware", "device", "seconds"]
    with told():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*heading, *made])
        for record in _read(pattern):
            spec = record.spec
            setting = [spec.place, spec.scale, spec.dataset, spec.backbone, spec.loss, spec.rule]
            for run in record.runs:
                for path, value in flat(run["values"]):
                    cell = "" if value is None else value
                    writer.writerow([*setting, run["seed"], path, cell, *(run["made"][name] for name in made)])
        if target is None:
            sys.stdout.write(text.getvalue())
        else:
            write_text(target, text.getvalue())
            say(f"wrote {target}")


@records.command()
@click.argument("catalogue", default="all")
@click.option("--scale", "scales", multiple=True, metavar="|".join(SCALES), help="Only this scale; may be repeated.")
@click.option("--missing", is_flag=True, help="Name every run that is missing, those worth most per minute first.")
def status(catalogue: str, scales: tuple[str, ...], missing: bool) -> None:
    """Say what of a CATALOGUE is measured, at which scale, what is missing, and what that would cost."""
    from mmc import catalogue as shelf
    from mmc.budget import device_of, minutes, trained, within
    from mmc.catalogue.cost import speed
    from mmc.sweep import plan

    with told():
        names = [name for name in shelf.CATALOGUE if catalogue in (name, "all")]
        jobs = {(n, s): shelf.jobs(n, s) for s in scales or SCALES[1:] for n in names or [catalogue]}
        rows, named = [["catalogue", "scale", "recorded", "missing", "stale", "estimated cost of what is missing"]], []
        for (name, scale), found in jobs.items():
            todo, known = plan(found), speed(device_of(scale))

            def estimate(task: Any, there: Any, known: Any = known) -> float:
                return minutes(task, known, there)

            best = within(todo.tasks, float("inf"), 1, estimate, trained(todo.tasks))
            unit = {"cuda": "of one GPU", "cpu": "of one core"}[known.device]
            assumed = "" if known.records else ", at an assumed speed"
            price = f"{duration(60 * best.length)} {unit}{assumed}" if todo.tasks else ""
            rows.append([name, scale, str(todo.measured), str(len(todo.tasks)), str(len(todo.stale)), price])
            named += [f"  {task.name}" for task in best.tasks]
        table(rows)
        for line in named if missing else ():
            say(line)
        say("`mmc sweep CATALOGUE --scale SCALE` runs what is missing; with --budget MINUTES, the best part of it.")


COMMANDS = (records,)
