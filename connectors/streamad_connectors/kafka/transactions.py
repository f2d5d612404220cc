"""Writing to topics in transactions with the group's offsets: exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from streamad.errors import CommitAbortedError, UserError
from streamad_connectors.kafka.messages import Limits, Message
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.writer import COMMIT_SECONDS, Deadline, Writer

TRANSACTION_SECONDS = 10.0
"""After so long the broker takes back what a dead or frozen scorer left open, which all readers wait for."""
REQUEST_SECONDS = 5.0
"""How long a broker may take to answer, which is also how long sending offsets waits, whatever time it is given."""
_QUIET_SECONDS = 30.0
_ROLL_BACK_SECONDS = 2.0
_FENCED = {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}


class StartOverError(CommitAbortedError):
    """What became of the transaction is not known here: the group's offsets tell, to a member that joins anew."""


class RegroupedError(CommitAbortedError):
    """The group began anew after it was asked for the membership. Nothing is left of the transaction."""


class Transactions(Writer):
    """Messages and offsets become visible together, or never.

    A transaction that fails is rolled back. Where that cannot be, or the broker has fenced this producer, it is
    dropped, and the next one under the same id ends what it left open.
    """

    def __init__(
        self,
        options: KafkaClient,
        settings: dict[str, Any],
        limits: Limits,
        name: str,
        on_step: Callable[[str], None] = lambda _step: None,
        *,
        remedy: str = "give each scorer its own (state.transactional_id)",
    ) -> None:
        """As `Writer`; `name` is the transactional id: the last process that took it up is the one that writes.

        `remedy` is what to tell people where two processes do.
        """
        request_ms = int(REQUEST_SECONDS * 1000)
        transactional = {
            "transactional.id": name,
            "transaction.timeout.ms": int(TRANSACTION_SECONDS * 1000),
            "socket.timeout.ms": min(settings.get("socket.timeout.ms", request_ms), request_ms),
        }
        super().__init__(options, settings | transactional, limits, on_step)
        self._name, self._remedy, self._ready = name, remedy, False
        self._fenced_at: float | None = None
        self._absences = options.absence.ended

    def move(self, messages: Iterable[Message], offsets: list[TopicPartition], metadata: object) -> None:
        """See `Writer.move`. Raises `StartOverError` and `RegroupedError` too."""
        deadline, began = Deadline(COMMIT_SECONDS), time.monotonic()
        try:
            producer = self._producer(deadline)
            self._step("ready")
            producer.begin_transaction()
            self._write(producer, messages, deadline)
            self._step("written")
            if offsets:
                _insist(
                    lambda left: _bounded(
                        lambda: producer.send_offsets_to_transaction(offsets, metadata, left), left
                    ),
                    deadline,
                )
            self._step("sent")
            _insist(producer.commit_transaction, deadline)
        except KafkaException as error:
            raise self._undone(error.args[0], time.monotonic() - began) from None
        self._step("committed")
        self._committed()

    def take_up(self, seconds: float) -> bool:
        """Whether nobody but this process can write under the id any more, and nothing is left open.

        Waits for at most so many seconds. Raises `UserError`.
        """
        began = time.monotonic()
        try:
            self._producer(Deadline(seconds))
        except KafkaException as error:
            meant = self._undone(error.args[0], time.monotonic() - began)
            if isinstance(meant, UserError):
                raise meant from None
        return self._ready

    def close(self) -> None:
        """See `Writer.close`."""
        super().close()
        self._ready = False

    def _producer(self, deadline: Deadline) -> Producer:
        if self._absences != self._options.absence.ended:
            self._absences = self._options.absence.ended
            self.close()  # a client that was cut off waits for a coordinator that it has forgotten, see `_bounded`
        producer = super()._producer(deadline)
        if not self._ready:
            _insist(producer.init_transactions, deadline)
            self._ready = True
        return producer

    def _committed(self) -> None:
        self._made().events.answered()
        if self._fenced_at is not None and time.monotonic() - self._fenced_at > _QUIET_SECONDS:
            self._fenced_at = None

    def _undone(self, error: KafkaError, age: float) -> CommitAbortedError | UserError:
        """Roll back, or drop the producer where that cannot be; returns what to raise."""
        meant = self._fence(error, age) or self._meaning(error)
        if not self._ready and error.retriable():
            return meant  # nothing was begun; the next commit waits on
        if not (error.fatal() or error.retriable()) and self._rolled_back():
            self._shrink()
            return RegroupedError(str(meant)) if error.name() == "ILLEGAL_GENERATION" else meant
        self.close()
        return meant if isinstance(meant, UserError) else StartOverError(str(meant))

    def _rolled_back(self) -> bool:
        try:
            _insist(self._made().client.abort_transaction, Deadline(_ROLL_BACK_SECONDS))
        except KafkaException:
            return False
        return True

    def _fence(self, error: KafkaError, age: float) -> UserError | None:
        """Somebody else took up our name, for the second time. A transaction that was left open too long looks alike."""
        if error.name() not in _FENCED or age >= TRANSACTION_SECONDS:
            return None
        again, self._fenced_at = self._fenced_at is not None, time.monotonic()
        if not again:
            return None
        return UserError(
            f"another process writes under the transactional id {self._name} too: {self._remedy}"
        )


def _insist(call: Callable[[float], None], deadline: Deadline) -> None:
    """Make a call again while that may help and there is time. Raises `KafkaException`."""
    failed_meanwhile = False
    while True:
        try:
            return call(deadline.left)
        except KafkaException as failed:
            error = failed.args[0]
            # Messages are written in the background. What goes wrong there is told when the client is asked again.
            if error.name() == "_STATE" and not failed_meanwhile:
                failed_meanwhile = True
            elif deadline.passed or not error.retriable() or error.name() == "_TIMED_OUT":
                raise


def _bounded(call: Callable[[], None], seconds: float) -> None:
    """Call, and wait for at most so long. Raises `KafkaException`.

    librdkafka waits for ever for a group's coordinator that the brokers have meanwhile told it to forget (its issues
    5456 and 5511). The thread that waits there keeps its client; the next one under the same id takes its rights away.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            call()
            done.set_result(None)
        except KafkaException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="kafka-offsets", daemon=True).start()
    try:
        done.result(seconds)
    except TimeoutError:
        late = KafkaError(KafkaError._TIMED_OUT, "the group's coordinator does not answer", retriable=True)  # noqa: SLF001  # its public name
        raise KafkaException(late) from None
