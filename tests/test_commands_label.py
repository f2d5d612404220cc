"""`streamad label`: verdicts reach the store, one at a time or from a file."""

from __future__ import annotations

import json
import threading

import pytest
from commands_help import HOSTILE, HOSTILE_SHOWN, Commands, alert, fill, open_store, seen

from streamad.learning import label_file
from streamad.ports import Commit
from streamad.state.queries import Reader

NEEDED = "label needs an event and its verdict (anomaly, normal or withdrawn), or --from FILE"


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    return Commands(tmp_path, capsys, monkeypatch)


def verdicts(tmp_path, *numbers):
    with Reader(tmp_path / "net.state" / "store.db") as reader:
        return [reader.verdict(f"net/log.csv:{number}") for number in numbers]


def labels_file(tmp_path, *lines):
    path = tmp_path / "labels.ndjson"
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    )
    return str(path)


def test_a_label_is_taken_once_and_said_to_be_known_the_second_time(tmp_path, command):
    fill(tmp_path, seen(1))
    said = {"event_id": "net/log.csv:1", "label": "anomaly"}
    words = ("net/log.csv:1", "anomaly", "--analyst", "ann", "--note", "again")
    assert command.rows("label", *words) == [said | {"outcome": "added"}]
    assert command.rows("label", *words) == [said | {"outcome": "known"}]
    with Reader(tmp_path / "net.state" / "store.db") as reader:
        (kept,) = reader.labels_of("net/log.csv:1")
    assert (kept["label"], kept["analyst"], kept["note"]) == ("anomaly", "ann", "again")


def test_a_changed_and_a_withdrawn_verdict_count(tmp_path, command):
    fill(tmp_path, seen(1))
    for verdict in ("anomaly", "normal", "withdrawn"):
        assert command.screen("label", "net/log.csv:1", verdict) == [f"net/log.csv:1 {verdict}: taken"]
        assert verdicts(tmp_path, 1) == [verdict]
    assert [row["event_id"] for row in command.rows("queue")] == ["net/log.csv:1"]


def test_options_stand_anywhere_among_the_words(tmp_path, command):
    fill(tmp_path, *map(seen, range(3)))
    where = ("--state", str(tmp_path / "net.state"))
    command("label", *where, "net/log.csv:0", "anomaly")
    command("label", "net/log.csv:1", *where, "normal")
    command("label", "net/log.csv:2", "anomaly", *where)
    assert verdicts(tmp_path, 0, 1, 2) == ["anomaly", "normal", "anomaly"]


def test_a_unique_key_names_its_event(tmp_path, command):
    fill(tmp_path, seen(1, key="bob"))
    (said,) = command.rows("label", "bob", "normal")
    assert (said["event_id"], said["outcome"]) == ("net/log.csv:1", "added")


def test_a_key_of_several_events_is_refused_with_the_candidates(tmp_path, command):
    fill(tmp_path, seen(1, key="bob"), seen(2, key="bob"))
    found = command("label", "bob", "normal", code=2)
    assert found == (
        "",
        "streamad: the key 'bob' names several events: net/log.csv:1, net/log.csv:2\n",
    )
    assert verdicts(tmp_path, 1, 2) == [None, None]


def test_a_name_of_nothing_is_refused_in_harmless_words(tmp_path, command):
    fill(tmp_path, seen(1))
    found = command("label", HOSTILE, "normal", code=2)
    assert found.out == ""
    assert found.err.removesuffix("\n").isprintable()
    assert found.err.startswith("streamad: no event has the id or key '")
    assert HOSTILE_SHOWN[-30:] in found.err


def test_a_label_of_a_record_that_has_not_come_by_waits_for_it(tmp_path, command):
    fill(tmp_path, seen(1))
    assert command.screen("label", "net/log.csv:99", "anomaly") == [
        "net/log.csv:99 anomaly: taken, but waits for its record, which is not kept here"
    ]
    (found,) = command.rows("status")
    assert found["labels"] == {"anomaly": 1, "normal": 0, "waiting": 1}


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("net/log.csv:1",),
        ("--from", "labels.ndjson", "net/log.csv:1", "normal"),
    ],
)
def test_a_label_without_event_or_verdict_is_refused(tmp_path, command, words):
    fill(tmp_path, seen(1))
    assert command("label", *words, code=2) == ("", f"streamad: {NEEDED}\n")


