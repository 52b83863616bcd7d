"""Where published files are: in a folder of yours, or in a cache that is filled from their publisher once.

Both have the publisher's layout. A file's md5 is compared with the publisher's whenever it is read, and what is hashed
is what is parsed. A download or an unpacked file gets its name only when it is whole and its md5 is right.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mmc.files import one_at_a_time

#: The environment variable that names a folder with data sets in their publishers' layout.
FOLDER = "MMC_DATA"
#: The environment variable that, set to 1, admits copies whose md5 is not the publisher's.
UNOFFICIAL = "MMC_ALLOW_UNOFFICIAL"


@dataclass(frozen=True)
class Publisher:
    """A data set's files as their publisher offers them.

    Attributes:
        title: its name in messages.
        folder: where its files lie below the data folder, also inside the archive.
        url: of the tar.gz archive, or of the place of single files, with a slash at its end.
        md5: of each file, in the order they are read.
        archive_md5: of the archive; empty where there is none.
    """

    title: str
    folder: str
    url: str
    md5: dict[str, str]
    archive_md5: str = ""


@dataclass(frozen=True)
class Contents:
    """A file that was read: its path, its bytes, and whether they are the publisher's."""

    path: Path
    data: bytes
    official: bool


def read(publisher: Publisher, folder: Path | None = None, allow_unofficial: bool = False) -> Iterator[Contents]:
    """Read a data set's files one by one, in the publisher's order.

    Args:
        publisher: which files, and where they come from.
        folder: the data folder; by default what MMC_DATA names, else the cache.
        allow_unofficial: yield files with another md5 too; MMC_ALLOW_UNOFFICIAL=1 does the same.

    Raises:
        FileNotFoundError: a file is missing and could not be downloaded.
        ValueError: a file, or a download, does not have the publisher's md5.
    """
    allow_unofficial = allow_unofficial or os.environ.get(UNOFFICIAL) == "1"
    place = _place(publisher, folder)
    for name, wanted in publisher.md5.items():
        path = place / name
        data = path.read_bytes()
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != wanted and not allow_unofficial:
            raise ValueError(
                f"{path} has md5 {found}, the publisher's has {wanted}: it is damaged or altered. Delete it and fetch "
                f"it again from {_source(publisher, name)}, or load with allow_unofficial=True ({UNOFFICIAL}=1)."
            )
        yield Contents(path, data, found == wanted)


def _source(publisher: Publisher, name: str) -> str:
    return publisher.url if publisher.archive_md5 else publisher.url + name


def _place(publisher: Publisher, folder: Path | None) -> Path:
    """The folder that holds the files, all of them."""
    folder = folder or os.environ.get(FOLDER)
    if not folder:
        return _cached(publisher)
    place = Path(folder).expanduser() / publisher.folder
    for name in publisher.md5:
        if not (place / name).is_file():
            raise FileNotFoundError(
                f"{publisher.title}: no file {place / name}. Put what {publisher.url} holds into {place} "
                f"({', '.join(publisher.md5)}), or unset {FOLDER} and name no folder to have it downloaded."
            )
    return place


def _cached(publisher: Publisher) -> Path:
    """The cache's folder, filled before if need be; processes that come at once wait for the one that fills it."""
    import pooch

    cache = Path(pooch.os_cache("mmc"))
    place = cache / publisher.folder

    def missing() -> list[str]:
        return [name for name in publisher.md5 if not (place / name).is_file()]

    if missing():
        with one_at_a_time(cache / f".{place.name}.lock"):
            if publisher.archive_md5 and missing():
                archive = _download(publisher, publisher.url, publisher.archive_md5, cache)
                unpack(archive, publisher, place)
                archive.unlink()
            for name in missing():
                _download(publisher, publisher.url + name, publisher.md5[name], place)
    return place


def _download(publisher: Publisher, url: str, md5: str, place: Path) -> Path:
    import pooch

    name = url.rpartition("/")[2]
    # A bar only where someone watches: in a log or a chapter it would be noise.
    bar = sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
    remedy = (
        f"Try again, or set {FOLDER} to a folder that holds {publisher.folder}/ with {', '.join(publisher.md5)} in it."
    )
    try:
        fetched = pooch.retrieve(url, f"md5:{md5}", name, place, downloader=pooch.HTTPDownloader(progressbar=bar))
    except ValueError as error:  # pooch has deleted it
        raise ValueError(
            f"{publisher.title}: what {url} sent is cut off or altered, its md5 is not {md5}: not kept. {remedy}"
        ) from error
    except Exception as error:
        raise FileNotFoundError(
            f"{publisher.title}: could not download {url} into {place} ({error}). {remedy}"
        ) from error
    return Path(fetched)


def unpack(archive: Path, publisher: Publisher, place: Path) -> None:
    """Take a publisher's files out of a tar.gz, these and no others, each whole or not at all.

    Raises:
        ValueError: the archive is damaged, lacks a file, or holds one that is not the publisher's.
    """
    left = {f"{publisher.folder}/{name}": name for name in publisher.md5}
    place.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                if member.isfile() and member.name in left:
                    name = left.pop(member.name)
                    _keep(tar.extractfile(member), place / name, publisher.md5[name])
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} is damaged ({error}): delete it and fetch {publisher.url} again") from error
    if left:
        raise ValueError(f"{archive} lacks {', '.join(left)}: delete it and fetch {publisher.url} again")


def _keep(source: IO[bytes], path: Path, md5: str) -> None:
    """Copy a stream into a file that gets its name only when it is whole and has this md5."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        md5_sum = hashlib.md5(usedforsecurity=False)
        with os.fdopen(handle, "wb") as file:
            while block := source.read(1 << 20):
                md5_sum.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if md5_sum.hexdigest() != md5:
            raise tarfile.ReadError(f"its {path.name} has md5 {md5_sum.hexdigest()}, the publisher's has {md5}")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
