"""What the options of everything that talks to Kafka share: the brokers, and settings of the client behind it."""

from __future__ import annotations

import difflib
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr
from pydantic_core import PydanticCustomError

from streamad.errors import UserError
from streamad.records.schema import Section
from streamad_connectors.kafka.allowed import ALLOWED, OPTIONS, REFUSED, Kind, Number, OneOf, Side, Whole

Value = str | int | float | bool | SecretStr
"""A client's setting; what came as ``${NAME}`` or ``{file: PATH}`` is a `SecretStr` if it is text."""

_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}")

_CONSUMER = {
    "fetch.queue.backoff.ms": 2,
    "fetch.wait.max.ms": 10,
    "queued.min.messages": 100_000,
    "fetch.message.max.bytes": 4 << 20,
}
"""With librdkafka's own a loop reads less than half as many records a second."""

_MEMBER = {
    "session.timeout.ms": 6000,  # the least that brokers allow, unless told otherwise
    "heartbeat.interval.ms": 500,
    "topic.metadata.refresh.interval.ms": 30_000,
}
"""A killed member's partitions, and new ones, are to be read soon."""

_REBALANCE_MS = 30_000
"""How long a rebalance waits for a member, 5 min unless told otherwise: a broker that came back was seen to wait so long
for dead ones. Members that live answer at once, since polling is all that their reading thread does."""

_READS_ONCE = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_committed",
}

_WRITES_ONCE = {"enable.idempotence": True, "acks": "all"}

_EVERYWHERE = {"allow.auto.create.topics": False}


def _checked(client: object) -> object:
    """A config's settings, each of its kind. Raises pydantic's error naming the first that cannot be passed on."""
    if not isinstance(client, Mapping):
        return client
    checked = {name: _value(str(name), value) for name, value in client.items()}
    mechanism = checked.get("sasl.mechanism", checked.get("sasl.mechanisms"))
    if str(checked.get("security.protocol")).startswith("sasl") and mechanism is None:
        raise _wrong("sasl.mechanism", "missing", _expected(ALLOWED["sasl.mechanism"].kind))
    if mechanism == "OAUTHBEARER" and "sasl.oauthbearer.method" not in checked:
        raise _wrong("sasl.oauthbearer.method", "missing", "oidc")
    return checked


def _are_brokers(brokers: str) -> str:
    if not all(_BROKER.fullmatch(broker) for broker in brokers.split(",")):
        message = "host:port, several with commas between them"
        raise ValueError(message)
    return brokers


Brokers = Annotated[str, AfterValidator(_are_brokers)]


class Absence:
    """Whether brokers are away, as all clients of one process know it: what is so for all of them is said once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self.ended = 0
        """How many there were."""

    def begin(self) -> bool:
        """Nobody answers. Whether that is still to be said."""
        with self._lock:
            known, self._since = self._since is not None, self._since or time.monotonic()
            return not known

    def end(self) -> float | None:
        """Somebody answers: after how many seconds, None where that was said."""
        with self._lock:
            since, self._since = self._since, None
            self.ended += since is not None
            return None if since is None else time.monotonic() - since


class KafkaClient(Section):
    """Base of the options of everything that talks to Kafka."""

    brokers: Brokers
    """``host:port``, several with commas between them: where the cluster's other brokers are asked for."""
    client: Annotated[dict[str, Value], BeforeValidator(_checked)] = Field(default_factory=dict)
    """Settings of librdkafka that `allowed.ALLOWED` lets through: TLS, SASL, OAuth, queues, time-outs."""
    _absence: Absence = PrivateAttr(default_factory=Absence)

    @property
    def absence(self) -> Absence:
        """Shared by all clients that are made of these options, or of a copy of them."""
        return self._absence

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        found = (value.get_secret_value() for value in self.client.values() if isinstance(value, SecretStr))
        return tuple(sorted(found, key=len, reverse=True))  # the longest first: it may hold a shorter one


def consumer_settings(options: KafkaClient, folder: Path) -> dict[str, Any]:
    """What a `confluent_kafka.Consumer` in no group is made of. Paths are relative to `folder`, the config's.

    Raises `UserError` where a file is not there.
    """
    return _CONSUMER | _settings(options, folder, "consumer") | _READS_ONCE


