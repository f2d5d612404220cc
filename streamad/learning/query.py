"""Which events to ask an analyst about: mostly the most anomalous, some uncertain ones, a few at random.

The most anomalous are where a verdict changes most about the alerts that follow (Das et al., "Incorporating
Expert Feedback into Active Anomaly Discovery", ICDM 2016); the uncertain ones sharpen the boundary once there
are labels, and the random ones show what is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamad.state.pool import PoolRow

_UNCERTAIN, _RANDOM = 5, 10
"""One of so many is chosen because it is uncertain, or at random."""


def choose(rows: Sequence[PoolRow], limit: int) -> list[PoolRow]:
    """At most `limit` of the pool's rows, those that say most first; the order of `rows` does not matter.

    In each part, alike events (one `PoolRow.signature`) take turns with the others: a burst is not asked about
    twice before every other kind of event was asked about once.
    """
    spread = _in_turns(sorted((row for row in rows if row.kind != "random"), key=_ordinary))
    unsure = _in_turns(sorted((row for row in rows if row.probability is not None), key=_certain))
    random = sorted((row for row in rows if row.kind == "random"), key=lambda row: -row.n)
    rest = _in_turns(sorted(rows, key=_ordinary))
    few, some = (limit // _RANDOM if random else 0), (limit // _UNCERTAIN if unsure else 0)
    chosen: dict[int, PoolRow] = {}
    for upto, source in ((limit - few - some, spread), (limit - few, unsure), (limit, random), (limit, rest)):
        _take(chosen, source, upto)
    return list(chosen.values())


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


def _in_turns(ordered: Iterable[PoolRow]) -> list[PoolRow]:
    """The first of each signature, then the second of each, and so on."""
    turns: list[list[PoolRow]] = []
    seen: dict[str, int] = {}
    for row in ordered:
        turn = seen[row.signature] = seen.get(row.signature, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(row)
    return [row for turn in turns for row in turn]


def _take(chosen: dict[int, PoolRow], source: Iterable[PoolRow], upto: int) -> None:
    for row in source:
        if len(chosen) >= upto:
            return
        chosen.setdefault(row.n, row)
