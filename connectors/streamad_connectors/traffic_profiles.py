"""What the traffic generator's network looks like: services, attack families and legitimate oddities.

Field names and values follow the KDDCUP99 format; the numbers are of the size found in real traffic
logs, not copied from any one of them. Rates are in hundredths here (0 to 100).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

PROTOCOLS = ("tcp", "udp", "icmp")
FLAGS = ("SF", "S0", "REJ", "RSTO", "RSTR", "S1", "SH", "OTH")


class Normal(NamedTuple):
    """A normal distribution of the natural logarithm of a size."""

    mean: float
    sigma: float


_BRIEF = Normal(0.0, 0.5)


@dataclass(frozen=True, slots=True)
class Service:
    """How one service's everyday connections look."""

    name: str
    protocol: str
    weight: float
    sent: Normal
    received: Normal
    duration: Normal = _BRIEF
    lasting: float = 0.0
    """The share of connections that last a second or longer."""
    flags: tuple[float, ...] = (0.955, 0.006, 0.022, 0.005, 0.004, 0.006, 0.001, 0.001)
    """Shares in the order of `FLAGS`."""
    login: float = 0.0
    session: float = 4.0
    """Mean number of connections in a row."""
    day: float = 0.5
    """How much more of it there is at noon than at midnight; negative for nightly services."""


_DATAGRAM = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_LOSSY = (0.74, 0.05, 0.13, 0.03, 0.03, 0.01, 0.005, 0.005)

SERVICES = (
    Service(
        "http", "tcp", 0.42, Normal(5.4, 0.5), Normal(7.4, 1.5), Normal(1.5, 1.5), 0.06, login=0.97, session=8
    ),
    Service(
        "http_443",
        "tcp",
        0.12,
        Normal(6.2, 0.9),
        Normal(7.8, 1.7),
        Normal(2.0, 1.6),
        0.12,
        login=0.9,
        session=6,
    ),
    Service(
        "smtp", "tcp", 0.09, Normal(6.9, 1.0), Normal(5.8, 0.2), Normal(0.6, 0.8), 0.5, login=0.98, session=3
    ),
    Service(
        "domain_u", "udp", 0.16, Normal(3.7, 0.15), Normal(4.5, 0.5), flags=_DATAGRAM, session=9, day=0.3
    ),
    Service("private", "udp", 0.05, Normal(4.6, 0.1), Normal(4.7, 0.3), flags=_DATAGRAM, session=10, day=0.1),
    Service("ntp_u", "udp", 0.02, Normal(3.9, 0.02), Normal(3.9, 0.02), flags=_DATAGRAM, session=2, day=0.0),
    Service("ftp_data", "tcp", 0.035, Normal(7.2, 2.2), Normal(4.5, 3.0), Normal(1.8, 1.5), 0.2, login=0.75),
    Service(
        "ftp", "tcp", 0.012, Normal(4.8, 0.6), Normal(6.0, 0.8), Normal(2.8, 1.4), 0.6, login=0.9, session=2
    ),
    Service(
        "ssh", "tcp", 0.012, Normal(7.6, 1.3), Normal(8.1, 1.4), Normal(4.2, 2.0), 0.85, login=0.9, session=2
    ),
    Service(
        "telnet", "tcp", 0.005, Normal(5.6, 1.2), Normal(7.2, 1.4), Normal(4.6, 1.6), 0.8, _LOSSY, 0.8, 2
    ),
    Service(
        "pop_3",
        "tcp",
        0.012,
        Normal(3.5, 0.3),
        Normal(6.3, 1.6),
        Normal(0.3, 0.6),
        0.2,
        login=0.96,
        session=3,
    ),
    Service(
        "imap4", "tcp", 0.01, Normal(5.5, 0.8), Normal(7.0, 1.3), Normal(3.0, 1.5), 0.5, login=0.96, session=3
    ),
    Service(
        "finger", "tcp", 0.007, Normal(2.3, 0.3), Normal(4.9, 0.8), Normal(0.5, 0.6), 0.1, _LOSSY, session=2
    ),
    Service("auth", "tcp", 0.006, Normal(2.4, 0.2), Normal(3.3, 0.3), flags=_LOSSY, session=2),
    Service("eco_i", "icmp", 0.008, Normal(3.4, 0.4), Normal(-9, 0.1), flags=_DATAGRAM, session=3, day=0.0),
    Service("ecr_i", "icmp", 0.01, Normal(4.2, 0.5), Normal(-9, 0.1), flags=_DATAGRAM, session=3, day=0.0),
    Service("urp_i", "icmp", 0.004, Normal(3.3, 0.6), Normal(-9, 0.1), flags=_DATAGRAM, session=2, day=0.0),
    Service("other", "tcp", 0.012, Normal(5.0, 2.0), Normal(5.0, 2.5), Normal(3.5, 2.5), 0.3, _LOSSY, 0.3, 2),
    Service(
        "sql_net",
        "tcp",
        0.004,
        Normal(6.5, 1.0),
        Normal(8.0, 1.5),
        Normal(3.0, 2.0),
        0.5,
        login=0.9,
        session=5,
    ),
    Service(
        "ldap", "tcp", 0.004, Normal(4.5, 0.5), Normal(5.5, 0.6), Normal(1.0, 1.0), 0.2, login=0.5, session=4
    ),
    Service(
        "IRC", "tcp", 0.002, Normal(6.5, 1.5), Normal(8.0, 1.6), Normal(6.0, 2.0), 0.9, _LOSSY, 0.8, 1.5, -0.3
    ),
    Service("X11", "tcp", 0.001, Normal(8.0, 1.8), Normal(9.0, 1.6), Normal(6.0, 1.5), 0.9, _LOSSY, 0.9, 1.5),
    Service(
        "nntp", "tcp", 0.001, Normal(5.0, 2.0), Normal(8.5, 2.0), Normal(3.0, 2.0), 0.6, _LOSSY, 0.3, 2, -0.5
    ),
    Service(
        "printer", "tcp", 0.001, Normal(9.5, 1.8), Normal(2.5, 0.5), Normal(1.5, 1.0), 0.6, _LOSSY, session=2
    ),
)

