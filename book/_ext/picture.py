"""Take the README's picture from the built book: `python book/_ext/picture.py` after `make book`."""

from __future__ import annotations

import base64
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAPTER, FIGURE = "first-experiment", "fig-first-experiment-attacks"


def figure(chapter: Path, name: str) -> bytes:
    """The PNG of a named figure in an executed chapter.

    Raises:
        KeyError: the chapter has no such figure.
    """
    for cell in json.loads(chapter.read_text(encoding="utf-8"))["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise KeyError(f"{chapter} has no figure {name!r}")


if __name__ == "__main__":
    target = ROOT / "book" / "_static" / f"{CHAPTER}.png"
    target.write_bytes(figure(ROOT / "_build" / "executed" / "smoke" / f"{CHAPTER}.ipynb", FIGURE))
    print(target.relative_to(ROOT))
