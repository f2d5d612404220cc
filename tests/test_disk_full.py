"""A disk that fills up in mid-replay and is enlarged again: nothing is lost, nothing comes twice."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from contextlib import contextmanager

import pytest
from feeds import committed, stored, stored_alerts, write_config
from processes import start, wait_for

from streamad.cli import main
from streamad.training.snapshot import Snapshot

RECORDS = 24_000
LEARNING = {"every_records": 9000, "effect_after": 4000}
MIB = 1 << 20


@contextmanager
def file_system(folder, size):
    """A file system in memory of so many MiB; skips where this process may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount a file system of its own")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Fill a file system to the brim."""
    with (folder / "filler").open("ab", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def enlarge(folder, size):
    """Give a mounted file system more room."""
    subprocess.run(["mount", "-o", f"remount,size={size}m", str(folder)], check=True)


def config(folder, **changes):
    """The generator's feed."""
    tree = {"type": "generator", "records": RECORDS, "anomaly_share": 0.05, "seed": 5}
    path = write_config(folder, training=LEARNING, **changes)
    text = path.read_text()
    begin, end = text.index("source:"), text.index("schema:")
    path.write_text(text[:begin] + "source: " + json.dumps(tree) + "\n" + text[end:])
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The alerts of the same replay with room enough."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(["replay", str(config(folder)), "--state", str(folder / "state")]) == 0
    return stored_alerts(folder / "state")


def stopped_by_a_full_disk(path, disk, log, *, at, rate=6000):
    """Fill the disk after so many records; the one sentence that the replay then ends with."""
    process = start("replay", path, "--state", disk / "state", "--rate", rate, log=log)
    wait_for(lambda: committed(disk / "state") >= at, process)
    fill(disk)
    assert process.wait(60) == 3
    return log.read_text().splitlines()[-1]


def test_a_replay_stopped_by_a_full_disk_goes_on_when_it_is_enlarged(tmp_path, undisturbed, capsys):
    path = config(tmp_path)
    with file_system(tmp_path / "disk", 200) as disk:
        said = stopped_by_a_full_disk(path, disk, tmp_path / "log", at=10_000)
        assert said.startswith("streamad: ")
        assert "Traceback" not in (tmp_path / "log").read_text()
        done = committed(disk / "state")
        assert 10_000 <= done < RECORDS
        before = stored_alerts(disk / "state")
        assert before == undisturbed[: len(before)]
        assert main(["replay", str(path), "--state", str(disk / "state")]) == 3  # still full
        enlarge(disk, 400)
        capsys.readouterr()
        assert main(["replay", str(path), "--state", str(disk / "state")]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["records_in"] == summary["scored"] + summary["rejected"] == RECORDS
        assert stored_alerts(disk / "state") == undisturbed
        assert stored(disk / "state", "PRAGMA integrity_check") == [("ok",)]


def test_a_replay_that_cannot_write_what_a_training_needs_goes_on_when_it_can(
    tmp_path, undisturbed, monkeypatch, capsys
):
    path, save = config(tmp_path), Snapshot.save

    def full(snapshot, directory):
        save(snapshot, directory)
        if snapshot.version == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "save", full)
        assert main(["replay", str(path), "--state", str(tmp_path / "state")]) == 3
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"streamad: {tmp_path}/state/jobs/000002 cannot be written: No space left on device"
    assert main(["replay", str(path), "--state", str(tmp_path / "state")]) == 0
    assert stored_alerts(tmp_path / "state") == undisturbed


def test_a_sink_whose_disk_is_full_gets_every_alert_once_when_there_is_room(tmp_path, undisturbed, capsys):
    with file_system(tmp_path / "disk", 1) as disk:
        path = config(tmp_path, sinks=[{"type": "ndjson", "path": "disk/alerts.ndjson"}])
        fill(disk)
        assert main(["replay", str(path), "--state", str(tmp_path / "state")]) == 0
        assert stored_alerts(tmp_path / "state") == undisturbed
        (disk / "filler").unlink()
        enlarge(disk, 100)
        assert (
            main(["replay", str(path), "--state", str(tmp_path / "state")]) == 0
        )  # finished, but for the sink
        lines = (disk / "alerts.ndjson").read_text().splitlines()
        assert [json.loads(line) | {"scored_at": ""} for line in lines] == undisturbed
    capsys.readouterr()
