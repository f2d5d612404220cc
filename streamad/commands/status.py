"""``streamad status``: what the process of a feed is doing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.stored import Clustered, Stored, opened
from streamad.errors import UserError, WorldError
from streamad.learning.given import GivenLabels
from streamad.ports import GivenLabel
from streamad.runtime.clock import Clock
from streamad.state.times import format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping

    from streamad.ports import Mute

_STALE_SECONDS = 30.0
_FLOW = ("records_in", "scored", "rejected", "held", "in_flight")
_COUNTERS = (
    *_FLOW, "version", "threshold", "labels_applied", "training", "failed_trainings", "drift",
    "unknown_fields", "progress",
)  # fmt: skip
_FIELDS_NAMED = 5
_PARTITIONS_NAMED = 8


def status(args: argparse.Namespace) -> int:
    """Ten lines, or one of JSON; exit code 3 where the process went silent without stopping."""
    feed = opened(args)
    clustered = isinstance(feed, Clustered)
    found = _cluster(feed) if isinstance(feed, Clustered) else _status(feed, Clock().micros())
    if args.json or screen.piped():
        screen.ndjson(found)
    else:
        screen.table(_cluster_facts(found) if clustered else _facts(found))
    return WorldError.exit_code if found["stale"] else 0


def _status(feed: Stored, now: int) -> dict[str, Any]:
    process = feed.process()
    with feed.reader() as reader:
        beat, counts = reader.heartbeat(), reader.counts()
        to_look_at, mutes, muted = reader.to_look_at(), reader.mutes(), reader.muted()
    age = None if beat is None else max(now - beat.updated_at, 0) / 1e6
    state = "never_run" if beat is None else beat.state
    silent = age is not None and state != "stopped" and age > _STALE_SECONDS
    counters = beat.counters if beat else {}
    return {
        "feed": feed.state.feed,
        "directory": str(feed.state.path),
        "made_by": feed.state.made_by,
        "process": process,
        "last_process": beat.pid if beat else None,
        "state": state,
        "heartbeat_seconds": None if age is None else round(age, 1),
        # A replay that was ended early waits for its user, a daemon should be back.
        "stale": silent and (feed.state.made_by == "run" or process is not None),
        **{name: counters.get(name) for name in _COUNTERS},
        "alerts": counts.alerts,
        "to_look_at": to_look_at,
        "mutes": {"in_force": _in_force(mutes, now), "alerts": sum(muted.values())},
        "labels": {"anomaly": counts.anomalies, "normal": counts.normals, "waiting": counts.waiting},
        "pool": counts.pool,
    }


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "feed", f"{found['feed']}, state {found['directory']} (made by {found['made_by']})"
    yield "process", _process(found)
    if found["state"] == "never_run":
        yield "state", "never run"
        return
    stale = ": stale" if found["stale"] else ""
    age = f"last sign of life {found['heartbeat_seconds']:,} s ago{stale}"
    yield "state", f"{found['state'].replace('_', ' ')}, {age}"
    count = {name: f"{found[name] or 0:,}" for name in _FLOW}
    yield (
        "records",
        (
            "{records_in} in = {scored} scored + {rejected} rejected + {held} held + {in_flight} in flight"
        ).format(**count),
    )
    if found["progress"] is not None:
        yield "progress", screen.percent(found["progress"])
    kept = f"{found['alerts']:,} kept, {found['to_look_at']:,} to look at"
    yield "alerts", f"{kept}; p-value under {screen.number(found['threshold'])}"
    if any(found["mutes"].values()):
        yield "mutes", "{in_force:,} in force, {alerts:,} alerts not sent".format(**found["mutes"])
    yield "labels", _labels(found)
    yield "model", _model(found)
    if found["drift"] and found["drift"]["last"]:
        yield "drift", _drift(found["drift"])
    if found["unknown_fields"]:
        yield "ignored", _unknown(found["unknown_fields"])


def _in_force(mutes: Iterable[Mute], now: int) -> int:
    return sum(mute.holds_at(format_time(now)) for mute in mutes)


def _process(found: Mapping[str, Any]) -> str:
    if found["process"] is not None:
        return f"{found['process']} is running"
    last = found["last_process"]
    return "not running" + (f" (the last was {last})" if last else "")


def _labels(found: Mapping[str, Any]) -> str:
    labels = found["labels"]
    text = f"{labels['anomaly']:,} anomaly, {labels['normal']:,} normal; {found['labels_applied'] or 0:,} applied"
    return text + (f"; {labels['waiting']:,} wait for their record" if labels["waiting"] else "")


def _model(found: Mapping[str, Any]) -> str:
    version = f"version {found['version']}" if found["version"] else "none yet"
    training = ", training the next" if found["training"] else ""
    failed = found["failed_trainings"] or 0
    return version + training + (f", {failed:,} failed trainings" if failed else "")


def _drift(drift: Mapping[str, Any]) -> str:
    """The last one, and how many there were."""
    last, count = drift["last"], sum(drift["alarms"].values())
    usual, now = screen.number(last["expected"]), screen.number(last["found"])
    what = "" if last["kind"] == "level" else f" ({last['kind']})"
    told = f"{screen.brief(last['field'])}{what} {now}, usual {usual}, at record {last['record']:,}"
    return told + (f"; {count:,} so far" if count > 1 else "")


def _unknown(fields: Mapping[str, int]) -> str:
    """The unknown fields met most often."""
    most = sorted(fields.items(), key=lambda pair: -pair[1])
    named = ", ".join(f"{screen.brief(name)} ({count:,} times)" for name, count in most[:_FIELDS_NAMED])
    more = len(most) - _FIELDS_NAMED
    return f"unknown fields {named}" + (f" and {more:,} more" if more > 0 else "")


# ---- in a cluster ------------------------------------------------------------------------------------


def _cluster(feed: Clustered) -> dict[str, Any]:
    with feed.desk("control", "labels") as desk:
        standing, versions = desk.standing(), desk.versions()
        labels = _counted(feed.config.feed, desk.newest("labels", 0))
        mutes = _in_force(desk.mutes(), Clock().micros())
        where = desk.where("control")
    promoted = next((version for version in versions if version.promoted), None)
    return {
        "feed": feed.config.feed,
        "control": where,
        "topic": standing.topic,
        "group": standing.group,
        "lag": dict(standing.lag),
        "behind": sum(standing.lag.values()),
        "scorers": standing.scorers,
        "trainers": standing.trainers,
        "trainer_active": standing.active,
        "version": promoted.number if promoted else None,
        "published_at": promoted.published_at if promoted else None,
        "versions": len(versions),
        "labels": labels,
        "mutes": {"in_force": mutes},
        # Records wait, and nobody is there who could score them.
        "stale": standing.begun and standing.scorers == 0 and any(standing.lag.values()),
    }


def _counted(feed: str, labels: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Events by their verdict, and those that wait for their record."""
    given, verdicts = GivenLabels(feed), dict[str, str]()
    for number, label in enumerate(labels):
        try:
            change = given.take(GivenLabel(number, label))
        except UserError:
            continue
        if change is not None:
            verdicts[change.event_id] = change.verdict
    count = Counter(verdicts.values())
    return {"anomaly": count["anomaly"], "normal": count["normal"], "waiting": len(given.incomplete)}


