"""``streamad alerts`` and ``streamad rejected``."""

from __future__ import annotations

import base64
import json
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.bursts import Folds, clustered_folds
from streamad.commands.shapes import Alert, sound
from streamad.commands.stored import Clustered, opened
from streamad.state.schema import dump

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from streamad.commands.bursts import Fold
    from streamad.config import Config
    from streamad.ports import Desk
    from streamad.state.queries import Line, Reader

    Show = Callable[[Iterable[str]], None]

_PAGE = 1000
_LOOKED = 10_000
"""In a cluster bursts are sought among so many alerts."""

_FOLLOW_SECONDS = 0.5


def alerts(args: argparse.Namespace) -> None:
    """The newest alerts, oldest of them first; with ``--follow`` also those to come.

    Programs, and people who ask for it, get each alert. Else a burst is one line, and what is muted is left out.
    """
    feed, machine = opened(args), screen.piped()
    folded = not machine and not args.all
    show = screen.ndjson_lines if machine else _show_alerts
    if isinstance(feed, Clustered):
        with feed.desk("alerts") as desk:
            if folded:
                _bursts_of(desk, feed.config, args)
            else:
                _alerts_of(desk, args, show)
        return
    with feed.reader() as reader:
        if folded:
            _bursts(reader, args)
        else:
            _alerts(reader, args, show)


def _alerts(reader: Reader, args: argparse.Namespace, show: Show) -> None:
    last = 0
    for page in _newest(args.limit, reader.last_alerts, reader.alerts):
        show(line.text for line in page)
        last = page[-1].n
    if args.follow:
        _follow(reader, last, show)


def _bursts(reader: Reader, args: argparse.Namespace) -> None:
    folds, last = Folds(), max((line.n for line in reader.last_alerts(1)), default=0)
    for page in _newest(args.limit, reader.last_bursts, reader.bursts):
        for line in page:
            alert = json.loads(line.text)
            folds.add(alert, line.repeats)
            screen.show(_alert(alert, line.repeats))
        last = max(last, page[-1].n)
    if muted := sum(reader.muted().values()):
        screen.remark(f"{muted:,} muted alerts are not shown; --all shows them")
    if args.follow:
        _follow(reader, last, lambda lines: _show_folds(folds.take(map(json.loads, lines))))


def _alerts_of(desk: Desk, args: argparse.Namespace, show: Show) -> None:
    """As `_alerts`, in a cluster."""
    for page in _pages(sound(Alert, desk.newest("alerts", args.limit))):
        show(page)
    if args.follow:
        _follow_topic(desk, lambda rows: show(map(dump, rows)))


def _bursts_of(desk: Desk, config: Config, args: argparse.Namespace) -> None:
    """As `_bursts`, in a cluster, where a burst is what is read of it."""
    folds = clustered_folds(config)
    looked = max(args.limit, _LOOKED) if args.limit > 0 else 0
    found = sound(Alert, desk.newest("alerts", looked))  # all of them are in order within a partition only
    taken = folds.take(sorted(found, key=lambda alert: str(alert["scored_at"])))
    screen.remark(f"bursts among the newest {looked:,} alerts" if looked else "bursts among all alerts")
    _show_folds(taken[-args.limit :] if args.limit > 0 else taken)
    if args.follow:
        _follow_topic(desk, lambda rows: _show_folds(folds.take(rows)))


def _follow_topic(desk: Desk, show: Callable[[Iterable[Mapping[str, Any]]], None]) -> None:
    """Show alerts as they come, until nobody reads them or Ctrl-C."""
    try:
        while screen.pause(0):
            show(sound(Alert, desk.follow(_FOLLOW_SECONDS)))
    except KeyboardInterrupt:
        return


