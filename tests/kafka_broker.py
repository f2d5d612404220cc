"""Real brokers for the tests, Apache Kafka in KRaft mode: `Broker` is one process that can be killed and started again.

The fixture `broker` gives one for the whole session, `topics` makes a test's own topics on it; what tests do with
topics is in kafka_topics.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from kafka_java import NOT_OURS, free_ports, launch

USERS = {
    "admin": "admin-secret",
    "scorer": "scorer-secret",
    "trainer": "trainer-secret",
    "nobody": "nobody-secret",
}
"""Names and passwords at a broker's second listener; all but admin have no rights until an ACL gives them some."""

_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "8388608",  # on the heap; 128 MiB by default
}

_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dlog4j2.level=WARN",  # the jars of KAFKA_HOME log with log4j
)


class Seat(NamedTuple):
    """A broker's place: its number and ports, the cluster's id, and the controller port of each broker of the cluster."""

    node: int
    plain: int
    secure: int
    cluster: str
    voters: Mapping[int, int]


def _seats(count: int) -> list[Seat]:
    """Places in one new cluster."""
    # an id that begins with - would be an option to Kafka's tool
    cluster = urlsafe_b64encode(b"s" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    ports = free_ports(3 * count)
    voters = dict(enumerate(ports[:count], start=1))
    return [Seat(node, ports[-node], ports[-node - count], cluster, voters) for node in voters]


class Broker:
    """One broker, a controller too, with its data in a folder and its listeners on loopback.

    At `bootstrap` everybody may do everything. With security, at `secure_bootstrap` (SASL_PLAINTEXT, mechanism PLAIN)
    a user may do only what an ACL gives; without, it is None. `log` is the file of what the process said.
    """

    def __init__(
        self,
        folder: Path,
        *,
        heap_mb: int = 256,
        security: bool = False,
        users: Mapping[str, str] = USERS,
        properties: Mapping[str, object] | None = None,
        cpu: int | None = None,
        seat: Seat | None = None,
    ) -> None:
        """Choose ports and format the folder. `properties` are the server's; `cpu` is the one core that it may use."""
        self.seat = seat or _seats(1)[0]
        self.bootstrap = f"127.0.0.1:{self.seat.plain}"
        self.secure_bootstrap = f"127.0.0.1:{self.seat.secure}" if security else None
        self.log = folder / "broker.log"
        self._config = folder / "server.properties"
        self._java = (f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m", *_LOGGING)
        self._cpu = cpu
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        settings = (
            _SETTINGS
            | self._place(folder / "data")
            | _security(users if security else {})
            | dict(properties or {})
        )
        self._config.write_text(
            "".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8"
        )
        self._format()

    def _place(self, data: Path) -> dict[str, object]:
        """The settings that say who and where this broker is, and who else there is."""
        node, voters = self.seat.node, self.seat.voters
        listeners = {"PLAINTEXT": self.bootstrap, "CONTROLLER": f"127.0.0.1:{voters[node]}"}
        if self.secure_bootstrap:
            listeners["SASL_PLAINTEXT"] = self.secure_bootstrap
        copies = len(voters)
        replicated = (
            "offsets.topic.",
            "transaction.state.log.",
            "share.coordinator.state.topic.",
            "default.",
        )
        return {
            "node.id": node,
            "log.dirs": data,
            "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in voters.items()),
            "min.insync.replicas": max(1, copies - 1),
            "transaction.state.log.min.isr": max(1, copies - 1),
            "share.coordinator.state.topic.min.isr": max(1, copies - 1),
        } | {f"{topic}replication.factor": copies for topic in replicated}

    def _format(self) -> None:
        tool = "kafka.tools.StorageTool"
        what = ("format", "-t", self.seat.cluster, "-c", str(self._config))
        if launch(*self._java, tool, *what, log=self.log, cpu=self._cpu).wait(120):
            pytest.fail(f"the broker's folder could not be formatted:\n{self.last_lines()}")

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self, seconds: float = 120) -> None:
        """Start the process, the first time or again, and wait until it answers: after a kill some 9 s longer, as the
        controller lets nobody in under the name of a broker that it still believes to be there.
        """
        self._process = launch(*self._java, "kafka.Kafka", str(self._config), log=self.log, cpu=self._cpu)
        deadline = time.monotonic() + seconds
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(
                    f"the broker did not answer within {seconds:g} s; its last words:\n{self.last_lines()}"
                )
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether it counts itself in. librdkafka is asked only once somebody listens: it would complain on stderr."""
        try:
            socket.create_connection(("127.0.0.1", self.seat.plain), timeout=1).close()
            client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            return self.seat.node in client.list_topics(timeout=2).brokers
        except (OSError, KafkaException):
            return False

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process in order, or after 20 s at once."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def last_lines(self, count: int = 20) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _security(users: Mapping[str, str]) -> dict[str, object]:
    """For users, a listener that asks who it is and an authorizer; who comes over the others may do everything."""
    if not users:
        return {}
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    return {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{module} {known};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",
    }


class Cluster:
    """Brokers that hold a copy of everything each; a topic can be written while all but one of them are there."""

    def __init__(self, folder: Path, size: int = 3, **options: Any) -> None:
        """Format each broker's folder; the options are those of Broker."""
        with ThreadPoolExecutor(size) as pool:
            made = pool.map(lambda seat: Broker(folder / f"{seat.node}", seat=seat, **options), _seats(size))
            self.brokers = [*made]
        self.bootstrap = ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> None:
        """Start all of them, side by side, since none answers before most are there."""
        self._each(Broker.start)

    def stop(self) -> None:
        """End all of them in order, side by side for the same reason."""
        self._each(Broker.stop)

    def _each(self, verb: Callable[[Broker], None]) -> None:
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            for done in [pool.submit(verb, broker) for broker in self.brokers]:
                done.result()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True)
class Borrowed:
    """A broker that runs without us: tests that would end it are skipped."""

    bootstrap: str
    secure_bootstrap: None = None

    def kill(self) -> NoReturn:
        """Skip the test."""
        pytest.skip(NOT_OURS)

    start = stop = kill


def for_session(folder: Path) -> Iterator[Broker | Borrowed]:
    """The broker that STREAMAD_KAFKA names, or one with security that ends with the session."""
    if bootstrap := os.environ.get("STREAMAD_KAFKA"):
        yield Borrowed(bootstrap)
        return
    with Broker(folder, security=True) as broker:
        yield broker
    shutil.rmtree(folder / "data")  # pytest keeps the folders of its last sessions, and in them the log