SERVICE_NAMES = tuple(service.name for service in SERVICES)


class Burst(NamedTuple):
    """What the rows of one family share with the other rows of their episode."""

    level: Floats
    """[m] standard normal, one value an episode: how large, how fast."""
    choice: Floats
    """[m] uniform in [0, 1), one value an episode: which target."""


Draw = Callable[[np.random.Generator, Burst], NDArray[np.int64]]
"""(generator, the rows' episodes) -> [m] values of one field."""


def _between(low: int, high: int) -> Draw:
    return lambda rng, burst: rng.integers(low, high + 1, len(burst.level))


def _always(value: int) -> Draw:
    return lambda _, burst: np.full(len(burst.level), value)


def _size(mean: float, sigma: float, episode: float = 0.7) -> Draw:
    """Lognormal; `episode` is the part of the spread that the whole episode shares."""

    def draw(rng: np.random.Generator, burst: Burst) -> Ints:
        noise = rng.standard_normal(len(burst.level))
        z = episode * burst.level + np.sqrt(1 - episode**2) * noise
        sizes: Ints = np.exp(mean + sigma * z).astype(np.int64)
        return sizes

    return draw


def _flag(*names: str) -> Draw:
    codes = np.array([FLAGS.index(name) for name in names])
    return lambda rng, burst: codes[rng.integers(0, len(codes), len(burst.level))]


def _service(*names: str) -> Draw:
    """A service for each row."""
    codes = np.array([SERVICE_NAMES.index(name) for name in names])
    return lambda rng, burst: codes[rng.integers(0, len(codes), len(burst.level))]


def _target(*names: str) -> Draw:
    """One service for the whole episode."""
    codes = np.array([SERVICE_NAMES.index(name) for name in names])
    return lambda _, burst: codes[(burst.choice * len(codes)).astype(np.int64)]


