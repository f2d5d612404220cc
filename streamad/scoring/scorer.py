"""The scorer: one version's model, its head and its calibration, applied to whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamad.errors import StateError
from streamad.features.usual import Usual
from streamad.models.head import Head, Label, Site, probability
from streamad.models.scoring_model import Scored, ScoringModel, part
from streamad.scoring.reasons import Explainer, Reason
from streamad.scoring.reference import Excerpt, Reference
from streamad.state.artifacts import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Lesson(NamedTuple):
    """What one label taught the head: all that it takes to take it back."""

    features: NDArray[np.float64]
    site: Site
    verdict: Label


class Lessons:
    """What the head has learned, by event: in a few arrays, since there may be many when a version goes."""

    def __init__(self, manifest: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Those that an artifact brings along. Raises `ValueError` where they are not as many as its labels."""
        events = manifest["labeled_events"]
        self._columns = (
            tensors["head.features"],
            tensors["head.sites"],
            np.array(manifest["labeled_verdicts"], np.bool_),
        )
        if any(len(column) != len(events) for column in self._columns):
            message = "an artifact's labels are not as many as what the head learned of them"
            raise ValueError(message)
        self._rows = dict(zip(events, range(len(events)), strict=True))
        self._end = len(events)

    def verdict(self, event: str) -> Label | None:
        """What the head was taught of an event, if anything."""
        row = self._rows.get(event)
        return None if row is None else self._verdict(row)

    def add(self, event: str, lesson: Lesson) -> None:
        """Of an event that is not there."""
        row, self._rows[event] = self._end, self._end
        if row == len(self._columns[0]):
            features, sites, verdicts = (_twice_as_long(column) for column in self._columns)
            self._columns = (features, sites, verdicts)
        features, sites, verdicts = self._columns
        features[row], sites[row], verdicts[row] = lesson.features, lesson.site, lesson.verdict == "anomaly"
        self._end += 1

    def pop(self, event: str) -> Lesson | None:
        """The lesson of an event, if there is one; then it is gone."""
        row = self._rows.pop(event, None)
        if row is None:
            return None
        features, sites, _ = self._columns
        return Lesson(features[row], Site(*map(float, sites[row])), self._verdict(row))

    def _verdict(self, row: int) -> Label:
        return "anomaly" if self._columns[2][row] else "normal"


def _twice_as_long(column: NDArray[Any]) -> NDArray[Any]:
    """A copy with room for as many rows again, and for one at least."""
    return np.concatenate([column, np.zeros((max(len(column), 1), *column.shape[1:]), column.dtype)])


@dataclass(frozen=True, slots=True)
class Scores:
    """What one batch scored, row by row; rejected rows hold NaN."""

    score: NDArray[np.float64]
    """[n] higher is more anomalous: the detector's, or the head's log odds once there are labels."""
    p_value: NDArray[np.float64]
    probability: NDArray[np.float64] | None
    """[n] the head's probability of an anomaly, None without labels."""
    features: NDArray[np.float64]
    """[n, F] what the head reads."""
    base: NDArray[np.float64]
    """[n] the detector's own score."""


