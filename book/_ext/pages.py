"""What the pages need of Sphinx: an API reference that misses no module, and mathematics on every page.

An API page names rooms, as in `{{ modules: mmc.theory }}`; their modules are found when the page is read. So are the
cards of the book's networks where a page says `{{ cards }}`, and attacks beside their peers at `{{ peers }}` and
`{{ autoattack }}`.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOM = re.compile(r"^\{\{ modules: (?P<names>[\w., ]+) \}\}$", re.MULTILINE)
API, CARDS, PEERS = "book/api/", "book/networks", "book/peers"


def modules(name: str) -> Iterator[str]:
    """A module and, if it is a package, the public modules below it; nothing where there is no such module."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return
    yield name
    for folder in spec.submodule_search_locations or []:
        for found in pkgutil.walk_packages([folder], f"{name}."):
            if not Path(found.name).suffix.startswith("._"):
                yield found.name


def fill(app: Any, docname: str, source: list[str]) -> None:
    """Replace the names of rooms by their modules."""

    def rooms(match: re.Match[str]) -> str:
        found = [module for name in match["names"].split(",") for module in modules(name.strip())]
        return "\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in found)

    if docname.startswith(API):
        source[0] = ROOM.sub(rooms, source[0])
    if docname == CARDS:
        from mmc.cards import cards

        source[0] = source[0].replace("{{ cards }}", cards())
    if docname == PEERS:
        from mmc import ensemble
        from mmc.bench.page import page

        source[0] = source[0].replace("{{ peers }}", page()).replace("{{ autoattack }}", ensemble.page())


def outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Read these pages every time: a new module or network changes them without touching them."""
    return [name for name in env.found_docs if name.startswith(API) or name in (CARDS, PEERS)]


def setup(app: Any) -> dict[str, bool]:
    """Join in. MathJax goes on every page: titles with math also stand in the sidebar and among search results."""
    app.connect("source-read", fill)
    app.connect("env-get-outdated", outdated)
    app.set_html_assets_policy("always")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
