"""A report on one loss: the book's, or the reader's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from mmc.commands.tell import console, say, table, told
from mmc.commands.training import _option, _pairs


@click.command()
@click.argument("loss")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The page; report-NAME.html by default.")
@click.option("--json", "values", type=click.Path(path_type=Path, dir_okay=False), help="Keep all values here too.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Networks, with seeds 0, 1, ...")
@click.option("--num", default=500, show_default=True, type=click.IntRange(1, 500), help="How many test images.")
@_option("--loss-option", "loss_options", "An option of the loss, e.g. target 2; may be repeated.")
def report(
    loss: str,
    out: Path | None,
    values: Path | None,
    seeds: int,
    num: int,
    loss_options: tuple[tuple[str, str], ...],
) -> None:
    """Tell what a loss is and what it is worth: a row of numbers, and one illustrated page.

    LOSS is a loss of the book by its printed name, such as MMC or "Label smoothing", or one of your own: a Python file
    and the class in it. Such a class has value(z, y), one number for each example, and logits(z), its decision rule:

    \b
      from mmc.losses import SCE
      class Squared(SCE):
          def value(self, z, y):
              m = self.logits(z).gather(1, y[:, None]) - self.logits(z)
              return (m - 4).square().mean(1)

    \b
    Examples:
      mmc report MMC
      mmc report "Mirrored SCE" --loss-option target 2
      mmc report my_loss.py:Squared --out squared.html --json squared.json

    The row says at which margin the loss stops asking, what its contours look like, how density grows toward its
    minimum, how the margin grows along the gradient flow, and what an attacker's gradient is; each is exact, where the
    book has a formula, or measured. Then a small network is trained on the embedded digits and attacked by an adaptive
    suite. It takes one to two minutes. The file is run as Python runs it: report only on code that you trust.

    A loss that would make the report meaningless is refused, with the reason: another shape than one number for each
    example, NaN, a value that depends on the rest of the batch, no gradient, a label that does not exist taken in
    silence, and more.
    """
    from mmc.files import write_text
    from mmc.report import loss_class, write
    from mmc.report import report as whole

    with told():
        name, make = loss_class(loss)
        file = out or Path(f"report-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.html")
        with console.status("starting") as status:
            found = whole(name, make, range(seeds), num, status.update, **dict(_pairs(loss_options)))
            status.update("drawing")
            write(found, file)
        table([["entry", name, "known how"], *([what, e.text, e.label] for what, e in found.entries.items())])
        for note in found.row.notes:
            say(note)
        if values:
            write_text(values, json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
            say(f"values: {values}")
        say(f"page: {file}")


COMMANDS = (report,)
