"""Lay out the pages and let Jupyter Book render them, warnings as errors."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mmc.book.project import Project
from mmc.book.run import Job, plan, run
from mmc.files import digest_files, digest_text, one_at_a_time, write_text


class SiteError(RuntimeError):
    """Jupyter Book refused the pages; the message holds its warnings."""


def repository_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The book's settings with every link to the repository on if its address is set, and off if not.

    The address is `repository: url:` in `_config.yml`, and nowhere else.
    """
    address = (config.get("repository") or {}).get("url") or ""
    html = {**config.get("html", {})}
    for button in ("use_repository_button", "use_issues_button"):
        html[button] = bool(address)
    launch = {**config.get("launch_buttons", {})}
    if address:
        launch |= {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
        launch |= {"colab_url": "https://colab.research.google.com"}
    else:
        launch |= {"binderhub_url": "", "colab_url": ""}
        config = {key: value for key, value in config.items() if key != "repository"}
    return {**config, "html": html, "launch_buttons": launch}


def toc_pages(toc: dict[str, Any]) -> Iterator[str]:
    """All pages that a table of contents names, in reading order."""
    if "root" in toc:
        yield toc["root"]
    if "file" in toc:
        yield toc["file"]
    for key in ("parts", "chapters", "sections"):
        for entry in toc.get(key, []):
            yield from toc_pages(entry)


def _sync(files: dict[Path, bytes], folder: Path) -> None:
    """Make a folder hold exactly these files; unchanged ones keep their time, so Sphinx reads only what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in [p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder) not in files]:
        path.unlink()
    for name, content in files.items():
        path = folder / name
        if not (path.exists() and path.read_bytes() == content):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def layout(project: Project, jobs: list[Job]) -> dict[Path, bytes]:
    """The pages as Jupyter Book gets them: prose, executed chapters, settings."""
    files = {
        path.relative_to(project.root): path.read_bytes()
        for path in (project.root / "book").rglob("*")
        if path.is_file() and path.suffix != ".safetensors"
    }
    files |= {Path("notebooks") / job.target.name: job.target.read_bytes() for job in jobs}
    config = repository_settings(project.config())
    files[Path("_config.yml")] = yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode()
    files[Path("_toc.yml")] = (project.root / "_toc.yml").read_bytes()
    return files


def render(project: Project, jobs: list[Job], report: Callable[[str], None] = print) -> bool:
    """Render the site if anything in it changed; returns whether it did.

    Raises:
        SiteError: Jupyter Book warned or failed. The next call then starts from nothing, so no warning is lost.
    """
    pages, source = project.build / "site", project.build / "site" / "source"
    stamp = pages / "stamp"
    _sync(layout(project, jobs), source)
    wanted = digest_text(
        digest_files(source, (path for path in source.rglob("*") if path.is_file())),
        project.library_digest(),
        (project.root / "constraints.txt").read_text(),
    )
    if stamp.exists() and stamp.read_text() == wanted and (project.html / "index.html").exists():
        return False
    if not stamp.exists():  # a build that was broken off may have left half a page behind
        shutil.rmtree(project.html, ignore_errors=True)
        shutil.rmtree(project.build / ".doctrees", ignore_errors=True)
    stamp.unlink(missing_ok=True)
    report("rendering the pages")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    command += ["--path-output", str(project.root), "--config", str(source / "_config.yml")]
    command += ["--toc", str(source / "_toc.yml"), "-W", "-n", "--keep-going", "--quiet"]
    result = subprocess.run(
        command, capture_output=True, text=True, env=project.environment(), stdin=subprocess.DEVNULL
    )
    log = project.build / "site" / "log.txt"
    write_text(log, result.stdout + result.stderr)
    if result.returncode:
        said = [line for line in (result.stdout + result.stderr).splitlines() if "WARNING" in line or "ERROR" in line]
        detail = "\n".join(said) or "\n".join((result.stdout + result.stderr).splitlines()[-25:])
        raise SiteError(f"the pages did not render cleanly:\n{detail}\n(the whole log: {log})")
    write_text(stamp, wanted)
    return True


def build(
    project: Project | None = None,
    *,
    chapters: list[str] | None = None,
    scale: str = "smoke",
    given: dict[str, str] | None = None,
    report: Callable[[str, int, int], None] = lambda line, done, total: None,
) -> Path:
    """Bring the book up to date and return the folder of the site.

    Args:
        chapters: the chapters that `scale` and `given` are meant for; None means all of them. The rest of the book
            stays at the smoke defaults.
        scale: one of `smoke`, `laptop`, `gpu`.
        given: parameters by hand, as text.
        report: called with what was done, how many steps are done, and how many there are.

    Raises:
        ValueError: an unknown chapter, scale or parameter, or a page in `_toc.yml` that does not exist.
        ChapterError: a chapter failed.
        SiteError: the pages did not render cleanly.
    """
    project = project or Project.find()
    names = [project.chapter(name).stem for name in chapters] if chapters else list(project.chapters())
    _check_toc(project)
    with one_at_a_time(project.build / "lock"):
        jobs = {name: plan(project, name, scale, given) for name in names}
        jobs |= {name: plan(project, name) for name in project.chapters() if name not in jobs}
        total, done = 1 + sum(not job.current for job in jobs.values()), itertools.count(1)

        def step(line: str) -> None:
            report(line, next(done), total)

        run(project, list(jobs.values()), step)
        render(project, list(jobs.values()), step)
    return project.html


def _check_toc(project: Project) -> None:
    pages = list(toc_pages(yaml.safe_load((project.root / "_toc.yml").read_text())))
    for page in pages:
        if not any((project.root / f"{page}{ending}").exists() for ending in (".md", ".ipynb")):
            raise ValueError(f"_toc.yml names {page!r}, but there is no such page")
    if left := [name for name in project.chapters() if f"notebooks/{name}" not in pages]:
        raise ValueError(f"chapters that _toc.yml does not name: {', '.join(left)}")
