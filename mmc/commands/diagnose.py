"""Ask whether a network's robust accuracy can be believed."""

from __future__ import annotations

from pathlib import Path

import click

from mmc.commands.nets import Radius, find
from mmc.commands.tell import console, say, told


@click.command()
@click.argument("net")
@click.option("--epsilon", type=Radius(), required=True, help="L-inf radius, as 0.1 or 8/255.")
@click.option("--num", default=200, show_default=True, type=click.IntRange(1), help="How many test images.")
@click.option("--attack", "attack", help="The attack under evaluation, from `mmc attack --list`; else PGD-50, CE.")
@click.option("--twin", help="A network of the same kind that nothing defends, named like NET.")
@click.option("--source", help="A network to craft on, named like NET; the twin where only that is given.")
@click.option("--effort", default="default", show_default=True, help="quick, default or full: how much is run.")
@click.option("--seed", default=0, show_default=True, help="Of all chance.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the report in this JSON file.")
@click.option("--strict", is_flag=True, help="End with status 1 where a check failed.")
def diagnose(
    net: str,
    epsilon: float,
    num: int,
    attack: str | None,
    twin: str | None,
    source: str | None,
    effort: str,
    seed: int,
    out: Path | None,
    strict: bool,
) -> None:
    """Ask whether a network's robust accuracy can be believed, and which number to report.

    NET is a folder that `mmc train` or `mmc sweep` made, a file of weights, or the name of one of the book's networks
    in book/weights. Eight checks look at the attack under evaluation, and the page says what each saw, whether it is
    sound, and what to do. The number to report is the pointwise worst case over everything that was run.

    \b
    Examples:
      mmc diagnose mnist-cnn-mmc --epsilon 0.1 --twin mnist-cnn-sce
      mmc diagnose mine --epsilon 8/255 --attack margin-pgd --effort quick --out report.json
    """
    from mmc import networks
    from mmc.diagnose import diagnose as run

    with told():
        opened = {}
        for role, place in (("net", net), ("twin", twin), ("source", source)):
            spec, trained_seed, file = find(place) if place else (None, 0, None)
            opened[role] = networks.opened(spec, trained_seed, file) if spec else None
            if role == "net":
                data = networks.dataset(*networks.data_of(spec))
        test = data.test.first(num)
        with console.status("starting") as status:
            report = run(
                opened["net"],
                test.x,
                test.y,
                epsilon=epsilon,
                attack=attack,
                twin=opened["twin"],
                source=opened["source"],
                effort=effort,
                seed=seed,
                name=f"{net}, the first {len(test)} test images",
                tell=status.update,
            )
        say(str(report))
        if out:
            report.save(out)
            say(f"kept in {out}")
    if strict and not report.sound:
        raise SystemExit(1)


COMMANDS = (diagnose,)
