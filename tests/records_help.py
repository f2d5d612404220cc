"""Blocks and schemas for the tests of streamad.records."""

from __future__ import annotations

import numpy as np

from streamad.records.batch import Block, Rejection
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.records.schema import PayloadFormat, Schema, TimeSpec

SCHEMA = Schema(
    fields={
        "n": "numeric",
        "c": "categorical",
        "b": "boolean",
        "t": "time",
        "x": "ignore",
        "a.d": "numeric",
        "a.e": "categorical",
        "k": "id",
        "l": "label",
    },
    time=TimeSpec(field="t", zone="UTC"),
)

CSV = PayloadFormat(header=False)
JSON = PayloadFormat(format="ndjson")


def block(
    rows: list[bytes], columns: tuple[str, ...] | None = None, faults: dict[int, Rejection] | None = None
) -> Block:
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    starts = ends - np.array([len(row) for row in rows], np.int64)
    data = np.frombuffer(b"".join(rows), np.uint8)
    return Block(
        {"f": {}}, data, starts, ends, np.arange(1, len(rows) + 1), columns=columns, faults=faults or {}
    )


def decoder(payload: PayloadFormat, schema: Schema = SCHEMA, *, compiled: bool = True) -> Decoder:
    return Decoder(schema, payload, Dictionary(schema.categories), compiled=compiled)


def both(payload: PayloadFormat, schema: Schema = SCHEMA) -> tuple[Decoder, Decoder]:
    """The compiled decoder and the general one, each with its own dictionary."""
    return decoder(payload, schema), decoder(payload, schema, compiled=False)
