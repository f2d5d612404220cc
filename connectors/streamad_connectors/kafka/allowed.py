"""What a config may say to librdkafka, setting by setting, and why not the rest.

An allow-list, not a block-list: what a later librdkafka brings is refused until somebody has looked at it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Side = Literal["both", "consumer", "producer", "member"]


class Whole(NamedTuple):
    """A whole number within librdkafka's limits."""

    low: int
    high: int


class Number(NamedTuple):
    """A number within librdkafka's limits."""

    low: float
    high: float


class OneOf(NamedTuple):
    """One of these words, in any case."""

    words: tuple[str, ...]


Kind = Whole | Number | OneOf | Literal["switch", "text", "path", "secret"]
"""What a setting's value is; a path is relative to the config's folder, a secret is never shown, nor is any other text
that comes from the environment or a file."""


class Setting(NamedTuple):
    """A setting that is passed on, and to which of the clients.

    librdkafka warns about one that is not theirs, and refuses some of a group's where what goes with them is its own.
    """

    kind: Kind
    side: Side = "both"


_MOST = 2**31 - 1
_CODECS = OneOf(("none", "gzip", "snappy", "lz4", "zstd"))
_MECHANISM = OneOf(("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"))  # GSSAPI runs kinit in a shell
_GRANTS = OneOf(("client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"))
_HOUR = 3_600_000

_TLS = {
    "ssl.ca.location": Setting("path"),
    "ssl.ca.pem": Setting("text"),
    "ssl.certificate.location": Setting("path"),
    "ssl.certificate.pem": Setting("text"),
    "ssl.key.location": Setting("path"),
    "ssl.key.pem": Setting("secret"),
    "ssl.key.password": Setting("secret"),
    "ssl.keystore.location": Setting("path"),
    "ssl.keystore.password": Setting("secret"),
    "ssl.crl.location": Setting("path"),
    "ssl.cipher.suites": Setting("text"),
    "ssl.curves.list": Setting("text"),
    "ssl.sigalgs.list": Setting("text"),
    "ssl.endpoint.identification.algorithm": Setting(OneOf(("none", "https"))),
    "enable.ssl.certificate.verification": Setting("switch"),
    "https.ca.location": Setting("path"),
    "https.ca.pem": Setting("text"),
}

_SASL = {
    "security.protocol": Setting(OneOf(("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"))),
    "sasl.mechanism": Setting(_MECHANISM),
    "sasl.mechanisms": Setting(_MECHANISM),
    "sasl.username": Setting("text"),
    "sasl.password": Setting("secret"),
}

_OAUTH = {
    f"sasl.oauthbearer.{name}": Setting(kind)
    for name, kind in dict[str, Kind](
        {
            "method": OneOf(("oidc",)),  # the other one, default, needs a callback in code
            "config": "secret",
            "client.id": "text",
            "client.credentials.client.id": "text",
            "client.secret": "secret",
            "client.credentials.client.secret": "secret",
            "scope": "text",
            "extensions": "text",
            "token.endpoint.url": "text",
            "sub.claim.name": "text",
            "grant.type": _GRANTS,
            "assertion.algorithm": OneOf(("RS256", "ES256")),
            "assertion.private.key.file": "path",
            "assertion.private.key.pem": "secret",
            "assertion.private.key.passphrase": "secret",
            "assertion.file": "path",
            "assertion.jwt.template.file": "path",
            "assertion.claim.aud": "text",
            "assertion.claim.iss": "text",
            "assertion.claim.sub": "text",
            "assertion.claim.exp.seconds": Whole(1, _MOST),
            "assertion.claim.nbf.seconds": Whole(0, _MOST),
            "assertion.claim.jti.include": "switch",
            "metadata.authentication.type": OneOf(("none", "azure_imds")),
        }
    ).items()
}

