"""The messages of the control topic: what they are called, how they are written, signed and read.

=====================  ==============================================================================
key                    value
=====================  ==============================================================================
``promoted``           the version that all are to score with: JSON, an artifact's `chunks.Description`
``version/000007``     the same of each version that is kept, so that one can go back to it
``reference``          a version's newest calibration: a line of JSON, then safetensors
``wanted``             the version that somebody at a desk asks for: JSON
``answered``           up to which order the trainer has answered what is wanted: JSON
``mute/1f0c9a2b``      a mute as it last was, in force or over: JSON
``records/conn``       the first topic of this name that the feed read, by its `topic_id.Mark`: JSON
=====================  ==============================================================================

Other keys are left alone. With a signing key each message carries ``hmac``, the HMAC-SHA256 of the rest of its
JSON in canonical form, which holds the checksums of all that belongs to it, and ``order``, which grows with each
message of a key (`order.Order`). So who can write the topic cannot bring back an older promotion either, unless for
somebody who starts when nothing newer is left in the topic.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Literal, NoReturn, TypeGuard

from streamad.ports import Mute, Reference
from streamad_connectors.kafka.chunks import LAST_VERSION, DamagedError, Description, from_json, to_json
from streamad_connectors.kafka.topic_id import Mark

PROMOTED, REFERENCE, VERSION = b"promoted", b"reference", b"version/"
WANTED, ANSWERED, MUTE, RECORDS = b"wanted", b"answered", b"mute/", b"records/"

FORMAT = 1
_MESSAGE_BYTES = 16 << 20

_MUTE_CHARS = 4000
"""No text of a mute is longer."""

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z", re.ASCII)

Kind = Literal["promoted", "version", "reference", "wanted", "answered", "mute", "records"]


def version_key(version: int) -> bytes:
    """The key of a version's description."""
    return VERSION + b"%06d" % version


def chunk_key(version: int, number: int) -> bytes:
    """The key of a version's chunk, on the models' topic."""
    return b"%06d/%d" % (version, number)


def write_description(
    kind: Literal["promoted", "version"], description: Description, key: bytes | None, order: int = 0
) -> bytes:
    """The value of a message that describes an artifact."""
    return _canonical(_signed(kind, to_json(description), key, order))


def read_description(
    kind: Literal["promoted", "version"], value: bytes, key: bytes | None, limit: int
) -> Description:
    """What `write_description` gave. Raises `DamagedError` for anything else, and for artifacts above `limit` bytes."""
    return from_json(_checked(kind, value, key), limit)


def write_reference(reference: Reference, key: bytes | None, order: int = 0) -> bytes:
    """The value of a message that tells a version's calibration."""
    head = {
        "version": reference.version,
        "threshold": float(reference.threshold),
        "bytes": len(reference.arrays),
        "sha256": hashlib.sha256(reference.arrays).hexdigest(),
    }
    return _canonical(_signed("reference", head, key, order)) + b"\n" + reference.arrays


def read_reference(value: bytes, key: bytes | None) -> Reference:
    """What `write_reference` gave. Raises `DamagedError` for anything else."""
    line, _, arrays = value.partition(b"\n")
    head = _checked("reference", line, key)
    version, threshold = head.get("version"), head.get("threshold")
    if not _is_version(version):
        raise DamagedError("it names no version")
    if not isinstance(threshold, float) or not math.isfinite(threshold):
        raise DamagedError("its threshold is no number")
    if head.get("bytes") != len(arrays) or head.get("sha256") != hashlib.sha256(arrays).hexdigest():
        raise DamagedError("its arrays do not have their checksum")
    return Reference(version, threshold, arrays)


def write_request(version: int, asked_at: str, key: bytes | None, order: int = 0) -> bytes:
    """The value of a message that asks for a version."""
    return _canonical(_signed("wanted", {"version": version, "asked_at": asked_at}, key, order))


def read_request(value: bytes, key: bytes | None) -> tuple[int, str]:
    """The version and the time that `write_request` was given. Raises `DamagedError` for anything else."""
    tree = _checked("wanted", value, key)
    version = tree.get("version")
    if not _is_version(version):
        raise DamagedError("it names no version")
    return version, str(tree.get("asked_at"))[:40]


def write_answer(number: int, key: bytes | None, order: int = 0) -> bytes:
    """The value of a message that says what is answered."""
    return _canonical(_signed("answered", {"number": number}, key, order))


def read_answer(value: bytes, key: bytes | None) -> int:
    """The number that `write_answer` was given. Raises `DamagedError` for anything else."""
    number = _checked("answered", value, key).get("number")
    if type(number) is not int or number < 0:
        raise DamagedError("it names no request")
    return number


