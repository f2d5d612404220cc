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
_LATELY = 400
"""So many of the newest records taken at random tell which kinds come in numbers."""


def choose(rows: Sequence[PoolRow], limit: int, asked: Mapping[str, int]) -> list[PoolRow]:
    """At most `limit` of the pool's rows, those that say most first; the order of `rows` does not matter.

    `asked` says how many events of each kind (`PoolRow.matter`) have a verdict. By turns the most anomalous event
    is chosen and one of the kind that is frequent and was asked about least; in both, kinds take turns.
    """
    told = Counter(asked)
    anomalous = _in_turns(sorted((row for row in rows if row.kind != "random"), key=_ordinary), told)
    unsure = sorted((row for row in rows if row.probability is not None), key=_certain)
    frequent = _frequent(sorted((row for row in rows if row.kind == "random"), key=lambda row: -row.n), told)
    rest = iter(sorted(rows, key=_ordinary))
    turn = itertools.count(told.total())
    chosen: dict[int, PoolRow] = {}
    while len(chosen) < min(limit, len(rows)):
        number = next(turn)
        first = frequent if number % 2 else iter(unsure) if number % _UNCERTAIN == 0 else anomalous
        row = next(row for row in itertools.chain(first, anomalous, frequent, rest) if row.n not in chosen)
        chosen[row.n] = row
        told[row.matter] += 1
    return list(chosen.values())


def _frequent(newest_first: Sequence[PoolRow], told: Counter[str]) -> Iterator[PoolRow]:
    """The next one always of the kind with most records lately for the cube of what is known of it."""
    kinds: dict[str, deque[PoolRow]] = defaultdict(deque)
    for row in newest_first[:_LATELY]:
        kinds[row.matter].append(row)
    mass = {kind: len(of) for kind, of in kinds.items()}
    while kinds:
        kind = max(kinds, key=lambda kind: (mass[kind] / (1 + told[kind]) ** 3, kind))
        yield kinds[kind].popleft()
        if not kinds[kind]:
            del kinds[kind]


def one_a_burst(rows: Iterable[PoolRow]) -> list[PoolRow]:
    """The rows, of the alerts of one burst only the most anomalous."""
    kept: dict[int | str, PoolRow] = {}
    for row in sorted(rows, key=_ordinary):
        kept.setdefault(row.n if row.burst is None else row.burst, row)
    return list(kept.values())


def _ordinary(row: PoolRow) -> tuple[float, float, int]:
    """Small for the most anomalous; p-values have a floor, where the score decides, then the newer."""
    return (2.0 if row.p_value is None else row.p_value, -(row.score or 0.0), -row.n)


def _certain(row: PoolRow) -> tuple[float, int]:
    return (abs((row.probability or 0.0) - 0.5), -row.n)


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
