"""Writing so that nothing is ever half-written, and naming content by its digest."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader, or a kill at any moment, sees the old file or the new one.

    Raises:
        OSError: the disk is full, or the like; the message names the file, and the old one is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(error.errno, f"could not write {path}: {error.strerror}") from error


def clear_leftovers(path: Path) -> None:
    """Remove what writers of this file left that were killed in the middle; call it where no other may be writing."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, see `write_bytes`."""
    write_bytes(path, text.encode())


def digest_text(*texts: str) -> str:
    """A short SHA-256 over some texts, their borders included."""
    sha = hashlib.sha256()
    for text in texts:
        data = text.encode()
        sha.update(f"{len(data)}:".encode() + data)
    return sha.hexdigest()[:20]


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """A short SHA-256 over files: their paths below `root` and their bytes."""
    sha = hashlib.sha256()
    for path in sorted(paths):
        data = path.read_bytes()
        sha.update(f"{path.relative_to(root).as_posix()}:{len(data)}:".encode() + data)
    return sha.hexdigest()[:20]


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock file: a second process waits here. A killed holder leaves no lock behind."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
