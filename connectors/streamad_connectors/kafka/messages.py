"""What a commit says to topics: its rows as messages, none larger than its topic takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, to_json

from streamad.errors import UserError
from streamad.ports import Commit
from streamad_connectors.kafka.topics import Topics

Row = Mapping[str, Any]
Headers = list[tuple[str, str | bytes | None]]

_FRAME = 120
"""Bytes that a batch of one message has beside key, value and headers."""
_HEADER_FRAME = 8
LEAST_BYTES = 16 << 10
"""Of a message that can hold any alert, its record cut."""
_SHORT = 1000
"""Bytes of a value that stays in a row whose record was cut."""


class Message(NamedTuple):
    """What a producer is given."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class Limits:
    """The bytes that a message of each topic may have, with all that belongs to it.

    Raises `UserError` for a topic that takes too little.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = dict(limits)
        for topic in limits:
            self._check(topic)

    @property
    def topics(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._limits)

    @property
    def largest(self) -> int:
        """That of the topic with the largest messages."""
        return max(self._limits.values())

    @property
    def smallest(self) -> int:
        """That of the topic with the smallest messages."""
        return min(self._limits.values())

    def room(self, topic: str, key: bytes, headers: Headers) -> int:
        """The bytes that a value may have beside its key and headers."""
        beside = sum(len(name.encode()) + len(value or b"") + _HEADER_FRAME for name, value in headers)
        return self._limits[topic] - _FRAME - len(key) - beside

    def halve(self, topic: str) -> None:
        """The broker takes less than we believed."""
        self._limits[topic] //= 2
        self._check(topic)

    def _check(self, topic: str) -> None:
        if self._limits[topic] < LEAST_BYTES:
            raise UserError(
                f"topic {topic} takes no messages of {LEAST_BYTES} bytes, too small for an alert: "
                "set its max.message.bytes higher"
            )


def messages(commit: Commit, topics: Topics, limits: Limits) -> Iterator[Message]:
    """Alerts, rejected payloads, then candidates, each in their order."""
    for alert in commit.alerts:
        yield _row(topics.alerts, alert, limits)
    for entry in commit.rejected:
        yield _rejected(topics.rejected, entry, limits)
    for seen in commit.pool:
        if seen["kind"] != "alert":
            yield _row(topics.candidates, seen, limits)


def _row(topic: str, row: Row, limits: Limits) -> Message:
    key = row["event_id"].encode()
    return Message(topic, key, fitted(row, limits.room(topic, key, [])), [])


def _rejected(topic: str, entry: Row, limits: Limits) -> Message:
    """The payload's first bytes as the value; what is known of it, its whole length and checksum too, in headers."""
    key = entry["position"].encode()
    headers: Headers = [(name, _text(value)) for name, value in entry.items() if name != "bytes_base64"]
    payload = base64.b64decode(entry["bytes_base64"])
    return Message(topic, key, payload[: max(0, limits.room(topic, key, headers))], headers)


def _text(value: object) -> bytes | None:
    return None if value is None else str(value).encode(errors="backslashreplace")


def fitted(row: Row, room: int) -> bytes:
    """A row as compact JSON. One of more than `room` bytes loses its record's largest fields and says so.

    It keeps what identifies and explains it, long values aside, even where that has more than `room` bytes.
    """
    line = compact(row)
    if len(line) <= room:
        return line
    reasons = [{name: _short(part) for name, part in reason.items()} for reason in row["reasons"]]
    rest = {**row, "key": _short(row["key"]), "reasons": reasons, "record": {}, "truncated": True}
    room -= len(compact(rest))
    sizes = {name: len(compact({name: value})) for name, value in row["record"].items()}
    kept = set()
    for name in sorted(sizes, key=lambda name: sizes[name]):
        room -= sizes[name]
        if room < 0:
            break
        kept.add(name)
    return compact(rest | {"record": {name: value for name, value in row["record"].items() if name in kept}})


def _short(value: object) -> object:
    return value if len(compact(value)) <= _SHORT else None


def compact(value: object) -> bytes:
    """Compact JSON, as the embedded store writes it. Lone surrogates, which are no UTF-8, come out as escapes."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