def _pages(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Rows as JSON, some at a time."""
    rows = iter(rows)
    while page := [dump(row) for row in islice(rows, _PAGE)]:
        yield page


def _newest(
    limit: int, last: Callable[[int], list[Line]], after: Callable[[int, int], list[Line]]
) -> Iterator[list[Line]]:
    """Pages of stored lines, none of them empty: the newest `limit`, or all of them where it is 0."""
    if limit > 0:
        yield from filter(None, [last(limit)])
        return
    place = 0
    while page := after(place, _PAGE):
        yield page
        place = page[-1].n


def _follow(reader: Reader, last: int, show: Show) -> None:
    """Show alerts as they are committed, until nobody reads them or Ctrl-C: both are how following ends."""
    try:
        while screen.pause(_FOLLOW_SECONDS):
            while page := reader.alerts(last, _PAGE):
                show(line.text for line in page)
                last = page[-1].n
    except KeyboardInterrupt:
        return


def _show_alerts(lines: Iterable[str]) -> None:
    """One line an alert, whatever it is."""
    for line in lines:
        alert = json.loads(line)
        screen.show(_alert(alert, 0))


def _show_folds(taken: Iterable[tuple[Fold, int]]) -> None:
    """One line a burst; one that goes on gets another, which says how many came."""
    for fold, more in taken:
        if fold.new:
            screen.show(_alert(fold.first, fold.repeats))
        else:
            counted = f"{more:,} more repeats, {fold.repeats:,} by now"
            screen.show(f"{'':19}  {fold.first['event_id']}  {counted}")
        fold.new = False


def _alert(alert: Mapping[str, Any], repeats: int) -> str:
    seen = alert["scored_at"][:19].replace("T", " ")
    name = (
        alert["event_id"] if alert["key"] is None else f"{alert['event_id']} ({screen.brief(alert['key'])})"
    )
    likely = alert["anomaly_probability"]
    parts = [seen, name, f"p {screen.number(alert['p_value'])}"]
    parts += [] if likely is None else [screen.percent(likely)]
    parts += [f"and {repeats:,} repeat{'s' * (repeats > 1)}"] if repeats else []
    parts += [f"repeats alert {alert['repeat_of']}"] if alert["repeat_of"] else []
    parts += [f"muted by {alert['muted']}"] if alert.get("muted") else []
    return "  ".join([*parts, screen.reasons(alert["reasons"])])


def rejected(args: argparse.Namespace) -> None:
    """The newest payloads that could not become records, oldest of them first."""
    feed, machine = opened(args), screen.piped()
    if isinstance(feed, Clustered):
        with feed.desk("rejected") as desk:
            _rejected_of(desk, args.limit, machine=machine)
        return
    with feed.reader() as reader:
        if not machine:
            _show_reasons(reader.rejected_reasons())
        show = screen.ndjson_lines if machine else _show_rejected
        for page in _newest(args.limit, reader.last_rejected, reader.rejected):
            show(line.text for line in page)


def _rejected_of(desk: Desk, limit: int, *, machine: bool) -> None:
    """As `rejected`, in a cluster, where the reasons are those of the entries shown."""
    rows = desk.newest("rejected", limit)
    if machine:
        for page in _pages(rows):
            screen.ndjson_lines(page)
        return
    found = list(rows)
    _show_reasons(Counter(entry["reason"] or "unknown" for entry in found))
    _show_rejected(map(dump, found))


def _show_reasons(reasons: Mapping[str, int]) -> None:
    if not reasons:
        screen.remark("nothing was rejected")
    for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]):
        screen.show(f"{count:>9,}  {reason}")


def _show_rejected(lines: Iterable[str]) -> None:
    for entry in map(json.loads, lines):
        parts = [entry["position"], entry["reason"], entry["field"], entry["detail"], _snippet(entry)]
        screen.show("  ".join(part for part in parts if part))


def _snippet(entry: Mapping[str, Any]) -> str:
    """The beginning of the payload, as text where it is text."""
    payload = base64.b64decode(entry["bytes_base64"]).decode("utf-8", "backslashreplace")
    return screen.brief(screen.safe(payload))
