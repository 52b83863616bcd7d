"""The command line, `mmc`."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Entry point; says what to install where only the light core is there."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"the command line needs {error.name}: install the book's extra with  pip install 'mmc[book]'")
    from mmc.commands import cli

    cli(prog_name="mmc")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main()
