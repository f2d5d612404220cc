"""`streamad models`: versions listed and shown, another one asked for."""

from __future__ import annotations

import os

import numpy as np
import pytest
from commands_help import Commands, config, fill, open_store

from streamad.config import load_config
from streamad.state.artifacts import write_artifact
from streamad.state.directory import hold_state
from streamad.state.versions import Request

VERSIONS = [
    {"number": 1, "status": "active", "created_record": 0, "numbers": {"loss": 0.25}},
    {"number": 2, "status": "failed", "created_record": 50_000, "parent": 1, "numbers": {}},
    {"number": 3, "status": "active", "created_record": 100_000, "parent": 1, "numbers": {"loss": 0.125}},
]


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    return Commands(tmp_path, capsys, monkeypatch)


def described(number, status, record, parent, numbers, *, pinned=False):
    return {
        "version": number,
        "status": status,
        "created_at": "2026-01-01T00:00:00.000Z",
        "created_record": record,
        "parent": parent,
        "numbers": numbers,
        "kept": True,
        "pinned": pinned,
    }


def asked(tmp_path):
    with open_store(tmp_path) as store:
        return store.news().requests


def test_versions_are_listed(tmp_path, command):
    fill(tmp_path, versions=VERSIONS)
    expected = [
        described(1, "retired", 0, None, {"loss": 0.25}),
        described(2, "failed", 50_000, 1, {}),
        described(3, "active", 100_000, 1, {"loss": 0.125}),
    ]
    assert command.rows("models", "list") == expected
    assert command.screen("models", "list", "--json") == command("models", "list").out.splitlines()
    assert command.screen("models", "list") == [
        "VERSION  STATUS   MADE                      FROM RECORD  PARENT  NUMBERS",
        "1        retired  2026-01-01T00:00:00.000Z  0            -       loss 0.25",
        "2        failed   2026-01-01T00:00:00.000Z  50,000       1       -",
        "3        active   2026-01-01T00:00:00.000Z  100,000      1       loss 0.125",
    ]


def test_without_a_version_the_list_is_empty(tmp_path, command):
    fill(tmp_path)
    assert command("models", "list") == ("", "")
    assert command("models", "list", terminal=True) == ("", "no version yet\n")
    assert command("models", "show", code=2) == ("", "streamad: no version is active yet\n")


def test_the_active_version_is_shown_with_what_its_manifest_tells(tmp_path, command):
    fill(tmp_path, versions=VERSIONS)
    folder = tmp_path / "net.state" / "artifacts" / "000003"
    manifest = {"data": {"rows": 9, "trained_rows": 8}, "seed": 7, "encoder": {"much": [1, 2]}}
    write_artifact(folder, manifest, {"a": np.zeros((2, 3)), "b": np.zeros(4)})
    expected = described(3, "active", 100_000, 1, {"loss": 0.125})
    expected |= {"data": {"rows": 9, "trained_rows": 8}, "seed": 7, "weights": 10, "path": str(folder)}
    assert command.rows("models", "show") == command.rows("models", "show", "3") == [expected]
    assert command.screen("models", "show") == [
        "version         3",
        "status          active",
        "created_at      2026-01-01T00:00:00.000Z",
        "created_record  100000",
        "parent          1",
        "numbers         loss 0.125",
        "kept            true",
        "pinned          false",
        "data            rows 9, trained_rows 8",
        "seed            7",
        "weights         10",
        f"path            {folder}",
    ]


def test_a_version_whose_files_are_gone_is_named(tmp_path, command):
    fill(tmp_path, versions=VERSIONS)
    folder = tmp_path / "net.state" / "artifacts" / "000001"
    found = command("models", "show", "1", code=2)
    assert found == ("", f"streamad: artifact {folder} is incomplete: manifest.json is missing\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "9"), "there is no version 9"),
        (("promote", "9"), "there is no version 9"),
        (("promote", "2"), "version 2 cannot be used: it is failed"),
        (("promote",), "models promote needs a version; models list names them"),
        (("rollback", "1"), "models rollback takes no version"),
        (("pin", "9"), "there is no version 9"),
        (("pin", "2"), "version 2 cannot be used: it is failed"),
        (("pin",), "models pin needs a version; models list names them"),
        (("unpin", "3"), "version 3 is not pinned"),
        (("list", "1"), "models list takes no version"),
    ],
)
def test_what_cannot_be_had_is_said_and_nothing_is_asked(tmp_path, command, words, sentence):
    fill(tmp_path, versions=VERSIONS)
    assert command("models", *words, code=2) == ("", f"streamad: {sentence}\n")
    assert asked(tmp_path) == []


def test_a_version_is_pinned_until_it_is_unpinned_and_the_list_says_so(tmp_path, command):
    fill(tmp_path, versions=VERSIONS)
    pinned = described(3, "active", 100_000, 1, {"loss": 0.125}, pinned=True)
    for _ in range(2):
        assert command.screen("models", "pin", "3") == [
            "version 3 is pinned: its files stay, and while it scores no training takes its place"
        ]
        assert command.rows("models", "list")[2] == pinned
    assert command.rows("models", "pin", "1") == [{"version": 1, "pinned": True}]
    statuses = [line[9:24].rstrip() for line in command.screen("models", "list")]
    assert statuses == ["STATUS", "retired, pinned", "failed", "active, pinned"]
    assert command.rows("models", "unpin", "1") == [{"version": 1, "pinned": False}]
    assert command.screen("models", "unpin", "3") == ["version 3 is not pinned any more"]
    assert [row["pinned"] for row in command.rows("models", "list")] == [False] * 3


def test_without_a_parent_there_is_nothing_to_roll_back_to(tmp_path, command):
    fill(tmp_path, versions=VERSIONS[:1])
    assert command("models", "rollback", code=2).err == "streamad: there is no version to roll back to\n"


def test_a_finished_replay_takes_no_request_and_one_that_was_stopped_does(tmp_path, command):
    parts = {"made_by": "replay", "versions": VERSIONS}
    fill(tmp_path, **parts, checkpoint={"engine": {"finished": False}})
    assert command.rows("models", "promote", "1") == [{"request": "promote", "version": 1, "process": None}]
    fill(tmp_path, **parts, checkpoint={"engine": {"finished": True}})
    for words in (("promote", "1"), ("rollback",)):
        assert command("models", *words, code=2) == (
            "",
            "streamad: this replay is finished; streamad run --from takes its active version along\n",
        )


def test_a_request_is_left_for_the_next_start(tmp_path, command):
    fill(tmp_path, versions=VERSIONS)
    assert command.rows("models", "promote", "1") == [{"request": "promote", "version": 1, "process": None}]
    assert command.screen("models", "rollback") == [
        "rollback to version 1 is asked for; the next streamad run takes it, no process runs the feed now"
    ]
    assert asked(tmp_path) == [Request(1, "promote", 1), Request(2, "rollback", 1)]


def test_a_request_names_the_process_that_takes_it(tmp_path, command):
    fill(tmp_path, versions=VERSIONS)
    schema = load_config(config(tmp_path)).schema_
    with hold_state(tmp_path / "net.state", feed="net", made_by="run", schema=schema):
        (line,) = command.screen("models", "promote", "1")
    assert line == f"promote to version 1 is asked for; process {os.getpid()} takes it before its next batch"
