"""Health, readiness and numbers of a process, and the watchdog, on engines in this process."""

from __future__ import annotations

import dataclasses
import re
import signal
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from engines import Sink, engine
from feeds import write_config
from processes import ask
from prometheus_client.parser import text_string_to_metric_families
from streamad_connectors.memory import MemorySource, Records
from streamad_connectors.synthetic import generate_lines
from structlog.testing import capture_logs

from streamad.cli import main
from streamad.config import load_config
from streamad.errors import BrokenFeedError, ConfigError, WorldError
from streamad.ports import SourceFigures
from streamad.runtime import http as pages
from streamad.runtime import watch as watching
from streamad.runtime.breaker import PartitionBreaker
from streamad.runtime.health import Health, Verdict
from streamad.runtime.heartbeat import ShownPulse
from streamad.runtime.metrics import METRICS, Exposition
from streamad.runtime.options import LimitOptions
from streamad.runtime.systemd import Notifier
from streamad.runtime.watch import Watch

SECONDS = 30
NOBODY = Notifier({}, 1)
LINES = generate_lines(5, 0, 6000, anomaly_share=0.05).splitlines()
SCORING = {"state": "scoring", "version": 1, "scored": 0, "rejected": 0, "held": 0, "in_flight": 0}


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)


class SharedMemory(MemorySource):
    """A memory source that is a member's: it owns what is in `owned` and pauses what it is told to."""

    owned, stuck = frozenset({"p0", "p1"}), False

    def pause(self, partitions):
        self._revoked.update(partitions)

    def figures(self, positions):
        polled_at = 0.0 if self.stuck else time.monotonic()
        behind = {
            name: len(payloads) - positions.get(name, {"offset": 0})["offset"]
            for name, payloads in self._payloads.items()
        }
        return SourceFigures(polled_at, True, behind, tuple(sorted(self._revoked)))


class Daemon(threading.Thread):
    """A daemon whose engine runs on a thread of its own, as its store wants; `errors` collects what it raised."""

    def __init__(self, folder, source, watch, change=lambda _: None, **changes):
        super().__init__()
        self.errors, self.stop = [], None
        self._made = folder, source, watch, change, changes

    def run(self):
        folder, source, watch, change, changes = self._made
        with engine(folder, source, made_by="run", **changes) as live:
            live.feed.heartbeat, self.stop = ShownPulse(watch), live.engine._stop
            change(live)
            try:
                live.engine.run()
            except WorldError as error:
                self.errors.append(error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join(SECONDS)
        assert not self.is_alive()


# ---- where it listens ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "meant"),
    [
        (9464, "127.0.0.1:9464"),
        (":9464", "127.0.0.1:9464"),
        ("0.0.0.0:9464", "0.0.0.0:9464"),
        ("[::1]:9464", "[::1]:9464"),
        (None, None),
    ],
)
def test_only_this_machine_may_ask_unless_another_host_is_named(tmp_path, listen, meant):
    assert load_config(write_config(tmp_path, http={"listen": listen})).http.listen == meant


@pytest.mark.parametrize("listen", ["nowhere", "host:", "host:99999", "::1:80", True])
def test_what_is_no_address_is_one_sentence(tmp_path, listen):
    path = write_config(tmp_path, http={"listen": listen})
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == (
        f"{path}: http.listen: found {listen!r}; expected an address such as 127.0.0.1:9464"
    )


