"""``streamad queue`` and ``streamad label``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.stored import stored
from streamad.errors import UserError
from streamad.learning.label_file import give_labels
from streamad.learning.query import choose

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from streamad.state.pool import PoolRow
    from streamad.state.store import Store

_BECAME = {
    "added": "taken",
    "known": "known already, nothing changed",
    "waiting": "taken, but waits for its record, which is not kept here",
}


def queue(args: argparse.Namespace) -> None:
    """The events most worth an analyst's look now."""
    with stored(args).reader() as reader:
        rows = choose(reader.queue_rows(), max(args.limit, 0))
    if args.json or screen.piped():
        for row in rows:
            screen.ndjson(_question(row))
    elif rows:
        screen.table([("EVENT", "P-VALUE", "ANOMALY?", "KIND", "WHY"), *map(_cells, rows)])
        screen.remark("answer with: streamad label CONFIG EVENT anomaly|normal")
    else:
        screen.remark("nothing to ask about yet")


def _question(row: PoolRow) -> dict[str, Any]:
    return {
        "event_id": row.event_id,
        "key": row.key,
        "p_value": row.p_value,
        "anomaly_probability": row.probability,
        "reasons": row.reasons,
        "record": row.record,
    }


def _cells(row: PoolRow) -> tuple[str, ...]:
    event = row.event_id if row.key is None else f"{row.event_id} ({screen.brief(row.key)})"
    return (
        event,
        screen.number(row.p_value),
        screen.percent(row.probability),
        screen.brief(row.signature),
        screen.reasons(row.reasons),
    )


def label(args: argparse.Namespace) -> int:
    """Say what an event was, or give a file of labels; works while the feed runs."""
    single = args.event is not None
    if single == (args.file is not None) or (single and args.verdict is None):
        raise UserError("label needs an event and its verdict (anomaly, normal or withdrawn), or --from FILE")
    with stored(args).writer() as store:
        return _one(store, args) if single else _many(store, args)


def _one(store: Store, args: argparse.Namespace) -> int:
    given = {"event_id": args.event, "label": args.verdict, "analyst": args.analyst, "note": args.note}
    (became,) = store.add_labels([given])
    if became.outcome not in _BECAME:
        raise UserError(screen.safe(became.detail))
    if screen.piped():
        screen.ndjson({"event_id": became.event_id, "label": args.verdict, "outcome": became.outcome})
    else:
        screen.show(f"{became.event_id} {args.verdict}: {_BECAME[became.outcome]}")
    return 0


def _many(store: Store, args: argparse.Namespace) -> int:
    outcomes, problems = give_labels(store, args.file)
    became = {outcome: outcomes[outcome] for outcome in ("added", "known", "waiting")}
    _report(became | {"refused": len(problems)})
    for problem in problems:
        screen.remark(f"streamad: {args.file}: {problem}")
    return UserError.exit_code if problems else 0


def _report(became: Mapping[str, int]) -> None:
    if screen.piped():
        screen.ndjson(became)
    else:
        screen.show(", ".join(f"{count:,} {outcome}" for outcome, count in became.items()))
