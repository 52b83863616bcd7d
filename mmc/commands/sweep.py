"""Many runs, recorded: what is missing of a catalogue, on this machine or on a cluster."""

from __future__ import annotations

import time
from typing import Any

import click

from mmc.commands.tell import counter, say, table, told
from mmc.lab import SCALES


@click.command()
@click.argument("catalogue", required=False)
@click.option("--scale", default="smoke", show_default=True, metavar="|".join(SCALES), help="How large the runs are.")
@click.option("--workers", type=int, help="Runs at once; by default one per core, or what the GPUs take.")
@click.option("--per-gpu", default=1, show_default=True, help="Runs at once on each GPU.")
@click.option("--budget", type=float, metavar="MINUTES", help="Run the best part that ends within this time, and stop.")
@click.option("--executor", type=click.Choice(["local", "slurm"]), default="local", show_default=True, help="Where.")
@click.option("--partition", default="", help="Slurm's partition.")
@click.option("--minutes", default=1440, show_default=True, help="Time limit of a Slurm job; longer runs are requeued.")
@click.option("--gpus", default=1, show_default=True, help="GPUs of a Slurm job.")
@click.option("--cores", default=4, show_default=True, help="Cores of a Slurm job.")
@click.option("--replace-stale", is_flag=True, help="Put records that no longer fit aside, and run them again.")
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop.")
@click.option("--list", "listed", is_flag=True, help="List the catalogues, and stop.")
def sweep(
    catalogue: str | None,
    scale: str,
    workers: int | None,
    per_gpu: int,
    budget: float | None,
    executor: str,
    partition: str,
    minutes: int,
    gpus: int,
    cores: int,
    replace_stale: bool,
    dry_run: bool,
    listed: bool,
) -> None:
    """Run what is missing of CATALOGUE (or of `all`) and record it.

    \b
    Examples:
      mmc sweep --list
      mmc sweep first-experiment --scale laptop
      mmc sweep convergence --scale gpu --per-gpu 3
      mmc sweep all --scale gpu --budget 480
      mmc sweep convergence --scale gpu --executor slurm --partition gpu

    With a budget what is worth most per minute runs first, as estimated from what earlier runs took, and what is not
    done in time is left at a checkpoint.

    Whatever happens, give the same command again: what is recorded stays, what was broken off goes on from its
    checkpoint. Ctrl-C lets every run leave one.
    """
    from mmc import catalogue as shelf
    from mmc.budget import stop_after
    from mmc.provenance import device
    from mmc.sweep import discard_stale, plan, run_local, slots
    from mmc.training.precision import advice

    with told():
        started = time.monotonic()
        if budget is not None and executor == "slurm":
            raise ValueError("a budget is for one machine; on a cluster --minutes limits each job")
        if listed or catalogue is None:
            return _list(shelf)
        jobs = shelf.jobs(catalogue, scale)
        if replace_stale and not dry_run:
            for place in discard_stale(jobs):
                say(f"{place}: stale, put aside")
        todo = plan(jobs, replaced=replace_stale)
        say(f"{catalogue} at {scale} scale: {todo.measured} runs recorded, {len(todo.tasks)} to run")
        for reason in todo.stale.values():
            say(reason)
        if todo.stale and not replace_stale:
            say("Stale records are left alone; --replace-stale puts them aside and runs them again.")
        tasks, until = todo.tasks, None
        if budget is not None:
            tasks, until = _best(tasks, budget, scale, len(slots(workers, per_gpu))), started + stop_after(budget)
        if dry_run:
            for task in tasks:
                say(f"  {task.name}")
            return
        if not tasks:
            return
        if executor == "local":
            for slow in {advice(task.spec.recipe, device()) for task in tasks} - {""}:
                say(slow)
        with counter() as progress:
            bar = progress.add_task("runs", total=len(tasks))
            shown = {
                "report": lambda text: progress.console.print(text, markup=False),
                "ended": lambda task, outcome: progress.advance(bar),
            }
            if executor == "slurm":
                from mmc.slurm import run_slurm

                outcome = run_slurm(tasks, partition=partition, minutes=minutes, gpus=gpus, cores=cores, **shown)
            else:
                outcome = run_local(tasks, places=slots(workers, per_gpu), until=until, **shown)
        say(f"{len(outcome.done)} done, {len(outcome.stopped)} stopped, {len(outcome.failed)} failed")
        if outcome.stopped:
            say("Give the same command again to go on.")
        if outcome.failed:
            raise RuntimeError("\n".join(f"{name}: {reason}" for name, reason in outcome.failed.items()))
        if outcome.stopped:
            raise click.exceptions.Exit(130)


def _best(tasks: list[Any], budget: float, scale: str, places: int) -> list[Any]:
    """The tasks that a budget takes, and what it leaves, told."""
    from mmc.budget import device_of, minutes, trained, within
    from mmc.catalogue.cost import speed

    known = speed(device_of(scale))
    table = within(tasks, budget, places, lambda task, there: minutes(task, known, there), trained(tasks))
    basis = f"{known.records} recorded runs" if known.records else "no record of such a device: an assumed speed"
    say(
        f"{len(table.tasks)} of them fit into {budget:g} minutes, {places} at once, and end after {table.length:.0f}"
        f" (estimated from {basis})"
    )
    return table.tasks


def _list(shelf: object) -> None:
    rows = [["catalogue", *(f"runs at {scale} scale" for scale in SCALES)]]
    for name in shelf.CATALOGUE:
        rows.append([name, *(str(sum(len(job.seeds) for job in shelf.jobs(name, scale))) for scale in SCALES)])
    table(rows)


COMMANDS = (sweep,)
