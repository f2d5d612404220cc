"""DAE with the UAI layer in the active protocol of its paper: the head as streamad has it, and the paper's way.

UaiNets, Algorithm 1 and appendix A: no labels at first; rounds of k queries until as many rows have been asked about
as there are anomalies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray

from streamad.bench.papers.active import Rows, ask_in_rounds, distinct
from streamad.bench.papers.datasets import DataSet
from streamad.estimators.base import Estimator
from streamad.estimators.detectors import DAE
from streamad.estimators.scaling import Scaling
from streamad.estimators.uai import UAI
from streamad.models.base import make_detector
from streamad.models.options import DetectorOptions
from streamad.models.randomness import member_seeds
from streamad.training.loop import Training, TrainingRows

_EPOCHS, _STEPS, _BATCH = 150, 5_000, 128
_CLASS_EPOCHS = 15
_RETRAINED_AT, _RETRAINED_AGAIN = 1_000, 2
"""The codes are trained anew, jointly with the labels, at so many answers and whenever there are so many times as many."""
_COLD_ROUNDS = 10
_PAPER: Final = DetectorOptions(
    name="dae", members=1, hidden=(256, 64), latent=8, epochs=1, min_steps=5_000, batch=256
)
"""The paper's network and pre-training; Adam instead of RMSprop."""
_PAPER_RATE, _PAPER_STEPS = 1e-2, 100
"""Learning rate of the joint steps, and how many follow each round."""


@dataclass(kw_only=True, eq=False, repr=False)
class Class(Estimator):
    """The paper's second base: a classifier of the rows' own class, which is their last nine columns."""

    _detector: ClassVar[str] = "classifier"
    classes: int = 9


def asking_head(data: DataSet, seeds: Sequence[int], k: int) -> list[float]:
    """`UAI`'s head ranks all rows from the first round on and learns each answer."""
    return _with_head(data, [_base(data, seed) for seed in seeds], k)


def asking_class(data: DataSet, seeds: Sequence[int], k: int) -> list[float]:
    """The same on the classifier."""
    return _with_head(data, [_class(seed) for seed in seeds], k)


def asking_base(data: DataSet, seeds: Sequence[int], k: int) -> list[float]:
    """The base alone: no answer changes its order."""
    del k
    return [_by_score(data, _base(data, seed)) for seed in seeds]


def asking_class_base(data: DataSet, seeds: Sequence[int], k: int) -> list[float]:
    """The same on the classifier."""
    del k
    return [_by_score(data, _class(seed)) for seed in seeds]


def _with_head(data: DataSet, bases: Sequence[Estimator], k: int) -> list[float]:
    rows, place = distinct(data.x)
    budget = int(data.y.sum())
    fitted = [UAI(base).fit(data.x) for base in bases]
    return [float(data.y[_head_run(data, uai, rows, place, k, budget)].mean()) for uai in fitted]


def _by_score(data: DataSet, base: Estimator) -> float:
    """The share of anomalies among so many highest scores as there are anomalies."""
    order = np.argsort(-base.fit(data.x).decision_function(data.x), kind="stable")
    return float(data.y[order[: int(data.y.sum())]].mean())


def asking_on_new_rows(
    data: DataSet, test_x: NDArray[np.float64], seed: int, k: int, answers: Sequence[int]
) -> list[NDArray[np.float64]]:
    """`asking_head`, and after each number of answers its log odds of the test rows."""
    rows, place = distinct(data.x)
    uai = UAI(_base(data, seed)).fit(data.x)
    found = [uai.decision_function(test_x)]
    asked = _head_run(data, uai, rows, place, k, max(answers))
    for number in answers[1:]:
        known = np.full(len(place), -1)
        known[asked[:number]] = data.y[asked[:number]]
        found.append(uai.fit(data.x, known).decision_function(test_x))
    return found


def asking_jointly(data: DataSet, seeds: Sequence[int], k: int) -> list[float]:
    """The paper's way: ten rounds ranked by the base, then by the UAI layer; 100 joint steps after each round."""
    return [_joint_run(data, seed, k)[0] for seed in seeds]


