"""Labels, promotions, calibrations and mutes, as all scorers and trainers read them from their topics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from confluent_kafka import Message

from streamad.ports import GivenLabel, Mute, Promoted, Reference, Wanted
from streamad.seldom import Seldom
from streamad_connectors.kafka.chunks import DamagedError
from streamad_connectors.kafka.control import (
    ANSWERED,
    MUTE,
    PROMOTED,
    REFERENCE,
    WANTED,
    mute_key,
    order_of,
    read_answer,
    read_description,
    read_mute,
    read_object,
    read_reference,
    read_request,
    version_of,
)
from streamad_connectors.kafka.fetching import Fetcher
from streamad_connectors.kafka.order import Order
from streamad_connectors.kafka.promotions import Promotions
from streamad_connectors.kafka.requests import Requests
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.topic_reader import TopicReader
from streamad_connectors.kafka.topics import Topics

ARTIFACT_BYTES = 2 << 30
"""The largest artifact that is fetched; while its files are put together, twice as much memory is taken."""

LABEL_BYTES = 1 << 20
"""The largest label that is read."""


class KafkaUpdates:
    """Reads the labels' and the control topic from their beginnings, and fetches from the models' what is promoted.

    It is in no group. What is damaged, wrongly signed or no message of ours is ignored with a warning; of versions,
    the one before then stays in force.
    """

    def __init__(
        self,
        options: KafkaClient,
        folder: Path,
        topics: Topics,
        *,
        key: bytes | None = None,
        limit: int = ARTIFACT_BYTES,
    ) -> None:
        """`folder` is the config's; with a `key` only messages signed by it count; `limit` is in bytes."""
        # control's end is asked for first: what was promoted before it had learned no label that the first poll misses
        self._reader = TopicReader(options, folder, [topics.control, topics.labels])
        self._fetcher = Fetcher(options, folder, topics.models)
        self._promotions = Promotions(self._fetcher.fetch)
        self._requests = Requests()
        self._order = Order()
        self._topics, self._key, self._limit = topics, key, limit
        self._labels: list[GivenLabel] = []  # read, not yet handed over
        self._mutes: list[Mute] = []  # the same
        self._begun = False
        self._skipped = Seldom("labels_skipped", time.monotonic)

    def poll(self) -> Sequence[GivenLabel | Promoted | Reference | Wanted | Mute]:
        """See `streamad.ports.Updates.poll`. Labels come before what was fetched.

        Raises `WorldError` at the first call where no broker answers, and later for a topic that was made anew;
        `UserError` for what is missing.
        """
        if self._begun:
            self._sort_in(self._reader.poll())
            news = self._promotions.news()
        else:
            self._sort_in(self._reader.read_to_end())
            news = self._promotions.settled()
            self._begun = True
        labels, self._labels = self._labels, []
        mutes, self._mutes = self._mutes, []
        self._skipped.tell()
        return [*labels, *news, *mutes, *self._requests.news()]

    def close(self) -> None:
        """See `streamad.ports.Updates.close`."""
        self._fetcher.close()
        self._reader.close()

    def _sort_in(self, messages: Iterable[Message]) -> None:
        for message in messages:
            value = message.value()
            if message.topic() == self._topics.labels:
                self._take_label(message, value)
            elif value is not None and message.key() == PROMOTED:
                self._take_promotion(value)
            elif value is not None and message.key() == REFERENCE:
                self._take_reference(value)
            elif value is not None and (key := message.key() or b"") in (WANTED, ANSWERED):
                self._take_request(key, value)
            elif value is not None and key.startswith(MUTE):
                self._take_mute(value)

    def _take_label(self, message: Message, value: bytes | None) -> None:
        number = message.offset()
        assert number is not None
        try:
            self._labels.append(GivenLabel(number, read_object(value or b"", LABEL_BYTES)))
        except DamagedError:
            self._skipped.add(number=number, reason="no JSON object of at most 1 MiB")

    def _take_promotion(self, value: bytes) -> None:
        try:
            description = read_description("promoted", value, self._key, self._limit)
            self._order.take(PROMOTED, value)
            self._promotions.promote(description)
        except DamagedError as error:
            self._promotions.ignore("promotion", version_of(value), error)

    def _take_reference(self, value: bytes) -> None:
        try:
            reference = read_reference(value, self._key)
            self._order.take(REFERENCE, value)
            self._promotions.calibrate(reference)
        except DamagedError as error:
            self._promotions.ignore("reference", version_of(value), error)

    def _take_request(self, key: bytes, value: bytes) -> None:
        try:
            if key == ANSWERED:
                self._requests.answer(read_answer(value, self._key))
            else:
                request = read_request(value, self._key)
                self._order.take(key, value)
                self._requests.ask(Wanted(order_of(value), *request))
        except DamagedError as error:
            self._promotions.ignore("request", version_of(value), error)

    def _take_mute(self, value: bytes) -> None:
        try:
            mute = read_mute(value, self._key)
            self._order.take(mute_key(mute), value)
            self._mutes.append(mute)
        except DamagedError as error:
            self._promotions.ignore("mute", None, error)
