"""What librdkafka says beside the answers to calls: its errors and its log, for people and for the next error."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaError

from streamad.errors import UserError
from streamad_connectors.kafka.settings import KafkaClient

_log = structlog.get_logger(__name__)

_QUIET = 60.0
"""Seconds between two warnings of one kind."""

_CREDENTIALS = {
    "_AUTHENTICATION",
    "SASL_AUTHENTICATION_FAILED",
    "UNSUPPORTED_SASL_MECHANISM",
    "ILLEGAL_SASL_STATE",
}

_TOKEN = "Failed to acquire SASL OAUTHBEARER token: "  # noqa: S105  # how librdkafka begins to tell of it

_CONNECTING = {"FAIL", "ERROR", "OIDC", "GETPID", "REQTMOUT"}
"""Lines of librdkafka's log that tell of attempts to reach a broker, many a second while there is none."""

_UNTOLD = (
    (re.compile(r"^\[thrd:.*?\]: "), ""),
    (re.compile(r"^(\w+://)?(\S+)/(bootstrap|\d+): "), r"\2: "),
    (re.compile(r" \(after \d+ms in state [^)]*\)$"), ""),
    (re.compile(r"(?<=//)[^/\s@]*@"), ""),  # who logs in at a URL, and how
)
"""What people need not, or must not, read of librdkafka's lines."""


def in_words(text: str, secrets: Iterable[str] = ()) -> str:
    """A line of librdkafka's for people: without secrets, names of threads and a broker's control characters."""
    for secret in secrets:
        text = text.replace(secret, "***")
    for pattern, better in _UNTOLD:
        text = pattern.sub(better, text)
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300].strip()


class ClientEvents:
    """One client's error callback (`on_error`) and logger (`log`). librdkafka calls both while somebody polls."""

    def __init__(self, options: KafkaClient, settings: Mapping[str, Any] | None = None) -> None:
        """`settings` are those that the client is made of."""
        self.brokers = options.brokers
        self.secrets = options.secrets
        username = options.client.get("sasl.username")
        self.user = (
            f"the user {username}" if isinstance(username, str) else "the user that streamad connects as"
        )
        """Who it connects as, for people."""
        self.problem = ""
        """Why no connection came about, last time that one did not."""
        self.refusal: UserError | None = None
        """A broker that answered, but not to this user: trying again will not help."""
        self.group_refusal: KafkaError | None = None
        """That this user may not join its group, which librdkafka tells once, and only who joins needs to know."""
        self.away = False
        """No broker answers. Whoever gets an answer calls `answered`."""
        self._settings, self._absence = settings or {}, options.absence
        self._said: dict[
            str, tuple[float, int]
        ] = {}  # when a kind of warning was given, how many were held back since

    def on_error(self, error: KafkaError) -> None:
        """The client's ``error_cb``."""
        said = in_words(error.str(), self.secrets)
        if error.name() == "_ALL_BROKERS_DOWN":
            self._lost()
        elif error.name() == "_SSL":
            self.refusal = UserError(f"there is no trusted connection to Kafka at {self.brokers}: {said}")
        elif error.name() in _CREDENTIALS and _is_answer(said):
            self.refusal = UserError(f"Kafka at {self.brokers} refuses the credentials: {said}")
        else:
            self._failed(said)

    def log(self, level: int, _template: str, *words: str) -> None:
        """The client's ``logger``: librdkafka's facility, the client's name and the line, level as in `logging`."""
        facility, said = words[0], in_words(words[-1], self.secrets)
        if facility in _CONNECTING:
            self._failed(said)
        elif level >= logging.WARNING and not self.away:  # else it comes of what was said
            self._warn(facility, said)
        else:
            _log.debug("kafka_client", facility=facility, said=said)

    def lacking(self, resource: str) -> str:
        """What to say where the right on a topic, the group, the transactional id or the cluster is missing."""
        reads, writes = "group.id" in self._settings, "acks" in self._settings
        name = self._settings.get(
            {"group": "group.id", "transactional id": "transactional.id"}.get(resource, "")
        )
        right = {
            "topic": "the right Read" if reads else "the right Write" if writes else "a right",
            "group": "the right Read",
            "transactional id": "the right Write",
        }.get(resource, "a right")
        return f"{right} on {f'{resource} {name}' if name else f'the {resource}'} is missing: give it to {self.user}"

    def answered(self) -> None:
        """A broker answered."""
        if (seconds := self._absence.end()) is not None:
            _log.info("kafka_answers_again", brokers=self.brokers, seconds=round(seconds, 1))
        self.away, self.problem, self.refusal = False, "", None

    def missing(self, topic: str) -> None:
        """A topic that was there is gone."""
        self._warn("TOPIC", f"topic {topic} is not there any more: waiting until there is one of this name")

    def _failed(self, said: str) -> None:
        """Remember why an attempt failed; the next ones will mostly say the same."""
        if said != self.problem:
            _log.debug("kafka_client", said=said)
        self.problem = said

    def _lost(self) -> None:
        """Say so once, whichever client hears of it first."""
        if not self.away and self.refusal is None:
            self.away = True
            if self._absence.begin():
                _log.warning("kafka_away_waiting", brokers=self.brokers, said=self.problem)

    def _warn(self, kind: str, said: str) -> None:
        now = time.monotonic()
        last, held = self._said.get(kind, (now - _QUIET, 0))
        if now - last < _QUIET:
            self._said[kind] = (last, held + 1)
            return
        self._said[kind] = (now, 0)
        _log.warning("kafka_client", facility=kind, said=said, held_back=held)


def _is_answer(said: str) -> bool:
    """Whether somebody refused, rather than that the server for tokens could not be reached."""
    return not said.startswith(_TOKEN) or said.removeprefix(_TOKEN).startswith(("{", "Expected"))
