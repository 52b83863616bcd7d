"""What the commands do, one file for each part of the work; errors a user can mend are told in one message."""

from __future__ import annotations

import click

from mmc.commands import attack, bench, book, diagnose, records, report, sweep, training


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mmc")
def cli() -> None:
    """The executable book on losses for adversarial robustness.

    \b
    The book:         book, store, normalise, ledger
    One network:      train, evaluate, attack, diagnose
    Many, recorded:   sweep, records
    One loss:         report
    Speed:            bench
    """


for _room in (book, training, attack, diagnose, report, sweep, records, bench):
    for _command in _room.COMMANDS:
        cli.add_command(_command)