def upper_bound(data: DataSet, seeds: Sequence[int], k: int) -> list[float]:
    """What the paper's ten rounds of the base leave possible: as if every later query found an anomaly."""
    return [_joint_run(data, seed, k, bound=True)[1] for seed in seeds]


def _head_run(data: DataSet, uai: UAI, rows: NDArray[np.float64], place: Rows, k: int, budget: int) -> Rows:
    """What the head of a fitted `UAI` asks about. With many answers the codes are retrained by all of them."""
    features = uai.features(rows)
    answers = np.full(len(place), -1)
    due = _RETRAINED_AT

    def ranked() -> Rows:
        return np.argsort(-uai.head_.log_odds(features)[place], kind="stable")

    def learn(answered: Rows) -> None:
        nonlocal features, due
        answers[answered] = data.y[answered]
        if (known := int((answers >= 0).sum())) >= due:
            uai.fit(data.x, answers)
            features, due = uai.features(rows), _RETRAINED_AGAIN * known
            return
        for row in answered:
            uai.head_.update(features[place[row]], "anomaly" if data.y[row] else "normal")

    return ask_in_rounds(len(place), k, ranked, learn, budget)


def _base(data: DataSet, seed: int) -> DAE:
    """Not fitted; at most 150 epochs or 5,000 batches."""
    steps = -(-len(data.y) // _BATCH)
    epochs = max(1, min(_EPOCHS, round(_STEPS / steps)))
    return DAE(members=5, hidden=(64, 32, 8), epochs=epochs, batch_size=_BATCH, seed=seed, device="cpu")


def _class(seed: int) -> Class:
    """Not fitted; trained for a tenth of the epochs, since it should learn the classes and not their exceptions."""
    return Class(
        members=5,
        hidden=(64, 32, 8),
        epochs=_CLASS_EPOCHS,
        scaling="none",
        batch_size=_BATCH,
        seed=seed,
        device="cpu",
    )


def _joint_run(data: DataSet, seed: int, k: int, *, bound: bool = False) -> tuple[float, float]:
    """F1 of the whole run, and its upper bound after the base's rounds; with `bound` no more than these are run."""
    rows, place = distinct(data.x)
    scaling = Scaling.fit(data.x, "standard")
    labels = torch.full((1, len(place)), -1, dtype=torch.int8)
    seeds = member_seeds(seed, 1)
    detector = make_detector("dae", rows.shape[1], _PAPER, seeds)
    data_rows = TrainingRows(torch.from_numpy(scaling.apply(data.x)).unsqueeze(0), labels)
    training = Training(detector, data_rows, _PAPER, seeds)
    training.run()
    training.learning_rate = _PAPER_RATE
    encoded = torch.from_numpy(scaling.apply(rows))
    rounds = 0

    def ranked() -> Rows:
        nonlocal rounds
        rounds += 1
        detector.eval()
        with torch.inference_mode():
            parts = [
                _layer(training, part, cold=rounds <= _COLD_ROUNDS) for part in torch.split(encoded, 8192)
            ]
        return np.argsort(-torch.cat(parts).double().numpy()[place], kind="stable")

    def learn(answered: Rows) -> None:
        labels[0, torch.from_numpy(answered)] = torch.from_numpy(data.y[answered])
        training.go_on(_PAPER_STEPS)

    budget = int(data.y.sum())
    first = min(budget, _COLD_ROUNDS * k)
    asked = ask_in_rounds(len(place), k, ranked, learn, first if bound else budget)
    left = budget - first
    found = int(data.y[asked[:first]].sum())
    return float(data.y[asked].mean()), min(found + left, budget) / budget


def _layer(training: Training, x: torch.Tensor, *, cold: bool) -> torch.Tensor:
    """What ranks rows [n, D]: the base score in the cold start, else the UAI layer's log odds, [n]."""
    scores, latents = training.detector.score(x)
    if cold or training.uai is None:
        return scores[0]
    return training.uai.logits(scores, latents)[0]
