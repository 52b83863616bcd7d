"""Benchmarks: ratios first, side by side in one run."""

from __future__ import annotations

import click

from mmc.commands.tell import say, table, told


@click.command()
@click.option("--pairs", default=7, show_default=True, help="Measurements of each of the two ways, taken in turns.")
@click.option("--threads", type=int, help="Threads of torch; by default one per core.")
@click.option("--keep", "kept", is_flag=True, help="Write the tables to the book's records.")
def bench(pairs: int, threads: int | None, kept: bool) -> None:
    """Measure what training steps cost against their yardsticks. A ratio is the median over pairs of neighbours.

    Run it on a machine that does nothing else. On a GPU it also counts images per second.
    """
    import torch

    from mmc.bench import record, start, training
    from mmc.bench.throughput import gpu_throughput
    from mmc.processes import cores

    with told():
        torch.set_num_threads(threads or cores())
        sections = {
            "A training step": training.training_step(pairs),
            "The losses alone": training.losses(pairs),
            "Data and import": start.data_and_import(),
        }
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
            for row in gpu_throughput():
                say(", ".join(f"{name} {value}" for name, value in row.items()))
        made = record.made()
        say("\n" + ", ".join(f"{name}: {value}" for name, value in made.items()))
        if kept:
            say(f"kept in {record.keep(sections)}")


COMMANDS = (bench,)