class Scorer:
    """Scores with one version. Replaced whole at a swap; only the head and the reference move within it."""

    def __init__(
        self,
        manifest: Mapping[str, Any],
        tensors: Mapping[str, NDArray[Any]],
        *,
        device: str,
        threads: int,
        reference_rows: int,
    ) -> None:
        self.version = int(manifest["version"])
        self.label_position = int(manifest["label_position"])
        self.model = ScoringModel.from_parts(manifest, tensors, device, threads)
        self.head = Head.from_tensors(part(tensors, "head."))
        self.lessons = Lessons(manifest, tensors)
        features = np.asarray(tensors["reference.features"], dtype=np.float64)
        base = np.asarray(tensors["reference.score"], dtype=np.float64)
        self._reference = Reference(Excerpt(features, base, np.ones(len(base))), reference_rows)
        encoder = self.model.encoder
        self._explainer = Explainer(encoder, Usual.from_tensors(encoder, part(tensors, "usual.")))
        self._examples: Scored | None = None  # what the explainer's examples score, once somebody asks
        self.recalibrate()

    @property
    def labeled(self) -> bool:
        """Whether the head knows anything, so that probabilities mean something."""
        return self.labels_applied > 0

    @property
    def labels_applied(self) -> int:
        """Labels in force that the head has learned from."""
        return self.head.count_anomaly + self.head.count_normal

    def bind(self, values: Sequence[Sequence[str]]) -> None:
        """Read category codes of this dictionary from now on (values[field][code])."""
        self._encoder = self.model.encoder.bind(values)

    @property
    def usual(self) -> NDArray[np.float32]:
        """Examples of the window that the version was trained on, encoded [R, D]."""
        return self._explainer.examples

    def encode(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float32]:
        """Decoded rows ([n, N], [n, C]) as the detector reads them, [n, D]."""
        return self._encoder.encode(numbers, codes)

    def score(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> Scores:
        """Score decoded rows; every row depends on itself alone."""
        scored = self.model.score(self.encode(numbers, codes))
        if not self.labeled:
            p_value = self._calibration.p_values(scored.score)
            return Scores(scored.score, p_value, None, scored.features, scored.score)
        odds = self._moved(scored)
        return Scores(
            odds, self._calibration.p_values(odds), probability(odds), scored.features, scored.score
        )

    def explain(
        self, numbers: NDArray[np.float64], codes: NDArray[np.int32], threshold: float, count: int
    ) -> list[tuple[Reason, ...]]:
        """At most `count` reasons for each row ([n, N], [n, C]), for a threshold of p-values."""
        if self._examples is None:
            self._examples = self.model.score(self._explainer.examples)
        ordinary = self._calibration.p_values(self._moved(self._examples)) >= threshold
        x = self.encode(numbers, codes)
        return self._explainer.explain(x, lambda x: self._moved(self.model.score_few(x)), ordinary, count)

    def _moved(self, scored: Scored) -> NDArray[np.float64]:
        """[n] the score that alerts: the detector's, or the head's log odds once there are labels."""
        return self.head.log_odds(scored.features) if self.labeled else scored.score

    def features(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """What the head reads of decoded rows, [n, F]; every row depends on itself alone."""
        return self.model.score(self.encode(numbers, codes)).features

    def learn(self, event: str, features: NDArray[np.float64], verdict: Label) -> None:
        """Learn the label of an event with these features [F], at a cost that does not grow with the labels before it.

        `recalibrate` afterwards.
        """
        self._reference.forget()
        self.lessons.add(event, Lesson(features, self.head.update(features, verdict), verdict))

    def unlearn(self, event: str) -> None:
        """Take exactly the label of an event back, if there is one. `recalibrate` afterwards."""
        lesson = self.lessons.pop(event)
        if lesson is not None:
            self._reference.forget()
            self.head.remove(*lesson)

    def extend(self, features: NDArray[np.float64], base: NDArray[np.float64]) -> None:
        """Add rows that no member was trained on to the reference, the oldest making room. `recalibrate` afterwards."""
        self._reference.extend(features, base)

    def meet(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> None:
        """As `extend`, with rows that this version has not scored."""
        scored = self.model.score(self.encode(numbers, codes))
        self.extend(scored.features, scored.score)

    def refer_to(self, arrays: bytes) -> None:
        """Take over a reference that another process has packed (`packed_reference`). `recalibrate` afterwards.

        Raises `StateError` where it is none for this version.
        """
        tensors = unpacked(arrays)
        nothing = np.empty(0)
        features, base = tensors.get("features", nothing), tensors.get("score", nothing)
        weights = tensors.get("weight", np.ones(len(base)))
        fits = base.ndim == 1 and features.shape == (len(base), self.model.head_width) and len(base)
        sound = all(np.isfinite(array).all() for array in (base, features, weights))
        if not (fits and sound and weights.shape == base.shape and (weights > 0).all()):
            raise StateError("a reference does not fit the version that it names")
        taken = Excerpt(*(array.astype(np.float64) for array in (features, base, weights)))
        self._reference = Reference(taken, len(base))

    def packed_reference(self, rows: int) -> bytes:
        """What `rows` rows can tell of the reference, for `refer_to`."""
        features, base, weights = self._reference.excerpt(rows, self._levels)
        return packed({"features": features.astype(np.float32), "score": base, "weight": weights})

    def reference(self) -> Excerpt:
        """The reference as it is now, the youngest row last."""
        return self._reference.rows()

    def recalibrate(self) -> None:
        """Fit the calibration to the reference as the head sees it now."""
        self._calibration = self._reference.calibration(self._levels)

    def _levels(self, features: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._moved(Scored(base, features))
