"""The challenger against the champion: a new version must earn its place (DESIGN's rule 8).

Both score the same rows, on which neither was trained: the recent hold-out, anomalies planted in it, and the labeled
records. A challenger is refused for what it does worse; it takes over for what it does better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from streamad.models.head import Label
from streamad.scoring.scorer import Scorer, Scores
from streamad.state.artifacts import Artifact
from streamad.state.holdout import split
from streamad.training.planting import plant
from streamad.training.snapshot import Snapshot

Numbers = dict[str, float]
"""What a trial measured, by name."""

_EACH = 1000
"""Planted anomalies of each kind."""
_LEAST_SHARE = 0.01
"""Alerts are compared at the budget, but at this share at least, so that there are some to compare."""
_DEPTHS = 1, 3, 10
"""Planted anomalies are looked for among so many times the alerts: the more places to look, the less is left to luck."""
_BETTER = 0.02
"""By so much the share of planted anomalies found must differ: two trainings alike but for the seed do less."""
_FLOOD = 1.5
"""So many times the alerts that the budget allows are too many."""
_SUSPICIOUS = 0.25
"""Where so many recent records are of new kinds, a flood is as likely as a change of what is normal."""
_COMPARED = 1000
"""Recent records that are looked at for new kinds."""
_ALIKE = 20
"""So many of these, alike, are a kind."""
_KEPT = 0.5
"""The share of what the champion finds that the challenger must find as well."""
_ROUNDING = 1e-3
"""Distances are that exact."""
_LEAST_SEEN = 0.5
"""The share of the rows that the champion was made of that a challenger must have as well."""
_FORGIVEN = 0.03
"""The share of labels that a challenger may get wrong where the champion does not, and one."""
_GROUP = 3
"""So many labeled anomalies alike are a kind that must not be forgotten."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The rows of a trial, none of which a member was trained on but for the labeled ones."""

    numbers: NDArray[np.float64]
    """[R, N] the recent hold-out."""
    codes: NDArray[np.int32]
    """[R, C]."""
    labeled_numbers: NDArray[np.float64]
    """[m, N]."""
    labeled_codes: NDArray[np.int32]
    """[m, C]."""
    anomaly: NDArray[np.bool_]
    """[m] the verdicts."""
    budget: float
    """The share of records that may alert."""
    seed: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it."""

    promoted: bool
    reason: str
    """What decided, in words."""
    numbers: Numbers = field(default_factory=dict)


def hold(champion: Scorer, challenger: Scorer, evidence: Evidence) -> Trial:
    """Let both score the evidence, each with its own head and reference, and decide.

    Both must read the evidence's dictionary (`Scorer.bind`).
    """
    numbers: Numbers = {}
    before, after = (scorer.score(evidence.numbers, evidence.codes) for scorer in (champion, challenger))
    refusal = (
        _blind(after, evidence, numbers)
        or _floods(after, _level(evidence), numbers)
        or _got_used(champion, after, evidence, numbers)
        or _forgot(champion, challenger, evidence, numbers)
    )
    if refusal:
        return Trial(promoted=False, reason=refusal, numbers=numbers)
    planted = plant(evidence.numbers, evidence.codes, _EACH, evidence.seed)
    found_before = _found(before, champion.score(*planted), _level(evidence))
    found = _found(after, challenger.score(*planted), _level(evidence))
    numbers["planted_found_before"], numbers["planted_found"] = found_before, found
    told = f"of planted anomalies it finds {found:.1%}, the version in force {found_before:.1%}"
    return Trial(promoted=found - found_before > _BETTER, reason=told, numbers=numbers)


def _level(evidence: Evidence) -> float:
    return max(evidence.budget, _LEAST_SHARE)


def _blind(challenger: Scores, evidence: Evidence, numbers: Numbers) -> str | None:
    """Whether the challenger tells records apart at all."""
    numbers["distinct_scores"] = len(np.unique(challenger.base))
    different = len(np.unique(np.hstack([evidence.numbers, evidence.codes]), axis=0))
    if numbers["distinct_scores"] < math.sqrt(different):
        return "it gives most records the same score"
    return None


def _floods(challenger: Scores, level: float, numbers: Numbers) -> str | None:
    """Whether its own calibration keeps the budget on recent records."""
    share = float((challenger.p_value < level).mean())
    numbers["alert_share"] = share
    if share > _FLOOD * level + 1 / len(challenger.p_value):
        return f"it would alert on {share:.1%} of recent records where {level:.1%} are meant"
    return None


def _got_used(champion: Scorer, challenger: Scores, evidence: Evidence, numbers: Numbers) -> str | None:
    """Whether it has taken for normal what came in numbers since the champion was trained: a flood in its window."""
    rows = np.linspace(0, len(evidence.numbers) - 1, min(len(evidence.numbers), _COMPARED)).astype(np.int64)
    normal = ~evidence.anomaly
    known = champion.encode(evidence.labeled_numbers[normal], evidence.labeled_codes[normal])
    recent = champion.encode(evidence.numbers[rows], evidence.codes[rows])
    suspect = rows[_of_new_kinds(recent, np.vstack([champion.usual, known]))]
    numbers["suspicious_share"] = share = len(suspect) / len(rows)
    if share < _SUSPICIOUS:
        return None
    level = _level(evidence)
    numbers["suspects_kept"] = kept = float((challenger.p_value[suspect] < level).mean())
    if kept < _KEPT:
        return (
            f"{share:.0%} of recent records are of kinds that the version in force had not seen, and it alerts on "
            f"{kept:.0%} of these: label some of them if they are normal"
        )
    return None


def _of_new_kinds(recent: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which encoded rows [n, D] have `_ALIKE` others nearer than any of the known ones [m, D]."""
    if len(recent) <= _ALIKE:
        return np.zeros(len(recent), np.bool_)
    rows = torch.from_numpy(recent)
    alike = torch.cdist(rows, rows).kthvalue(_ALIKE + 1).values  # the nearest is the row itself
    return (torch.cdist(rows, torch.from_numpy(known)).amin(1) > alike + _ROUNDING).numpy()


