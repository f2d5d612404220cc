"""The configs that come with streamad, run as they are but for their sizes."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from feeds import committed
from processes import start, stop, wait_for

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = ("detector.members=1", "detector.epochs=1", "detector.device=cpu", "training.warm_up.records=2000")


@pytest.fixture
def config(tmp_path):
    """A copy of a shipped config in a folder of its own, since state and alerts lie beside it."""
    return lambda name: Path(shutil.copy(CONFIGS / name, tmp_path))


def replay(config, *changes):
    """The summary of one replay, with the config's training and detector made small."""
    words = [word for change in (*SMALL, *changes) for word in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "streamad", "replay", config, *words],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_the_generators_config_replays_into_alerts_with_reasons(config, tmp_path):
    summary = replay(config("generator.yaml"), "source.records=8000")
    alerts = [json.loads(line) for line in (tmp_path / "generator.alerts.ndjson").read_bytes().splitlines()]
    assert (summary["records_in"], summary["scored"], summary["versions"]) == (8000, 8000, 1)
    assert summary["alerts"] == len(alerts) > 0
    assert {alert["feed"] for alert in alerts} == {"generator"}
    assert {len(alert["reasons"]) for alert in alerts} <= {1, 2, 3}  # a field that adds nothing is no reason


def test_the_kdd_config_replays_the_start_of_the_real_file(config, tmp_path, kdd_path):
    with gzip.open(kdd_path) as lines:
        (tmp_path / "part.data").write_bytes(b"".join(itertools.islice(lines, 8000)))
    summary = replay(config("kddcup99.yaml"), "source.paths=[part.data]", "alerts.budget=0.01")
    assert (summary["records_in"], summary["scored"], summary["fast_decoded_share"]) == (8000, 8000, 1.0)
    assert summary["alerts"] == len((tmp_path / "kddcup99.alerts.ndjson").read_bytes().splitlines()) > 0


def lines_of_log(first, count):
    """Connections as the comment in growing-file.yaml shows them."""
    for k in range(first, first + count):
        record = {
            "ts": f"2026-01-01T{k // 3600:02d}:{k // 60 % 60:02d}:{k % 60:02d}.125Z",
            "uid": f"C{k}",
            "src": {"ip": f"10.0.0.{k % 200}", "bytes": 512 + k * 37 % 911},
            "dst": {"port": (443, 80, 53)[k % 3], "bytes": 20480 + k * 91 % 4001},
            "proto": "udp" if k % 3 == 2 else "tcp",
            "service": ("ssl", "http", "dns")[k % 3],
            "duration": k % 17 / 10,
            "established": k % 5 > 0,
        }
        yield json.dumps(record) + "\n"


def test_the_growing_files_config_goes_on_as_the_file_grows_until_it_is_told_to_stop(config, tmp_path):
    growing, log = config("growing-file.yaml"), tmp_path / "conn.log"
    log.write_text("".join(lines_of_log(0, 3000)))
    words = [word for change in SMALL for word in ("--set", change)]
    daemon = start("run", growing, *words, log=tmp_path / "daemon.log")
    wait_for(lambda: committed(tmp_path / "conn.state") == 3000, daemon)
    with log.open("a") as more:
        more.write("".join(lines_of_log(3000, 500)) + '{"ts": "torn')
    wait_for(lambda: committed(tmp_path / "conn.state") == 3500, daemon)
    code, seconds = stop(daemon, signal.SIGTERM)
    assert (code, seconds < 5) == (0, True)
    done = subprocess.run(
        [sys.executable, "-m", "streamad", "status", growing, "--json"], capture_output=True, check=True
    )
    status = json.loads(done.stdout)
    assert (status["state"], status["scored"], status["rejected"], status["in_flight"]) == (
        "stopped",
        3500,
        0,
        0,
    )
