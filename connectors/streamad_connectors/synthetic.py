"""The source ``type: generator``: endless or bounded KDDCUP99-style traffic with labels, made on the fly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from streamad.errors import InputError
from streamad.ports import End, Idle, Positions, Revoked, SourceContext, SourceOptions, SourcePlugin
from streamad.records.batch import Block
from streamad_connectors import traffic_text
from streamad_connectors.traffic import CHUNK, Traffic

PARTITION = "generator"


class GeneratorOptions(SourceOptions):
    """The generator's part of the config."""

    type: Literal["generator"] = "generator"
    format: Literal["kdd"] = "kdd"
    records: int | None = Field(default=None, ge=1)
    """Where the stream ends; without it, never."""
    anomaly_share: float = Field(default=0.02, ge=0, le=0.5)
    """About how much of the stream is attacks, in the long run."""
    seed: int | None = Field(default=None, ge=0)
    """Which network; by default the run's seed."""
    drift: bool = True
    """Whether the mix of services and their sizes move slowly."""
    rate: float | None = Field(default=None, gt=0)
    """Daemon only: records a second; without it, as fast as they are read."""


def generate_lines(
    seed: int, start: int, count: int, *, anomaly_share: float = 0.02, drift: bool = True
) -> bytes:
    """The records ``[start, start + count)`` of a stream, from 0, as lines each with its newline."""
    traffic = Traffic(seed, anomaly_share, drift)
    return b"".join(part.tobytes() for part, _, _ in _pieces(_Chunks(traffic), start, count))


class _Chunks:
    """The text of one chunk at a time, and where its lines start."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._index = -1
        self._text: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._edges: NDArray[np.int64] = np.zeros(1, np.int64)

    def get(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The bytes and the [CHUNK + 1] starts of the lines, the end included."""
        if index != self._index:
            text = traffic_text.lines(self._traffic.chunk(index))
            self._text = np.frombuffer(text, np.uint8)
            ends = np.flatnonzero(self._text == ord("\n")) + 1
            self._index, self._edges = index, np.concatenate(([0], ends))
        return self._text, self._edges


Piece = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]


def _pieces(chunks: _Chunks, start: int, count: int) -> list[Piece]:
    """For each chunk touched: its bytes, and the lines' starts and ends (newline included) in them."""
    pieces = []
    stop = start + count
    while start < stop:
        text, edges = chunks.get(start // CHUNK)
        first = start % CHUNK
        last = min(CHUNK, first + stop - start)
        inside = edges[first : last + 1] - edges[first]
        pieces.append((text[edges[first] : edges[last]], inside[:-1], inside[1:]))
        start += last - first
    return pieces


class GeneratorSource:
    """One partition, ``generator``; its cursor counts the records given so far."""

    def __init__(
        self,
        options: GeneratorOptions,
        context: SourceContext,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises `InputError` where a replay would never end."""
        if context.bounded and options.records is None:
            raise InputError("source.records is not set, so a replay of the generator would never end")
        seed = context.seed if options.seed is None else options.seed
        self._content = {"seed": seed, "anomaly_share": options.anomaly_share, "drift": options.drift}
        self._chunks = _Chunks(Traffic(seed, options.anomaly_share, options.drift))
        self._records = options.records
        self._pace = None if context.bounded or not options.rate else _Pace(options.rate, clock, sleep)
        self._offset = 0

    def poll(self, max_rows: int, timeout: float) -> Block | Idle | End | Revoked:
        """The next lines; with a rate, those that are due, waiting at most `timeout` for the first."""
        if not max_rows:
            return Idle()
        if self._records is not None:
            max_rows = min(max_rows, self._records - self._offset)
        if max_rows <= 0:
            return End()
        if self._pace is not None:
            max_rows = self._pace.take(max_rows, timeout)
        return self._block(max_rows) if max_rows else Idle()

    def _block(self, count: int) -> Block:
        pieces = _pieces(self._chunks, self._offset, count)
        shifts = np.cumsum([0] + [len(text) for text, _, _ in pieces[:-1]])
        offsets = np.arange(self._offset + 1, self._offset + count + 1)
        self._offset += count
        return Block(
            data=np.concatenate([text for text, _, _ in pieces]),
            starts=np.concatenate([part[1] + shift for part, shift in zip(pieces, shifts, strict=True)]),
            ends=np.concatenate([part[2] + shift - 1 for part, shift in zip(pieces, shifts, strict=True)]),
            offsets=offsets,
            cursors={PARTITION: {"offset": self._offset, **self._content}},
        )

    def seek(self, positions: Positions) -> None:
        """Go on after the cursor's records; a cursor of other traffic is refused with `InputError`."""
        cursor = positions.get(PARTITION, {"offset": 0})
        for name, value in self._content.items():
            if cursor.get(name, value) != value:
                message = (
                    f"source.{name} was {cursor[name]} and is now {value}, so the stream cannot be resumed"
                )
                raise InputError(message)
        self._offset = int(cursor["offset"])

    def progress(self) -> float | None:
        """The share of `records` given so far."""
        return None if self._records is None else min(1.0, self._offset / self._records)

    def close(self) -> None:
        """Nothing to give back."""


class _Pace:
    """So many records a second; what a slow reader left lying for over a second is not caught up."""

    def __init__(self, rate: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._paid = clock()
        """The time up to which records were given."""

    def take(self, max_rows: int, timeout: float) -> int:
        """How many records may go now, waiting at most `timeout` for the first."""
        wait = self._paid + 1 / self._rate - self._clock()
        if wait > 0:
            self._sleep(min(wait, timeout))
        now = self._clock()
        self._paid = max(self._paid, now - max(1.0, 1 / self._rate))
        due = min(max_rows, int((now - self._paid) * self._rate + 1e-9))
        self._paid += due / self._rate
        return due


def _open(options: GeneratorOptions, context: SourceContext) -> GeneratorSource:
    return GeneratorSource(options, context)


plugin = SourcePlugin(options=GeneratorOptions, open=_open)
