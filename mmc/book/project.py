"""Where things lie, which chapters there are, and what a chapter's run depends on."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmc.book import notebook as nb
from mmc.files import digest_files, digest_text
from mmc.processes import cores, environment

SCALES = ("smoke", "laptop", "gpu")


def _choose(kind: str, name: str, valid: list[str]) -> None:
    if name not in valid:
        raise ValueError(f"unknown {kind} {name!r}; valid: {', '.join(valid)}")


@dataclass(frozen=True)
class Project:
    """A checkout of the book."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The checkout around `start` (default: the working directory), else the one `mmc` is imported from.

        Raises:
            FileNotFoundError: neither holds `_config.yml` and `notebooks/`.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents, Path(__file__).resolve().parents[2]):
            if (folder / "_config.yml").exists() and (folder / "notebooks").is_dir():
                return cls(folder)
        raise FileNotFoundError(f"no checkout of the book at or above {start}: expected _config.yml beside notebooks/")

    @property
    def build(self) -> Path:
        """Everything that is made, and may be deleted at any time."""
        return self.root / "_build"

    @property
    def html(self) -> Path:
        """The rendered site."""
        return self.build / "html"

    @property
    def records(self) -> Path:
        """The committed evidence."""
        return self.root / "book" / "records"

    def environment(self) -> dict[str, str]:
        """The environment for a child process in which `mmc` is the one whose content is digested."""
        return environment(self.root)

    def config(self) -> dict[str, Any]:
        """The book's settings, `_config.yml`."""
        return yaml.safe_load((self.root / "_config.yml").read_text(encoding="utf-8"))

    def address(self) -> str:
        """The repository's address, which `_config.yml` alone names; empty while it has none."""
        return (self.config().get("repository") or {}).get("url") or ""

    def normal(self, notebook: nb.NotebookNode) -> nb.NotebookNode:
        """A notebook as it is stored in this checkout: in normal form, ready for Colab once there is an address."""
        return nb.with_install_cell(notebook, self.address())

    def chapters(self) -> dict[str, Path]:
        """All chapters by name."""
        return {path.stem: path for path in sorted((self.root / "notebooks").glob("*.ipynb"))}

    def chapter(self, name: str) -> Path:
        """The notebook of one chapter; an unknown name is refused with the list of valid ones."""
        chapters = self.chapters()
        _choose("chapter", name, list(chapters))
        return chapters[name]

    def library_digest(self) -> str:
        """What `mmc` is, by content."""
        return digest_files(self.root, (self.root / "mmc").rglob("*.py"))

    def records_digest(self, pattern: str) -> str:
        """What the records that match a pattern are, by name and content."""
        return digest_files(self.root, (path for path in self.records.glob(pattern) if path.is_file()))

    def inputs_digest(self, notebook: nb.NotebookNode, values: dict[str, Any]) -> str:
        """All that decides a run but its records: notebook, parameters, `mmc`, `constraints.txt`."""
        constraints = self.root / "constraints.txt"
        return digest_text(
            nb.source_text(notebook),
            json.dumps(values, sort_keys=True),
            self.library_digest(),
            constraints.read_text() if constraints.exists() else "",
        )


def parse_value(name: str, text: str, default: Any) -> Any:
    """A parameter from the command line, with the type of its default.

    Raises:
        ValueError: the text is not of that type.
    """
    expected = type(default)
    if expected is str:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        raise ValueError(f"parameter {name!r} takes a {expected.__name__} (its default is {default!r}), not {text!r}")
    return value


def resolve(notebook: nb.NotebookNode, scale: str, given: dict[str, str] | None = None) -> dict[str, Any]:
    """The parameters that differ from the smoke defaults: those of the scale, then those given by hand.

    Raises:
        ValueError: an unknown scale or parameter (the message lists the valid ones), or a value of the wrong type.
    """
    _choose("scale", scale, list(SCALES))
    defaults = nb.parameters(notebook)
    presets = (notebook.metadata.get("mmc") or {}).get("scales", {})
    values = dict(presets.get(scale, {}))
    for name, text in (given or {}).items():
        _choose("parameter", name, list(defaults))
        values[name] = parse_value(name, text, defaults[name])
    for name in values:
        _choose(f"parameter (in the {scale} preset)", name, list(defaults))
    return {name: value for name, value in values.items() if value != defaults[name]}


def workers() -> int:
    """How many chapters run at once: one per core this process may use, four at most."""
    return max(1, min(4, cores()))
