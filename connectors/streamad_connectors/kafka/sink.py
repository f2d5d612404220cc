"""The scorer's sink: alerts, rejected payloads and candidates as messages, moved together with the group's offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamad.errors import CommitAbortedError, UserError
from streamad.ports import Commit, Positions
from streamad.records.batch import Cursor
from streamad_connectors.kafka.connection import PATIENCE, check_reachable, connect
from streamad_connectors.kafka.deliveries import Committing, Deliveries
from streamad_connectors.kafka.messages import LEAST_BYTES, Limits, messages
from streamad_connectors.kafka.settings import KafkaClient, admin_settings, producer_settings
from streamad_connectors.kafka.topics import Topics, topic_settings
from streamad_connectors.kafka.transactions import RegroupedError, StartOverError, Transactions
from streamad_connectors.kafka.writer import Deadline, Writer

_UNTOLD_BYTES = 1_000_000
"""What a topic surely takes whose settings may not be read, unless somebody made it less: then the broker tells."""

_REGROUP_SECONDS = 1.0
"""How long a commit waits to hear of a rebalance for which it was refused. Who polls hears of it between two polls."""
_TURN = 0.01


class Places(Protocol):
    """Where reading goes on, as the group's offsets keep it. Asked while another thread reads."""

    def group_metadata(self) -> object:
        """For whom offsets are committed, as of now: the broker refuses those of a member that it has put out."""

    def offsets(self, positions: Positions) -> list[TopicPartition]:
        """What to commit for these partitions, those that a commit moves.

        Raises `CommitAbortedError` where somebody else reads one of them by now.
        """

    def renew(self) -> None:
        """Go on from the group's offsets, whatever they are, before the next rows."""


class Member(Committing, Protocol):
    """A member of the group of those who share a topic."""

    @property
    def owned(self) -> Collection[str]:
        """The partitions that it may commit now."""

    def group_metadata(self) -> object:
        """See `Places.group_metadata`."""

    def renew(self) -> None:
        """See `Places.renew`. It leaves the group, and joins it anew."""


class SharedPlaces:
    """Implements `Places`: an offset for each partition of the topic that is owned now."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def group_metadata(self) -> object:
        """See `Places.group_metadata`."""
        return self._member.group_metadata()

    def renew(self) -> None:
        """See `Places.renew`."""
        self._member.renew()

    def offsets(self, positions: Positions) -> list[TopicPartition]:
        """See `Places.offsets`."""
        owned = frozenset(self._member.owned)
        if lost := sorted(positions.keys() - owned):
            raise CommitAbortedError(f"{', '.join(lost)}: somebody else's by now")
        return [_place(*position) for position in positions.items()]


class KafkaSink:
    """Implements `streamad.ports.Sink`. Keeps no state: where to go on is the group's to know."""

    def __init__(self, places: Places, writer: Writer, topics: Topics, limits: Limits) -> None:
        self._places, self._writer, self._topics, self._limits = places, writer, topics, limits
        self._transactions = self._aborted = self._started_over = 0
        self._last_ms = 0.0

    @property
    def figures(self) -> Mapping[str, float]:
        """What happened since the start; ``last_ms`` is how long the last commit took."""
        return {
            "transactions": self._transactions,
            "aborted": self._aborted,
            "started_over": self._started_over,
            "last_ms": self._last_ms,
        }

    def restore(self) -> tuple[Positions, Mapping[str, Any]] | None:
        """None: the source starts where the group is. Raises `UserError` and `WorldError`."""
        self._writer.open(PATIENCE)
        return None

    def commit(self, commit: Commit) -> None:
        """See `streamad.ports.Sink.commit`. Without anything new there is no transaction.

        Raises `CommitAbortedError`, and `UserError` where trying again would not help.
        """
        began = time.monotonic()
        try:
            moved = self._moved(commit)
        except CommitAbortedError as error:
            self._aborted += 1
            if isinstance(error, StartOverError):
                self._started_over += 1
                self._places.renew()
            raise
        if moved:
            self._transactions += 1
            self._last_ms = (time.monotonic() - began) * 1000

    def close(self) -> None:
        """See `streamad.ports.Sink.close`."""
        self._writer.close()

    def _moved(self, commit: Commit) -> bool:
        """Whether there was anything to move. Tried anew where the group began anew meanwhile."""
        deadline = Deadline(_REGROUP_SECONDS)
        while True:
            # asked for first: if it is put out from here on, the broker refuses
            metadata = self._places.group_metadata()
            try:
                return self._move(commit, metadata)
            except RegroupedError:
                while self._places.group_metadata() == metadata and not deadline.passed:
                    time.sleep(_TURN)
                if deadline.passed:
                    raise

    def _move(self, commit: Commit, metadata: object) -> bool:
        moved = commit.positions.keys() if commit.moved is None else commit.moved
        offsets = self._places.offsets({name: commit.positions[name] for name in moved})
        said = [*messages(commit, self._topics, self._limits)]
        if said or offsets:
            self._writer.move(said, offsets, metadata)
        return bool(said or offsets)


def _place(partition: str, cursor: Cursor) -> TopicPartition:
    """The offset, with the topic's mark as its metadata."""
    topic, _, number = partition.rpartition("/")
    return TopicPartition(topic, int(number), int(cursor["offset"]), cursor.get("topic", ""))


def open_sink(
    client: KafkaClient,
    folder: Path,
    topics: Topics,
    member: Member,
    *,
    transactional_id: str | None,
    on_step: Callable[[str], None] = lambda _step: None,
) -> KafkaSink:
    """A sink whose topics are there: exactly once under a transactional id, at least once without.

    Raises `UserError` and `WorldError`. `on_step` is told each step of a commit, for tests.
    """
    limits = sizes(client, folder, topics)
    settings = producer_settings(client, folder)
    writer = (
        Deliveries(client, settings, limits, member, on_step)
        if transactional_id is None
        else Transactions(client, settings, limits, transactional_id, on_step)
    )
    return KafkaSink(SharedPlaces(member), writer, topics, limits)


def sizes(client: KafkaClient, folder: Path, topics: Topics) -> Limits:
    """What the topics take, and the client may be told to write. Raises `UserError` and `WorldError`."""
    names = [topics.alerts, topics.rejected, topics.candidates]
    settings = admin_settings(client, folder)
    admin = connect(client, AdminClient, settings)
    check_reachable(admin, names)
    found = topic_settings(admin, names)
    limits = {name: int(found[name].get("max.message.bytes", _UNTOLD_BYTES)) for name in names}
    most = settings.get("message.max.bytes", max(limits.values()))
    if "message.max.bytes" in settings and most < LEAST_BYTES:
        raise UserError(
            f"the client setting message.max.bytes is {most}, too few for an alert: set {LEAST_BYTES} or more, or leave "
            "it out"
        )
    return Limits({name: min(limit, most) for name, limit in limits.items()})
