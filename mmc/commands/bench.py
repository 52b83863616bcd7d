"""Benchmarks: ratios first, side by side in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmc.commands.tell import say, table, told

if TYPE_CHECKING:
    from mmc.bench.attacks import Table

WHAT = ("training", "attacks")


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(WHAT))
@click.option("--pairs", default=7, show_default=True, help="Measurements of each of the two ways, for training.")
@click.option("--threads", type=int, help="Threads of torch; by default one per core in training, one in attacks.")
@click.option("--keep", "kept", is_flag=True, help="Write the tables to the book's records.")
def bench(what: tuple[str, ...], pairs: int, threads: int | None, kept: bool) -> None:
    """Measure what training steps and attacks cost against their yardsticks, both if neither is named.

    A ratio is the median over pairs of neighbours. Run it on a machine that does nothing else. On a GPU it also counts
    images per second in training. Attacks are put beside those of other libraries on the book's networks, as far as
    these are installed, with what each leaves standing.
    """
    with told():
        for name in what or WHAT:
            _training(pairs, threads, kept) if name == "training" else _attacks(threads, kept)


def _training(pairs: int, threads: int | None, kept: bool) -> None:
    import torch

    from mmc.bench import record, start, training
    from mmc.bench.throughput import throughput
    from mmc.processes import cores

    torch.set_num_threads(threads or cores())
    sections = {
        "A training step": training.training_step(pairs),
        "What a step takes at least": training.rooflines(pairs),
        "The losses alone": training.losses(pairs),
        "Data and import": start.data_and_import(),
    }
    made = record.made()
    place = record.keep(sections) if kept else None  # before a word: a pipe that closes early loses nothing
    for name, rows in sections.items():
        say(f"\n{name}")
        lines = [["ratio", "from", "to", "goal", "what", "first", "second"]]
        for r in rows:
            goal = f"<= {r.goal:g}" if r.goal else ""
            numbers = [f"{r.median:.3f}", f"{r.low:.3f}", f"{r.high:.3f}", goal]
            lines.append([*numbers, r.name, f"{r.first:.4g} {r.unit}", f"{r.second:.4g} {r.unit}"])
        table(lines)
    if torch.cuda.is_available():
        say("\nImages per second")
        for row in throughput():
            say(", ".join(f"{name} {value}" for name, value in row.items()))
    say("\n" + ", ".join(f"{name}: {value}" for name, value in made.items()))
    if place:
        say(f"kept in {place}")


def _attacks(threads: int | None, kept: bool) -> None:
    import torch

    from mmc import lab
    from mmc.bench import attacks

    torch.set_num_threads(threads or 1)
    _tell(attacks.measure(kept, lambda part: say(f"measuring {part}")))
    if kept:
        say(f"kept in {lab.folder() / attacks.PLACE}")


def _tell(found: Table) -> None:
    say("\nAttacks beside their peers: what each leaves, and our time over theirs")
    rows = [["attack", "network", "peer", "images", "ours", "theirs", "as strong", "time", "from", "to", "goal", "met"]]
    for one in found.outcomes:
        ours, theirs = (f"{sum(values) / len(values):.4g}" for values in (one.ours, one.theirs))
        goal, met = (f"<= {one.time.goal:.2g}", _word(one.met)) if one.time.goal else ("", "")
        times = [f"{value:.2f}" for value in (one.time.median, one.time.low, one.time.high)]
        where = [one.name, one.network, one.peer, str(one.images)]
        rows.append([*where, ours, theirs, _word(one.as_strong), *times, goal, met])
    table(rows)
    say("\nGrowth with the number of images")
    rows = [["attack", "images", "exponent of time", "MiB at both ends", "met"]]
    for one in found.growth.values():
        counts = f"{one['counts'][0]} to {one['counts'][-1]}"
        memory = " and ".join(f"{value:.0f}" for value in one["MiB"])
        rows.append([one["preset"], counts, f"{one['exponent']:.3f}", memory, _word(one["met"])])
    table(rows)
    say("\n" + ", ".join(f"{name} {version}" for name, version in found.peers.items()))
    for name, reason in found.left_out.items():
        say(f"not beside ours: {name}: {reason}")


def _word(value: bool) -> str:
    return "yes" if value else "no"


COMMANDS = (bench,)
