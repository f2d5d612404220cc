"""``streamad alerts`` and ``streamad rejected``."""

from __future__ import annotations

import base64
import json
from collections import Counter
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.shapes import Alert, sound
from streamad.commands.stored import Clustered, opened
from streamad.state.schema import dump

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from streamad.ports import Desk
    from streamad.state.queries import Line, Reader

    Show = Callable[[Iterable[str]], None]

_PAGE = 1000
_FOLLOW_SECONDS = 0.5


def alerts(args: argparse.Namespace) -> None:
    """The newest alerts, oldest of them first; with ``--follow`` also those to come."""
    show = screen.ndjson_lines if screen.piped() else _show_alerts
    feed = opened(args)
    if isinstance(feed, Clustered):
        with feed.desk("alerts") as desk:
            _alerts_of(desk, args, show)
        return
    with feed.reader() as reader:
        last = 0
        for page in _newest(args.limit, reader.last_alerts, reader.alerts):
            show(line.text for line in page)
            last = page[-1].n
        if args.follow:
            _follow(reader, last, show)


def _alerts_of(desk: Desk, args: argparse.Namespace, show: Show) -> None:
    """As `alerts`, in a cluster."""
    for page in _pages(sound(Alert, desk.newest("alerts", args.limit))):
        show(page)
    try:
        while args.follow and screen.pause(0):
            show([dump(alert) for alert in sound(Alert, desk.follow(_FOLLOW_SECONDS))])
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
    """One line an alert; the repeats within a burst are folded into one."""
    for repeated, group in groupby(map(json.loads, lines), key=lambda alert: alert["repeat_of"]):
        if repeated is None:
            for alert in group:
                screen.show(_alert(alert))
        else:
            screen.show(f"{'':19}  and {len(list(group)):,} repeats of {repeated}")


def _alert(alert: Mapping[str, Any]) -> str:
    seen = alert["scored_at"][:19].replace("T", " ")
    name = (
        alert["event_id"] if alert["key"] is None else f"{alert['event_id']} ({screen.brief(alert['key'])})"
    )
    likely = alert["anomaly_probability"]
    parts = [seen, name, f"p {screen.number(alert['p_value'])}"]
    parts += [] if likely is None else [screen.percent(likely)]
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
