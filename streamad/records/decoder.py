"""From blocks of payload bytes to columnar batches: the compiled decoder, and the general one behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamad.errors import UserError
from streamad.records.batch import (
    ACCEPTED,
    MISSING_CODE,
    MISSING_TIME,
    REJECTED,
    Batch,
    Block,
    Rejection,
)
from streamad.records.dictionary import Dictionary
from streamad.records.general import GeneralDecoder
from streamad.records.schema import PayloadFormat, Schema
from streamad.records.values import BLANKS, UnreadableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamad.records.fast import FastDecoder

MAX_UNKNOWN = 256
"""So many different unknown JSON fields are told apart; the rest is counted as `OTHER_UNKNOWN`."""

OTHER_UNKNOWN = "(others)"


class Decoder:
    """Decodes one feed's blocks; categories go through the given dictionary.

    With ``compiled=False``, or without numba, the general decoder reads every row. Both read the same.
    Raises `UserError` for a time zone that does not exist.
    """

    def __init__(
        self, schema: Schema, payload: PayloadFormat, dictionary: Dictionary, *, compiled: bool = True
    ) -> None:
        self.schema = schema
        self.dictionary = dictionary
        self._general = GeneralDecoder(schema, payload)
        self._unknown: dict[str, None] = {}
        self._fast = _fast_decoder(schema, payload, dictionary) if compiled else None

    def warm_up(self) -> None:
        """Compile the kernels, or load them from the cache: seconds the first time, a fraction of one later."""
        nothing = np.zeros(1, np.int64)
        self.decode(Block({}, np.zeros(1, np.uint8), nothing, nothing, nothing), 0, learn=False)

    def decode(self, block: Block, first: int, *, learn: bool = True) -> Batch:
        """Decode a block whose row 0 is record number `first` of the feed. Never raises on data.

        Raises `UserError` where the source's options ask for what the schema cannot take.

        With `learn`, new category values are admitted to the dictionary, in row order and only from accepted
        rows. Without it (reading a window again) the codes' values are those of the first reading.
        """
        columns, block = self._general.columns(block.columns), self._timed(block)
        with self.dictionary.lock:
            batch = self._empty(block, first)
            unknown: Counter[str] = Counter()
            fast = self._fast.rows(batch, columns, tuple(self._unknown), learn=learn) if self._fast else None
            row, length = 0, len(block)
            while row < length:
                stop = fast.read(row) if fast else row
                batch.fast_rows += stop - row
                if stop < length:
                    unknown.update(self._read(batch, stop, columns, learn=learn))
                    if fast:
                        fast.skipped(stop)
                row = stop + 1
            self._count_unknown(batch, columns, unknown + Counter(fast.unknown() if fast else {}))
        self._take_times(batch)
        return batch

    def record(self, payload: bytes, columns: tuple[str, ...] | None) -> dict[str, Any]:
        """One accepted payload as a JSON-able dict: every field, id, time, label and ignored ones too.

        Numbers are int or float, and text in the source's spelling where a double cannot hold them. A
        payload that was not accepted gives an empty dict.
        """
        try:
            return self._general.record(payload, self._general.columns(columns))
        except UnreadableError:
            return {}

    def record_of(self, block: Block, row: int) -> dict[str, Any]:
        """One accepted row as `record` gives it, with the key that came beside it."""
        record = self.record(block.payload(row), block.columns)
        for name, values in block.beside.items():
            if name == self.schema.key:
                key: bytes | None = values[row]
                record[name] = None if key is None else key.decode(errors="replace")
        return record

    def decode_records(
        self, records: Sequence[Mapping[str, Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int64]]:
        """Records as `record` gives them back to numbers [n, N], codes [n, C] and times [n].

        Looks values up and never learns; never raises: what cannot be read is missing.
        """
        numbers = np.full((len(records), len(self.schema.numbers)), np.nan)
        codes = np.full((len(records), len(self.schema.categories)), MISSING_CODE, np.int32)
        times = np.full(len(records), MISSING_TIME, np.int64)
        for row, record in enumerate(records):
            values, categories, times[row] = self._general.features(record)
            numbers[row] = values
            codes[row] = [self._code(field, value) for field, value in enumerate(categories)]
        return numbers, codes, times

    def _timed(self, block: Block) -> Block:
        """With event times in place of text that came beside the payloads; where it is no time, the row is at fault."""
        for name, texts in block.beside.items():
            if self.schema.fields.get(name) != "time" or isinstance(texts, np.ndarray):
                continue
            times, faults = np.full(len(block), MISSING_TIME), {}
            for row, text in enumerate(texts):
                try:
                    times[row] = self._general.time((text or b"").decode(errors="replace").strip(BLANKS))
                except UnreadableError as error:
                    faults[row] = error.rejection
            return replace(block, beside=block.beside | {name: times}, faults=faults | block.faults)
        return block

    def _take_times(self, batch: Batch) -> None:
        """Event times that came beside the payloads. Raises `UserError` for a field that cannot come so."""
        for name, values in batch.block.beside.items():
            word = self.schema.fields.get(name)
            if word == "time":
                np.copyto(batch.times, np.asarray(values), where=batch.status == ACCEPTED)
            elif word != "id":
                raise UserError(
                    f"source: {name} is to be filled with what comes beside the records, which can only be the field with "
                    f"the word id or time; schema.fields has {word or 'no such field'}"
                )

    def _empty(self, block: Block, first: int) -> Batch:
        n = len(block)
        status = np.full(n, ACCEPTED, np.uint8)
        status[list(block.faults)] = REJECTED
        return Batch(
            block=block,
            numbers=np.full((n, len(self.schema.numbers)), np.nan),
            codes=np.full((n, len(self.schema.categories)), MISSING_CODE, np.int32),
            times=np.full(n, MISSING_TIME, np.int64),
            truth=np.full(n, -1, np.int8),
            status=status,
            rejections={},
            fast_rows=0,
            generation=self.dictionary.generation,
            first=first,
        )

    def _read(self, batch: Batch, row: int, columns: Sequence[str], *, learn: bool) -> tuple[str, ...]:
        """Read one row the general way; returns its unknown fields."""
        if row in batch.block.faults:
            return self._reject(batch, row, batch.block.faults[row])
        try:
            read = self._general.row(batch.block.payload(row), columns)
        except UnreadableError as error:
            return self._reject(batch, row, error.rejection)
        batch.numbers[row] = read.numbers
        batch.codes[row] = [
            self._code(field, value, batch.first + row, learn=learn)
            for field, value in enumerate(read.categories)
        ]
        batch.times[row], batch.truth[row] = read.time, read.truth
        return tuple(dict.fromkeys(self._told_apart(name) for name in read.unknown))

    def _reject(self, batch: Batch, row: int, rejection: Rejection) -> tuple[str, ...]:
        batch.numbers[row], batch.codes[row] = np.nan, MISSING_CODE
        batch.times[row], batch.truth[row] = MISSING_TIME, -1
        batch.status[row] = REJECTED
        batch.rejections[row] = rejection
        return ()

    def _code(self, field: int, value: str | None, record: int | None = None, *, learn: bool = False) -> int:
        if value is None:
            return MISSING_CODE
        return self.dictionary.code(field, value, record, learn=learn)

    def _told_apart(self, name: str) -> str:
        if name not in self._unknown and len(self._unknown) >= MAX_UNKNOWN:
            return OTHER_UNKNOWN
        self._unknown[name] = None
        return name

    def _count_unknown(self, batch: Batch, columns: Sequence[str], found: Counter[str]) -> None:
        if not self._general.json:
            accepted = len(batch) - len(batch.rejections)
            names = [name for name in dict.fromkeys(columns) if name not in self.schema.fields]
            found = Counter(dict.fromkeys(names, accepted) if accepted else {})
        batch.unknown_fields.update(found)


def _fast_decoder(schema: Schema, payload: PayloadFormat, dictionary: Dictionary) -> FastDecoder | None:
    # Importing kernels looks at the environment and takes a second, so only who compiles pays for it.
    from streamad.records import compiled  # noqa: PLC0415

    if not compiled.AVAILABLE:
        return None
    from streamad.records.fast import FastDecoder, readable  # noqa: PLC0415

    return FastDecoder(schema, payload, dictionary) if readable(schema, payload) else None
