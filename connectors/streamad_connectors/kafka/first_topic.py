"""Which topics of records a feed began with, as its trainer has told on control."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamad_connectors.kafka.ledger import Ledger
from streamad_connectors.kafka.settings import KafkaClient
from streamad_connectors.kafka.topic_id import TopicId
from streamad_connectors.kafka.topic_reader import TopicReader
from streamad_connectors.kafka.updates import ARTIFACT_BYTES

Heed = Callable[[TopicId], None]
"""Has a topic's id heed what is told elsewhere of the topic that the feed began with."""


def first_topic(client: KafkaClient, folder: Path, control: str, key: bytes | None) -> Heed:
    """Heeds what control says by then. Raises `UserError` and `WorldError`."""

    def heed(records: TopicId) -> None:
        reader, ledger = TopicReader(client, folder, [control]), Ledger(key, ARTIFACT_BYTES)
        try:
            for message in reader.read_to_end():
                ledger.enter(message.key() or b"", message.value())
        finally:
            reader.close()
        records.heed_first(ledger.records.get(records.name))

    return heed
