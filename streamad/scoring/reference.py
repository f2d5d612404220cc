"""What scores are compared with: recent records that no member was trained on.

The youngest of them wait before they count. A burst would else be measured by itself, and after its first few hundred
records be no anomaly any more; so it is over before the reference knows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamad.scoring.calibration import Calibration

_WAITING = 9
"""One row in so many waits. Of few rows that have come since the version's own, no more than half do."""

Levels = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""From features [n, F] and the detector's scores [n] to the scores that alert."""


class Excerpt(NamedTuple):
    """m rows that stand for more."""

    features: NDArray[np.float64]
    """[m, F] what the head reads."""
    base: NDArray[np.float64]
    """[m] the detector's scores."""
    weights: NDArray[np.float64]
    """[m] for how many rows each stands."""


class Reference:
    """At most `rows` rows, the youngest last; at first those of an artifact."""

    def __init__(self, first: Excerpt, rows: int) -> None:
        # Features lie in the pieces in which they came; few labels ask for all of them.
        self._features = deque([first.features])
        self._base, self._weights = first.base, first.weights
        self._levels = np.empty(0)
        """What alerts of the oldest rows: of those for which it is known."""
        self._rows, self._since = rows, 0

    def __len__(self) -> int:
        return len(self._base)

    def extend(self, features: NDArray[np.float64], base: NDArray[np.float64]) -> None:
        """Add rows [n, F] and [n]; the oldest make room."""
        self._features.append(features)
        self._since = min(self._since + len(base), self._rows)
        dropped = max(len(self._base) + len(base) - self._rows, 0)
        self._levels = self._levels[dropped:]
        self._base = np.concatenate([self._base, base])[-self._rows :]
        self._weights = np.concatenate([self._weights, np.ones(len(base))])[-self._rows :]
        while sum(map(len, self._features)) - len(self._features[0]) >= self._rows:
            self._features.popleft()

    def forget(self) -> None:
        """The head has changed: what is known of the scores that alert holds no more."""
        self._levels = np.empty(0)

    def calibration(self, levels: Levels) -> Calibration:
        """Fit to the rows that wait no more."""
        settled = self._settled()
        return Calibration.fit(self._known(levels)[:settled], self._weights[:settled])

    def rows(self) -> Excerpt:
        """All of them, those that wait too."""
        return Excerpt(self._last(len(self)), self._base, self._weights)

    def excerpt(self, count: int, levels: Levels) -> Excerpt:
        """At most `count` rows that calibrate nearly as all do: half are the highest, the others evenly spread."""
        settled = self._settled()
        order = np.argsort(-self._known(levels)[:settled], kind="stable")
        highest, others = order[: count // 2], order[count // 2 :]
        groups = np.array_split(others, min(count - len(highest), len(others)) or 1)
        middles = [group[len(group) // 2] for group in groups if len(group)]
        many = [self._weights[group].sum() for group in groups if len(group)]
        chosen = np.concatenate([highest, np.array(middles, np.int64)])
        weights = np.concatenate([self._weights[highest], many])
        return Excerpt(self._last(len(self))[chosen], self._base[chosen], weights)

    def _settled(self) -> int:
        """How many rows, the oldest, wait no more."""
        return len(self) - min(self._rows // _WAITING, self._since // 2)

    def _known(self, levels: Levels) -> NDArray[np.float64]:
        """[R] the scores that alert, computed where they are not known yet."""
        if missing := len(self) - len(self._levels):
            new = levels(self._last(missing), self._base[-missing:])
            self._levels = np.concatenate([self._levels, new])
        return self._levels

    def _last(self, count: int) -> NDArray[np.float64]:
        """[count, F] the youngest rows' features."""
        taken: list[NDArray[np.float64]] = []
        left = count
        for piece in reversed(self._features):
            if left <= 0:
                break
            taken.append(piece)
            left -= len(piece)
        return np.concatenate(taken[::-1])[-count:] if taken else self._features[0][:0]
