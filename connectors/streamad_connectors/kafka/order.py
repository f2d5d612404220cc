"""The order in which control's messages were said, signed with them: one that is said again by others is told apart."""

from __future__ import annotations

import time

from streamad_connectors.kafka.chunks import DamagedError
from streamad_connectors.kafka.control import order_of


class Order:
    """For each key of control the highest order among its messages.

    It grows with each: milliseconds since 1970, or one more than the message before.
    """

    def __init__(self) -> None:
        self._highest: dict[bytes, int] = {}

    def next(self, key: bytes) -> int:
        """That of a message that is about to be said."""
        return max(self._highest.get(key, 0) + 1, time.time_ns() // 1_000_000)

    def take(self, key: bytes, value: bytes) -> None:
        """Take in a message that was read and is rightly signed. Raises `DamagedError` for one from before another."""
        order, highest = order_of(value), self._highest.get(key, 0)
        if order < highest:
            raise DamagedError("it was said before what is in force, and somebody has said it again")
        self._highest[key] = order