def _forgot(champion: Scorer, challenger: Scorer, evidence: Evidence, numbers: Numbers) -> str | None:
    """Whether it does worse on labeled records, in all or on any kind of them."""
    if not len(evidence.anomaly):
        return None
    rows, level = (evidence.labeled_numbers, evidence.labeled_codes), _level(evidence)
    before, after = (scorer.score(*rows).p_value < level for scorer in (champion, challenger))
    right = before == evidence.anomaly, after == evidence.anomaly
    numbers["labeled_right_before"], numbers["labeled_right"] = (float(r.mean()) for r in right)
    lost = int((right[0] & ~right[1]).sum())
    if lost > 1 + _FORGIVEN * len(evidence.anomaly):
        return f"it is wrong about {lost} labeled records that the version in force is right about"
    for group in _kinds(evidence):
        if after[group].sum() < _KEPT * before[group].sum():
            return f"it forgets a kind of labeled anomaly: {after[group].sum()} of {before[group].sum()} are left"
    return None


def _kinds(evidence: Evidence) -> Iterator[NDArray[np.int64]]:
    """Labeled anomalies of the same categories, where there are some of them."""
    anomalies = np.flatnonzero(evidence.anomaly)
    _, kind = np.unique(evidence.labeled_codes[anomalies], axis=0, return_inverse=True)
    for one in np.unique(kind):
        if (kind == one).sum() >= _GROUP:
            yield anomalies[kind.ravel() == one]


def _found(recent: Scores, planted: Scores, level: float) -> float:
    """The share of planted anomalies above the hold-out's thresholds, the mean over the depths."""
    thresholds = np.quantile(recent.base, 1 - np.minimum(level * np.array(_DEPTHS), 0.5))
    return float((planted.base > thresholds[:, None]).mean())


def on_trial(champion: Artifact, challenger: Artifact, snapshot: Snapshot) -> Trial:
    """Hold the trial of two artifacts on what the snapshot holds of recent and labeled rows.

    A challenger that cannot score is refused, and one that has seen little.
    """
    seen_before, seen = (len(tensors["reference.score"]) for _, tensors in (champion, challenger))
    if seen < _LEAST_SEEN * seen_before:
        why = f"it has seen {seen:,} held-out records, the version in force {seen_before:,}"
        return Trial(promoted=False, reason=why)
    try:
        before, after = (_scorer(artifact, snapshot) for artifact in (champion, challenger))
    except ValueError as error:
        return Trial(promoted=False, reason=str(error))
    held = split(snapshot.records, snapshot.seed)
    evidence = Evidence(
        snapshot.numbers[held],
        snapshot.codes[held],
        snapshot.labeled_numbers,
        snapshot.labeled_codes,
        snapshot.labeled_verdict == 1,
        snapshot.prior_rate,
        snapshot.seed + snapshot.version,
    )
    _teach(before, snapshot)
    return hold(before, after, evidence)


def _scorer(artifact: Artifact, snapshot: Snapshot) -> Scorer:
    device = snapshot.detector.device
    scorer = Scorer(*artifact, device=device, threads=1, reference_rows=len(artifact[1]["reference.score"]))
    scorer.bind(snapshot.values)
    return scorer


def _teach(champion: Scorer, snapshot: Snapshot) -> None:
    """Bring the champion's head up to date with the labels since, as it is in the feed."""
    features = champion.features(snapshot.labeled_numbers, snapshot.labeled_codes)
    for row, event in enumerate(snapshot.labeled_events):
        verdict: Label = "anomaly" if snapshot.labeled_verdict[row] else "normal"
        if champion.lessons.verdict(event) != verdict:
            champion.unlearn(event)
            champion.learn(event, features[row], verdict)
    champion.recalibrate()
