"""Which methods stand in which table, under which name; a published row's name where it is that method."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import streamad
from streamad.bench.papers import baselines
from streamad.bench.papers.active import ActiveMethod, active_trees
from streamad.bench.papers.baselines import Method, Scores, for_each
from streamad.bench.papers.outside import deepod_detector, pyod_detector
from streamad.bench.papers.protocols import Split

_PACKAGE = Path(streamad.__file__).parent
_PROTOCOL = ("bench/papers/datasets.py", "bench/papers/protocols.py", "bench/papers/evaluate.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a method beside how to make it."""

    sources: tuple[str, ...]
    """Files and folders of streamad whose code decides the scores: where it changes, kept results no longer count."""
    needs_labels: bool = False
    """Whether it can do nothing without a labeled anomaly."""
    package: str = ""
    """The package of the `bench` extra that it needs."""

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    @property
    def code(self) -> str:
        """A digest of the code that decides its scores, comments and docstrings aside."""
        return _digest((*_PROTOCOL, *self.sources))


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEntry(Entry):
    """A method that is trained on a split and judged by its scores of the test rows."""

    make: Callable[[str], Method]
    """By the data set's name, since the papers choose their networks by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveEntry(Entry):
    """A method that asks about rows, and is judged by how many of them are anomalies."""

    make: Callable[[str], ActiveMethod]
    """By the data set's name."""


def _plain(score: Callable[[Split, int], Scores], *, needs_labels: bool = False) -> SplitEntry:
    method = for_each(score)
    sources = ("bench/papers/baselines.py",)
    return SplitEntry(make=lambda _: method, sources=sources, needs_labels=needs_labels)


def _other(package: str, score: Callable[[Split, int], Scores], *, needs_labels: bool) -> SplitEntry:
    method = for_each(score)
    sources = ("bench/papers/baselines.py", "bench/papers/outside.py")
    return SplitEntry(make=lambda _: method, sources=sources, needs_labels=needs_labels, package=package)


_BASELINES: Final[Mapping[str, Entry]] = {
    "isolation forest": _plain(baselines.isolation_forest),
    "kde": _plain(baselines.kernel_density),
    "knn": _plain(baselines.neighbours),
    "logistic regression": _plain(baselines.logistic_regression, needs_labels=True),
    "extratrees": _plain(baselines.extra_trees, needs_labels=True),
    "extratrees + knn ranks": _plain(baselines.trees_and_neighbours),
    "pyod ecod": _other("pyod", pyod_detector("ecod", "ECOD"), needs_labels=False),
    "deepod deep-sad": _other("deepod", deepod_detector("DeepSAD"), needs_labels=False),
    "deepod devnet": _other("deepod", deepod_detector("DevNet"), needs_labels=True),
}
"""In every table that has splits."""

_SVM: Final = _plain(baselines.one_class_svm)

METHODS: Final[Mapping[str, Mapping[str, Entry]]] = {
    "deep-sad-table-6": {"oc-svm raw": _SVM, **_BASELINES},
    "dp-vae-table-6": {"oc-svm": _SVM, **_BASELINES},
    "uainets-table-1": {
        "active extratrees": ActiveEntry(make=lambda _: active_trees, sources=("bench/papers/active.py",)),
    },
    "ae-sad-table-2": {"oc-svm": _SVM, **_BASELINES},
    "clustered": {"oc-svm": _SVM, **_BASELINES},
    "pollution": {"oc-svm": _SVM, **_BASELINES},
    "ablation": {},
}
"""By table and name. The published oc-svm of Deep SAD's table is tuned on a share of the test rows; ours is not."""


@functools.cache
def _digest(sources: tuple[str, ...]) -> str:
    found = hashlib.sha256()
    for source in sources:
        path = _PACKAGE / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(_essence(file.read_text(encoding="utf-8")).encode())
    return found.hexdigest()[:16]


def _essence(text: str) -> str:
    """A module's syntax tree without its docstrings, as text; comments are not in it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
