"""From messages to a `Block`: where a payload begins and ends, and which ones can be no record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from confluent_kafka import Message

from streamad.records.batch import MISSING_TIME, Block, Rejection
from streamad_connectors.kafka.topic_id import GENERATION

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEWLINE, _RETURN = 10, 13

_MILLIS = (1 << 63) // 1000 - 1
"""No timestamp is farther from 1970: what a producer writes is not looked at by brokers, unless they are told to."""

_FRAME_BYTES = 5
"""A schema registry's serialisers write a zero byte and a number of four bytes before what they serialise."""


class Beside(NamedTuple):
    """Which fields are filled with what a message says beside its payload; see `KafkaOptions`."""

    key_field: str | None = None
    key_header: str | None = None
    time_field: str | None = None
    time_header: str | None = None


def partition_name(topic: str, number: int) -> str:
    """A partition as positions name it."""
    return f"{topic}/{number}"


class Place(NamedTuple):
    """Where in a topic a record is."""

    partition: int
    offset: int
    generation: str = ""
    """As in `TopicId.generation`."""


def place_of(topic: str, position: str) -> Place | None:
    """The place that a position names, None for one that is not in the topic."""
    generation = rf"(?:~[\w-]{{{GENERATION}}})?"
    found = re.fullmatch(rf"{re.escape(topic)}/(\d{{1,9}})({generation})@(\d{{1,18}})", position, re.ASCII)
    return None if found is None else Place(int(found[1]), int(found[3]), found[2])


def block_of(
    topic: str,
    messages: Sequence[Message],
    ends: Mapping[int, int],
    record_bytes: int,
    beside: Beside,
    *,
    generation: str = "",
) -> Block:
    """A block of n messages without errors, those of a partition in order; see `Place.generation`.

    `ends` says of partitions, by number, up to which offset nobody will read anything more: past the last message,
    and past what was aborted behind it. A partition may be named that has no messages here.
    """
    values = [message.value() or b"" for message in messages]
    numbers = np.fromiter(map(Message.partition, messages), np.int32, len(messages))
    offsets = np.fromiter(map(Message.offset, messages), np.int64, len(messages))
    lengths = np.fromiter(map(len, values), np.int64, len(messages))
    ends_of_values = np.cumsum(lengths)
    named = np.union1d(numbers, np.fromiter(ends, np.int32, len(ends)))
    parts = np.searchsorted(named, numbers).astype(np.int32)
    block = Block(
        cursors=_cursors(topic, named, parts, offsets, ends),
        data=np.frombuffer(b"".join(values), np.uint8),
        starts=ends_of_values - lengths,
        ends=ends_of_values,
        offsets=offsets,
        parts=parts,
        separator=f"{generation}@",
        beside=_beside(messages, beside),
    )
    _find_framed(block)
    _trim(block)
    _find_faults(block, messages, record_bytes)
    return block


def _cursors(
    topic: str,
    named: NDArray[np.int32],
    parts: NDArray[np.int32],
    offsets: NDArray[np.int64],
    ends: Mapping[int, int],
) -> dict[str, dict[str, int]]:
    following = np.zeros(len(named), np.int64)
    following[parts] = offsets + 1  # of a partition's rows the last one counts
    return {
        partition_name(topic, number): {"offset": max(offset, ends.get(number, 0))}
        for number, offset in zip(named.tolist(), following.tolist(), strict=True)
    }


def _beside(
    messages: Sequence[Message], beside: Beside
) -> dict[str, NDArray[np.int64] | Sequence[bytes | None]]:
    found: dict[str, NDArray[np.int64] | Sequence[bytes | None]] = {}
    if beside.key_field is not None:
        header = beside.key_header
        found[beside.key_field] = [
            message.key() if header is None else _header(message, header) for message in messages
        ]
    if beside.time_field is not None and beside.time_header is not None:
        found[beside.time_field] = [_header(message, beside.time_header) for message in messages]
    elif beside.time_field is not None:
        found[beside.time_field] = arrivals(messages)
    return found


def arrivals(messages: Sequence[Message]) -> NDArray[np.int64]:
    """The timestamps of messages in microseconds since 1970, `MISSING_TIME` for those that have none, or none that can be."""
    stamps = map(Message.timestamp, messages)
    times = (millis * 1000 if kind and abs(millis) <= _MILLIS else MISSING_TIME for kind, millis in stamps)
    return np.fromiter(times, np.int64, len(messages))


def _header(message: Message, name: str) -> bytes | None:
    value = dict(message.headers() or ()).get(name)
    return value.encode() if isinstance(value, str) else value


def _find_framed(block: Block) -> None:
    framed = np.flatnonzero(block.ends - block.starts >= _FRAME_BYTES)
    for row in framed[block.data[block.starts[framed]] == 0].tolist():
        block.faults[row] = framing(block.payload(row))


def _trim(block: Block) -> None:
    """Cut one line end off each payload without a fault, where a producer sends the lines of a file with it."""
    rows = np.flatnonzero(block.ends > block.starts)
    rows = rows[~np.isin(rows, list(block.faults))]
    for byte in (_NEWLINE, _RETURN):
        rows = rows[block.data[block.ends[rows] - 1] == byte]
        block.ends[rows] -= 1
        rows = rows[block.ends[rows] > block.starts[rows]]


def _find_faults(block: Block, messages: Sequence[Message], record_bytes: int) -> None:
    lengths = block.ends - block.starts
    for row in np.flatnonzero(lengths == 0).tolist():
        tombstone = messages[row].value() is None
        block.faults[row] = Rejection("empty", None, "a tombstone" if tombstone else "an empty message")
    for row in np.flatnonzero(lengths > record_bytes).tolist():
        block.faults.setdefault(row, Rejection("too_long", None, f"{lengths[row]} bytes"))


def is_framed(payload: bytes) -> bool:
    """Whether a payload begins as a schema registry's serialisers begin."""
    return len(payload) >= _FRAME_BYTES and payload[0] == 0


def framing(payload: bytes) -> Rejection:
    """Why a framed payload can be no record."""
    schema = int.from_bytes(payload[1:_FRAME_BYTES], "big")
    detail = (
        f"framed by the Avro, Protobuf or JSON Schema serialiser of a schema registry (schema id {schema}): "
        "let the producer write plain text, in Kafka Connect by JsonConverter with schemas.enable=false"
    )
    return Rejection("framed", None, detail)