_CONNECTIONS = {
    "client.id": Setting("text"),
    "client.rack": Setting("text"),
    "broker.address.family": Setting(OneOf(("any", "v4", "v6"))),
    "broker.address.ttl": Setting(Whole(0, 86_400_000)),
    "connections.max.idle.ms": Setting(Whole(0, _MOST)),
    "socket.timeout.ms": Setting(Whole(10, 300_000)),
    "socket.connection.setup.timeout.ms": Setting(Whole(1000, _MOST)),
    "socket.keepalive.enable": Setting("switch"),
    "socket.nagle.disable": Setting("switch"),
    "socket.max.fails": Setting(Whole(0, 1_000_000)),
    "socket.send.buffer.bytes": Setting(Whole(0, 100_000_000)),
    "socket.receive.buffer.bytes": Setting(Whole(0, 100_000_000)),
    "reconnect.backoff.ms": Setting(Whole(0, _HOUR)),
    "reconnect.backoff.max.ms": Setting(Whole(0, _HOUR)),
    "retry.backoff.ms": Setting(Whole(1, 300_000)),
    "retry.backoff.max.ms": Setting(Whole(1, 300_000)),
    "api.version.request.timeout.ms": Setting(Whole(1, 300_000)),
    "metadata.max.age.ms": Setting(Whole(1, 86_400_000)),
    "metadata.recovery.strategy": Setting(OneOf(("none", "rebootstrap"))),
    "metadata.recovery.rebootstrap.trigger.ms": Setting(Whole(0, _MOST)),
    "topic.metadata.refresh.interval.ms": Setting(Whole(-1, _HOUR)),
    "topic.metadata.refresh.fast.interval.ms": Setting(Whole(1, 60_000)),
    "topic.metadata.propagation.max.ms": Setting(Whole(0, _HOUR)),
    "message.max.bytes": Setting(Whole(1000, 1_000_000_000)),
    "message.copy.max.bytes": Setting(Whole(0, 1_000_000_000)),
    "receive.message.max.bytes": Setting(Whole(1000, _MOST)),
    "enable.metrics.push": Setting("switch"),
    "log.connection.close": Setting("switch"),
}

_READING = {
    "fetch.wait.max.ms": Setting(Whole(0, 300_000), "consumer"),
    "fetch.queue.backoff.ms": Setting(Whole(0, 300_000), "consumer"),
    "fetch.error.backoff.ms": Setting(Whole(0, 300_000), "consumer"),
    "fetch.message.max.bytes": Setting(Whole(1, 1_000_000_000), "consumer"),
    "max.partition.fetch.bytes": Setting(Whole(1, 1_000_000_000), "consumer"),
    "fetch.max.bytes": Setting(Whole(0, 2_147_483_135), "consumer"),
    "fetch.min.bytes": Setting(Whole(1, 100_000_000), "consumer"),
    "queued.min.messages": Setting(Whole(1, 10_000_000), "consumer"),
    "queued.max.messages.kbytes": Setting(Whole(1, 2_097_151), "consumer"),
    "check.crcs": Setting("switch", "consumer"),
    "session.timeout.ms": Setting(Whole(1, _HOUR), "member"),
    "heartbeat.interval.ms": Setting(Whole(1, _HOUR), "member"),
    "max.poll.interval.ms": Setting(Whole(1, 86_400_000), "member"),
    "coordinator.query.interval.ms": Setting(Whole(1, _HOUR), "consumer"),
}

_WRITING = {
    "linger.ms": Setting(Number(0, 900_000), "producer"),
    "queue.buffering.max.ms": Setting(Number(0, 900_000), "producer"),
    "queue.buffering.max.messages": Setting(Whole(0, _MOST), "producer"),
    "queue.buffering.max.kbytes": Setting(Whole(1, _MOST), "producer"),
    "queue.buffering.backpressure.threshold": Setting(Whole(1, 1_000_000), "producer"),
    "sticky.partitioning.linger.ms": Setting(Whole(0, 900_000), "producer"),
    "batch.size": Setting(Whole(1, _MOST), "producer"),
    "batch.num.messages": Setting(Whole(1, 1_000_000), "producer"),
    "compression.type": Setting(_CODECS, "producer"),
    "compression.codec": Setting(_CODECS, "producer"),
    "compression.level": Setting(Whole(-1, 12), "producer"),
    "request.timeout.ms": Setting(Whole(1, 900_000), "producer"),
}