def test_a_port_in_use_is_one_sentence(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        path = write_config(tmp_path, http={"listen": listen}, source={"paths": None, "type": "stdin"})
        assert main(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert said == f"streamad: http.listen: {listen} cannot be listened at: Address already in use\n"


# ---- what is answered -----------------------------------------------------------------------------------


def test_the_pages_follow_a_daemon_from_its_start_to_its_first_model(tmp_path):
    source, watch = MemorySource(bounded=False), Watch(120, NOBODY)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with (
        Daemon(tmp_path, source, watch) as daemon,
        pages.serving("127.0.0.1:0", watch) as port,
        watch.running(),
    ):
        assert ask(port, "/healthz") == (200, "ok\n")
        assert ask(port, "/readyz") == (503, "starting\n")
        daemon.start()
        until(lambda: ask(port, "/readyz") == (503, "waits for a model\n"))
        source.add(Records("p0", LINES[:2500]), Records("p0", [b"secret,junk"] * 10))
        until(lambda: ask(port, "/readyz") == (200, "ok\n"))
        until(lambda: 'outcome="rejected"} 10.0' in ask(port, "/metrics")[1])
        assert ask(port, "/healthz") == (200, "ok\n")
        found = numbers(ask(port, "/metrics")[1])
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    # of a source that cannot tell, of a feed that has not drifted, and of a cluster
    silent = {"streamad_poll_age_seconds", "streamad_lag_records", "streamad_drift_alarms_total"}
    others = silent | {"streamad_trainer_records_total"}
    known = {metric.name for metric in METRICS} - others | {"streamad_healthy", "streamad_ready"}
    assert {name for name, _ in found} == known
    assert found["streamad_records_total", "scored"] == 2500
    assert found["streamad_records_total", "rejected"] == 10
    assert found["streamad_alerts_total", ""] == watch.status["alerts"] > 0
    assert found["streamad_model_version", ""] == 1
    assert found["streamad_threshold", ""] == pytest.approx(0.05, rel=0.2)
    assert (found["streamad_transactions_aborted_total", ""], found["streamad_training", ""]) == (0, 0)
    assert 0 < found["streamad_commit_seconds", ""] < SECONDS > found["streamad_commit_age_seconds", ""] >= 0


def test_a_trainer_of_a_cluster_commits_nothing_and_its_numbers_say_so():
    watch = Watch(120, NOBODY)
    status = SCORING | {"scored": 90, "rejected": 3, "alerts": 5, "muted": 1, "in_flight": 7}
    sink = {"transactions": 4, "aborted": 0, "last_ms": 1.0, "committed_at": time.monotonic()}
    source = {"polled_at": time.monotonic(), "lag": {"p0": 6}}
    watch.status = status | {"sink": sink, "source": source, "trainer": True, "training": True}
    found = numbers(Exposition(watch).text().decode())
    names = {"records_held", "model_version", "poll_age_seconds", "lag_records", "training"}
    assert {name for name, _ in found} == {
        f"streamad_{name}" for name in names | {"healthy", "ready", "trainer_records_total"}
    }
    records = {outcome: number for (name, outcome), number in found.items() if "trainer" in name}
    assert records == {"scored": 90, "rejected": 3}


def test_the_readme_names_every_number():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    names = {metric.name for metric in METRICS} | {"streamad_healthy", "streamad_ready"}
    assert set(re.findall(r"`(streamad_[a-z_]+)", readme)) == names


def numbers(text):
    """The samples of an exposition by name and label; each family has its help and its type."""
    families = [*text_string_to_metric_families(text)]
    assert all(family.documentation and family.type in {"counter", "gauge"} for family in families)
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_nothing_but_the_three_pages_is_there_and_they_are_only_read():
    with pages.serving("127.0.0.1:0", Watch(120, NOBODY)) as port:
        assert ask(port, "/healthz/") == ask(port, "/") == ask(port, "/metrics/../x") == (404, "Not Found")
        for method in ("POST", "PUT", "DELETE"):
            assert ask(port, "/metrics", method) == (405, "Method Not Allowed")


def test_strangers_who_say_nothing_are_shown_out(monkeypatch):
    monkeypatch.setattr(pages, "_SECONDS", 0.5)
    monkeypatch.setattr(pages, "_CONNECTIONS", 3)
    with pages.serving("127.0.0.1:0", Watch(120, NOBODY)) as port:
        silent = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS) for _ in range(10)]
        for connection in silent:
            with connection:
                assert closed(connection)
        assert ask(port, "/healthz") == (200, "ok\n")


def closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


# ---- what is a stall --------------------------------------------------------------------------------------


