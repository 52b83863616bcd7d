"""Many runs, recorded: what is missing of a catalogue, on this machine or on a cluster."""

from __future__ import annotations

import click

from mmc.commands.tell import counter, say, table, told
from mmc.lab import SCALES


@click.command()
@click.argument("catalogue", required=False)
@click.option("--scale", default="smoke", show_default=True, metavar="|".join(SCALES), help="How large the runs are.")
@click.option("--workers", type=int, help="Runs at once; by default one per core, or what the GPUs take.")
@click.option("--per-gpu", default=1, show_default=True, help="Runs at once on each GPU.")
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
      mmc sweep convergence --scale gpu --executor slurm --partition gpu

    Whatever happens, give the same command again: what is recorded stays, what was broken off goes on from its
    checkpoint. Ctrl-C lets every run leave one.
    """
    from mmc import catalogue as shelf
    from mmc.sweep import discard_stale, plan, run_local, slots

    with told():
        if listed or catalogue is None:
            return _list(shelf)
        jobs = shelf.jobs(catalogue, scale)
        if replace_stale:
            for place in discard_stale(jobs):
                say(f"{place}: stale, put aside")
        todo = plan(jobs)
        say(f"{catalogue} at {scale} scale: {todo.measured} runs recorded, {len(todo.tasks)} to run")
        for reason in todo.stale.values():
            say(reason)
        if todo.stale:
            say("Stale records are left alone; --replace-stale puts them aside and runs them again.")
        if dry_run:
            for task in todo.tasks:
                say(f"  {task.name}")
            return
        if not todo.tasks:
            return
        with counter() as progress:
            bar = progress.add_task("runs", total=len(todo.tasks))
            shown = {
                "report": lambda text: progress.console.print(text, markup=False),
                "ended": lambda task, outcome: progress.advance(bar),
            }
            if executor == "slurm":
                from mmc.slurm import run_slurm

                outcome = run_slurm(todo.tasks, partition=partition, minutes=minutes, gpus=gpus, cores=cores, **shown)
            else:
                outcome = run_local(todo.tasks, places=slots(workers, per_gpu), **shown)
        say(f"{len(outcome.done)} done, {len(outcome.stopped)} stopped, {len(outcome.failed)} failed")
        if outcome.stopped:
            say("Give the same command again to go on.")
        if outcome.failed:
            raise RuntimeError("\n".join(f"{name}: {reason}" for name, reason in outcome.failed.items()))
        if outcome.stopped:
            raise click.exceptions.Exit(130)


def _list(shelf: object) -> None:
    rows = [["catalogue", *(f"runs at {scale} scale" for scale in SCALES)]]
    for name in shelf.CATALOGUE:
        rows.append([name, *(str(sum(len(job.seeds) for job in shelf.jobs(name, scale))) for scale in SCALES)])
    table(rows)


COMMANDS = (sweep,)
