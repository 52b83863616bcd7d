"""Spec -> Record: everything that determines a result, and the readable file that holds it."""

from __future__ import annotations

from mmc.lab.record import (
    RECORDS,
    SCHEMA,
    TRACE,
    Record,
    StaleRecordError,
    add,
    digest,
    dumps,
    folder,
    load,
    made,
    open_record,
    path,
    read,
    table,
    text,
)
from mmc.lab.spec import SCALES, Evaluation, Options, Spec

__all__ = [
    "RECORDS",
    "SCALES",
    "SCHEMA",
    "TRACE",
    "Evaluation",
    "Options",
    "Record",
    "Spec",
    "StaleRecordError",
    "add",
    "digest",
    "dumps",
    "folder",
    "load",
    "made",
    "open_record",
    "path",
    "read",
    "table",
    "text",
]