@dataclass(frozen=True, slots=True)
class Family:
    """Records that come in episodes: an attack, or something rare that is legitimate.

    A row starts as an everyday connection of `service`, then `fields` are drawn anew.
    """

    label: str
    share: float
    """Of all attack records (attacks), or of all records (legitimate ones)."""
    every: int
    """Records from one episode to the next, on average."""
    density: float
    """The share of the records during an episode that belong to it."""
    service: Draw
    fields: Mapping[str, Draw]
    first: int = 0
    """The record number, from 0, before which the family does not exist."""
    unruly: float = 0.6
    """Sigma of the logarithm of an episode's number of records."""


_SYN = {"serror_rate": _between(90, 100), "srv_serror_rate": _between(90, 100)}
_SYN |= {"dst_host_serror_rate": _between(60, 100), "dst_host_srv_serror_rate": _between(80, 100)}
_REFUSED = {"rerror_rate": _between(40, 100), "srv_rerror_rate": _between(60, 100)}
_REFUSED |= {"dst_host_rerror_rate": _between(30, 100), "dst_host_srv_rerror_rate": _between(30, 100)}
_SILENT = {"src_bytes": _always(0), "dst_bytes": _always(0), "duration": _always(0), "logged_in": _always(0)}
_CALM = {"serror_rate": _always(0), "srv_serror_rate": _always(0), "rerror_rate": _always(0)}

_SYN_FLOOD = Family(
    "neptune.", 0.30, 12_000, 0.6, _target("http", "private", "other", "telnet", "auth"),
    {**_SILENT, **_SYN, "protocol_type": _always(0), "flag": _flag("S0"), "count": _size(5.0, 0.5),
     "srv_count": _between(1, 22), "same_srv_rate": _between(2, 15), "diff_srv_rate": _between(5, 8)},
)  # fmt: skip
_PORT_SWEEP = Family(
    "portsweep.", 0.18, 9_000, 0.15, _service("private", "other", "finger", "auth", "X11", "IRC", "nntp", "printer", "ldap", "sql_net"),
    {**_SILENT, **_REFUSED, "protocol_type": _always(0), "flag": _flag("REJ", "REJ", "RSTR", "RSTO", "SH"), "count": _between(1, 6),
     "srv_count": _between(1, 3), "diff_srv_rate": _between(30, 100), "dst_host_diff_srv_rate": _between(30, 100)},
)  # fmt: skip
_PASSWORDS = Family(
    "guess_passwd.", 0.11, 15_000, 0.015, _target("telnet", "pop_3", "ftp", "ssh", "imap4"),
    {"flag": _flag("SF", "SF", "SF", "RSTO"), "src_bytes": _between(95, 135), "dst_bytes": _between(160, 260), "duration": _between(1, 4),
     "logged_in": _always(0), "num_failed_logins": _between(0, 2), "hot": _between(0, 1), "dst_host_count": _between(4, 90)},
)  # fmt: skip
_WAREZ = Family(
    "warezclient.", 0.13, 20_000, 0.06, _target("ftp_data", "ftp_data", "ftp"),
    {**_CALM, "flag": _flag("SF"), "src_bytes": _size(9.6, 2.0), "dst_bytes": _always(0), "duration": _size(3.0, 1.3),
     "logged_in": _always(1), "is_guest_login": _between(0, 1), "hot": _between(0, 4), "dst_host_srv_count": _between(20, 80)},
)  # fmt: skip
_EXFILTRATION = Family(
    "exfiltration.", 0.08, 25_000, 0.02, _target("http", "http_443"),
    {**_CALM, "flag": _flag("SF"), "src_bytes": _size(9.8, 0.9), "dst_bytes": _size(5.2, 0.3), "duration": _size(2.2, 0.9),
     "logged_in": _always(1), "dst_host_count": _between(1, 60), "srv_count": _between(1, 4)},
)  # fmt: skip
_ROOTKIT = Family(
    "rootkit.", 0.015, 40_000, 0.05, _target("telnet", "ftp", "ssh"),
    {"flag": _flag("SF"), "duration": _size(4.5, 0.8), "hot": _between(0, 3), "root_shell": _between(0, 1),
     "num_root": _between(1, 6), "num_file_creations": _between(0, 3), "num_shells": _between(0, 1)},
)  # fmt: skip
_WORM = Family(
    "icmpworm.", 0.11, 14_000, 0.25, _target("ecr_i", "eco_i"),
    {"src_bytes": _between(88, 96), "dst_bytes": _always(0), "count": _between(1, 40), "srv_count": _between(8, 60),
     "srv_diff_host_rate": _between(60, 100), "dst_host_count": _between(1, 30), "dst_host_srv_diff_host_rate": _between(25, 70)},
    first=60_000,
)  # fmt: skip
_TUNNEL = Family(
    "dnstunnel.", 0.075, 18_000, 0.08, _target("domain_u"),
    {"src_bytes": _size(5.1, 0.25), "dst_bytes": _size(5.4, 0.35), "count": _between(1, 12), "dst_host_count": _between(1, 120)},
    first=150_000,
)  # fmt: skip

