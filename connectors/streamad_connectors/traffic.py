"""Traffic like a network's, chunk by chunk: each is a function of the seed and its number alone.

A chunk starts as everyday sessions of the services, drifting slowly and with the hour of the day.
Episodes of attacks and of legitimate oddities then take some of its rows over. Episode ``e`` of a family
lies inside records ``[e * every, (e + 1) * every)``, so a chunk knows the few that can touch it.

Numpy keeps its random streams between releases only in general, so a stream is the same wherever the
same numpy runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamad_connectors.traffic_profiles import (
    ATTACKS,
    FLAGS,
    ODDITIES,
    PROTOCOLS,
    SERVICES,
    Burst,
    Family,
    Floats,
    Ints,
    Normal,
)

CHUNK = 4096
"""Records that are made together."""

DAY = 50_000
"""Records in a day of the network."""

FAMILIES = ATTACKS + ODDITIES
LABELS = tuple(dict.fromkeys(("normal.", *(family.label for family in FAMILIES))))

Columns: TypeAlias = dict[str, Ints]
"""KDDCUP99 field -> [n]: numbers, hundredths for the rates, indices into the value tables for the words."""

_FULL = 0.95
"""The largest share of neighbouring records that episodes together may take."""
_MAX_COUNT, _MAX_HOSTS, _MAX_BYTES, _MAX_SECONDS = 511, 255, 2_000_000_000, 60_000
_SESSIONS, _EPISODES = 0, 1  # what a random stream is for


@dataclass(frozen=True, slots=True)
class Traffic:
    """Which traffic: everything that its content depends on beside the record number."""

    seed: int
    anomaly_share: float = 0.02
    drift: bool = True

    def chunk(self, index: int) -> Columns:
        """The records ``[index * CHUNK, (index + 1) * CHUNK)``."""
        rng = np.random.default_rng((self.seed, _SESSIONS, index))
        numbers = np.arange(index * CHUNK, (index + 1) * CHUNK)
        owner, burst = self._owners(rng, numbers)
        sessions = _sessions(rng, _mix(self, numbers[0]))
        takeovers = _takeovers(rng, owner, burst, sessions)
        columns = _everyday(rng, sessions, _load(numbers), _swell(self, numbers[0]))
        for family, rows, part in takeovers:
            for field, draw in family.fields.items():
                columns[field][rows] = draw(rng, part)
            columns["label"][rows] = LABELS.index(family.label)
        return _bounded(columns)

    def _owners(self, rng: np.random.Generator, numbers: Ints) -> tuple[Ints, Burst]:
        """The family of each row, -1 for everyday traffic, and the episode's traits."""
        shares = np.zeros((len(FAMILIES), len(numbers)))
        level, choice = np.zeros_like(shares), np.zeros_like(shares)
        for f in range(len(FAMILIES)):
            self._episodes(f, numbers, shares[f], Burst(level[f], choice[f]))
        shares *= np.minimum(1, _FULL / np.maximum(shares.sum(axis=0), _FULL))
        edges = np.cumsum(shares, axis=0)  # [families, n]
        drawn = (rng.random(len(numbers)) >= edges).sum(axis=0)
        owner = np.where(drawn < len(FAMILIES), drawn, -1)
        rows = np.arange(len(numbers))
        return owner, Burst(level[owner, rows], choice[owner, rows])

    def _episodes(self, f: int, numbers: Ints, shares: Floats, burst: Burst) -> None:
        """Fill in, for one family, its share of each row and the traits of the episode there."""
        family = FAMILIES[f]
        expected = family.share * (self.anomaly_share if family in ATTACKS else 1.0) * family.every
        for slot in range(numbers[0] // family.every, numbers[-1] // family.every + 1):
            rng = np.random.default_rng((self.seed, _EPISODES, f, slot))
            size = expected * np.exp(family.unruly * rng.standard_normal() - family.unruly**2 / 2)
            span = np.clip(size / family.density, 1, family.every)
            start = slot * family.every + rng.random() * (family.every - span)
            inside = (numbers >= max(start, family.first)) & (numbers < start + span)
            shares[inside] = size / span
            burst.level[inside] = rng.standard_normal()
            burst.choice[inside] = rng.random()


def _waves(seed: int, count: int, number: int, shortest: int) -> Floats:
    """`count` slow oscillations in [-1, 1] at a record number, none in step with another."""
    rng = np.random.default_rng((seed, 2, shortest))
    period = shortest * np.exp(rng.random(count) * 1.5)
    wave: Floats = np.sin(2 * np.pi * (number / period + rng.random(count)))
    return wave


def _noon(numbers: Ints | int) -> Floats:
    """How close to noon, -1 to 1."""
    return np.asarray(-np.cos(2 * np.pi * np.asarray(numbers) / DAY))


def _load(numbers: Ints) -> Floats:
    """[n] how busy the network is, about 1."""
    return np.asarray(np.exp(0.5 * _noon(numbers)))


def _mix(traffic: Traffic, number: int) -> Floats:
    """[services] their shares of the sessions at a record number."""
    shares = _WEIGHT / _SESSION * np.exp(_DAY_SHIFT * _noon(number))
    if traffic.drift:
        shares *= np.exp(0.8 * _waves(traffic.seed, len(SERVICES), number, 120_000))
    mix: Floats = shares / shares.sum()
    return mix


def _swell(traffic: Traffic, number: int) -> Floats:
    """[services] what the drift adds to the logarithm of the sizes."""
    if not traffic.drift:
        return np.zeros(len(SERVICES))
    return 0.4 * _waves(traffic.seed, len(SERVICES), number, 200_000)


def _column(name: str) -> Floats:
    return np.array([getattr(service, name) for service in SERVICES], dtype=np.float64)


_WEIGHT, _SESSION, _LASTING, _LOGIN, _DAY_SHIFT = map(
    _column, ("weight", "session", "lasting", "login", "day")
)
_PROTOCOL = np.array([PROTOCOLS.index(service.protocol) for service in SERVICES])
_FLAG_EDGES = np.cumsum([service.flags for service in SERVICES], axis=1)[:, :-1]
_SENT, _RECEIVED, _DURATION = (
    Normal(*np.array([getattr(service, name) for service in SERVICES]).T)
    for name in ("sent", "received", "duration")
)
_UNANSWERED = np.array([flag in {"S0", "REJ", "SH"} for flag in FLAGS])
_SYN_ERROR = np.array([flag in {"S0", "S1"} for flag in FLAGS])
_REFUSED = np.array([flag in {"REJ", "RSTO", "RSTR"} for flag in FLAGS])


@dataclass(slots=True)
class _Sessions:
    """The session traits of each row, [n] each."""

    service: Ints
    place: Ints
    """How many of the session came before."""
    level: Floats
    """Standard normal: whether the session's transfers are large."""
    hosts: Floats
    """How busy the destination is, 0 to 1."""
    mood: Floats
    """Uniform in [0, 1): decides the session's flag."""


def _sessions(rng: np.random.Generator, mix: Floats) -> _Sessions:
    """Sessions of consecutive connections, interleaved with each other."""
    service = np.searchsorted(np.cumsum(mix)[:-1], rng.random(CHUNK))
    length = 1 + rng.exponential(_SESSION[service] - 1).astype(np.int64)
    ends = np.cumsum(length)
    of = np.searchsorted(ends, np.arange(CHUNK), side="right")
    place = np.arange(CHUNK) - (ends - length)[of]
    order = np.argsort(np.arange(CHUNK) + rng.exponential(15.0, CHUNK))
    of, place = of[order], place[order]
    level, hosts, mood = rng.standard_normal(CHUNK), rng.random(CHUNK), rng.random(CHUNK)
    return _Sessions(service[of], place, level[of], hosts[of], mood[of])


def _takeovers(
    rng: np.random.Generator, owner: Ints, burst: Burst, sessions: _Sessions
) -> list[tuple[Family, Ints, Burst]]:
    """The rows of each family that is present; their service changes here, before sizes are drawn."""
    found = []
    for f in np.unique(owner[owner >= 0]):
        rows = np.flatnonzero(owner == f)
        part = Burst(burst.level[rows], burst.choice[rows])
        sessions.service[rows] = FAMILIES[f].service(rng, part)
        found.append((FAMILIES[f], rows, part))
    return found


def _everyday(rng: np.random.Generator, sessions: _Sessions, load: Floats, swell: Floats) -> Columns:
    service = sessions.service
    mood = np.where(rng.random(CHUNK) < 0.1, rng.random(CHUNK), sessions.mood)
    flag = (mood[:, None] >= _FLAG_EDGES[service]).sum(axis=1)
    columns = {name: np.zeros(CHUNK, np.int64) for name in _RARE}
    columns |= {"label": np.zeros(CHUNK, np.int64), "service": service, "flag": flag}
    columns["protocol_type"] = _PROTOCOL[service]
    columns |= _volumes(rng, sessions, flag, swell)
    columns |= _neighbours(rng, sessions, flag, load)
    columns |= _hosts(rng, sessions, flag)
    columns["logged_in"] = ((rng.random(CHUNK) < _LOGIN[service]) & ~_UNANSWERED[flag]).astype(np.int64)
    hot = (rng.random(CHUNK) < 0.01) & (columns["logged_in"] > 0)
    columns["hot"] = np.where(hot, rng.geometric(0.3, CHUNK), 0)
    return columns


_RARE = (
    "land", "wrong_fragment", "urgent", "num_failed_logins", "num_compromised", "root_shell", "su_attempted",
    "num_root", "num_file_creations", "num_shells", "num_access_files", "num_outbound_cmds", "is_host_login",
    "is_guest_login",
)  # fmt: skip
"""Fields that are zero in everyday traffic."""


def _volumes(rng: np.random.Generator, sessions: _Sessions, flag: Ints, swell: Floats) -> Columns:
    """Bytes both ways and the duration: lognormal, one transfer in fifty with a Pareto tail."""
    service, answered = sessions.service, ~_UNANSWERED[flag]
    shift = swell[service]
    tail = np.where(rng.random(CHUNK) < 0.02, 1 / (1 - rng.random(CHUNK)), 1.0) ** 1.1
    lasting = answered & (rng.random(CHUNK) < _LASTING[service])

    def size(law: Normal, mixed: float) -> Floats:
        z = mixed * sessions.level + np.sqrt(1 - mixed**2) * rng.standard_normal(CHUNK)
        drawn: Floats = np.exp(np.asarray(law.mean)[service] + np.asarray(law.sigma)[service] * z)
        return drawn

    fixed = _PROTOCOL[service] > 0
    tail[fixed], shift[fixed] = 1.0, 0.0
    sent, received, lasted = size(_SENT, 0.5), size(_RECEIVED, 0.7), size(_DURATION, 0.6)
    return {
        "src_bytes": (sent * np.exp(shift) * tail * answered).astype(np.int64),
        "dst_bytes": (received * np.exp(shift) * tail * answered).astype(np.int64),
        "duration": (lasted * np.sqrt(tail) * lasting).astype(np.int64),
    }


def _neighbours(rng: np.random.Generator, sessions: _Sessions, flag: Ints, load: Floats) -> Columns:
    """What the last two seconds held: counts and rates."""
    count = 1 + sessions.place + rng.poisson(2.5 * load)
    srv_count = np.maximum(1, count + rng.poisson(3.0 * load) - rng.integers(0, 3, CHUNK))
    same = np.where(rng.random(CHUNK) < 0.06, rng.integers(20, 100, CHUNK), 100)
    elsewhere = np.where(rng.random(CHUNK) < 0.35, rng.integers(0, 101, CHUNK), 0)
    serror, rerror = _error_rates(rng, _SYN_ERROR[flag]), _error_rates(rng, _REFUSED[flag])
    return {
        "count": count,
        "srv_count": srv_count,
        "serror_rate": serror,
        "srv_serror_rate": _blurred(rng, serror),
        "rerror_rate": rerror,
        "srv_rerror_rate": _blurred(rng, rerror),
        "same_srv_rate": same,
        "diff_srv_rate": (100 - same) * rng.integers(0, 101, CHUNK) // 100,
        "srv_diff_host_rate": elsewhere,
    }


def _hosts(rng: np.random.Generator, sessions: _Sessions, flag: Ints) -> Columns:
    """What the last hundred connections to the destination held."""
    busy = np.minimum(1.0, sessions.hosts * 1.8)
    hosts = np.maximum(1, (busy * _MAX_HOSTS).astype(np.int64))
    common = _WEIGHT[sessions.service] > 0.03
    share = np.where(common, 1 - 0.3 * rng.random(CHUNK) ** 3, rng.random(CHUNK) ** 2)
    srv = np.where(
        common & (hosts < _MAX_HOSTS), hosts + (sessions.mood * 200).astype(np.int64), hosts * share
    )
    srv = np.clip(srv, 1, _MAX_HOSTS).astype(np.int64)
    same = np.minimum(100, 100 * srv // hosts)
    serror, rerror = _error_rates(rng, _SYN_ERROR[flag]), _error_rates(rng, _REFUSED[flag])
    return {
        "dst_host_count": hosts,
        "dst_host_srv_count": srv,
        "dst_host_same_srv_rate": same,
        "dst_host_diff_srv_rate": (100 - same) * rng.integers(0, 20, CHUNK) // 100,
        "dst_host_same_src_port_rate": np.minimum(100, 100 // hosts + rng.integers(0, 3, CHUNK)),
        "dst_host_srv_diff_host_rate": rng.integers(0, 6, CHUNK),
        "dst_host_serror_rate": serror // 2,
        "dst_host_srv_serror_rate": serror,
        "dst_host_rerror_rate": rerror // 2,
        "dst_host_srv_rerror_rate": rerror,
    }


def _error_rates(rng: np.random.Generator, failed: NDArray[np.bool_]) -> Ints:
    """[n] hundredths: high where this connection failed too, nearly always zero elsewhere."""
    noise = np.where(rng.random(CHUNK) < 0.04, rng.integers(1, 60, CHUNK), 0)
    return np.where(failed, rng.integers(10, 101, CHUNK), noise)


def _blurred(rng: np.random.Generator, rate: Ints) -> Ints:
    """[n] a rate of nearly the same connections."""
    return np.where(rate > 0, np.clip(rate + rng.integers(-10, 11, CHUNK), 0, 100), 0)


def _bounded(columns: Columns) -> Columns:
    limits = {"src_bytes": _MAX_BYTES, "dst_bytes": _MAX_BYTES, "duration": _MAX_SECONDS}
    limits |= {"count": _MAX_COUNT, "srv_count": _MAX_COUNT}
    for field, limit in limits.items():
        np.minimum(columns[field], limit, out=columns[field])
    return columns
