"""The active trainer's voice on the topics: models, promotions, calibrations and completed labels."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from streamad.errors import CommitAbortedError, NumberTakenError, StoreError
from streamad.ports import Reference
from streamad_connectors.kafka.chunks import (
    CHUNK_BYTES,
    DamagedError,
    Description,
    cut,
    describe,
    from_json,
    to_json,
)
from streamad_connectors.kafka.connection import connect
from streamad_connectors.kafka.control import (
    ANSWERED,
    PROMOTED,
    REFERENCE,
    chunk_key,
    records_key,
    version_key,
    write_answer,
    write_description,
    write_records,
    write_reference,
)
from streamad_connectors.kafka.ledger import Ledger
from streamad_connectors.kafka.messages import compact
from streamad_connectors.kafka.ownership import Ownership, trainers_of
from streamad_connectors.kafka.settings import KafkaClient, admin_settings
from streamad_connectors.kafka.topic_id import TopicId
from streamad_connectors.kafka.topic_reader import TopicReader
from streamad_connectors.kafka.topics import Topics, topic_settings
from streamad_connectors.kafka.updates import ARTIFACT_BYTES, LABEL_BYTES
from streamad_connectors.kafka.voice import Said, Voice

_FRAME = 4096
"""Bytes of a message of which a chunk leaves room for its key and what the client adds."""


class KafkaPublisher:
    """Speaks while it owns control's one partition, under one transactional id a feed.

    A trainer that becomes active takes the id up, which silences the one before, wherever that got stuck. It must be
    asked whether it is active every few minutes, else the group takes it for dead.
    """

    def __init__(
        self,
        options: KafkaClient,
        folder: Path,
        topics: Topics,
        feed: str,
        *,
        keep_versions: int,
        pinned: Collection[int] = (),
        key: bytes | None = None,
        limit: int = ARTIFACT_BYTES,
        records: TopicId | None = None,
    ) -> None:
        """`folder` is the config's, `key` what messages are signed with, `limit` the bytes of the largest artifact.

        Versions that are `pinned` are kept beside the last `keep_versions`. `records` is the topic of the feed's records.
        """
        self._options, self._folder, self._topics, self._key = options, folder, topics, key
        self._name = trainers_of(feed)
        self._ownership = Ownership(options, folder, self._name, topics.control)
        self._reader = TopicReader(options, folder, [topics.control])
        self._ledger = Ledger(key, limit)
        self._keep, self._pinned, self._limit = keep_versions, pinned, limit
        self._records = records
        self._voice: Voice | None = None
        self._chunk_bytes = CHUNK_BYTES

    def wait_until_active(self, timeout: float) -> bool:
        """See `streamad.ports.Publisher.wait_until_active`. Raises `UserError` and `WorldError`."""
        deadline = time.monotonic() + timeout
        while self._ownership.owned(max(0.0, deadline - time.monotonic())):
            if self._voice is not None and not self._voice.lost:
                return True
            if self._ownership.confirmed():
                self._voice = self._new_voice()
            elif time.monotonic() > deadline:
                break
        self._voice = None
        return False

    def last_version(self) -> int:
        """See `streamad.ports.Publisher.last_version`."""
        self._active("asking for the last version")
        return self._read().last

    def publish(self, version: int, files: Mapping[str, bytes]) -> None:
        """See `streamad.ports.Publisher.publish`.

        Raises `NumberTakenError` too, `StoreError` for what no reader would take, `WorldError` where the brokers do not answer.
        """
        doing = f"publishing version {version}"
        voice, ledger = self._active(doing), self._read()
        if version <= ledger.last:
            raise NumberTakenError(f"{doing}: version {ledger.last} is there already, said as {self._name}")
        described = self._checked(version, files, doing)
        chunks = cut(files, self._chunk_bytes)
        expired = ledger.expired(version, self._keep, self._pinned)
        with voice.transaction(doing):
            offsets = voice.say(
                self._topics.models, ((chunk_key(version, n), chunk) for n, chunk in enumerate(chunks))
            )
            voice.say(self._topics.models, _tombstones(expired))
            news = [*self._news(described._replace(offsets=tuple(offsets)), expired)]
            voice.say(self._topics.control, news)
        self._enter(news)

    def promote(self, version: int, answers: int | None = None) -> None:
        """See `streamad.ports.Publisher.promote`."""
        doing = f"promoting version {version}"
        voice, ledger = self._active(doing), self._read()
        description = ledger.versions.get(version)
        news: list[Said] = [] if answers is None else [self._answer(answers)]
        if description is not None:
            news.append(self._promotion(description))
        if news:
            with voice.transaction(doing):
                voice.say(self._topics.control, news)
        self._enter(news)
        if description is None:
            raise ledger.missing(version)

    def calibrate(self, reference: Reference) -> None:
        """See `streamad.ports.Publisher.calibrate`. Raises `StoreError` for more bytes than a message may have."""
        voice = self._active(doing := f"publishing the calibration of version {reference.version}")
        with voice.transaction(doing):
            order = self._ledger.order.next(REFERENCE)
            news = [(REFERENCE, write_reference(reference, self._key, order))]
            voice.say(self._topics.control, news)
        self._enter(news)

    def complete(self, label: Mapping[str, Any]) -> None:
        """See `streamad.ports.Publisher.complete`."""
        voice, value = self._active(doing := "completing a label"), compact(label)
        if len(value) > LABEL_BYTES:
            raise StoreError(f"{doing}: with its record it has {len(value)} bytes, more than {LABEL_BYTES}")
        with voice.transaction(doing):
            voice.say(self._topics.labels, [(None, value)])

    def close(self) -> None:
        """See `streamad.ports.Publisher.close`. Another trainer may then be active at once."""
        self._voice = None
        self._ownership.close()
        self._reader.close()

    def _active(self, doing: str) -> Voice:
        if self._voice is None or self._voice.fenced or not self.wait_until_active(0):
            raise CommitAbortedError(
                f"{doing}: this trainer is not the active one, who speaks as {self._name}"
            )
        return self._voice

    def _new_voice(self) -> Voice:
        """A voice that is heard alone, with control read up to what the one before it said."""
        voice = Voice(self._options, self._folder, self._name)
        voice.take_up()
        admin = connect(self._options, AdminClient, admin_settings(self._options, self._folder))
        settings = topic_settings(admin, [self._topics.models])[self._topics.models]
        largest = min(voice.largest, int(settings.get("max.message.bytes", voice.largest)))
        self._chunk_bytes = min(CHUNK_BYTES, max(1, largest - _FRAME))
        self._read()
        self._tell_records(voice)
        return voice

    def _tell_records(self, voice: Voice) -> None:
        """Tell once which topic the feed began with, so that all can tell another one of its name from it."""
        if (records := self._records) is None or records.name in self._ledger.records:
            return
        records.ask()
        if mark := records.mark(records.known):
            news = [(records_key(records.name), write_records(records.name, mark, self._key))]
            with voice.transaction("telling which topic has the records"):
                voice.say(self._topics.control, news)
            self._enter(news)

    def _read(self) -> Ledger:
        self._enter((message.key(), message.value()) for message in self._reader.read_to_end())
        return self._ledger

    def _enter(self, news: Iterable[Said]) -> None:
        """Take in what control says, also what we said just now: brokers may show it a moment later."""
        for key, value in news:
            self._ledger.enter(key or b"", value)

    def _checked(self, version: int, files: Mapping[str, bytes], doing: str) -> Description:
        """A description without its offsets, as readers would check it."""
        described = describe(version, files, [0])
        try:
            return from_json(to_json(described), self._limit)
        except DamagedError as error:
            raise StoreError(f"{doing}: {error}") from None

    def _news(self, description: Description, expired: Iterable[Description]) -> Iterator[Said]:
        """What control is told of a new version, the promotion last."""
        yield from ((version_key(other.version), None) for other in expired)
        yield version_key(description.version), write_description("version", description, self._key)
        yield self._promotion(description)

    def _promotion(self, description: Description) -> Said:
        order = self._ledger.order.next(PROMOTED)
        return PROMOTED, write_description("promoted", description, self._key, order)

    def _answer(self, number: int) -> Said:
        return ANSWERED, write_answer(number, self._key, self._ledger.order.next(ANSWERED))


def _tombstones(expired: Iterable[Description]) -> Iterator[Said]:
    """What makes the broker remove the chunks of versions."""
    for description in expired:
        yield from ((chunk_key(description.version, n), None) for n in range(len(description.offsets)))
