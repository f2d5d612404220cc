"""Speaking under one transactional id: what is said in a transaction is heard whole, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamad.errors import CommitAbortedError, StoreError, StreamadError, UserError
from streamad_connectors.kafka.connection import Right, check_reachable, connect, lacking, streamad_error
from streamad_connectors.kafka.events import in_words
from streamad_connectors.kafka.settings import KafkaClient, producer_settings

TRANSACTION_SECONDS = 120
"""After so long the broker takes back what is left open, if nobody took up the name before: long enough for a large
model. Nobody waits meanwhile, since control, which all read, is written last."""

PATIENCE = 30.0
"""Seconds to wait for a message to be stored, or for a transaction to end."""

_ABORT = 5.0
"""Seconds to wait for an abort; where it does not come, whoever takes up the name next ends the transaction."""

_IN_FLIGHT = 32
"""Messages handed over and not stored yet: each must be within `PATIENCE`, and they fit into librdkafka's queue."""

_QUEUE = {"queue.buffering.max.kbytes": 1 << 20, "queue.buffering.max.messages": 100_000}
_TURN = 0.05
_ATTEMPT = 1.0

_FENCED = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}
_PURGED = {"_PURGE_QUEUE", "_PURGE_INFLIGHT"}

Said = tuple[bytes | None, bytes | None]
"""A message's key and value."""


class Voice:
    """One producer, of no more use once it is lost: another must take up the name then."""

    def __init__(self, options: KafkaClient, folder: Path, name: str) -> None:
        """`name` is the transactional id. Raises `UserError` for settings that librdkafka refuses."""
        ours = {
            "transactional.id": name,
            "transaction.timeout.ms": TRANSACTION_SECONDS * 1000,
            "message.timeout.ms": int(PATIENCE * 1000),
            "batch.num.messages": 1,  # the broker's limit is on batches, and two chunks may be too much
        }
        settings = producer_settings(options, folder) | _QUEUE | ours
        self._connection = connect(options, Producer, settings)
        self._name = name
        self.largest = int(settings.get("message.max.bytes", 1_000_000))
        """Bytes of a message that librdkafka takes."""
        self.lost = False
        """A transaction failed: librdkafka loses count of what it said then, even where it could take that back."""
        self.fenced = False
        """Lost, because somebody else took up the name."""

    def take_up(self) -> None:
        """Silence whoever speaks under this name, and end what it left open. Raises `UserError` and `WorldError`."""
        check_reachable(self._connection)
        with self._failures("becoming the active trainer"):
            _persist(self._connection.client.init_transactions, PATIENCE)

    @contextmanager
    def transaction(self, doing: str) -> Iterator[None]:
        """What is said within is heard when it ends, unless it ends with an error. `doing` begins an error's sentence.

        Raises `CommitAbortedError` where somebody else took up the name, `StoreError` for what a topic does not take,
        `UserError` for a right that is missing, else `WorldError`.
        """
        with self._failures(doing):
            try:
                self._connection.client.begin_transaction()
                yield
                _persist(self._connection.client.commit_transaction, PATIENCE)
            except BaseException:
                self._abort()
                raise

    def say(self, topic: str, messages: Iterable[Said]) -> list[int]:
        """Write messages to partition 0, within a transaction. Returns the offset of each, when all are stored."""
        producer, delivered = self._connection.client, _Delivered()
        for key, value in messages:
            try:
                producer.produce(topic, value, key, partition=0, on_delivery=delivered.expect())
            except KafkaException as failed:
                raise self._refusal(failed.args[0], topic, len(value or b"")) from None
            while len(producer) >= _IN_FLIGHT:
                producer.poll(_TURN)
        while len(producer):
            producer.poll(_TURN)
        if delivered.error is not None:
            raise self._refusal(self._reason(delivered.error), topic, delivered.size)
        return delivered.offsets

    def _reason(self, error: KafkaError) -> KafkaError:
        """Why a message was not stored: what is merely told to be purged failed for what the whole transaction did."""
        if error.name() in _PURGED:
            try:
                self._connection.client.commit_transaction(_ATTEMPT)
            except KafkaException as failed:
                reason: KafkaError = failed.args[0]
                return reason
        return error

    def _refusal(self, error: KafkaError, topic: str, size: int) -> Exception:
        """What it means that a message of `size` bytes was not stored."""
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return StoreError(
                f"a message of {size} bytes is more than topic {topic}, or the client setting message.max.bytes, allows"
            )
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return lacking(Right("Write", "topic", topic), self._connection.user)
        return KafkaException(error)

    def _abort(self) -> None:
        """Take back what was said, if that can be done from here."""
        self.lost = True
        try:
            _persist(self._connection.client.abort_transaction, _ABORT)
        except KafkaException as failed:
            self.fenced = failed.args[0].name() in _FENCED

    @contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as failed:
            raise self._meaning(failed.args[0], doing) from None

    def _meaning(self, error: KafkaError, doing: str) -> StreamadError:
        if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return UserError(
                f"the right Write on transactional id {self._name} is missing: give it to {self._connection.user}"
            )
        meant = streamad_error(error, doing, self._connection.events)
        if isinstance(meant, UserError) or not (error.fatal() or self.fenced or error.name() in _FENCED):
            return meant
        self.fenced = True
        said = in_words(error.str(), self._connection.events.secrets)
        return CommitAbortedError(f"{doing}: transactional id {self._name} is not ours any more ({said})")


class _Delivered:
    """What became of messages, in the order in which they were expected."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.error: KafkaError | None = None
        """Why the first message that was not stored was not."""
        self.size = 0
        """The bytes of the largest value that was not stored."""

    def expect(self) -> Callable[[KafkaError | None, Message], None]:
        """The callback of the next message."""
        self.offsets.append(-1)
        return partial(self._on_delivery, len(self.offsets) - 1)

    def _on_delivery(self, number: int, error: KafkaError | None, message: Message) -> None:
        offset = message.offset()
        if error is None and offset is not None:
            self.offsets[number] = offset
        else:
            self.error, self.size = self.error or error, max(self.size, len(message))


def _persist(call: Callable[[float], None], seconds: float) -> None:
    """Call again what may be, for at most so long. Raises the last `KafkaException`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call(_ATTEMPT)
        except KafkaException as failed:
            if not failed.args[0].retriable() or time.monotonic() > deadline:
                raise
            time.sleep(_TURN)
