"""Where to read again from after a restart, so that everything learned from recent records comes back."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import structlog

from streamad.ports import Idle
from streamad.records.batch import Block

if TYPE_CHECKING:
    from streamad.ports import Positions
    from streamad.records.batch import Batch, Cursor
    from streamad.runtime.committer import Committer
    from streamad.runtime.feed import Feed

log = structlog.get_logger()


_SILENCE = 10.0
"""Seconds without a row after which a window counts as gone."""


_TOPIC_ID = 22
"""Letters of an id at the begin of what cursors say as ``topic``."""


class Start(NamedTuple):
    """Where a committed batch begins."""

    first: int
    """Its first record number."""
    before: dict[str, Cursor]
    """Where every partition stood before it."""
    mark: str
    """A hash of its first payload: another one in that place means that the source has changed."""


class Piece(NamedTuple):
    """One committed batch."""

    start: Start
    rows: int
    """Accepted records: rejected ones take no room in the buffer."""
    compared: int
    """Those of them that the reference may hold."""


class Window:
    """The youngest committed batches that together hold `rows` accepted records and `compared` reference rows.

    Counted, not estimated: a window short of a single row would train another model after a crash.
    """

    def __init__(self, rows: int, compared: int) -> None:
        self._rows, self._compared = rows, compared
        self._pieces: deque[Piece] = deque()
        self._spare_rows, self._spare_compared = -rows, -compared

    def add(self, piece: Piece) -> None:
        """Append a batch; the oldest ones go as soon as the others suffice."""
        self._pieces.append(piece)
        self._spare_rows += piece.rows
        self._spare_compared += piece.compared
        while (
            self._spare_rows >= (oldest := self._pieces[0]).rows and self._spare_compared >= oldest.compared
        ):
            self._pieces.popleft()
            self._spare_rows -= oldest.rows
            self._spare_compared -= oldest.compared

    def copy(self) -> Window:
        """An independent copy."""
        window = Window(self._rows, self._compared)
        window._pieces = self._pieces.copy()
        window._spare_rows, window._spare_compared = self._spare_rows, self._spare_compared
        return window

    def start(self) -> Start | None:
        """Where to read from; None while there is no batch."""
        return self._pieces[0].start if self._pieces else None


def reread(feed: Feed, committer: Committer, start: Start) -> list[Batch]:
    """The batches from `start` up to the last commit, decoded as they were.

    What is of another file or topic in the old one's place, and all behind it, is left out.
    """
    rows, source, number = feed.config.limits.batch_records, feed.source, start.first
    window: list[Batch] = []
    before = dict(start.before)
    there = _same_topics(before, committer.positions)
    if there:
        source.seek(before)
    heard = feed.clock.seconds()
    while there and number < committer.records:
        block = source.poll(min(rows, committer.records - number), 1.0)
        if isinstance(block, Block) and not len(block):
            before |= block.cursors
            continue
        if isinstance(block, Idle) and feed.clock.seconds() - heard < _SILENCE:
            continue  # a broker may take its time
        heard = feed.clock.seconds()
        mark = None if window else start.mark
        if not isinstance(block, Block) or not _belongs(block, committer.positions, mark):
            there = False
            break
        batch = feed.decoder.decode(block, number, learn=False)
        committer.remember(batch, dict(before))
        before |= block.cursors
        window.append(batch)
        number += len(batch)
    if not there:
        log.warning("window_incomplete", missing=committer.records - number)
    return window


def _belongs(block: Block, positions: Positions, mark: str | None) -> bool:
    """Whether a block is part of the window; `mark` is what its first payload must be."""
    known = block.cursors.keys() <= positions.keys()
    return known and _same_topics(block.cursors, positions) and mark in (None, mark_of(block))


def _same_topics(some: Positions, others: Positions) -> bool:
    """Whether no cursors of one partition are known to be of two topics: one that is made anew has another id."""
    shared = some.keys() & others.keys()
    return all(len({_topic(some[name]), _topic(others[name])} - {""}) < 2 for name in shared)


def _topic(cursor: Cursor) -> str:
    """The id of the topic that a cursor is of, if it says so; what else it says of the topic may change."""
    return str(cursor.get("topic", ""))[:_TOPIC_ID]


def mark_of(block: Block) -> str:
    """The hash of a block's first payload; nothing where rows of several partitions come in any order."""
    if block.parts is not None:
        return ""
    return hashlib.sha256(block.payload(0)).hexdigest()[:16]