def _cluster_facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "feed", f"{found['feed']}, {found['control']}"
    scorers = "unknown" if found["scorers"] is None else f"{found['scorers']:,}"
    yield "scorers", f"{scorers} in group {found['group']}" + (": stale" if found["stale"] else "")
    if found["topic"] is None:
        yield "records", "outside of Kafka, read by one scorer"
    else:
        yield (
            "records",
            f"topic {found['topic']}, {len(found['lag']):,} partitions, {found['behind']:,} behind",
        )
        yield "lag", _lag(found["lag"])
    yield "trainer", _trainer(found)
    published = f", published {found['published_at']}; {found['versions']:,} kept"
    yield "model", f"version {found['version']}{published}" if found["version"] else "none yet"
    labels = found["labels"]
    waiting = f"; {labels['waiting']:,} wait for their record" if labels["waiting"] else ""
    yield "labels", f"{labels['anomaly']:,} anomaly, {labels['normal']:,} normal{waiting}"
    if found["mutes"]["in_force"]:
        yield "mutes", f"{found['mutes']['in_force']:,} in force"


def _lag(lag: Mapping[str, int]) -> str:
    """The partitions that are most behind."""
    most = sorted(lag.items(), key=lambda pair: -pair[1])
    named = ", ".join(f"{name} {count:,}" for name, count in most[:_PARTITIONS_NAMED])
    more = len(most) - _PARTITIONS_NAMED
    return named + (f" and {more:,} more" if more > 0 else "")


def _trainer(found: Mapping[str, Any]) -> str:
    if found["trainer_active"] is None:
        return "unknown, its group may not be seen"
    if not found["trainer_active"]:
        return "none is active"
    standby = (found["trainers"] or 1) - 1
    return "active" + (f", {standby:,} standing by" if standby else "")
