# ruff: noqa: SLF001 - the client names its own errors with an underscore
"""What other threads want of a consumer. It lets one thread in at a time, and hardly any beside one that polls."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

_SECONDS = 7.0
_TURN = 0.01


def commit_now(consumer: Consumer, offsets: list[TopicPartition]) -> None:
    """Commit outside of a transaction, for who may use the consumer. Raises `KafkaException`, for one of them too."""
    for place in consumer.commit(offsets=offsets, asynchronous=False) or ():
        if place.error:
            raise KafkaException(place.error)


@dataclass(slots=True, eq=False)
class _Commit:
    """Offsets to be committed."""

    offsets: list[TopicPartition]
    done: threading.Event = field(default_factory=threading.Event)
    error: KafkaException | None = None

    def make(self, consumer: Consumer) -> None:
        """Commit them, and say so."""
        try:
            commit_now(consumer, self.offsets)
        except KafkaException as error:
            self.error = error
        self.done.set()


class Errands:
    """Asked for by any thread, done by the one that polls, between two polls and within its callbacks.

    While nobody polls, who asks does them. `busy` is held by whoever uses the consumer.
    """

    def __init__(self, busy: threading.Lock, consumer: Callable[[], Consumer]) -> None:
        self._busy, self._consumer = busy, consumer
        self.membership: Any = None
        """The group's metadata as of the last turn. The client knows it from the moment that the group begins anew, long
        before it tells of an assignment if the member that makes these is dead."""
        self._commits: queue.SimpleQueue[_Commit] = queue.SimpleQueue()

    def commit(self, offsets: list[TopicPartition]) -> None:
        """Commit outside of a transaction. Raises `KafkaException`."""
        commit = _Commit(offsets)
        self._commits.put(commit)
        deadline = time.monotonic() + _SECONDS
        while not commit.done.is_set():
            if self._busy.acquire(blocking=False):
                try:
                    self.run(self._consumer())
                finally:
                    self._busy.release()
            elif not commit.done.wait(_TURN) and time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "nobody polls"))
        if commit.error is not None:
            raise commit.error

    def run(self, consumer: Consumer) -> None:
        """Do all there is to do; only for who holds `busy`, or within a callback of who does."""
        self._look(consumer)
        while not self._commits.empty():
            self._commits.get().make(consumer)

    def run_during(self, consumer: Consumer, action: Callable[[], None]) -> None:
        """Go on with them while `action` waits for a thread that may want some done."""
        self.run(consumer)
        acting = threading.Thread(target=action, name="kafka-release", daemon=True)
        acting.start()
        while acting.is_alive():
            acting.join(_TURN)
            self.run(consumer)

    def _look(self, consumer: Consumer) -> None:
        """Note the membership, unless it is nobody's: brokers take a transaction's offsets from nobody, unchecked."""
        found = consumer.consumer_group_metadata()
        if found != self.membership and consumer.memberid():
            self.membership = found
