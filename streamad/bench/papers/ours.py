"""streamad's own detectors in the tables, with the one set of values that the development half decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from streamad.bench.papers.asking import (
    asking_base,
    asking_class,
    asking_class_base,
    asking_head,
    asking_jointly,
    asking_on_new_rows,
    upper_bound,
)
from streamad.bench.papers.baselines import Method, Scores, for_each
from streamad.bench.papers.deep import HIDDEN, OTHER_HIDDEN, Make, autos, scoring
from streamad.bench.papers.entries import DETECTORS, ActiveEntry, Entry, Labels, NoveltyEntry, SplitEntry
from streamad.bench.papers.protocols import Split
from streamad.estimators.base import Estimator
from streamad.estimators.detectors import (
    AE,
    AESAD,
    DPVAE,
    MMLDPVAE,
    MMLVAE,
    VAE,
    DeepSAD,
    DeepSVDD,
    Supervised,
)
from streamad.estimators.uai import UAI

_OURS: Final = (*DETECTORS, "bench/papers/deep.py", "bench/papers/ours.py")


def _paper(kind: type[Estimator], labels: Labels, **values: Any) -> SplitEntry:  # noqa: ANN401  # parameters of the estimator
    """The detector on the networks that Deep SAD's paper gives each data set."""

    def make(dataset: str) -> Make:
        hidden = HIDDEN.get(dataset, OTHER_HIDDEN)
        return lambda seed: kind(hidden=hidden, seed=seed, device="cpu", **values)

    return SplitEntry(make=lambda dataset: scoring(make(dataset)), sources=_OURS, labels=labels)


def _own(kind: type[Estimator], labels: Labels, **values: Any) -> SplitEntry:  # noqa: ANN401  # parameters of the estimator
    """The detector on its own default network."""
    method = scoring(lambda seed: kind(seed=seed, device="cpu", **values))
    return SplitEntry(make=lambda _: method, sources=_OURS, labels=labels)


_AUTO: Final = SplitEntry(make=lambda _: autos, sources=_OURS, labels="used")
_ASKING: Final = (*DETECTORS, "bench/papers/asking.py", "bench/papers/active.py", "bench/papers/ours.py")
SLOW: Final[Mapping[str, Any]] = {"learning_rate": 1e-4}
"""The rate that Deep SAD's paper gives; with ours, ten times as high, it does better on the development half."""


def _summed(kind: type[Estimator]) -> SplitEntry:
    """With the error summed over the features instead of averaged: the same as so much less weight for all else."""
    columns = {"cardio": 21, "satellite": 36}

    def make(dataset: str) -> Method:
        other = 1 / columns[dataset]
        values: dict[str, Any] = {"beta": 0.05 * other, "score_beta": 0.05 * other, "device": "cpu"}
        if kind is MMLVAE:
            values["gamma"] = other
        return scoring(lambda seed: kind(seed=seed, **values))

    return SplitEntry(make=make, sources=_OURS, labels="used")


def _uai(*, joint: bool) -> SplitEntry:
    """UAI on Deep SAD; to its layer the unlabeled rows are normal, since no row is labeled so."""

    def score(split: Split, seed: int) -> Scores:
        known = np.where(split.train_y == 1, 1, 0)
        uai = UAI(DeepSAD(seed=seed, device="cpu"), joint=joint).fit(split.train_x, known)
        return uai.decision_function(split.test_x)

    return SplitEntry(make=lambda _: for_each(score), sources=_OURS, labels="needed")


def _active(method: Callable[..., list[float]]) -> ActiveEntry:
    return ActiveEntry(make=lambda _: method, sources=_ASKING)


OURS: Final[Mapping[str, Mapping[str, Entry]]] = {
    "deep-sad-table-6": {
        "deep sad": _paper(DeepSAD, "used"),
        "deep sad, rate of the paper": _paper(DeepSAD, "used", **SLOW),
        "deep sad, no batch norm": _paper(DeepSAD, "used", norm=False),
        "deep svdd": _paper(DeepSVDD, "ignored"),
        "deep svdd, soft 0.01": _paper(DeepSVDD, "ignored", nu=0.01),
        "deep svdd, soft 0.1": _paper(DeepSVDD, "ignored", nu=0.1),
        "supervised": _paper(Supervised, "needed"),
        "cae": _paper(AE, "ignored", norm=True, **SLOW),
        "auto": _AUTO,
    },
    "dp-vae-table-6": {
        "vae": _paper(VAE, "ignored"),
        "dp-vae": _paper(DPVAE, "used"),
        "mml-vae": _paper(MMLVAE, "used"),
        "mml-dp-vae": _paper(MMLDPVAE, "used"),
    },
    "uainets-table-1": {
        "dae-uai": _active(asking_head),
        "dae": _active(asking_base),
        "dae-uai, ten rounds of the base": _active(asking_jointly),
        "dae-uai, ten rounds, upper bound": _active(upper_bound),
    },
    "ae-sad-table-2": {
        "ae-sad": _own(AESAD, "used"),
        "ae": _own(AE, "ignored", hidden=(128, 64, 32), scaling="minmax"),
        "deep-sad": _own(DeepSAD, "used"),
        "auto": _AUTO,
    },
    "clustered": {
        "ae-sad": _own(AESAD, "used"),
        "deep-sad": _own(DeepSAD, "used"),
        "dp-vae": _own(DPVAE, "used"),
        "auto": _AUTO,
    },
    "few-labels": {
        "ae-sad": _own(AESAD, "used"),
        "deep-sad": _own(DeepSAD, "used"),
        "auto": _AUTO,
    },
    "pollution": {
        "ae": _own(AE, "ignored", hidden=(128, 64, 32), scaling="minmax"),
        "ae-sad": _own(AESAD, "used", alpha=1.0),
        "deep sad": _own(DeepSAD, "used"),
        "dp-vae": _own(DPVAE, "used"),
    },
    "uainets-digits": {
        "class-uai": _active(asking_class),
        "class": _active(asking_class_base),
        "dae-uai": _active(asking_head),
        "dae": _active(asking_base),
    },
    "uainets-figure-4": {
        "dae-uai": NoveltyEntry(make=lambda _: asking_on_new_rows, sources=_ASKING),
    },
    "ablation": {
        "dp-vae": _own(DPVAE, "used"),
        "dp-vae, one member": _own(DPVAE, "used", members=1),
        "dp-vae, decoder not frozen": _own(DPVAE, "used", frozen=False),
        "dp-vae, separate encoder": _own(VAE, "ignored"),
        "dp-vae, summed error": _summed(DPVAE),
        "mml-vae": _own(MMLVAE, "used"),
        "mml-vae, one member": _own(MMLVAE, "used", members=1),
        "mml-vae, summed error": _summed(MMLVAE),
        "deep sad": _own(DeepSAD, "used"),
        "deep sad, five members": _own(DeepSAD, "used", members=5),
        "uai on deep sad, gradients through the latent": _uai(joint=True),
        "uai on deep sad, no gradients through the latent": _uai(joint=False),
    },
}
"""By table and name. An encoder of the outliers' own, with the decoder frozen for them, changes nothing in the networks
that score: that row of the ablation is the plain VAE."""