def member_settings(options: KafkaClient, folder: Path) -> dict[str, Any]:
    """What a consumer that joins the group of records is made of, but its group. As `consumer_settings`."""
    told = _MEMBER | consumer_settings(options, folder) | _settings(options, folder, "member")
    return {"max.poll.interval.ms": max(_REBALANCE_MS, told["session.timeout.ms"])} | told


def producer_settings(options: KafkaClient, folder: Path) -> dict[str, Any]:
    """What a `confluent_kafka.Producer` is made of, but its transactional id. As `consumer_settings`."""
    return _settings(options, folder, "producer") | _WRITES_ONCE


def admin_settings(options: KafkaClient, folder: Path) -> dict[str, Any]:
    """What a `confluent_kafka.admin.AdminClient` is made of. As `consumer_settings`."""
    return _settings(options, folder, "both")


def _settings(options: KafkaClient, folder: Path, side: Side) -> dict[str, Any]:
    ours = {name: value for name, value in options.client.items() if ALLOWED[name].side in ("both", side)}
    given = {name: _plain(name, value, folder) for name, value in ours.items()}
    return given | {"bootstrap.servers": options.brokers} | _EVERYWHERE


def _plain(name: str, value: Value, folder: Path) -> str | int | float | bool:
    """A value as librdkafka takes it."""
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if ALLOWED[name].kind != "path" or plain == "probe":  # librdkafka's word for: look where such files lie
        return plain
    path = folder / str(plain)
    if not path.exists():
        raise UserError(f"client setting {name}: there is no file {value}")
    return str(path)


def _value(name: str, value: object) -> Value:
    """One setting's value as its kind has it."""
    if name not in ALLOWED:
        raise _refusal(name)
    return of_kind(name, ALLOWED[name].kind, value)


def of_kind(name: str, kind: Kind, value: object) -> Value:
    """A value as its kind has it. Raises pydantic's error naming it, which shows nothing secret."""
    # What came as ${NAME} or {file: PATH} is a str that remembers how it was spelled.
    elsewhere = isinstance(value, SecretStr) or (isinstance(value, str) and type(value) is not str)
    if kind == "secret" and isinstance(value, str) and not elsewhere:
        raise _wrong(name, "written in the config", "${NAME} or {file: PATH}, which keep a secret out of it")
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    typed = _typed(kind, text)
    if typed is None:
        raise _wrong(
            name, "a secret of another kind" if kind == "secret" else f"found {value!r}"[:80], _expected(kind)
        )
    return SecretStr(typed) if isinstance(typed, str) and elsewhere and not isinstance(kind, OneOf) else typed


def _typed(kind: Kind, value: object) -> str | int | float | bool | None:
    """A value of this kind, or None."""
    match kind:
        case Whole() | Number():
            return _number(kind, value)
        case OneOf(words):
            return next((word for word in words if str(value).lower() == word.lower()), None)
        case "switch":
            return {"true": True, "false": False}.get(str(value).lower())
        case _:  # librdkafka would cut text at a zero byte
            return str(value) if isinstance(value, str) and value and "\0" not in value else None


def _number(kind: Whole | Number, value: object) -> int | float | None:
    try:
        number = (int if isinstance(kind, Whole) else float)(str(value))
    except ValueError:
        return None
    return number if kind.low <= number <= kind.high else None


def _expected(kind: Kind) -> str:
    """What people are told of a kind."""
    match kind:
        case Whole(low, high):
            return f"a whole number from {low} to {high}"
        case Number(low, high):
            return f"a number from {low} to {high}"
        case OneOf(words):
            return " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
        case "switch":
            return "true or false"
        case _:
            return "text, in quotes if it looks like a number"


def _refusal(name: str) -> PydanticCustomError:
    """Why a setting is not passed on. Its value may be a secret under a mistyped name, and is not shown."""
    if name in OPTIONS:
        return _wrong(name, "is decided by streamad", f"the option {OPTIONS[name]} instead")
    if name in REFUSED:
        return _wrong(name, REFUSED[name], "that setting to be left out")
    nearest = difflib.get_close_matches(name, ALLOWED, n=1, cutoff=0)[0]
    return _wrong(name, "not among the settings that are passed on", f"one that is, such as {nearest}")


def _wrong(name: str, found: str, expected: str) -> PydanticCustomError:
    """`streamad.config` makes its sentence of these words, so that it shows no value."""
    words = {"name": name, "found": found, "expected": expected}
    return PydanticCustomError("named_key", "{name}: {found}; expected {expected}", words)