def test_the_good_lines_of_a_file_are_applied_and_the_bad_ones_named(tmp_path, command, monkeypatch):
    monkeypatch.setattr(label_file, "_AT_ONCE", 2)
    fill(tmp_path, seen(1), seen(2), seen(3, key="k"))
    file = labels_file(
        tmp_path,
        {"event_id": "net/log.csv:1", "label": "anomaly"},
        b"{not json",
        b"",
        {"event_id": "net/log.csv:2", "label": "perhaps"},
        [1],
        {"key": "k", "label": "normal"},
        b'{"event_id":"net/log.csv:2","label":"normal","record":{"bytes":NaN}}',
        {"event_id": "elsewhere", "label": "normal"},
        {"event_id": "net/log.csv:50", "label": "normal"},
        {"event_id": "net/log.csv:1", "label": "anomaly"},
    )
    found = command("label", "--from", file, code=2)
    assert json.loads(found.out) == {"added": 2, "known": 1, "waiting": 1, "refused": 5}
    assert found.err.splitlines() == [
        f"streamad: {file}: line 2: not JSON",
        f"streamad: {file}: line 4: label is 'perhaps', expected anomaly, normal or withdrawn",
        f"streamad: {file}: line 5: not a JSON object",
        f"streamad: {file}: line 7: not JSON",
        f"streamad: {file}: line 8: no event has the id or key 'elsewhere'",
    ]
    assert verdicts(tmp_path, 1, 2, 3) == ["anomaly", None, "normal"]


def test_a_second_delivery_of_a_file_changes_nothing(tmp_path, command):
    fill(tmp_path, seen(1), seen(2))
    labels = [{"event_id": f"net/log.csv:{n}", "label": "anomaly"} for n in (1, 2)]
    file = labels_file(tmp_path, *labels)
    assert command.screen("label", "--from", file) == ["2 added, 0 known, 0 waiting, 0 refused"]
    assert command.screen("label", "--from", file) == ["0 added, 2 known, 0 waiting, 0 refused"]


def test_a_line_that_is_too_long_is_named_and_the_next_one_keeps_its_number(tmp_path, command, monkeypatch):
    monkeypatch.setattr(label_file, "_LINE_BYTES", 64)
    fill(tmp_path, seen(1))
    good = json.dumps({"event_id": "net/log.csv:1", "label": "anomaly"}).encode()
    file = labels_file(tmp_path, good.ljust(63), b"x" * 300, good, b"y" * 64)
    found = command("label", "--from", file, code=2)
    assert [line.split(": ", 2)[2] for line in found.err.splitlines()] == [
        "line 2: longer than 0 MiB",
        "line 4: longer than 0 MiB",
    ]
    assert json.loads(found.out) == {"added": 1, "known": 1, "waiting": 0, "refused": 2}


def test_a_label_file_that_is_not_there_is_named(tmp_path, command):
    fill(tmp_path)
    found = command("label", "--from", str(tmp_path / "no"), code=2)
    assert (
        found.err == f"streamad: the label file {tmp_path / 'no'} cannot be read: No such file or directory\n"
    )


def test_the_queues_own_lines_serve_as_labels(tmp_path, command):
    fill(tmp_path, *map(seen, range(3)))
    asked = [row | {"label": "normal"} for row in command.rows("queue")]
    command("label", "--from", labels_file(tmp_path, *asked))
    assert verdicts(tmp_path, 0, 1, 2) == ["normal"] * 3
    assert command.rows("queue") == []


def test_labels_are_taken_while_the_daemon_commits(tmp_path, command):
    fill(tmp_path, *map(seen, range(10)))
    stop = threading.Event()

    def write():
        with open_store(tmp_path) as store:
            number = 100
            while not stop.wait(0.005):
                number += 1
                store.commit(Commit({}, number, alerts=[alert(seen(number))]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            (said,) = command.rows("label", f"net/log.csv:{number}", "anomaly")
            assert said["outcome"] == "added"
    finally:
        stop.set()
        writer.join()
    assert verdicts(tmp_path, *range(10)) == ["anomaly"] * 10