def records_key(topic: str) -> bytes:
    """The key of the message that says which topic of this name was the first."""
    return RECORDS + topic.encode()


def write_records(topic: str, mark: str, key: bytes | None) -> bytes:
    """The value of that message."""
    return _canonical(_signed("records", {"topic": topic, "mark": mark}, key, 0))


def read_records(value: bytes) -> tuple[str, str]:
    """What `write_records` was given, also under another signing key: a new key does not make the topic a new one.

    Who can write the topic can so have a partition without an offset begun as ``on_lost`` says and not ``start``: stopped,
    or at its end. Raises `DamagedError` for anything else.
    """
    tree = _checked("records", value, None)
    topic, mark = tree.get("topic"), tree.get("mark")
    if not (isinstance(topic, str) and isinstance(mark, str) and Mark.of(mark).id):
        raise DamagedError("it names no topic")
    return topic, mark


def mute_key(mute: Mute) -> bytes:
    """The key of messages that tell a mute. What orders them is made of the mute itself, since a key is not signed."""
    return MUTE + mute.id.encode()


def write_mute(mute: Mute, key: bytes | None, order: int = 0) -> bytes:
    """The value of a message that tells a mute."""
    return _canonical(_signed("mute", asdict(mute), key, order))


def read_mute(value: bytes, key: bytes | None) -> Mute:
    """What `write_mute` was given. Raises `DamagedError` for anything else."""
    tree = _checked("mute", value, key)
    found: dict[str, Any] = {field.name: tree.get(field.name) for field in fields(Mute)}
    times = [found["since"], found["until"], *([found["ended_at"]] if found["ended_at"] is not None else [])]
    texts = [found[name] for name in ("id", "condition", "analyst", "why", "ended_by")]
    if not all(isinstance(text, str) and len(text) <= _MUTE_CHARS for text in texts):
        raise DamagedError("what it says is no text")
    if not all(_is_time(time) for time in times):
        raise DamagedError("a time of it is none")
    return Mute(**found)


def _is_time(text: object) -> bool:
    if not (isinstance(text, str) and _TIME.fullmatch(text)):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def order_of(value: bytes) -> int:
    """The order of a message. Raises `DamagedError` where it is none."""
    order = read_object(value.partition(b"\n")[0]).get("order", 0)
    if type(order) is not int or order < 0:
        raise DamagedError("its order is no number")
    return order


def version_of(value: bytes) -> int | None:
    """The version that a message speaks of, if it does, whatever else may be wrong with it."""
    try:
        version = read_object(value.partition(b"\n")[0]).get("version")
    except DamagedError:
        return None
    return version if _is_version(version) else None


def _is_version(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= LAST_VERSION


def read_object(value: bytes, most: int = _MESSAGE_BYTES) -> dict[str, Any]:
    """A JSON object of at most `most` bytes. Raises `DamagedError` for anything else."""
    if len(value) > most:
        raise DamagedError(f"it has {len(value)} bytes, more than {most}")
    try:
        tree = json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise DamagedError("it is no JSON") from None
    if not isinstance(tree, dict):
        raise DamagedError("it is no JSON object")
    return tree


def _refuse(constant: str) -> NoReturn:
    """NaN and infinity, which JSON does not have."""
    raise ValueError(constant)


def _signed(kind: Kind, tree: Mapping[str, Any], key: bytes | None, order: int) -> dict[str, Any]:
    said = {"format": FORMAT, "kind": kind, "order": order, **tree}
    return said if key is None else {**said, "hmac": _hmac(said, key)}


def _checked(kind: Kind, value: bytes, key: bytes | None) -> dict[str, Any]:
    """A message's JSON, if it is of this kind, of our format and signed as it must be."""
    tree = read_object(value)
    given = tree.pop("hmac", None)
    if key is not None and given is None:
        raise DamagedError("it is not signed, and a signing key is set")
    if key is not None and not _is_signature(given, tree, key):
        raise DamagedError("its signature is not that of the signing key")
    if tree.get("kind") != kind:
        raise DamagedError(f"it does not say that it is a {kind} message")
    if tree.get("format") != FORMAT:
        raise DamagedError(f"its format is not {FORMAT}, which this streamad reads")
    return tree


def _hmac(tree: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, _canonical(tree), hashlib.sha256).hexdigest()


def _is_signature(given: object, tree: Mapping[str, Any], key: bytes) -> bool:
    try:
        wanted = _hmac(tree, key)
    except (ValueError, RecursionError):  # numbers beyond a double's, which no canonical form has
        return False
    # bytes, since compare_digest takes no text beyond ASCII
    return hmac.compare_digest(wanted.encode(), str(given).encode("utf-8", "surrogatepass"))


def _canonical(tree: Mapping[str, Any]) -> bytes:
    """One spelling of each tree, in ASCII."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
