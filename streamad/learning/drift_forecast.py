"""Whether a level moved further than it is used to: forecasts of block means, each learned from its own past.

A window is `SPAN` blocks. The level of the last window is forecast from the `LAGS` windows before it by an
autoregression, which follows a daily cycle and averages over noise as far as the monitor's own past says.
How far forecasts miss is remembered as a sixth moment, in which the few large moves of a field that comes in bursts
count more than the many small ones. A miss is a drift where it is larger than a multiple of that and than a floor,
and most blocks of the window took part: a burst is over before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPAN = 4
"""Blocks in a window: a change is called a drift once it lasted for about so many."""
LAGS = 4
_GROUPS = LAGS + 2
"""Windows side by side: the last one, its lags, and one more, so that the last but one has its lags too."""
_ROUNDS = 8
"""Rounds of `SPAN` blocks to learn movements from before misses are counted, and of counted misses before any is
called a drift."""
_MEMORY = 125
"""Rounds over which what was learned fades."""
_REFIT = 4
"""Rounds from one fit of the autoregressions to the next."""
_RIDGE = 0.2
_POWER = 6
_FULL = SPAN * (_GROUPS + 1) - 1
"""Blocks until all levels are those of whole windows."""
_SETTLED = _FULL + SPAN
"""Blocks until there was a round to learn the mean from."""
QUIET = SPAN * (_GROUPS + 2 * _ROUNDS)
"""Blocks after a start, at the last of which a drift can be said for the first time."""

_PART = 0.5
"""Of a miss, what a block must have moved to have taken part."""


_ROWS = {
    "blocks": SPAN,
    "levels": SPAN * _GROUPS,
    "mean": 1,
    "squares": LAGS * LAGS,
    "products": LAGS,
    "weights": LAGS,
    "moment": 1,
    "age": 1,
}
"""The arrays of `Forecasts`."""


class Miss(NamedTuple):
    """How far forecasts were off, and how far they may be, [M] each."""

    forecast: NDArray[np.float32]
    level: NDArray[np.float32]
    ratio: NDArray[np.float32]
    """Of the miss to what is allowed: above 1 is a drift."""


@dataclass(slots=True, eq=False, kw_only=True)
class Forecasts:
    """Of M monitors; arrays are replaced, never written to, so that a shallow copy is a copy."""

    blocks: NDArray[np.float32]
    """[SPAN, M] the last blocks' means."""
    levels: NDArray[np.float32]
    """[SPAN * _GROUPS, M] the mean of the window that ended with each of the last blocks."""
    mean: NDArray[np.float32]
    """[1, M] the level in the long run."""
    squares: NDArray[np.float32]
    """[LAGS * LAGS, M] sums of products of lagged levels."""
    products: NDArray[np.float32]
    """[LAGS, M] and of lagged levels with the level that followed."""
    weights: NDArray[np.float32]
    """[LAGS, M] the autoregressions."""
    moment: NDArray[np.float32]
    """[1, M] the mean of the misses' sixth powers."""
    age: NDArray[np.float32]
    """[1, M] blocks that can be compared."""
    count: int = 0
    """Blocks since the start."""
    rounds: int = 0
    """Rounds learned from."""

    @classmethod
    def of(cls, monitors: int) -> Self:
        """Before the first block."""
        zeros: dict[str, Any] = {name: np.zeros((rows, monitors), np.float32) for name, rows in _ROWS.items()}
        return cls(**zeros)

    def copy(self) -> Self:
        """An independent copy."""
        return replace(self)

    def unsettle(self, monitors: slice) -> None:
        """What these monitors said so far cannot be compared with what they say from now on.

        How far they move usually is still known.
        """
        self.age = self.age.copy()
        self.age[0, monitors] = 0

    def add(
        self, means: NDArray[np.float32], floor: NDArray[np.float32], limit: NDArray[np.float32]
    ) -> Miss | None:
        """Take the next block's means [M]; None while too little is known.

        Allowed are misses up to `floor` [M], and up to `limit` [M] times what is usual.
        """
        self.blocks = np.concatenate((self.blocks[1:], means[None]))
        self.levels = np.concatenate((self.levels[1:], self.blocks.sum(axis=0, keepdims=True) / SPAN))
        self.age = self.age + 1
        self.count += 1
        if self.count % SPAN == 0 and self.age.max() >= _FULL:
            self._learn()
        if self.rounds < 2 * _ROUNDS:
            return None
        windows = self.levels[SPAN - 1 :: SPAN]  # [_GROUPS, M], the oldest first
        forecast = self.mean[0] + (self.weights * (windows[1:-1] - self.mean)).sum(axis=0)
        miss = windows[-1] - forecast
        ratio = np.abs(miss) / np.maximum(floor, limit * self.moment[0] ** (1 / _POWER))
        if ratio.max() > 1:
            took_part = (self.blocks - forecast) * np.sign(miss) >= np.abs(miss) * _PART  # [SPAN, M]
            ratio *= (took_part.sum(axis=0) >= SPAN - 1) & (self.age[0] >= _SETTLED)
        return Miss(forecast, windows[-1], ratio)

    def _learn(self) -> None:
        """Learn from the windows that ended one window ago: these turned out not to be a drift."""
        known = self.age >= _FULL
        rounds = self.levels.reshape(_GROUPS, SPAN, -1)[:-1]
        self.mean = np.where(self.age < _FULL + SPAN, rounds.mean(axis=(0, 1)), self.mean)  # the first time
        moves = (rounds - self.mean) * known  # [LAGS + 1, SPAN, M]
        lags, level = moves[:-1], moves[-1]
        if self.rounds >= _ROUNDS:
            missed = level - (self.weights[:, None] * lags).sum(axis=0)
            share = known / np.float32(min(self.rounds - _ROUNDS + 1, _MEMORY))
            squared = missed * missed
            self.moment = self.moment + ((squared * squared * squared).mean(axis=0) - self.moment) * share
        fade = np.float32(1 - 1 / _MEMORY)
        products = np.einsum("asm,bsm->abm", lags, moves) / np.float32(SPAN)  # [LAGS, LAGS + 1, M]
        self.squares = self.squares * fade + products[:, :-1].reshape(LAGS * LAGS, -1)
        self.products = self.products * fade + products[:, -1]
        self.rounds += 1
        self.mean = self.mean + level.mean(axis=0) / np.float32(min(self.rounds, _MEMORY))
        if self.rounds % _REFIT == 0:
            self._refit()

    def _refit(self) -> None:
        """Solve the ridge regressions, all at once."""
        squares = self.squares.T.reshape(-1, LAGS, LAGS).astype(np.float64)
        size = np.trace(squares, axis1=1, axis2=2) / (LAGS * min(self.rounds, _MEMORY))
        ridge = (_RIDGE * size + 1e-12)[:, None, None] * np.eye(LAGS)
        solved = np.linalg.solve(squares + ridge, self.products.T[:, :, None])
        self.weights = np.ascontiguousarray(solved[:, :, 0].T, np.float32)

    def state(self) -> bytes:
        """All of it."""
        arrays = [getattr(self, name) for name in _ROWS]
        counts = np.array([self.count, self.rounds], np.int64)
        return counts.tobytes() + np.concatenate(arrays).tobytes()

    @classmethod
    def from_state(cls, state: bytes, monitors: int) -> Self | None:
        """Undo `state`; None where it is none of so many monitors."""
        if len(state) != len(cls.of(monitors).state()):
            return None
        count, rounds = np.frombuffer(state[:16], np.int64).tolist()
        rows = np.frombuffer(state[16:], np.float32).reshape(-1, monitors)
        arrays = np.split(rows, np.cumsum([*_ROWS.values()])[:-1])
        named: dict[str, Any] = dict(zip(_ROWS, arrays, strict=True))
        return cls(**named, count=count, rounds=rounds)
