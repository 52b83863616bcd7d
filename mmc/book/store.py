"""Store a chapter's text outputs: run it at its smoke defaults and keep what it printed, in normal form."""

from __future__ import annotations

from mmc.book import notebook as nb
from mmc.book.execute import STAMP
from mmc.book.project import Project
from mmc.book.run import plan, run


def store(project: Project, name: str) -> bool:
    """Run one chapter and write its outputs into its notebook; returns whether the file changed.

    Raises:
        ChapterError: the chapter failed; the notebook is left as it was.
    """
    job = plan(project, name)
    run(project, [job], report=lambda line: None)
    executed = nb.read(job.target)
    source = nb.read(project.chapter(name))
    executed.cells = executed.cells[: len(source.cells)]
    executed.metadata.pop(STAMP, None)
    if "mmc" in source.metadata:
        executed.metadata["mmc"] = source.metadata["mmc"]
    before = project.chapter(name).read_text(encoding="utf-8")
    nb.write(project.normal(executed), project.chapter(name))
    return before != project.chapter(name).read_text(encoding="utf-8")
