"""The simulated analyst: when questions are asked, what is answered, and when the answer arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamad.bench.stream.streams import Stream

WARM_UP: Final = 10_000
"""Records that schema, dictionary, scaling and first models are made of; questions begin after them."""

_ANALYST = 3  # what a random stream is for


class Answer(NamedTuple):
    """A verdict on one record."""

    row: int
    anomalous: bool


class Analyst:
    """Asked about so many records at moments spread evenly over the stream; answers come some records later."""

    def __init__(self, stream: Stream, labels: int, delay: int, wrong: float, seed: int) -> None:
        """`delay` records pass between a question and its answer; `wrong` is the share of answers that are."""
        span = max(stream.labels_end - WARM_UP, 0)
        self._moments = WARM_UP + (np.arange(labels) + 0.5) * span / max(labels, 1)
        self._truth, self._delay, self._wrong = stream.truth, delay, wrong
        self._random = np.random.default_rng((seed, _ANALYST))
        self._open: list[tuple[int, Answer]] = []  # due, in order
        self.asked: list[int] = []
        """The records asked about so far, in order."""

    def questions(self, records: int) -> int:
        """How many may be asked now that so many records were scored."""
        return int(np.searchsorted(self._moments, records, side="right")) - len(self.asked)

    def ask(self, rows: Sequence[int], records: int) -> None:
        """Ask about these records, all scored before record `records`."""
        for row in rows:
            mistaken = bool(self._random.random() < self._wrong)
            self._open.append((records + self._delay, Answer(row, bool(self._truth[row]) != mistaken)))
            self.asked.append(row)

    def answers(self, records: int) -> list[Answer]:
        """The answers that have come in before record `records` and were not given out yet."""
        ready = [answer for due, answer in self._open if due <= records]
        del self._open[: len(ready)]
        return ready