def verdicts(*statuses, limit=10.0, elapsed=5.0):
    """What is said of these, one a tick; an engine that says nothing new repeats its last."""
    health, beats, before = Health(limit), 0, None
    found = []
    for status in statuses:
        beats += status is not before
        found.append(health.judge(status, beats, elapsed))
        before = status
    return found


def waiting(polled_at, **changes):
    source = {"polled_at": polled_at, "lag": {"p0": 1500, "p1": 0}, "paused": (), "settled": True}
    return SCORING | {"source": source} | changes


def test_records_that_wait_while_nothing_moves_make_health_red_and_after_twice_the_time_the_end():
    found = verdicts(*(waiting(n) for n in range(6)))
    assert [verdict.red for verdict in found] == [
        (),
        (),
        ("no progress for 10 s although 1,500 records wait",),
        ("no progress for 15 s although 1,500 records wait",),
        ("no progress for 20 s although 1,500 records wait",),
        ("no progress for 25 s although 1,500 records wait",),
    ]
    assert [verdict.over for verdict in found] == [False] * 4 + [True] * 2
    assert [verdict.unready for verdict in found] == [""] * 6


def test_a_stall_is_over_once_something_moves():
    found = verdicts(*(waiting(n, rejected=n > 3) for n in range(6)))
    assert [bool(verdict.red) for verdict in found] == [False, False, True, True, False, False]


def test_an_engine_that_gives_no_sign_of_life_stalls_whatever_it_said_last():
    idle = SCORING | {"state": "scoring"}
    assert verdicts(*[idle] * 4)[-1].red == ("no progress for 15 s since the engine or its source hangs",)


def test_a_source_that_nobody_asks_stalls():
    idle = [SCORING | {"source": {"polled_at": 7.0, "lag": {}, "paused": ()}} for _ in range(4)]
    assert verdicts(*idle)[-1].red == ("no progress for 15 s since the engine or its source hangs",)


@pytest.mark.parametrize("state", ["scoring", "warming_up"])
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"settled": False, "lag": {}}, "since no partitions were given to it"),
        (
            {"settled": True, "lag": {"t/2": 0}, "silent": ("t/0", "t/1"), "paused": ("t/1",)},
            "since nothing is heard of t/0",
        ),
    ],
)
def test_a_source_that_never_hears_what_there_is_to_read_stalls_unless_all_brokers_are_away(
    state, source, why
):
    def status(n, **more):
        return SCORING | {"state": state, "source": source | {"polled_at": n, **more}}

    found = verdicts(*(status(n) for n in range(6)))
    assert [f"no progress for {5 * n} s {why}" in verdict.red for n, verdict in enumerate(found)] == [
        False,
        False,
        True,
        True,
        True,
        True,
    ]
    assert [verdict.over for verdict in found] == [False] * 4 + [True] * 2
    waiting = verdicts(*(status(n, away=True) for n in range(6)))
    assert [verdict.stalled for verdict in waiting] == [""] * 6
    working = verdicts(*(status(n) | {"scored": n} for n in range(6)))
    assert [verdict.stalled for verdict in working] == [""] * 6


@pytest.mark.parametrize("state", ["standing_by", "stopped"])
def test_without_an_engine_there_is_nothing_to_stall(state):
    assert verdicts(*[{"state": state}] * 9)[-1].red == ()


@pytest.mark.parametrize(
    "change",
    [
        {"state": "warming_up"},
        {"state": "first_fit"},
        {"source": {"lag": {"p0": 9}, "away": True}},
        {"source": {"lag": {"p0": 0}}},
        {},
    ],
)
def test_a_wait_for_good_reason_is_no_stall(change):
    found = verdicts(*(SCORING | change for _ in range(9)))
    assert [verdict.red for verdict in found] == [()] * 9


def test_a_training_beside_the_scoring_is_no_excuse():
    assert verdicts(*(waiting(n, training=True) for n in range(5)))[-1].over


def test_without_a_limit_nothing_stalls():
    assert not any(verdict.red for verdict in verdicts(*[SCORING] * 9, limit=0.0))


