"""Which versions there are, as control tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Literal

from streamad.errors import UserError
from streamad_connectors.kafka.chunks import DamagedError, Description
from streamad_connectors.kafka.control import (
    ANSWERED,
    PROMOTED,
    RECORDS,
    REFERENCE,
    VERSION,
    WANTED,
    read_answer,
    read_description,
    read_records,
    read_reference,
    read_request,
)
from streamad_connectors.kafka.order import Order

_READ: dict[bytes, Callable[[bytes, bytes | None], object]] = {
    REFERENCE: read_reference,
    WANTED: read_request,
    ANSWERED: read_answer,
}
"""What is said without being about which versions there are, but in an order."""

_VERSION_KEY = re.compile(re.escape(VERSION) + rb"(\d{6,9})")


def version_named(key: bytes) -> int | None:
    """The version that a key of control belongs to, if to one alone."""
    match = _VERSION_KEY.fullmatch(key)
    return int(match[1]) if match else None


class Refusals:
    """What of control does not count."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""
        """Why the first of it does not."""

    def add(self, error: DamagedError) -> None:
        """One more message."""
        self.count += 1
        self.first = self.first or str(error)


class Ledger:
    """The versions of all messages that were entered. What is damaged or wrongly signed does not count."""

    def __init__(self, key: bytes | None, limit: int) -> None:
        """`key` is what messages must be signed with, `limit` the bytes of the largest artifact."""
        self._key, self._limit = key, limit
        self.order = Order()
        self.versions: dict[int, Description] = {}
        """Those that are kept, by number."""
        self.promoted = 0
        self.last = 0
        """The highest number ever, 0 before the first."""
        self.records: dict[str, str] = {}
        """By name the marks of the topics that the feed began with."""
        self.refusals = Refusals()

    def enter(self, key: bytes, value: bytes | None) -> None:
        """Take in the next message of control."""
        try:
            self._enter(key, value)
        except DamagedError as error:
            self.refusals.add(error)

    def _enter(self, key: bytes, value: bytes | None) -> None:
        if key == PROMOTED and value is not None:
            promoted = self._description("promoted", value).version
            self.order.take(key, value)
            self.promoted = promoted
        elif (number := version_named(key)) is not None:
            self._enter_version(number, value)
        elif value is not None and key.startswith(RECORDS):
            topic, mark = read_records(value)
            self.records.setdefault(topic, mark)
        elif value is not None and key in _READ:
            _READ[key](value, self._key)
            self.order.take(key, value)

    def expired(self, version: int, keep: int, pinned: Collection[int] = ()) -> list[Description]:
        """What needs no keeping once `version` is promoted.

        Kept are with it the last `keep`, those that are `pinned`, and the one in force until then.
        """
        kept = {*sorted({*self.versions, version})[-keep:], *pinned, self.promoted}
        return [self.versions[number] for number in sorted(self.versions) if number not in kept]

    def previous(self) -> int:
        """The kept version before the promoted one. Raises `UserError` where there is none."""
        older = [number for number in self.versions if number < self.promoted]
        if not older:
            raise UserError(
                f"no version before version {self.promoted} is kept"
                if self.promoted
                else "no version is promoted yet"
            )
        return max(older)

    def missing(self, version: int) -> UserError:
        """A version that is asked for and not kept, as an error."""
        kept = ", ".join(map(str, sorted(self.versions))) or "none"
        return UserError(f"version {version} is not kept: these are: {kept}")

    def _enter_version(self, number: int, value: bytes | None) -> None:
        if value is None:
            self.versions.pop(number, None)
            return
        description = self._description("version", value)
        if description.version == number:
            self.versions[number] = description

    def _description(self, kind: Literal["promoted", "version"], value: bytes) -> Description:
        description = read_description(kind, value, self._key, self._limit)
        self.last = max(self.last, description.version)
        return description
