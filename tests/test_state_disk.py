"""A full disk and a second writer: nothing lost, nothing half."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from test_state_store import alert, everything, full_commit, open_store

from streamad.errors import StoreError
from streamad.ports import Commit
from streamad.state.artifacts import read_artifact, write_artifact
from streamad.state.queries import Reader


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, and a way to make it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")

    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=32m", place], check=True)

    yield place, enlarge
    subprocess.run(["umount", "-l", place], check=True)


def fill(path):
    """Take what is left of the disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def commit_until_full(store, first=1):
    """Commit until the disk refuses; returns the number of the last commit that was made."""
    for number in range(first, 1000):
        try:
            store.commit(_large(number))
        except StoreError as error:
            assert "disk" in str(error)  # noqa: PT017  # the commits before it count too
            return number - 1
    pytest.fail("the disk never filled")


def _large(number):
    return Commit(
        {"k.csv": {"line": number}},
        number,
        alerts=[alert(number) | {"pad": "x" * 20_000}],
        checkpoint={"engine": number},
    )


def test_on_a_full_disk_the_whole_commit_is_left_out_and_after_enlarging_it_goes_on(small_disk):
    place, enlarge = small_disk
    with open_store(place) as store:
        done = commit_until_full(store)
        events = [f"kdd/k.csv:{number}" for number in range(1, done + 1)]
        assert everything(store)[0] == events
        assert store.restore() == ({"k.csv": {"line": done}}, {"engine": done})
        with pytest.raises(StoreError, match="disk"):
            store.commit(_large(done + 1))
        enlarge()
        store.commit(_large(done + 1))
        assert store.counts().alerts == done + 1


def test_a_full_disk_filled_by_others_is_survived_by_a_restart(small_disk):
    place, enlarge = small_disk
    with open_store(place) as store:
        store.commit(full_commit(1))
        fill(place / "filler")
        commit_until_full(store, first=2)
        kept = everything(store)
    enlarge()
    with open_store(place) as store:
        assert everything(store) == kept
        store.commit(_large(500))
        assert store.restore()[0] == {"k.csv": {"line": 500}}


def test_an_artifact_that_does_not_fit_leaves_nothing_and_is_written_after_enlarging(small_disk):
    place, enlarge = small_disk
    tensors = {"w": np.zeros(1 << 19)}
    with pytest.raises(StoreError, match="000001 could not be written"):
        write_artifact(place / "000001", {}, tensors)
    assert list(place.iterdir()) == []
    enlarge()
    write_artifact(place / "000001", {}, tensors)
    assert read_artifact(place / "000001")[1]["w"].shape == (1 << 19,)


LABELER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_state_store import open_store
with open_store(sys.argv[2]) as store:
    for number in range(40):
        [found] = store.add_labels([{"event_id": f"kdd/x:{number}", "label": "normal", "record": {"n": number}}])
        assert found.outcome == "added", found
"""


def test_labels_are_given_by_another_process_while_the_engine_commits_and_threads_read(tmp_path):
    stop, seen = threading.Event(), []

    def read():
        with Reader(tmp_path / "store.db") as reader:
            while not stop.is_set():
                counts = reader.counts()
                seen.append((counts.alerts, counts.records))

    with open_store(tmp_path) as store:
        thread = threading.Thread(target=read)
        thread.start()
        command = [sys.executable, "-c", LABELER, str(Path(__file__).parent), str(tmp_path)]
        labels, cursor, number = [], (0, 0), 0
        with subprocess.Popen(command) as process:
            while process.poll() is None or number < 100:
                number += 1
                store.commit(full_commit(number) if number < 256 else Commit({}, number))
                if news := store.news(cursor):
                    cursor = news.cursor
                    labels += [change.event_id for change in news.changes]
        stop.set()
        thread.join()
        if news := store.news(cursor):
            labels += [change.event_id for change in news.changes]
    assert process.returncode == 0
    assert labels == [f"kdd/x:{n}" for n in range(40)]
    assert len(seen) > 10
    assert all(alerts == records for alerts, records in seen if records < 256)
