"""``streamad mute``: what people do not want to be told of for a while."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.stored import Clustered, Stored, opened
from streamad.errors import UserError
from streamad.features.conditions import read_condition
from streamad.ports import Mute
from streamad.runtime.clock import Clock
from streamad.scoring.mutes import MOST
from streamad.state.options import seconds
from streamad.state.times import SECOND, format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence

_LONGEST = 3650 * 86400
"""Seconds that a mute may hold."""

_WHY_CHARS = 1000


def mute(args: argparse.Namespace) -> None:
    """Mute alerts that meet a condition, list what is muted, or end a mute early."""
    if [args.condition is not None, args.list, args.end is not None].count(True) != 1:
        raise UserError("mute needs a condition, --list or --end ID")
    feed = opened(args)
    if isinstance(feed, Clustered):
        with feed.desk("control") as desk:
            _do(args, feed, desk.mutes(), desk.mute, None)
        return
    with feed.reader() as reader:
        known, held_back = reader.mutes(), reader.muted()

    def put(mute: Mute) -> None:
        with feed.writer() as store:
            store.put_mute(mute)

    _do(args, feed, known, put, held_back)


def _do(
    args: argparse.Namespace,
    feed: Stored | Clustered,
    known: Sequence[Mute],
    put: Callable[[Mute], None],
    held_back: Mapping[str, int] | None,
) -> None:
    """`held_back` says how many alerts each mute keeps from being sent, where that is known."""
    now = Clock().micros()
    if args.list:
        _list(known, held_back, format_time(now))
        return
    ending = args.end is not None
    said = _ended(args, known, format_time(now)) if ending else _given(args, feed, known, now)
    put(said)
    if screen.piped():
        screen.ndjson(asdict(said))
    elif said.ended_at is None:
        screen.show(f"{said.id}: muted until {said.until}, as soon as a running process learns of it")
    else:
        screen.show(f"{said.id}: ended")


def _given(args: argparse.Namespace, feed: Stored | Clustered, known: Iterable[Mute], now: int) -> Mute:
    """The new mute. Raises `UserError` for one that cannot be."""
    if args.lasting is None or not args.why:
        raise UserError("mute needs --for, such as 7d, and --why, for whoever looks at it later")
    if len(args.why) > _WHY_CHARS:
        raise UserError(f"--why has {len(args.why):,} characters, more than {_WHY_CHARS:,}")
    read_condition(args.condition, feed.config.schema_)
    since = format_time(now)
    if sum(mute.holds_at(since) for mute in known) >= MOST:
        raise UserError(f"{MOST} mutes are in force, and no more can be: end one of them first")
    said = [args.condition, args.analyst, args.why, since]
    return Mute(
        id=hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8],
        condition=args.condition,
        analyst=args.analyst,
        why=args.why,
        since=since,
        until=format_time(now + _lasting(args.lasting) * SECOND),
    )


def _lasting(text: str) -> int:
    """Seconds. Raises `UserError`."""
    try:
        lasting = seconds(text)
    except ValueError as error:
        raise UserError(f"--for: found {screen.safe(text)!r}, {error}") from None
    if not 0 < lasting <= _LONGEST:
        raise UserError(f"--for: found {text}, expected more than nothing and at most {_LONGEST // 86400}d")
    return lasting


def _ended(args: argparse.Namespace, known: Iterable[Mute], now: str) -> Mute:
    """The mute that is to end, as it then is. Raises `UserError` where there is none in force."""
    for mute in known:
        if mute.id == args.end and mute.holds_at(now):
            return replace(mute, ended_at=now, ended_by=args.analyst)
    raise UserError(f"no mute in force has the id '{screen.safe(args.end)}'; mute CONFIG --list names them")


def _list(known: Iterable[Mute], held_back: Mapping[str, int] | None, now: str) -> None:
    rows = [_described(mute, held_back, now) for mute in known]
    if screen.piped():
        for row in rows:
            screen.ndjson(row)
    elif rows:
        screen.table([("ID", "STATE", "ALERTS", "CONDITION", "BY", "WHY"), *map(_cells, rows)])
    else:
        screen.remark("nothing was ever muted")


def _described(mute: Mute, held_back: Mapping[str, int] | None, now: str) -> dict[str, Any]:
    alerts = None if held_back is None else held_back.get(mute.id, 0)
    return {**asdict(mute), "in_force": mute.holds_at(now), "alerts": alerts}


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["in_force"]:
        state = f"until {row['until']}"
    elif row["ended_at"] is None:
        state = f"over since {row['until']}"
    else:
        state = f"ended {row['ended_at']}" + (f" by {row['ended_by']}" if row["ended_by"] else "")
    alerts = "-" if row["alerts"] is None else f"{row['alerts']:,}"
    return row["id"], state, alerts, row["condition"], row["analyst"] or "-", row["why"]
