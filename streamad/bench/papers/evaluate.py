"""One cell of a table: a method on a data set, over all its seeds."""

from __future__ import annotations

import functools
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_auc_score

from streamad.bench.papers.active import queries_a_round
from streamad.bench.papers.datasets import DataSet, load
from streamad.bench.papers.entries import ActiveEntry, NoveltyEntry, SplitEntry
from streamad.bench.papers.methods import METHODS
from streamad.bench.papers.protocols import Novelty, novelty_split
from streamad.bench.papers.tables import ANSWERS, PLAIN, TABLES, Setting, split_for
from streamad.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamad.bench.papers.baselines import Scores
    from streamad.bench.papers.protocols import Split


@dataclass(frozen=True, slots=True)
class Cell:
    """What is computed at once."""

    table: str
    dataset: str
    method: str
    seeds: int
    """The seeds are 0 to `seeds` - 1."""
    setting: Setting = PLAIN


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a cell."""

    values: tuple[float, ...]
    """One for each seed, in the table's unit."""
    note: str
    """What the splits have to say, and on how many of them."""
    seconds: float
    """Processor time of training and scoring, all seeds; beside other work it stays what it is."""


def evaluate(cell: Cell, folder: Path) -> Outcome:
    """Split, train, score, judge.

    Raises `UserError` where the data set's file is missing, `TrainingError` where a score is no finite number.
    """
    entry = METHODS[cell.table][cell.method]
    seeds = range(cell.seeds)
    if isinstance(entry, ActiveEntry):
        data = _loaded(folder, cell.dataset)
        k = queries_a_round(data)
        began = time.process_time()
        values = entry.make(data.name)(data, seeds, k)
        return Outcome(tuple(values), f"{k} queries a round", time.process_time() - began)
    if isinstance(entry, NoveltyEntry):
        return _on_new_rows(cell, folder)
    assert isinstance(entry, SplitEntry)
    splits = _splits(folder, cell.table, cell.dataset, cell.setting, seeds)
    began = time.process_time()
    scores = entry.make(cell.dataset)(splits, seeds)
    seconds = time.process_time() - began
    judged = tuple(judge(cell, split, one) for split, one in zip(splits, scores, strict=True))
    return Outcome(judged, _notes(splits), seconds)


def judge(cell: Cell, split: Split, scores: Scores) -> float:
    """The area under the ROC curve, or of the anomalies of unknown kinds the share among the highest scores.

    The latter counts as many scores as the test has anomalies (UAI paper, section 4.3). Raises `TrainingError` where
    a score is no finite number.
    """
    if not np.isfinite(scores).all():
        raise TrainingError("it gave a score that is no finite number")
    if split.unknown is not None:
        return _recall(scores, split.unknown, int(split.test_y.sum()))
    area = float(roc_auc_score(split.test_y, scores))
    return 100 * area if TABLES[cell.table].metric.endswith("%") else area


def _recall(scores: Scores, wanted: NDArray[np.bool_], most: int) -> float:
    """The percentage of the wanted rows among the `most` highest scores."""
    top = np.argsort(-scores, kind="stable")[:most]
    return 100 * float(wanted[top].sum() / wanted.sum())


def _on_new_rows(cell: Cell, folder: Path) -> Outcome:
    """One point of Figure 4: recall among as many scores as the test has anomalies."""
    found, seconds = _novelties(folder, cell.table, cell.method, cell.dataset, cell.seeds)
    values = []
    for split, scores in found:
        wanted = split.new if cell.setting.new else split.known
        answered = scores[ANSWERS.index(cell.setting.answers or 0)]
        values.append(_recall(answered, wanted, int(split.known.sum() + split.new.sum())))
    return Outcome(tuple(values), found[0][0].note, seconds)


@functools.lru_cache(maxsize=4)  # methods take turns
def _novelties(
    folder: Path, table: str, method: str, dataset: str, seeds: int
) -> tuple[list[tuple[Novelty, list[Scores]]], float]:
    """All points of a method come from one search, which takes long; and how long that took."""
    entry = METHODS[table][method]
    assert isinstance(entry, NoveltyEntry)
    splits = [novelty_split(_loaded(folder, dataset), seed) for seed in range(seeds)]
    began = time.process_time()
    score = entry.make(dataset)
    k = queries_a_round(splits[0].train)
    scores = [score(split.train, split.test_x, seed, k, ANSWERS) for seed, split in enumerate(splits)]
    return list(zip(splits, scores, strict=True)), time.process_time() - began


@functools.lru_cache(maxsize=1)
def _splits(folder: Path, table: str, dataset: str, setting: Setting, seeds: range) -> tuple[Split, ...]:
    """The cells of one data set and setting often follow each other."""
    return tuple(split_for(table, _loaded(folder, dataset), setting, seed) for seed in seeds)


@functools.lru_cache(maxsize=1)
def _loaded(folder: Path, name: str) -> DataSet:
    return load(folder, name)


def _notes(splits: Sequence[Split]) -> str:
    counts = Counter(split.note for split in splits if split.note)
    return "; ".join(text if n == len(splits) else f"{text} (x{n})" for text, n in counts.most_common(3))