ATTACKS = (_SYN_FLOOD, _PORT_SWEEP, _PASSWORDS, _WAREZ, _EXFILTRATION, _ROOTKIT, _WORM, _TUNNEL)

_BACKUP = Family(
    "normal.", 0.0015, 50_000, 0.02, _target("ssh", "ftp_data"),
    {"flag": _flag("SF"), "src_bytes": _size(18.5, 1.3), "dst_bytes": _size(9, 1.5), "duration": _size(7.0, 1.0), "logged_in": _always(1)},
)  # fmt: skip
_FLASH_CROWD = Family(
    "normal.", 0.006, 30_000, 0.5, _target("http", "http_443"),
    {"count": _size(4.8, 0.6), "srv_count": _size(4.9, 0.6), "flag": _flag("SF", "SF", "SF", "SF", "S1", "S0"),
     "serror_rate": _between(0, 30), "dst_host_count": _always(255)},
)  # fmt: skip
_MONITOR = Family(
    "normal.", 0.006, 5_000, 0.01, _service("finger", "auth", "ldap", "sql_net", "printer", "nntp", "X11", "smtp", "http"),
    {**_SILENT, **_REFUSED, "flag": _flag("REJ", "SF", "RSTR"), "count": _between(1, 3), "diff_srv_rate": _between(0, 100),
     "dst_host_diff_srv_rate": _between(0, 90), "dst_host_same_src_port_rate": _between(0, 100)},
)  # fmt: skip
_DEAD_SERVER = Family(
    "normal.", 0.005, 20_000, 0.04, _target("smtp", "http", "ftp", "ldap"),
    {**_SILENT, **_SYN, "flag": _flag("S0"), "count": _between(1, 30), "srv_count": _between(1, 30)},
)  # fmt: skip
_FORGETFUL = Family(
    "normal.", 0.003, 4_000, 0.01, _service("telnet", "ftp", "pop_3", "ssh", "imap4"),
    {"logged_in": _between(0, 1), "num_failed_logins": _between(1, 3), "hot": _between(0, 3), "flag": _flag("SF", "RSTO")},
)  # fmt: skip
_ADMIN = Family(
    "normal.", 0.0015, 8_000, 0.01, _service("ssh", "telnet", "ftp"),
    {"logged_in": _always(1), "root_shell": _between(0, 1), "su_attempted": _between(0, 1), "num_root": _size(1.5, 1.2),
     "num_compromised": _size(1.0, 1.0), "num_file_creations": _between(0, 12), "num_access_files": _between(0, 3)},
)  # fmt: skip
_PEER = Family(
    "normal.", 0.004, 6_000, 0.02, _service("other", "IRC", "X11", "nntp"),
    {"src_bytes": _size(8, 3.5), "dst_bytes": _size(9, 3.5), "duration": _size(6, 2.5), "flag": _flag("SF", "RSTO", "RSTR", "OTH", "S1"),
     "dst_host_count": _between(1, 255), "dst_host_diff_srv_rate": _between(0, 80), "srv_diff_host_rate": _between(0, 100)},
)  # fmt: skip

ODDITIES = (_BACKUP, _FLASH_CROWD, _MONITOR, _DEAD_SERVER, _FORGETFUL, _ADMIN, _PEER)
