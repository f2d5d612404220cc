"""How each table divides a data set into what a method trains on and what it is judged by.

Every split is a function of the data and a seed alone. Features stay as the file has them: a method scales by the
training rows that it uses.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from streamad.bench.papers.datasets import NORMAL

if TYPE_CHECKING:
    from streamad.bench.papers.datasets import DataSet

Rows = NDArray[np.int64]

ANOMALY: Final = 1
UNLABELED: Final = -1

TRAIN_SHARE = 0.6
POLLUTIONS: Final = (0.0, 0.01, 0.05, 0.1)
LABELS: Final = (0.0, 0.01, 0.05)
KNOWN_FAMILIES: Final = (1, 2, 4)
_POLLUTION_NORMALS = 3_000
_POLLUTION_TESTED = 5_000
_CLUSTERS = 4
_FAMILY_NORMALS = 3_000
_FAMILY_LABELS = 30
_FAMILY_TESTED = 100


@dataclass(frozen=True, slots=True)
class Split:
    """One division of a data set."""

    train_x: NDArray[np.float64]
    """[n, D]"""
    train_y: NDArray[np.int8]
    """[n] what is told to the method: 1 anomaly, 0 normal, -1 unlabeled."""
    test_x: NDArray[np.float64]
    """[t, D]"""
    test_y: NDArray[np.int8]
    """[t] 1 anomaly, 0 normal."""
    note: str = ""
    """What a reader of the result should know, such as a capped number of labels."""
    unknown: NDArray[np.bool_] | None = None
    """[t] the test rows of a kind of anomaly that had no label, where the data set knows kinds."""


def deep_sad_split(data: DataSet, seed: int) -> Split:
    """60:40, stratified; 1 % of the training set are labeled anomalies, the other anomalies of it are left out.

    Ruff et al. 2020, section 4 and appendix B: gamma_l = m / (n + m) = 0.01, gamma_p = 0. At least one anomaly is labeled.
    """
    rng = np.random.default_rng(seed)
    normal, anomalous = _shuffled(data, rng)
    n, a = round(TRAIN_SHARE * len(normal)), round(TRAIN_SHARE * len(anomalous))
    labeled = min(a, max(1, share_of_whole(n, 0.01)))
    return _split(data, normal[:n], anomalous[:labeled], np.concatenate([normal[n:], anomalous[a:]]))


def ae_sad_split(data: DataSet, seed: int, given: int | None = None) -> Split:
    """60 % of the normal rows train, with labeled anomalies that are 5 % of the training set; all others test.

    Angiulli et al., section 4.3. At most 60 % of the anomalies are labeled, since some sets have too few. Or so many
    labels are `given`.
    """
    rng = np.random.default_rng(seed)
    normal, anomalous = _shuffled(data, rng)
    n = round(TRAIN_SHARE * len(normal))
    labeled, note = _ae_sad_labels(n, len(anomalous)) if given is None else (given, "")
    return _split(
        data, normal[:n], anomalous[:labeled], np.concatenate([normal[n:], anomalous[labeled:]]), note
    )


def clustered_split(data: DataSet, seed: int) -> Split:
    """The AE-SAD split but for where the anomalies come from: the test's are of clusters that had no label.

    The anomalies, each feature standardised among them, fall into four clusters (k-means). Some of the clusters,
    which together hold a quarter to three quarters of the anomalies where such there are, give the labels; the
    anomalies of the others test; those of the first without a label are left out.
    """
    rng = np.random.default_rng(seed)
    normal, anomalous = _shuffled(data, rng)
    n = round(TRAIN_SHARE * len(normal))
    scaled = StandardScaler().fit_transform(data.x[anomalous])
    clusters = KMeans(_CLUSTERS, n_init=4, random_state=seed).fit_predict(scaled)
    known = np.isin(clusters, _known_clusters(clusters, rng))
    wanted, note = _ae_sad_labels(n, len(anomalous))
    labeled = anomalous[known][:wanted]
    if len(labeled) < wanted:
        note = f"labels capped at {len(labeled)}, all of their clusters"
    return _split(data, normal[:n], labeled, np.concatenate([normal[n:], anomalous[~known]]), note)


def pollution_split(data: DataSet, seed: int, pollution: float, labels: float) -> Split:
    """60:40, stratified; `pollution` is the share of anomalies among the unlabeled rows, `labels` as gamma_l.

    The training normals are cut so that the set's anomalies suffice for the most of both, and training and test to
    what takes seconds. With one seed all shares have the same normals and the same test rows, and fewer labels or
    polluting rows are a part of the more.
    """
    rng = np.random.default_rng(seed)
    normal, anomalous = _shuffled(data, rng)
    n, a = round(TRAIN_SHARE * len(normal)), round(TRAIN_SHARE * len(anomalous))
    kept = min(n, _POLLUTION_NORMALS, _normals_for(a))
    hidden = share_of_whole(kept, pollution)
    labeled = share_of_whole(kept + hidden, labels)
    unlabeled = np.concatenate([normal[:kept], anomalous[a - hidden : a]])
    test = rng.permutation(np.concatenate([normal[n:], anomalous[a:]]))[:_POLLUTION_TESTED]
    return _split(data, unlabeled, anomalous[:labeled], test)


def family_split(data: DataSet, seed: int, known: int) -> Split:
    """KDDCUP99 with labels from `known` attack families only; the test holds all families, each at most 100 times.

    3,000 distinct normal connections and 30 labeled attacks (1 %), spread over the families, train; 3,000 other
    normal connections test. With one seed fewer families are a part of the more.
    Raises `ValueError` where the data set names no families.
    """
    if data.family is None:
        raise ValueError(f"{data.name} has no families of anomalies")
    rng = np.random.default_rng(seed)
    _, first = np.unique(data.x, axis=0, return_index=True)
    rows = rng.permutation(first)
    of = {name: rows[data.family[rows] == name] for name in np.unique(data.family[rows])}
    normal = of.pop(np.str_(NORMAL))
    labeled, tested, unknown = _draw_families(of, rng, known)
    train, others = normal[:_FAMILY_NORMALS], normal[_FAMILY_NORMALS : 2 * _FAMILY_NORMALS]
    note = "labels of " + ", ".join(sorted({str(data.family[row]) for row in labeled}))
    unknown = np.concatenate([np.zeros(len(others), dtype=bool), unknown])
    return _split(data, train, labeled, np.concatenate([others, tested]), note, unknown)


@dataclass(frozen=True, slots=True)
class Novelty:
    """Rows to ask about, and rows to test on, some of them of families that the first do not have."""

    train: DataSet
    test_x: NDArray[np.float64]
    """[t, D]"""
    known: NDArray[np.bool_]
    """[t] the anomalies of families that the training rows have."""
    new: NDArray[np.bool_]
    """[t] the anomalies of all other families."""
    note: str


def novelty_split(data: DataSet, seed: int) -> Novelty:
    """60 % of the normal rows and of ten attack families train; the rest of them and all other families test.

    As Figure 4 of the UAI paper, but without KDDCUP99's own test file. The ten are every other family by falling
    size, and the smallest of the others. Raises `ValueError` where the data set names no families.
    """
    if data.family is None:
        raise ValueError(f"{data.name} has no families of anomalies")
    rng = np.random.default_rng(seed)
    names, counts = np.unique(data.family[data.y == 1], return_counts=True)
    by_size = names[np.argsort(-counts, kind="stable")]
    ten = np.concatenate([by_size[::2], by_size[1::2][::-1]])[:10]
    of = [rng.permutation(np.flatnonzero(data.family == name)) for name in (NORMAL, *ten)]
    train = np.concatenate([rows[: round(TRAIN_SHARE * len(rows))] for rows in of])
    test = np.setdiff1d(np.arange(len(data.y)), train)
    known = (data.y[test] == 1) & np.isin(data.family[test], ten)
    note = "known families: " + ", ".join(sorted(map(str, ten)))
    asked = replace(data, x=data.x[train], y=data.y[train], family=data.family[train])
    return Novelty(asked, data.x[test], known, (data.y[test] == 1) & ~known, note)


def share_of_whole(others: int, share: float) -> int:
    """How many rows to add to `others` so that the added are `share` of all."""
    return round(others * share / (1 - share))


def _shuffled(data: DataSet, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """The normal rows and the anomalous ones, each in random order."""
    return rng.permutation(np.flatnonzero(data.y == 0)), rng.permutation(np.flatnonzero(data.y == 1))


def _split(
    data: DataSet,
    unlabeled: Rows,
    labeled: Rows,
    test: Rows,
    note: str = "",
    unknown: NDArray[np.bool_] | None = None,
) -> Split:
    told = np.full(len(unlabeled) + len(labeled), UNLABELED, dtype=np.int8)
    told[len(unlabeled) :] = ANOMALY
    train = np.concatenate([unlabeled, labeled])
    return Split(data.x[train], told, data.x[test], data.y[test], note, unknown)


def _ae_sad_labels(normals: int, anomalies: int) -> tuple[int, str]:
    """How many anomalies are labeled beside so many training normals, and whether that was capped."""
    wanted, most = share_of_whole(normals, 0.05), max(1, math.floor(TRAIN_SHARE * anomalies))
    return (wanted, "") if wanted <= most else (most, f"labels capped at {most} of {anomalies} anomalies")


def _known_clusters(clusters: Rows, rng: np.random.Generator) -> tuple[int, ...]:
    """A random one of the choices of clusters that hold 25-75 % of the rows, else the choice nearest to a half."""
    shares = np.bincount(clusters, minlength=_CLUSTERS) / len(clusters)
    choices = [
        choice for size in range(1, _CLUSTERS) for choice in itertools.combinations(range(_CLUSTERS), size)
    ]
    off = np.array([abs(shares[list(choice)].sum() - 0.5) for choice in choices])
    fitting = np.flatnonzero(off <= max(0.25, off.min()))
    return choices[int(rng.choice(fitting))]


def _normals_for(anomalies: int) -> int:
    """The most training normals that `anomalies` can pollute and label at the largest shares of both."""
    pollution, labels = POLLUTIONS[-1], LABELS[-1]
    hidden = pollution / (1 - pollution)
    each = hidden + (1 + hidden) * labels / (1 - labels)
    return math.floor((anomalies - 1) / each)


def _draw_families(
    of: dict[np.str_, Rows], rng: np.random.Generator, known: int
) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Labeled rows, test rows and which of the latter are of no labeled family; `of` has the rows of each family."""
    chosen = [name for name in rng.permutation(sorted(of)) if len(of[name]) >= 2 * _FAMILY_LABELS][:known]
    labeled = np.concatenate([of[name][: math.ceil(_FAMILY_LABELS / known)] for name in chosen])
    tested = [rows[_FAMILY_LABELS:] if name in chosen else rows for name, rows in of.items()]
    tested = [rows[:_FAMILY_TESTED] for rows in tested]
    unknown = [np.full(len(rows), name not in chosen) for name, rows in zip(of, tested, strict=True)]
    return labeled[:_FAMILY_LABELS], np.concatenate(tested), np.concatenate(unknown)
