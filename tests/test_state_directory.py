"""The state directory: one feed, one holder, private, local."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from streamad.errors import StateError
from streamad.records.schema import Schema
from streamad.state.directory import find_state, hold_state, refuse_network

SCHEMA = Schema.model_validate({"fields": {"bytes": "numeric", "flag": "categorical", "label": "label"}})


def hold(path, feed="kdd", made_by="replay", schema=SCHEMA):
    return hold_state(path, feed=feed, made_by=made_by, schema=schema)


def schema(**fields):
    return Schema.model_validate({"fields": fields})


def test_a_new_state_is_private_and_drawn_as_documented_whatever_the_umask(tmp_path):
    before = os.umask(0o000)
    try:
        hold(tmp_path / "deep" / "kdd.state").close()
    finally:
        os.umask(before)
    root = tmp_path / "deep" / "kdd.state"
    modes = {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert modes == {"format.json": 0o600, "lock": 0o600, "artifacts": 0o700, "jobs": 0o700}
    assert root.stat().st_mode & 0o777 == 0o700
    assert json.loads((root / "format.json").read_text())["format"] == 1


def test_a_state_is_found_again_without_its_lock(tmp_path):
    with hold(tmp_path / "s") as held:
        found = find_state(tmp_path / "s")
        assert found == held.state
    assert found.artifact(7) == tmp_path / "s" / "artifacts" / "000007"
    assert (found.feed, found.made_by) == ("kdd", "replay")


def test_where_nothing_ran_yet_a_command_says_so(tmp_path):
    with pytest.raises(StateError, match=r"no state yet in .*: run or replay first"):
        find_state(tmp_path / "s")


HOLDER = """
import sys, time
from pathlib import Path
from streamad.records.schema import Schema
from streamad.state.directory import hold_state
held = hold_state(Path(sys.argv[1]), feed="kdd", made_by="replay",
                  schema=Schema.model_validate({"fields": {"bytes": "numeric", "flag": "categorical", "label": "label"}}))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_holder_is_refused_with_the_pid_of_the_first_until_that_one_dies(tmp_path):
    path = tmp_path / "s"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(StateError, match=f"is in use by process {process.pid}$"):
            hold(path)
        process.kill()
        process.wait()
    with hold(path):
        assert (path / "lock").read_text() == f"{os.getpid()}\n"


def test_two_in_one_process_are_refused_too_and_closing_twice_is_harmless(tmp_path):
    held = hold(tmp_path / "s")
    with pytest.raises(StateError, match=f"in use by process {os.getpid()}"):
        hold(tmp_path / "s")
    held.close()
    held.close()
    hold(tmp_path / "s").close()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"made_by": "run"}, r"was made by replay: run needs its own \(--state DIR\)"),
        ({"feed": "ssh"}, "belongs to the feed 'kdd', not to 'ssh'"),
        (
            {"schema": schema(bytes="categorical", label="label", port="numeric")},
            "schema changed .*: port is new; flag is gone; bytes was numeric, is categorical .--fresh starts anew and keeps the labels.$",
        ),
        (
            {"schema": schema(flag="categorical", bytes="numeric", label="label")},
            "in another order .--fresh starts anew and keeps the labels.$",
        ),
        (
            {
                "schema": Schema.model_validate(
                    {
                        "fields": {"bytes": "numeric", "flag": "categorical", "label": "time"},
                        "time": {"field": "label"},
                    }
                )
            },
            "label was label, is time .--fresh starts anew and keeps the labels.$",
        ),
    ],
)
def test_a_state_of_something_else_is_refused_in_words_and_unlocked_again(tmp_path, changes, sentence):
    hold(tmp_path / "s").close()
    with pytest.raises(StateError, match=sentence):
        hold(tmp_path / "s", **changes)
    hold(tmp_path / "s").close()


def test_other_values_of_the_truth_column_are_no_other_schema(tmp_path):
    hold(tmp_path / "s").close()
    other = Schema.model_validate({"fields": SCHEMA.model_dump()["fields"], "truth": {"normal": ["benign"]}})
    hold(tmp_path / "s", schema=other).close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"format": 2}', "has format 2, this streamad reads 1"),
        ('{"format": 1}', "lacks feed, made_by or schema"),
        ("[]", "names no format"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_damaged_or_newer_format_file_is_named(tmp_path, text, sentence):
    (tmp_path / "format.json").write_text(text)
    with pytest.raises(StateError, match=sentence):
        hold(tmp_path)
    with pytest.raises(StateError, match=sentence):
        find_state(tmp_path)


def test_a_directory_full_of_other_things_is_not_taken_over(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StateError, match=r"no state directory: it holds 'thesis.tex' but no format\.json"):
        hold(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_start_that_was_killed_early_is_taken_up_again(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".format.json").write_text("{")
    hold(tmp_path).close()
    assert find_state(tmp_path).feed == "kdd"


@pytest.mark.parametrize("place", ["file/s", "file", "/proc/streamad/s"])
def test_an_unwritable_place_is_one_sentence(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"the state directory .* cannot be written: "):
        hold(tmp_path / place)


@pytest.mark.parametrize(
    ("kind", "refused"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("9p", True), ("ext4", False), ("fuseblk", False)],
)
def test_network_file_systems_are_refused_by_the_mount_that_is_nearest(tmp_path, kind, refused):
    (tmp_path / "a b" / "s").mkdir(parents=True)
    mounts = tmp_path / "mounts"
    point = str(tmp_path / "a b").replace(" ", r"\040")
    mounts.write_text(f"server:/ / nfs rw 0 0\nx {tmp_path} ext4 rw 0 0\nserver:/a {point} {kind} rw 0 0\n")
    refuse_network(tmp_path, mounts)
    if refused:
        with pytest.raises(StateError, match=rf"on a network file system \({kind}\)"):
            refuse_network(tmp_path / "a b" / "s" / "not yet", mounts)
    else:
        refuse_network(tmp_path / "a b" / "s" / "not yet", mounts)


def test_leftovers_of_a_killed_artifact_write_go_at_the_next_start(tmp_path):
    hold(tmp_path / "s").close()
    (tmp_path / "s" / "artifacts" / ".tmp-000001-x").mkdir()
    with hold(tmp_path / "s") as held:
        assert list(held.state.artifacts.iterdir()) == []


def test_clearing_removes_artifacts_and_jobs_and_keeps_the_rest(tmp_path):
    with hold(tmp_path / "s") as held:
        held.state.artifact(1).mkdir()
        (held.state.jobs / "job").touch()
        held.state.store.touch()
        held.state.clear()
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "artifacts",
        "format.json",
        "jobs",
        "lock",
        "store.db",
    ]
    assert [*held.state.artifacts.iterdir(), *held.state.jobs.iterdir()] == []
