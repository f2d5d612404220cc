"""Which events to ask an analyst about: the most anomalous, kinds that come in numbers unasked, some uncertain ones.

The most anomalous are where a verdict changes most about the alerts that follow (Das et al., "Incorporating
Expert Feedback into Active Anomaly Discovery", ICDM 2016). But a flood can look ordinary: one question about each kind
of event that comes in numbers finds it out. The uncertain ones sharpen the boundary.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from streamad.state.pool import PoolRow

_UNCERTAIN = 10
"""One of so many is chosen because it is uncertain."""
_LATELY = 1000
"""So many of the newest rows tell which kinds come in numbers."""
_EVEN = 0.5


def choose(rows: Sequence[PoolRow], limit: int, asked: Mapping[tuple[str, str], int]) -> list[PoolRow]:
    """At most `limit` of the pool's rows, those that say most first; the order of `rows` does not matter.

    `asked` says how often each kind of event (`PoolRow.matter`) was found to be what: "anomaly", "normal", or
    anything else where that is open. By turns the most anomalous event is chosen and one of a kind that comes
    in numbers; in the first, kinds take turns.
    """
    told = Counter[str]()
    for (kind, _), count in asked.items():
        told[kind] += count
    waiting = {kind for kind, verdict in asked if verdict not in ("anomaly", "normal")}
    anomalous = _in_turns(sorted((row for row in rows if row.kind != "random"), key=ordinary), told)
    unsure = sorted((row for row in rows if row.probability is not None), key=_certain)
    frequent = _frequent(_lately(rows), asked, waiting)
    rest = iter(sorted(rows, key=ordinary))
    turn = itertools.count(told.total())
    chosen: dict[int, PoolRow] = {}
    while len(chosen) < min(limit, len(rows)):
        number = next(turn)
        first = frequent if number % 2 else iter(unsure) if number % _UNCERTAIN == 0 else anomalous
        row = next(row for row in itertools.chain(first, anomalous, rest) if row.n not in chosen)
        chosen[row.n] = row
        told[row.matter] += 1
        waiting.add(row.matter)
    return list(chosen.values())


def _lately(rows: Iterable[PoolRow]) -> list[PoolRow]:
    """The newest rows, newest first, without those that the labels have made anomalies already."""
    newest = sorted(rows, key=lambda row: -row.n)[:_LATELY]
    return [row for row in newest if (row.probability or 0.0) < _EVEN]


def _frequent(
    rows: Iterable[PoolRow], asked: Mapping[tuple[str, str], int], waiting: set[str]
) -> Iterator[PoolRow]:
    """The newest of each kind that no question waits for, most rows for the cube of what was harmless of it first.

    Kinds that have few rows for that are left out. What was found to be an anomaly does not count: such a kind
    is asked about until its events look like that.
    """
    newest: dict[str, PoolRow] = {}
    mass = Counter[str]()
    for row in rows:
        newest.setdefault(row.matter, row)
        mass[row.matter] += 1
    worth = {kind: mass[kind] / (1 + asked.get((kind, "normal"), 0)) ** 3 for kind in newest}
    for kind in sorted(worth, key=lambda kind: (-worth[kind], kind)):
        if worth[kind] > 1 and kind not in waiting:
            yield newest[kind]


def one_a_burst(rows: Iterable[PoolRow]) -> list[PoolRow]:
    """The rows, of the alerts of one burst only the most anomalous."""
    kept: dict[int | str, PoolRow] = {}
    for row in sorted(rows, key=ordinary):
        kept.setdefault(row.n if row.burst is None else row.burst, row)
    return list(kept.values())


def ordinary(row: PoolRow) -> tuple[float, float, int]:
    """Small for the most anomalous; p-values have a floor, where the score decides, then the newer."""
    return (2.0 if row.p_value is None else row.p_value, -(row.score or 0.0), -row.n)


def _certain(row: PoolRow) -> tuple[float, int]:
    return (abs((row.probability or 0.0) - _EVEN), -row.n)


def _in_turns(ordered: Iterable[PoolRow], told: Counter[str]) -> Iterator[PoolRow]:
    """Of the kinds that were asked about least, the first."""
    kinds: dict[str, deque[tuple[int, PoolRow]]] = defaultdict(deque)
    for rank, row in enumerate(ordered):
        kinds[row.matter].append((rank, row))
    while kinds:
        kind = min(kinds, key=lambda kind: (told[kind], kinds[kind][0][0]))
        yield kinds[kind].popleft()[1]
        if not kinds[kind]:
            del kinds[kind]
