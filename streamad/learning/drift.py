"""Drift: says that, and of which field, the records of the last few blocks are not what they used to be.

Works on blocks of record numbers and on a sample that goes by a hash, so that neither the cut of batches nor a restart
matters. After an alarm it measures by what the feed has become and fills its windows anew, which is the cool-down; how far
the feed moves usually is still known.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from streamad.learning.drift_forecast import SPAN, Forecasts
from streamad.learning.drift_monitors import Gauges, Kind, Sums
from streamad.state.holdout import chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamad.learning.drift_forecast import Miss
    from streamad.records.batch import Batch
    from streamad.records.schema import Schema
    from streamad.state.buffer import Snapshot
    from streamad.training.options import DriftOptions

Values = Sequence[Sequence[str]]
"""``values[field][code]``: the dictionary that codes belong to."""

_SHARE = 0.25
"""Of the records, those that are looked at."""
_LEAST: Mapping[Kind, float] = {
    "score": 0.15,
    "level": 0.15,
    "share": 0.03,
    "missing": 0.03,
    "rejected": 0.03,
}
"""What no alarm is given for, however steady a figure was: moves of the bounded mean, or of a share."""
_BURSTY = 1.9
"""How much further than a level a share may move: rare values come in bursts, of which few were seen before."""
_ALSO = 4
"""Further fields that an alarm names."""


class Seen(NamedTuple):
    """A batch as it was scored."""

    batch: Batch
    p_values: NDArray[np.float64]
    version: int


class Drift:
    """All monitors of one feed. A copy takes what is about to be committed, and is in force once it is."""

    def __init__(self, options: DriftOptions, schema: Schema, seed: int) -> None:
        self._options, self._schema, self._seed = options, schema, seed
        self._block = max(options.records // SPAN, 1)
        self._waits = True
        self._gauges: Gauges | None = None
        self._forecasts = Forecasts.of(0)
        self._open = Sums(np.zeros(0, np.int64), np.zeros(2, np.int64))
        self._from = 0  # the record number at which the first block begins
        self._version = 0
        self._unsaved: frozenset[str] = frozenset()  # parts of the checkpoint
        self.alarms: dict[str, int] = {}
        """How many there were, by field."""
        self.last: dict[str, Any] | None = None
        """The last one."""

    @property
    def idle(self) -> bool:
        """Whether it waits for `begin`: at first, and after an alarm."""
        return self._waits

    @property
    def rows_to_begin(self) -> int:
        """How many rows a window must hold for `begin`."""
        return self._options.records

    def begin(self, window: Snapshot, values: Values, number: int) -> None:
        """Watch the records from `number` on, measured by what is usual in `window`."""
        known = self._gauges
        self._watch(Gauges.fit(self._schema, window, values, known.values if known else None))
        if known is None:
            self._forecasts = Forecasts.of(len(self._monitors))
        else:
            self._forecasts = self._forecasts.copy()
            self._forecasts.unsettle(slice(None))
        self._waits = False
        self._from = -(-number // self._block) * self._block
        self._unsaved = frozenset({"drift_gauges", "drift_learned"})

    def bind(self, values: Values) -> None:
        """Read category codes of this dictionary from now on."""
        if self._gauges is not None:
            self._gauges = self._gauges.bind(values)

    def copy(self) -> Self:
        """An independent copy."""
        return copy.copy(self)

    def take(self, seen: Iterable[Seen]) -> None:
        """Take batches that follow those before without a gap."""
        self._forecasts = self._forecasts.copy()
        for one in seen:
            self._take(one)

    # ---- checkpoint and status -----------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Parts of a checkpoint: those that changed since the last one that was `saved`."""
        part = self._open
        state: dict[str, Any] = {
            "drift": {
                "alarms": self.alarms,
                "last": self.last,
                "from": None if self.idle else self._from,
                "known": self._gauges is not None,
                "version": self._version,
                "open": [part.rows.tolist(), part.figures.tolist()],
            }
        }
        if self._gauges is not None and "drift_gauges" in self._unsaved:
            state["drift_gauges"] = self._gauges.state()
        if self._gauges is not None and "drift_learned" in self._unsaved:
            state["drift_learned"] = self._forecasts.state()
        return state

    def saved(self) -> None:
        """The checkpoint with its `state` is committed."""
        self._unsaved = frozenset()

    def restore(self, checkpoint: Mapping[str, Any], values: Values) -> None:
        """Go on from a checkpoint; from one without it, or of another schema, as from the start."""
        state = checkpoint.get("drift")
        if state is None:
            return
        self.alarms, self.last = dict(state["alarms"]), state["last"]
        if not state["known"]:
            return
        gauges = Gauges.from_state(self._schema, checkpoint["drift_gauges"], values)
        forecasts = Forecasts.from_state(checkpoint["drift_learned"], len(gauges.monitors))
        if forecasts is None:
            return
        self._watch(gauges)
        rows, figures = (np.array(numbers, np.int64) for numbers in state["open"])
        self._forecasts, self._open = forecasts, Sums(figures, rows)
        self._waits, self._from, self._version = state["from"] is None, state["from"] or 0, state["version"]

    def status(self) -> dict[str, Any]:
        """How many alarms there were, by field, and the last one."""
        return {"alarms": self.alarms, "last": self.last}

    # ---- pieces --------------------------------------------------------------------------------

    def _watch(self, gauges: Gauges) -> None:
        self._gauges, self._open = gauges, gauges.nothing()
        self._monitors = gauges.monitors
        kinds = [monitor.kind for monitor in self._monitors]
        self._floor = np.array([_LEAST[kind] for kind in kinds], np.float32)
        usual = [1.0 if kind in {"score", "level"} else _BURSTY for kind in kinds]
        self._limit = np.array(usual, np.float32) * self._options.limit

    def _take(self, seen: Seen) -> None:
        batch = seen.batch
        first, end = max(batch.first, self._from), batch.first + len(batch)
        if self._gauges is None or self._waits or first >= end:
            return
        if seen.version != self._version:
            self._version = seen.version
            self._forecasts.unsettle(slice(1))
        edges = [first, *range((first // self._block + 1) * self._block, end, self._block), end]
        sample = chosen(batch.identities(np.arange(len(batch))), self._seed, _SHARE)
        inside = [edge - batch.first for edge in edges]
        for part, edge in zip(
            self._gauges.sums(batch, seen.p_values, sample, inside), edges[1:], strict=True
        ):
            self._open = self._open.with_part(part)
            if edge % self._block == 0 and not self._close(edge):
                return

    def _close(self, edge: int) -> bool:
        """A block ended before record number `edge`; False where that was a drift."""
        assert self._gauges is not None
        means = self._gauges.means(self._open) if self._open.rows[0] else self._forecasts.blocks[-1]
        self._open, self._unsaved = self._gauges.nothing(), self._unsaved | {"drift_learned"}
        miss = self._forecasts.add(means, self._floor, self._limit)
        if miss is None or miss.ratio.max() <= 1:
            return True
        self._alarm(edge, miss)
        return False

    def _alarm(self, edge: int, miss: Miss) -> None:
        """Tell of the monitor that moved most for its ways, and of fields that moved too; then wait for `begin`."""
        assert self._gauges is not None
        order = np.argsort(-miss.ratio, kind="stable")
        leading = int(order[0])
        monitor = self._monitors[leading]
        moved = dict.fromkeys(self._monitors[row].field for row in order if miss.ratio[row] > 1)
        expected, found = (
            self._gauges.spelled(leading, miss.forecast),
            self._gauges.spelled(leading, miss.level),
        )
        self.last = {
            "record": edge,
            "field": monitor.field,
            "kind": monitor.kind,
            "expected": expected,
            "found": found,
            "strength": round(float(miss.ratio[leading]), 2),
            "also": [name for name in moved if name != monitor.field][:_ALSO],
        }
        self.alarms = self.alarms | {monitor.field: self.alarms.get(monitor.field, 0) + 1}
        self._waits, self._open = True, self._gauges.nothing()
        if leading in self._gauges.others:
            self._gauges = None  # values came up that are worth watching
