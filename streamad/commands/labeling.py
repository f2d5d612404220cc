"""``streamad queue`` and ``streamad label``."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.bursts import bursts_of
from streamad.commands.giving import Giver
from streamad.commands.lately import lately
from streamad.commands.stored import Clustered, opened
from streamad.errors import UserError
from streamad.learning.given import said
from streamad.learning.label_file import give_labels
from streamad.learning.query import choose, one_a_burst
from streamad.runtime.clock import Clock
from streamad.scoring.alerts import signature
from streamad.state.pool import PoolRow
from streamad.state.times import parse_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from streamad.config import Config
    from streamad.learning.label_file import TakesLabels
    from streamad.state.labels import Outcome

    Words = Mapping[Outcome, str]

_BECAME: Words = {
    "added": "taken",
    "known": "known already, nothing changed",
    "waiting": "taken, but waits for its record, which is not kept here",
}
_IN_CLUSTER: Words = {"added": "taken", "waiting": "taken, and the trainer adds its record"}


def queue(args: argparse.Namespace) -> None:
    """The events most worth an analyst's look now."""
    feed = opened(args)
    repeats: Mapping[str, int]
    if isinstance(feed, Clustered):
        unlabeled, repeats, given, answered = _pool(feed)
        room = _room(feed.config, answered, args.limit)
        rows = choose(one_a_burst(unlabeled), room, given)
    else:
        with feed.reader() as reader:
            room = _room(feed.config, reader.answered(parse_time(_midnight())), args.limit)
            rows = choose(one_a_burst(reader.queue_rows()), room, reader.asked())
            repeats = {row.burst: reader.repeats_of(row.burst) for row in rows if row.burst is not None}
    asked = [(row, repeats.get(row.burst or "", 0)) for row in rows]
    if args.json or screen.piped():
        for row, alike in asked:
            screen.ndjson(_question(row, alike))
    elif rows:
        header = ("EVENT", "P-VALUE", "ANOMALY?", "ALERTS", "KIND", "WHY")
        screen.table([header, *(_cells(row, alike) for row, alike in asked)])
        screen.remark("answer with: streamad label CONFIG EVENT anomaly|normal")
    elif room:
        screen.remark("nothing to ask about yet")


def _room(config: Config, answered: int, limit: int) -> int:
    """How many events to ask about now, when so many got a verdict today."""
    budget = config.labels.questions_per_day
    if budget is None:
        return max(limit, 0)
    if answered >= budget:
        screen.remark(
            f"today's questions are used up: {answered:,} events have a verdict since 00:00 UTC, and"
            f" labels.questions_per_day is {budget:,}"
        )
    return max(min(limit, budget - answered), 0)


def _midnight() -> str:
    """When this day began, RFC 3339 in UTC."""
    return f"{Clock().text()[:10]}T00:00:00.000Z"


def _pool(feed: Clustered) -> tuple[list[PoolRow], dict[str, int], Counter[tuple[str, str]], int]:
    """Of the newest candidates and alerts of a cluster those without a verdict.

    Also of each burst how many repeat it, of each kind how many have which verdict, and how many events got one today.
    """
    with feed.desk("labels") as desk:
        given = list(said(feed.config.feed, desk.newest("labels", 0)))
        verdicts = {event: verdict for event, verdict, _ in given}
        known = lately(desk)
    bursts = bursts_of(known.alerts.values(), feed.config)
    rows = [
        _pool_row(n, row, feed, bursts.get(row["event_id"]))
        for n, row in enumerate(known.rows())
        if row.get("muted") is None
    ]
    known_as = {event: verdict for event, verdict in verdicts.items() if verdict != "withdrawn"}
    open_rows = [row for row in rows if row.event_id not in known_as]
    told = Counter[tuple[str, str]](
        (row.matter, known_as[row.event_id]) for row in rows if row.event_id in known_as
    )
    repeats = {burst: count - 1 for burst, count in Counter(bursts.values()).items()}
    since = _midnight()
    answered = {event for event, _, label in given if str(label.get("labeled_at", "")) >= since}
    return open_rows, repeats, told, len(answered)


def _pool_row(n: int, row: Mapping[str, Any], feed: Clustered, burst: str | None) -> PoolRow:
    """A candidate or an alert as the pool of a state directory would have it."""
    kind = row.get("kind", "alert")
    return PoolRow(
        n=n,
        event_id=row["event_id"],
        key=row["key"],
        kind=kind,
        record_number=None,
        score=row["score"],
        p_value=row["p_value"],
        probability=row["anomaly_probability" if kind == "alert" else "probability"],
        signature=row.get("signature") or signature(row["record"], feed.config.schema_),
        reasons_json=json.dumps(row["reasons"]),
        record_json=json.dumps(row["record"]),
        labeled=False,
        burst=burst,
    )


def _question(row: PoolRow, repeats: int) -> dict[str, Any]:
    return {
        "event_id": row.event_id,
        "key": row.key,
        "p_value": row.p_value,
        "anomaly_probability": row.probability,
        "alerts": repeats + 1 if row.burst is not None else 0,
        "reasons": row.reasons,
        "record": row.record,
    }


def _cells(row: PoolRow, repeats: int) -> tuple[str, ...]:
    event = row.event_id if row.key is None else f"{row.event_id} ({screen.brief(row.key)})"
    return (
        event,
        screen.number(row.p_value),
        screen.percent(row.probability),
        f"{repeats + 1:,}" if row.burst is not None else "-",
        screen.brief(row.signature),
        screen.reasons(row.reasons),
    )


def label(args: argparse.Namespace) -> int:
    """Say what an event was, or give a file of labels; works while the feed runs."""
    single = args.event is not None
    if single == (args.file is not None) or (single and args.verdict is None):
        raise UserError("label needs an event and its verdict (anomaly, normal or withdrawn), or --from FILE")
    feed, give = opened(args), _one if single else _many
    if isinstance(feed, Clustered):
        with feed.desk() as desk:
            screen.remark(f"writing to {desk.where('labels')}")
            return give(Giver(desk, feed.config.feed, Clock().text()), args, _IN_CLUSTER)
    with feed.writer() as store:
        return give(store, args, _BECAME)


def _one(store: TakesLabels, args: argparse.Namespace, words: Words) -> int:
    given = {"event_id": args.event, "label": args.verdict, "analyst": args.analyst, "note": args.note}
    (became,) = store.add_labels([given])
    if became.outcome not in words:
        raise UserError(screen.safe(became.detail))
    if screen.piped():
        screen.ndjson({"event_id": became.event_id, "label": args.verdict, "outcome": became.outcome})
    else:
        screen.show(f"{became.event_id} {args.verdict}: {words[became.outcome]}")
    return 0


def _many(store: TakesLabels, args: argparse.Namespace, words: Words) -> int:
    outcomes, problems = give_labels(store, args.file)
    became = {outcome: outcomes[outcome] for outcome in words}
    _report(became | {"refused": len(problems)})
    for problem in problems:
        screen.remark(f"streamad: {args.file}: {problem}")
    return UserError.exit_code if problems else 0


def _report(became: Mapping[str, int]) -> None:
    if screen.piped():
        screen.ndjson(became)
    else:
        screen.show(", ".join(f"{count:,} {outcome}" for outcome, count in became.items()))