def test_a_paused_partition_is_red_by_name_and_its_records_are_not_waited_for():
    paused = [
        SCORING | {"source": {"polled_at": n, "lag": {"t/1": 50, "t/2": 0}, "paused": ("t/1",)}}
        for n in range(9)
    ]
    assert verdicts(*paused)[-1] == Verdict(
        red=("most of the last records of t/1 were rejected: paused",), unready=""
    )


@pytest.mark.parametrize(
    ("status", "unready"),
    [
        (None, "starting"),
        ({"state": "standing_by"}, ""),
        (SCORING, ""),
        (SCORING | {"version": None, "state": "warming_up"}, "waits for a model"),
        (SCORING | {"source": {"settled": False}}, "waits to be given partitions"),
        (SCORING | {"source": {"settled": False, "away": True}}, "waits for brokers that are away"),
        (SCORING | {"source": {"settled": True, "lag": {}}}, ""),
        (SCORING | {"state": "draining"}, "stopping"),
        (SCORING | {"state": "stopped"}, "stopping"),
    ],
)
def test_ready_is_what_scores_or_has_nothing_to_score(status, unready):
    assert Health(10).judge(status, 1, 1.0).unready == unready


def test_a_process_that_was_frozen_is_given_its_time_again(monkeypatch):
    watch, times = Watch(20, NOBODY), iter([0.0, 1.0, 500.0, 501.0])
    watch.status = waiting(1.0)
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: next(times)))
    ticks = iter([False, False, False, True])
    watch._ended = SimpleNamespace(wait=lambda _: next(ticks))
    watch._run()
    assert watch.verdict == Verdict(unready="")


# ---- the watchdog on an engine --------------------------------------------------------------------------


def scores(daemon, source, watch):
    """Have it score, before it is watched: a fit in the engine's own thread takes as long as the machine is busy."""
    daemon.start()
    source.add(Records("p0", LINES[:2200]))
    until(lambda: watch.status and watch.status["scored"] == 2200)


def test_a_sink_that_hangs_makes_health_red_and_ends_the_process(tmp_path, monkeypatch, capsys):
    hang, release, codes = threading.Event(), threading.Event(), []
    monkeypatch.setattr(watching.os, "_exit", codes.append)
    monkeypatch.setattr(watching, "_GRACE", 0.5)
    source, watch = SharedMemory(bounded=False), Watch(2.0, NOBODY)

    def hanging(live):
        Sink(live, look=lambda _: hang.is_set() and release.wait(SECONDS))

    with capture_logs() as logs, Daemon(tmp_path, source, watch, hanging) as daemon:
        scores(daemon, source, watch)
        with watch.running():
            hang.set()
            source.add(Records("p0", LINES[2200:2700]))
            until(lambda: codes)
            release.set()
            said = watch.verdict.stalled
    assert codes[0] == 3
    # whether the engine had told of the records before its commit hung is a matter of moments
    assert said.endswith(("s although 500 records wait", "s since the engine or its source hangs"))
    assert capsys.readouterr().err.splitlines()[0] == f"streamad: {said}"
    assert [entry["log_level"] for entry in logs if entry["event"] == "stalled"] == ["error"]


def test_an_engine_that_still_answers_is_ended_in_order(tmp_path):
    source, watch = SharedMemory(bounded=False), Watch(1.0, NOBODY)
    with Daemon(tmp_path, source, watch) as daemon:
        scores(daemon, source, watch)
        with watch.running():
            source.stuck = True
            until(lambda: daemon.errors)
            daemon.join(SECONDS)
    assert [error.exit_code for error in daemon.errors] == [3]
    assert str(daemon.errors[0]) == "no progress for 2 s since the engine or its source hangs"


