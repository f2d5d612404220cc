"""One cell of the comparison: a method on a stream, with so many labels, under one seed."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamad.bench.stream.analyst import Analyst
from streamad.bench.stream.judge import Judgement, judge
from streamad.bench.stream.methods import METHODS
from streamad.bench.stream.streams import Stream, load
from streamad.errors import TrainingError
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions


@dataclass(frozen=True, slots=True)
class Cell:
    """What is computed at once."""

    stream: str
    method: str
    labels: int
    delay: int
    """Records between a question and its answer."""
    wrong_labels: float
    """The share of answers that are wrong."""
    seed: int
    """Of the stream's choice of records, the model and the analyst."""
    changes: tuple[str, ...] = ()
    """What is different in streamad's config."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a cell."""

    judgement: Judgement
    seconds: float
    """Wall time, the trainer's process included."""


def evaluate(cell: Cell, folder: Path) -> Outcome:
    """Play the stream and judge the scores.

    Raises `UserError` where the stream's file is missing, `TrainingError` where a score is no finite number.
    """
    configure_logs(LogOptions(level="error"))
    stream = _loaded(cell.stream, folder, cell.seed)
    analyst = Analyst(stream, cell.labels, cell.delay, cell.wrong_labels, cell.seed)
    began = time.monotonic()
    emitted = METHODS[cell.method].play(stream, analyst, cell.seed, cell.changes)
    if not np.isfinite(emitted.score).all():
        raise TrainingError("it gave a score that is no finite number")
    return Outcome(judge(stream, emitted, analyst.asked), time.monotonic() - began)


@functools.lru_cache(maxsize=1)
def _loaded(name: str, folder: Path, seed: int) -> Stream:
    """The cells of one stream and seed often follow each other."""
    return load(name, folder, seed)
