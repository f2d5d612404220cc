"""Which methods stand in which table, under which name; a published row's name where it is that method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from streamad.bench.papers import baselines
from streamad.bench.papers.active import active_trees, active_trees_on_new_rows
from streamad.bench.papers.baselines import Method, Scores, for_each, on_codes
from streamad.bench.papers.deep import HIDDEN, OTHER_HIDDEN, coding
from streamad.bench.papers.entries import DETECTORS, ActiveEntry, Entry, Labels, NoveltyEntry, SplitEntry
from streamad.bench.papers.ours import OURS, SLOW
from streamad.bench.papers.outside import deepod_detector, pyod_detector
from streamad.bench.papers.protocols import Split
from streamad.estimators.base import Estimator
from streamad.estimators.detectors import AE


def _plain(score: Callable[[Split, int], Scores], labels: Labels) -> SplitEntry:
    method = for_each(score)
    sources = ("bench/papers/baselines.py",)
    return SplitEntry(make=lambda _: method, sources=sources, labels=labels)


def _other(package: str, score: Callable[[Split, int], Scores], labels: Labels) -> SplitEntry:
    method = for_each(score)
    sources = ("bench/papers/baselines.py", "bench/papers/outside.py")
    return SplitEntry(make=lambda _: method, sources=sources, labels=labels, package=package)


def _hybrid(score: Callable[[Split, int], Scores]) -> SplitEntry:
    """A baseline on the code of an autoencoder, which Deep SAD's authors call a hybrid."""

    def method(dataset: str) -> Method:
        hidden = HIDDEN.get(dataset, OTHER_HIDDEN)

        def make(seed: int) -> Estimator:
            return AE(hidden=hidden, norm=True, seed=seed, device="cpu", **SLOW)

        return on_codes(coding(make), for_each(score))

    sources = ("bench/papers/baselines.py", "bench/papers/deep.py", *DETECTORS)
    return SplitEntry(make=method, sources=sources, labels="ignored")


_BASELINES: Final[Mapping[str, Entry]] = {
    "isolation forest": _plain(baselines.isolation_forest, "ignored"),
    "kde": _plain(baselines.kernel_density, "ignored"),
    "knn": _plain(baselines.neighbours, "ignored"),
    "logistic regression": _plain(baselines.logistic_regression, "needed"),
    "extratrees": _plain(baselines.extra_trees, "needed"),
    "extratrees + knn ranks": _plain(baselines.trees_and_neighbours, "used"),
    "pyod ecod": _other("pyod", pyod_detector("ecod", "ECOD"), "ignored"),
    "deepod deep-sad": _other("deepod", deepod_detector("DeepSAD"), "used"),
    "deepod devnet": _other("deepod", deepod_detector("DevNet"), "needed"),
}
"""In every table that has splits."""

_SVM: Final = _plain(baselines.one_class_svm, "ignored")

_HYBRIDS: Final = {
    "oc-svm hybrid": _hybrid(baselines.one_class_svm),
    "knn hybrid": _hybrid(baselines.neighbours),
}

_TREES: Final = ActiveEntry(make=lambda _: active_trees, sources=("bench/papers/active.py",))

_OTHERS: Final[Mapping[str, Mapping[str, Entry]]] = {
    "deep-sad-table-6": {"oc-svm raw": _SVM, **_BASELINES, **_HYBRIDS},
    "dp-vae-table-6": {"oc-svm": _SVM, **_BASELINES},
    "uainets-table-1": {
        "active extratrees": _TREES,
    },
    "ae-sad-table-2": {"oc-svm": _SVM, **_BASELINES, **_HYBRIDS},
    "clustered": {"oc-svm": _SVM, **_BASELINES, **_HYBRIDS},
    "few-labels": _BASELINES,
    "pollution": {"oc-svm": _SVM, **_BASELINES},
    "uainets-digits": {"active extratrees": _TREES},
    "uainets-figure-4": {
        "active extratrees": NoveltyEntry(
            make=lambda _: active_trees_on_new_rows, sources=("bench/papers/active.py",)
        ),
    },
    "ablation": {},
}

METHODS: Final = {table: {**OURS[table], **others} for table, others in _OTHERS.items()}
"""By table and name. The published oc-svm of Deep SAD's table is tuned on a share of the test rows; ours is not."""
