"""What people do in a cluster: they read its topics, give labels, mute, and ask the trainer for another version."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from confluent_kafka import Message

from streamad.errors import UserError
from streamad.ports import ClusterContext, KeptVersion, Mute, Seen, SourceOptions, Standing
from streamad_connectors.kafka.chunks import DamagedError
from streamad_connectors.kafka.control import (
    MUTE,
    WANTED,
    mute_key,
    read_mute,
    read_object,
    write_mute,
    write_request,
)
from streamad_connectors.kafka.fetching import Fetcher
from streamad_connectors.kafka.ledger import Ledger, version_named
from streamad_connectors.kafka.messages import compact
from streamad_connectors.kafka.newest import Newest
from streamad_connectors.kafka.overview import lag_of, scorers, trainers
from streamad_connectors.kafka.ownership import trainers_of
from streamad_connectors.kafka.payloads import place_of
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.source import KafkaOptions, group_of
from streamad_connectors.kafka.telling import tell
from streamad_connectors.kafka.topic_id import TopicId
from streamad_connectors.kafka.topic_reader import TopicReader
from streamad_connectors.kafka.topics import Topics
from streamad_connectors.kafka.updates import ARTIFACT_BYTES, LABEL_BYTES

_log = structlog.get_logger(__name__)

Row = dict[str, Any]


class _Control:
    """What control says: the versions, when each was published (milliseconds since 1970), and mutes by id."""

    def __init__(self, key: bytes | None, messages: Iterable[Message]) -> None:
        self.ledger, self._key = Ledger(key, ARTIFACT_BYTES), key
        self.published: dict[int, int] = {}
        self.mutes: dict[str, Mute] = {}
        for message in messages:
            self._enter(message)

    def _enter(self, message: Message) -> None:
        key, value = message.key() or b"", message.value()
        if value is not None and key.startswith(MUTE):
            self._mute(value)
            return
        self.ledger.enter(key, value)
        if (number := version_named(key)) in self.ledger.versions:
            self.published.setdefault(number, message.timestamp()[1])

    def _mute(self, value: bytes) -> None:
        try:
            mute = read_mute(value, self._key)
            self.ledger.order.take(mute_key(mute), value)
        except DamagedError as error:
            self.ledger.refusals.add(error)
        else:
            self.mutes[mute.id] = mute


class KafkaDesk:
    """Implements `streamad.ports.Desk`. Connects to what it is asked for, when it is asked."""

    def __init__(
        self,
        client: KafkaClient,
        source: SourceOptions,
        topics: Topics,
        context: ClusterContext,
        *,
        key: bytes | None,
    ) -> None:
        """`client` reaches the topics of the state, `source` says where the records are, which may be outside of Kafka."""
        self._client, self._source, self._topics, self._context = client, source, topics, context
        self._folder, self._key = context.source.folder, key
        self._trainers = trainers_of(context.feed), topics.control
        self._open: dict[str, Newest] = {}
        self._topic_id: TopicId | None = None
        self._told = False

    def where(self, what: Seen) -> str:
        """See `streamad.ports.Desk.where`."""
        return f"topic {self._topic(what)} at {self._client.brokers}"

    def newest(self, what: Seen, count: int) -> Iterator[Row]:
        """See `streamad.ports.Desk.newest`. What is no JSON object is left out, with a warning."""
        reader = self._reader(what)
        return self._rows(what, reader.last(count) if count > 0 else reader.all())

    def follow(self, timeout: float) -> Sequence[Row]:
        """See `streamad.ports.Desk.follow`."""
        return [*self._rows("alerts", self._reader("alerts").more(timeout))]

    def give(self, labels: Sequence[Mapping[str, Any]]) -> Sequence[str | None]:
        """See `streamad.ports.Desk.give`."""
        problems = [self._problem(label) for label in labels]
        said = [
            (str(label["event_id"]).encode(errors="replace"), compact(label))
            for label, problem in zip(labels, problems, strict=True)
            if problem is None
        ]
        if said:
            tell(self._client, self._folder, self._topics.labels, said)
        return problems

    def versions(self) -> Sequence[KeptVersion]:
        """See `streamad.ports.Desk.versions`."""
        control = self._control()
        return [
            KeptVersion(
                number=number,
                promoted=number == control.ledger.promoted,
                published_at=_time(control.published.get(number, 0)),
                bytes=description.length,
            )
            for number, description in sorted(control.ledger.versions.items())
        ]

    def files(self, version: int) -> Mapping[str, bytes]:
        """See `streamad.ports.Desk.files`."""
        ledger = self._control().ledger
        if version not in ledger.versions:
            raise ledger.missing(version)
        fetcher = Fetcher(self._client, self._folder, self._topics.models)
        try:
            return fetcher.fetch(ledger.versions[version]).result()
        except DamagedError as error:
            raise UserError(f"version {version} cannot be read: {error}") from None
        finally:
            fetcher.close()

    def previous(self) -> int:
        """See `streamad.ports.Desk.previous`."""
        return self._control().ledger.previous()

    def ask(self, version: int) -> bool | None:
        """See `streamad.ports.Desk.ask`."""
        ledger = self._control().ledger
        if version not in ledger.versions:
            raise ledger.missing(version)
        request = write_request(version, _written(datetime.now(UTC)), self._key, ledger.order.next(WANTED))
        tell(self._client, self._folder, self._topics.control, [(WANTED, request)])
        _, active = trainers(self._client, self._folder, *self._trainers)
        return active

    def mutes(self) -> Sequence[Mute]:
        """See `streamad.ports.Desk.mutes`. What is damaged or wrongly signed is left out, as scorers leave it out."""
        return sorted(self._control().mutes.values(), key=lambda mute: (mute.since, mute.id))

    def mute(self, mute: Mute) -> None:
        """See `streamad.ports.Desk.mute`."""
        key = mute_key(mute)
        said = write_mute(mute, self._key, self._control().ledger.order.next(key))
        tell(self._client, self._folder, self._topics.control, [(key, said)])

    def standing(self) -> Standing:
        """See `streamad.ports.Desk.standing`."""
        source, group = self._source, group_of(self._source, self._context.source)
        there, active = trainers(self._client, self._folder, *self._trainers)
        if not isinstance(source, KafkaOptions):
            return Standing(None, group, {}, begun=False, scorers=None, trainers=there, active=active)
        lag, begun = lag_of(source, self._folder, source.topic, group)
        return Standing(
            topic=source.topic,
            group=group,
            lag=lag,
            begun=begun,
            scorers=scorers(source, self._folder, group),
            trainers=there,
            active=active,
        )

    def close(self) -> None:
        """See `streamad.ports.Desk.close`."""
        for reader in self._open.values():
            reader.close()

    def _topic(self, what: Seen) -> str:
        name: str = getattr(self._topics, what)
        return name

    def _reader(self, what: Seen) -> Newest:
        if what not in self._open:
            self._open[what] = Newest(self._client, self._folder, self._topic(what))
        return self._open[what]

    def _rows(self, what: Seen, messages: Iterable[Message]) -> Iterator[Row]:
        skipped = 0
        for message in messages:
            try:
                yield _rejected(message) if what == "rejected" else read_object(message.value() or b"")
            except DamagedError:
                skipped += 1
        if skipped:
            _log.warning("messages_skipped", topic=self._topic(what), count=skipped, reason="no JSON object")

    def _problem(self, label: Mapping[str, Any]) -> str | None:
        """Why no reader would take a label, or nobody could complete it."""
        event, size = str(label["event_id"]), len(compact(label))
        if label.get("record") is None and (reason := self._nowhere(event)):
            return reason
        if size > LABEL_BYTES:
            return f"the label of {event} has {size} bytes, more than {LABEL_BYTES}"
        return None

    def _nowhere(self, event: str) -> str | None:
        """Why nobody could look up an event's record."""
        if not isinstance(self._source, KafkaOptions):
            return (
                f"{event} is none of the newest alerts and candidates: its label needs the record beside it"
            )
        place = place_of(self._source.topic, event.removeprefix(f"{self._context.feed}/"))
        if place is None:
            return f"{event} is no event of this feed, as {self._context.feed}/{self._source.topic}/0@42 would be"
        if not self._records(self._source).has(place.generation):
            return f"{event} was in a topic that is deleted: its label needs the record beside it"
        return None

    def _records(self, source: KafkaOptions) -> TopicId:
        """Which topic of records there is now, as far as this user may know."""
        if self._topic_id is None:
            self._topic_id = TopicId(source, self._folder, source.topic, 0)
            self._topic_id.ask()
            self._topic_id.heed_first(self._control().ledger.records.get(source.topic))
        return self._topic_id

    def _control(self) -> _Control:
        """What control says now; that some of it does not count is said once."""
        reader = TopicReader(self._client, self._folder, [self._topics.control])
        try:
            control = _Control(self._key, reader.read_to_end())
        finally:
            reader.close()
        refusals = control.ledger.refusals
        if refusals.count and not self._told:
            self._told = True
            _log.warning(
                "messages_refused",
                topic=self._topics.control,
                count=refusals.count,
                first_reason=refusals.first,
            )
        return control


def _rejected(message: Message) -> Row:
    """A rejected payload as `messages` wrote it: the payload is the value, what is known of it lies in headers."""
    told = {name: _text(value) for name, value in dict(message.headers() or ()).items()}
    length = told.get("length") or ""
    return {
        "position": told.get("position") or _text(message.key()),
        "reason": told.get("reason"),
        "field": told.get("field"),
        "detail": told.get("detail"),
        "bytes_base64": base64.b64encode(message.value() or b"").decode(),
        "length": int(length) if length.isdecimal() else None,
        "sha256": told.get("sha256"),
        "rejected_at": told.get("rejected_at"),
    }


def _text(value: bytes | str | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _time(millis: int) -> str:
    """RFC 3339 in UTC."""
    return _written(datetime.fromtimestamp(millis / 1000, UTC))


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
