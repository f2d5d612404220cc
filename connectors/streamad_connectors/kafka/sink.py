"""The scorer's sink: alerts, rejected payloads and candidates as messages, moved together with the group's offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamad.errors import CommitAbortedError
from streamad.ports import Commit, Positions
from streamad_connectors.kafka.connection import PATIENCE, check_reachable, connect
from streamad_connectors.kafka.deliveries import Deliveries, Member
from streamad_connectors.kafka.messages import Limits, messages
from streamad_connectors.kafka.settings import KafkaClient, admin_settings, producer_settings
from streamad_connectors.kafka.topics import Topics, topic_settings
from streamad_connectors.kafka.transactions import StartOverError, Transactions

_UNTOLD_BYTES = 1_000_000
"""What a topic surely takes whose settings may not be read, unless somebody made it less: then the broker tells."""


class KafkaSink:
    """Implements `streamad.ports.Sink`. Keeps no state: where to go on is the group's to know.

    Offsets are those that the commit moved, of partitions owned now.
    """

    def __init__(self, member: Member, writer: Deliveries, topics: Topics, limits: Limits) -> None:
        self._member, self._writer, self._topics, self._limits = member, writer, topics, limits
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
            moved = self._move(commit)
        except CommitAbortedError as error:
            self._aborted += 1
            if isinstance(error, StartOverError):
                self._started_over += 1
                self._member.renew()
            raise
        if moved:
            self._transactions += 1
            self._last_ms = (time.monotonic() - began) * 1000

    def close(self) -> None:
        """See `streamad.ports.Sink.close`."""
        self._writer.close()

    def _move(self, commit: Commit) -> bool:
        """Whether there was anything to move."""
        metadata = self._member.group_metadata()  # first: if it is put out from here on, the broker refuses
        owned = frozenset(self._member.owned)
        moved = commit.positions.keys() if commit.moved is None else commit.moved
        offsets = {name: int(commit.positions[name]["offset"]) for name in moved}
        if lost := sorted(offsets.keys() - owned):
            raise CommitAbortedError(f"{', '.join(lost)}: somebody else's by now")
        said = [*messages(commit, self._topics, self._limits)]
        if said or offsets:
            self._writer.move(said, [_place(*offset) for offset in offsets.items()], metadata)
        return bool(said or offsets)


def _place(partition: str, offset: int) -> TopicPartition:
    topic, _, number = partition.rpartition("/")
    return TopicPartition(topic, int(number), offset)


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
        else Transactions(client, settings, limits, member, transactional_id, on_step)
    )
    return KafkaSink(member, writer, topics, limits)


def sizes(client: KafkaClient, folder: Path, topics: Topics) -> Limits:
    """What the topics take, and the client may be told to write. Raises `UserError` and `WorldError`."""
    names = [topics.alerts, topics.rejected, topics.candidates]
    settings = admin_settings(client, folder)
    admin = connect(client, AdminClient, settings)
    check_reachable(admin, names)
    found = topic_settings(admin, names)
    limits = {name: int(found[name].get("max.message.bytes", _UNTOLD_BYTES)) for name in names}
    most = settings.get("message.max.bytes", max(limits.values()))
    return Limits({name: min(limit, most) for name, limit in limits.items()})
