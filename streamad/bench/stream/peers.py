"""What every peer has in common: the same encoded records, the same analyst, questions by its own scores."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from streamad.bench.forest import read_stream
from streamad.bench.stream.analyst import WARM_UP
from streamad.bench.stream.judge import Emitted
from streamad.bench.stream.product import CONFIG
from streamad.config import Config
from streamad.features.encoder import Encoder
from streamad.ports import SourceContext
from streamad.wiring.plugins import find_plugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamad.bench.stream.analyst import Analyst, Answer
    from streamad.bench.stream.streams import Stream

STEP: Final = CONFIG["limits"]["batch_records"]
"""Records between two looks of the analyst, as the engine commits them."""

_RECENT = 10_000
"""Questions are about so many newest records, as those of `streamad queue` are about the newest of the pool."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A stream decoded and encoded as streamad's detectors see it, by its first `WARM_UP` records."""

    x: NDArray[np.float32]
    """[n, D]"""
    numbers: NDArray[np.float64]
    """[n, N] as decoded."""
    codes: NDArray[np.int32]
    """[n, C]"""


class Peer(ABC):
    """A method beside streamad. Scores a record before it learns from it."""

    @abstractmethod
    def take(self, start: int, stop: int) -> NDArray[np.float64]:
        """Scores of the next records, [start, stop), higher = more anomalous; each is learned from after its score."""

    @abstractmethod
    def learn(self, answers: Sequence[Answer]) -> None:
        """Take answers in, each on a record that was scored."""

    def wishes(self, scores: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """[m] how much it wants to ask about each of these rows; by default the score that it gave."""
        return scores[rows]


class Unlabeled(Peer):
    """A peer that learns from no label."""

    def learn(self, answers: Sequence[Answer]) -> None:
        """Nothing; nobody is asked either."""


def prequential(peer: Peer, stream: Stream, analyst: Analyst) -> Emitted:
    """Let a peer score the stream while the analyst answers its questions."""
    scores = np.empty(len(stream))
    asked = np.zeros(len(stream), np.bool_)
    for start in range(0, len(stream), STEP):
        stop = min(start + STEP, len(stream))
        scores[start:stop] = peer.take(start, stop)
        if (due := analyst.questions(stop)) > 0:
            rows = np.flatnonzero(~asked[max(stop - _RECENT, 0) : stop]) + max(stop - _RECENT, 0)
            wishes = peer.wishes(scores, rows)
            chosen = rows[np.argsort(-wishes, kind="stable")[:due]]
            asked[chosen] = True
            analyst.ask(chosen.tolist(), stop)
        if answers := analyst.answers(stop):
            peer.learn(answers)
    return Emitted(scores)


@functools.lru_cache(maxsize=1)
def table_of(stream: Stream) -> Table:
    """The stream as peers see it."""
    config = Config.model_validate(CONFIG)
    plugin = find_plugin(Path("bench"), "streamad.sources", "source", {"type": "memory"})
    lines = tuple(line.decode() for line in stream.lines)
    tree = {"type": "memory", "format": "kdd", "records": {"stream": lines}}
    options = plugin.options.model_validate(tree)
    source = plugin.open(options, SourceContext(Path(), record_bytes=1 << 20, seed=0, bounded=True))
    read = read_stream(config, options, source)
    encoder = Encoder.fit(
        config.schema_, read.numbers[:WARM_UP], read.codes[:WARM_UP], read.values, config.features
    )
    return Table(encoder.bind(read.values).encode(read.numbers, read.codes), read.numbers, read.codes)
