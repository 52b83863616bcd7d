"""Reading a pickle that nobody vouches for: numbers, texts, lists and byte arrays come out, and nothing is run.

A pickle is a program: it may import any name and call it. Here it finds five names, those by which NumPy writes an
array, and each leads to a stand-in below, so that not even NumPy's own code is at its service.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np


class _Array:
    """Stands in for an array of unsigned bytes and the function that begins one."""

    __slots__ = ("array",)

    def __init__(self, *ignored: object) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, by_columns, content = state
        if type(dtype) is not _Byte or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of something else than unsigned bytes")
        # The array stands on the bytes that were read: no copy.
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Byte:
    """Stands in for the type of an unsigned byte, the only one there is."""

    __slots__ = ()

    def __init__(self, code: str | bytes, *ignored: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of {code!r}")

    def __setstate__(self, state: tuple) -> None:
        """A byte has no order, and nothing else that could be set."""


class _Latin1(bytes):
    """Stands in for the call by which Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str) -> _Latin1:
        if encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
        return super().__new__(cls, text, "latin1")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("bytes with a state")


ADMITTED = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Byte,
    "_codecs.encode": _Latin1,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return ADMITTED[f"{module}.{name}"]


def read_pickle(path: Path, content: bytes | None = None) -> dict[str, Any]:
    """Read a pickled dictionary of numbers, texts, lists and arrays of unsigned bytes.

    Args:
        path: the file, also for messages.
        content: what it holds, where it has been read before.

    Returns:
        The dictionary, its keys as text. Texts that Python 2 wrote are bytes. Arrays are read-only.

    Raises:
        ValueError: the file is damaged, or asks for anything else; the message names the file and what it asks for.
    """
    content = path.read_bytes() if content is None else content
    try:
        found = _Reader(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"{path} is damaged or no data ({error}): delete it and fetch it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no data: it holds a {type(found).__name__}, not a dictionary; fetch it again")
    plain = {key: value.array if isinstance(value, _Array) else value for key, value in found.items()}
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in plain.items()}