ALLOWED = _TLS | _SASL | _OAUTH | _CONNECTIONS | _READING | _WRITING
"""Every setting that is passed on."""

_CODE = "loads code into the process, and no config may"
_SHELL = "goes into a shell command that the client runs, and no config may run commands"
_COMMITS = "would commit offsets apart from what came of the records, and records would be lost"
_TWICE = "would let an alert be lost, written twice or out of order"
_GROUPS = "would change how partitions are handed over, and records would be scored twice or not at all"

REFUSED = {
    "plugin.library.paths": _CODE,
    "interceptors": _CODE,
    "ssl.engine.location": _CODE,
    "ssl.engine.id": _CODE,
    "ssl.providers": _CODE,
    "sasl.kerberos.kinit.cmd": "is a shell command that the client runs, and no config may run commands",
    "sasl.kerberos.keytab": _SHELL,
    "sasl.kerberos.principal": _SHELL,
    "sasl.kerberos.service.name": "belongs to Kerberos, whose tickets the client renews by a shell command",
    "sasl.kerberos.min.time.before.relogin": "belongs to Kerberos, whose tickets the client renews by a shell command",
    "enable.sasl.oauthbearer.unsecure.jwt": "makes tokens that nobody signed",
    "enable.auto.commit": _COMMITS,
    "auto.commit.enable": _COMMITS,
    "auto.commit.interval.ms": _COMMITS,
    "enable.auto.offset.store": _COMMITS,
    "offset.store.method": _COMMITS,
    "offset.store.path": _COMMITS,
    "isolation.level": "is always read_committed: what was taken back must not be scored",
    "transactional.id": "is made by streamad, which fences a process that came back by it",
    "transaction.timeout.ms": "is set by streamad, since an open transaction holds up every reader behind it",
    "message.timeout.ms": "is set by streamad to fit the transaction's",
    "delivery.timeout.ms": "is set by streamad to fit the transaction's",
    "enable.idempotence": _TWICE,
    "enable.gapless.guarantee": _TWICE,
    "acks": _TWICE,
    "request.required.acks": _TWICE,
    "retries": _TWICE,
    "message.send.max.retries": _TWICE,
    "max.in.flight": _TWICE,
    "max.in.flight.requests.per.connection": _TWICE,
    "queuing.strategy": _TWICE,
    "delivery.report.only.error": "would hide from streamad what was written",
    "partitioner": "would scatter what one key's messages must keep in order",
    "partition.assignment.strategy": _GROUPS,
    "group.protocol": _GROUPS,
    "group.protocol.type": _GROUPS,
    "group.remote.assignor": _GROUPS,
    "group.instance.id": _GROUPS,
    "enable.partition.eof": "is set by streamad, which knows a topic's end by it",
    "allow.auto.create.topics": "would make a topic of every typing error: streamad makes topics only when asked",
    "topic.blacklist": "would leave out topics in silence",
    "debug": "would write what the client handles to the log",
    "log_level": "is set by streamad, as log.level says",
    "log.queue": "is set by streamad, whose log the client's lines go to",
    "statistics.interval.ms": "is set by streamad, which makes its metrics of them",
}
"""Why a setting is refused that people may well ask for."""

OPTIONS = {
    "bootstrap.servers": "brokers",
    "metadata.broker.list": "brokers",
    "group.id": "group",
    "auto.offset.reset": "start",
}
"""Settings that are options of streamad under another name."""