def test_systemd_is_told_of_start_life_trouble_and_end(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(SECONDS)
        watch = Watch(1.0, Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}, 1))
        heard = []
        with watch.running():
            assert systemd.recv(999) == b"STATUS=starting"
            watch.status = waiting(1.0)
            while not (heard and "although" in heard[-1]):
                heard += systemd.recv(999).decode().splitlines()
            stalled_at = len(heard)
            watch._over = watch._ended.set() or ""
        heard += systemd.recv(999).decode().splitlines()
    assert heard[:3] == ["READY=1", "STATUS=ready", "WATCHDOG=1"]
    assert set(heard[3 : stalled_at - 1]) == {"WATCHDOG=1"}
    assert heard[stalled_at - 1] == "STATUS=no progress for 1 s although 1,500 records wait"
    assert heard[stalled_at:] == ["STOPPING=1"]


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed():
    wanted = {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "7"}
    assert (Notifier(wanted, 7).every, Notifier(wanted, 8).every) == (0.2, float("inf"))


# ---- the breaker of a cluster ------------------------------------------------------------------------------


def test_a_bad_partition_is_paused_and_the_others_go_on_until_all_are_bad(tmp_path):
    source, watch = SharedMemory(bounded=False), Watch(120, NOBODY)

    def judging(live):
        live.feed.breaker = PartitionBreaker(live.feed.config.limits, source)

    limits = {"rejected_window": 100}
    with Daemon(tmp_path, source, watch, judging, limits=limits) as daemon, watch.running():
        daemon.start()
        source.add(Records("p0", LINES[:2200]))
        until(lambda: not watch.verdict.unready)
        source.add(Records("p1", [b"junk"] * 120))
        until(lambda: watch.verdict.red)
        assert watch.verdict.red == ("most of the last records of p1 were rejected: paused",)
        source.add(Records("p1", [b"junk"] * 50), Records("p0", LINES[2200:3000]))
        until(lambda: watch.status["scored"] == 3000)
        assert watch.status["source"]["lag"] == {"p0": 0, "p1": 50}
        assert (watch.status["records_in"], watch.status["rejected"]) == (3120, 120)
        source.add(Records("p0", [b"junk"] * 200))
        until(lambda: daemon.errors)
    assert str(daemon.errors[0]) == (
        "most of the last records of p0, p1 were rejected, and there is nothing else to read here; the topic of "
        "rejected records holds them"
    )


class Partitions:
    """A member's partitions."""

    def __init__(self, *owned):
        self.owned, self.paused = set(owned), []

    def pause(self, partitions):
        self.paused += partitions


def batch(first, good, bad, partition="p1"):
    rows = good + bad
    block = SimpleNamespace(cursors={partition: {}}, rows_of=lambda _: np.full(rows, True))
    return Batch(first, rows, dict.fromkeys(range(bad)), block)


@dataclasses.dataclass
class Batch:
    first: int
    rows: int
    rejections: dict
    block: SimpleNamespace

    def __len__(self):
        return self.rows


def committed(*batches):
    return SimpleNamespace(batches=[SimpleNamespace(batch=one) for one in batches])


def test_each_record_counts_once_also_where_it_was_held_for_a_model_before():
    source = Partitions("p0", "p1")
    breaker = PartitionBreaker(LimitOptions(rejected_window=100), source)
    breaker.held(batch(0, 0, 60))
    breaker.committed(committed(batch(0, 0, 60)))
    assert source.paused == []
    breaker.committed(committed(batch(60, 0, 60)))
    assert source.paused == ["p1"]


def test_a_partition_that_comes_back_is_judged_anew():
    source = Partitions("p0", "p1")
    breaker = PartitionBreaker(LimitOptions(rejected_window=100), source)
    breaker.committed(committed(batch(0, 0, 100)))
    breaker.committed(committed(batch(100, 0, 100)))
    assert source.paused == ["p1"]
    breaker.let_go(["p1"])
    breaker.committed(committed(batch(200, 0, 99)))
    assert source.paused == ["p1"]
    breaker.committed(committed(batch(299, 0, 1)))
    assert source.paused == ["p1", "p1"]


def test_who_is_left_with_bad_partitions_alone_ends():
    breaker = PartitionBreaker(LimitOptions(rejected_window=100), Partitions("p0", "p1"))
    breaker.committed(committed(batch(0, 0, 100)))
    with pytest.raises(BrokenFeedError, match=r"^most of the last records of p1 were rejected, and"):
        breaker.let_go(["p0"])
