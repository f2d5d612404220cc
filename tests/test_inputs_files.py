"""Files, labels and states that cannot be what they are said to be: one sentence, exit code 2, nothing lost."""

from __future__ import annotations

import gzip
import json
import os
import random

import pytest
import yaml
from inputs_help import FIELDS, feed, rows  # noqa: F401  # a fixture
from processes import start, stop, wait_for

from streamad.cli import main
from streamad.errors import StateError
from streamad.state.directory import refuse_network

BINARY = random.Random(1).randbytes(5000)
GZ = gzip.compress(("user,bytes,service\n" + rows(150)).encode())


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("no.csv", None, "no.csv does not exist"),
        ("*.nothing", None, "no file matches *.nothing"),
        (".", None, "is a directory; name its files, for example"),
        ("empty.csv", b"", "empty.csv is empty"),
        ("mark.csv", b"\xef\xbb\xbf", "mark.csv is empty"),
        (
            "blank.csv",
            b"\n\n\n",
            "blank.csv has no column of the schema: its columns are none, the schema's",
        ),
        ("header.csv", b"user,bytes,service\n", "the source holds no records"),
        (
            "binary.csv",
            BINARY,
            "binary.csv holds NUL bytes, so it is binary or UTF-16; text in UTF-8 is expected",
        ),
        (
            "latin.csv",
            b"user,bytes,service\n" + b"\xe9,1,\xe8\n" * 9,
            "none of the first 9 records fits the schema",
        ),
        ("wide.csv", "user,bytes,service\na,1,b\n".encode("utf-16"), "wide.csv holds NUL bytes"),
        (
            "other.csv",
            b"a,b\n1,2\n",
            "other.csv has no column of the schema: its columns are 'a', 'b', the schema's",
        ),
        ("bad.gz", b"\x1f\x8bxxxxxx", "bad.gz is damaged from its first byte on"),
        ("fake.gz", b"user,bytes\n", "fake.gz is named .gz but does not hold that format"),
        ("cut.gz", GZ[: len(GZ) // 2], "cut.gz is damaged or cut off behind line"),
    ],
)
def test_a_file_that_is_no_feed_is_refused(feed, name, content, sentence):  # noqa: F811
    if content is not None:
        feed.file(name, content)
    feed.source(paths=[name])
    assert sentence in feed.refused_at_first()


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("parquet", "log.csv is not a (complete) Parquet file, although source.format says so"),
        ("ndjson", "none of the first 401 records fits the schema; the first, log.csv:1: invalid_json"),
    ],
)
def test_a_file_in_another_format_is_refused(feed, form, sentence):  # noqa: F811
    feed.source(format=form)
    assert feed.refused_at_first() == sentence


def test_records_that_hold_no_field_of_the_schema_are_refused(feed):  # noqa: F811
    feed.file("log.ndjson", '{"x": 1}\n' * 50)
    feed.source(format="ndjson", paths=["log.ndjson"])
    assert feed.refused_at_first() == (
        "none of the first 50 records holds a value in any field of the schema, whose features are bytes, service"
    )


def test_a_pipe_named_as_a_file_is_refused(feed, capsys):  # noqa: F811
    os.mkfifo(feed.folder / "pipe")
    feed.source(paths=["pipe"])
    assert feed.refused() == "pipe is not a regular file; a pipe is read with source.type: stdin"
    assert main(["init", str(feed.folder / "pipe")]) == 2
    assert (
        capsys.readouterr().err
        == f"streamad: {feed.folder}/pipe is not a regular file; a pipe is read with -\n"
    )


def test_init_refuses_what_a_replay_would_refuse(feed, capsys):  # noqa: F811
    fake = feed.file("fake.csv.gz", "user,bytes\na,1\n")
    assert main(["init", str(fake)]) == 2
    assert capsys.readouterr().err == f"streamad: {fake} is named .gz but does not hold that format\n"


@pytest.mark.parametrize("option", ["--scores", "--summary"])
def test_a_result_that_could_not_be_written_is_refused_before_the_work(feed, option):  # noqa: F811
    assert (
        feed.refused(option, feed.folder / "no" / "x") == "no/x cannot be written: No such file or directory"
    )
    assert "Is a directory" in feed.refused(option, feed.folder)
    assert "/proc/x cannot be written" in feed.refused(option, "/proc/x")


def test_a_label_file_that_cannot_be_read_is_refused(feed):  # noqa: F811
    assert feed.refused("--labels", feed.folder / "no") == (
        "the label file no cannot be read: No such file or directory"
    )
    assert "Is a directory" in feed.refused("--labels", feed.folder)


def test_bad_label_lines_are_named_and_the_replay_does_not_begin(feed):  # noqa: F811
    labels = feed.file("labels", 'xx\n{}\n{"event_id": "net/log.csv:3", "label": "maybe"}\n')
    assert feed.refused("--labels", labels) == "labels: 3 bad lines, the first is line 1: not JSON"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"event_id": "net/log.csv:3", "label": "maybe"}', "label is 'maybe', expected anomaly, normal or"),
        (
            '{"event_id": "net/log.csv:3", "label": "normal", "labeled_at": "then"}',
            "labeled_at is 'then', exp",
        ),
        ('{"event_id": "net/log.csv:3", "label": "normal", "record": 3}', "record is no object"),
        ('{"label": "normal"}', "a label needs event_id or key"),
        ('{"key": "nobody", "label": "normal"}', "no event has the id or key 'nobody'"),
    ],
)
def test_a_bad_label_line_together_with_fresh_leaves_the_finished_replay_as_it_was(feed, line, problem):  # noqa: F811
    feed.replayed()
    labels = feed.file("labels", line + "\n")
    assert feed.refused("--fresh", "--labels", labels).startswith(
        f"labels: 1 bad lines, the first is line 1: {problem}"
    )
    assert "is finished" in feed.call("replay").err


def test_a_label_by_key_together_with_fresh_names_an_event_of_the_replay_before(feed):  # noqa: F811
    feed.write(limits={"batch_records": 50}, labels={"delay": 0})
    feed.replayed()
    row = feed.lines("queue", "--limit", "1")[0]
    labels = feed.file("labels", json.dumps({"key": row["key"], "label": "normal"}))
    assert feed.replayed("--fresh", "--labels", labels)["records_in"] == 400
    assert [label["label"] for label in feed.lines("show", row["event_id"])[0]["labels"]] == ["normal"]


@pytest.mark.parametrize(
    ("words", "content", "sentence"),
    [
        (
            ("--set", 'source.delimiter=";"'),
            None,
            "log.csv has no column of the schema: its columns are 'user,bytes,service', ",
        ),
        ((), "a,b\n1,2\n", "log.csv has no column of the schema: its columns are 'a', 'b', the schema's"),
        ((), "user,bytes,service\n" + "x\n" * 9, "none of the first 9 records fits the schema; the first, "),
        ((), "user,bytes,service\n" + "x,,\n" * 9, "none of the first 9 records holds a value in any field"),
        ((), "user,bytes,service\n", "the source holds no records"),
    ],
)
def test_a_source_of_something_else_together_with_fresh_leaves_the_finished_replay_as_it_was(
    feed,  # noqa: F811
    words,
    content,
    sentence,
):
    feed.replayed()
    before = (feed.folder / "log.csv").read_text()
    if content is not None:
        feed.file("log.csv", content)
    assert feed.refused("--fresh", *words).startswith(sentence)
    feed.file("log.csv", before)
    assert "is finished" in feed.call("replay").err


def test_a_state_that_is_another_feeds_or_commands_or_schemas_is_refused_and_left_alone(feed):  # noqa: F811
    feed.replayed()
    tree = feed.tree
    feed.write(feed="other", state="net.state")
    assert feed.refused() == "net.state belongs to the feed 'net', not to 'other'"
    assert feed.refused(command="alerts") == "net.state belongs to the feed 'net', not to 'other'"
    feed.write(
        schema={"fields": {"user": "id", "bytes": "categorical", "port": "numeric", "service": "categorical"}}
    )
    assert feed.refused() == (
        "the schema changed since net.state was made: port is new; bytes was numeric, is categorical "
        "(--fresh starts anew and keeps the labels)"
    )
    feed.write()
    assert feed.refused(command="run") == "net.state was made by replay: run needs its own (--state DIR)"
    assert feed.refused("--seed", "3") == (
        "this state belongs to a replay of other files or another seed: --fresh starts anew and keeps the labels, "
        "--state DIR uses another state"
    )
    assert feed.refused("--fresh", "--labels", feed.folder / "no").startswith("the label file no cannot be")
    feed.source(paths=["gone.csv"])
    assert feed.refused("--fresh") == "gone.csv does not exist"
    feed.write(detector=tree["detector"] | {"name": "magic"})
    assert feed.refused("--fresh") == "detector.name: there is no detector called 'magic'"
    feed.write()
    assert "is finished" in feed.call("replay").err


def test_a_replay_refuses_a_state_made_by_run(feed):  # noqa: F811
    feed.call("run")
    assert feed.refused() == "net.state was made by run: replay needs its own (--state DIR)"


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("log.csv", "the state directory log.csv cannot be written: File exists"),
        ("log.csv/x", "the state directory log.csv/x cannot be written: "),
        ("/proc/x", "the state directory /proc/x cannot be written: "),
        (".", "is no state directory: it holds 'log.csv' but no format.json"),
    ],
)
def test_a_state_directory_that_cannot_be_one_is_refused(feed, place, sentence):  # noqa: F811
    assert sentence in feed.refused("--state", feed.folder / place)


def test_a_state_without_any_yet_is_refused_by_every_command_that_reads(feed):  # noqa: F811
    for command, *words in (
        ("alerts",), ("queue",), ("rejected",), ("status",), ("show", "x"), ("models", "list"), ("label", "x", "normal")
    ):  # fmt: skip
        assert feed.refused(*words, command=command) == "no state yet in net.state: run or replay first"


def test_a_locked_state_is_refused_with_the_process_that_holds_it(feed):  # noqa: F811
    process = start("replay", feed.path, "--rate", "20", log=feed.folder / "log")
    try:
        wait_for((feed.state / "store.db").exists, process)
        assert feed.call("replay", code=2).err.replace(f"{feed.folder}/", "") == (
            f"streamad: the state directory net.state is in use by process {process.pid}\n"
        )
    finally:
        stop(process, 15)


def test_a_network_file_system_is_refused_by_its_name(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs4 rw 0 0\n")
    with pytest.raises(
        StateError, match=r"is on a network file system \(nfs4\), which the store cannot live on"
    ):
        refuse_network(tmp_path / "state", mounts)


def test_a_second_file_with_another_header_ends_the_replay_and_loses_nothing(feed):  # noqa: F811
    feed.file("second.csv", "a,b\n1,2\n")
    feed.source(paths=["log.csv", "second.csv"])
    feed.write(source=yaml.safe_load(feed.path.read_text())["source"], limits={"batch_records": 100})
    assert (
        feed.call("replay", code=2)
        .err.splitlines()[-1]
        .endswith(
            "second.csv has no column of the schema: its columns are 'a', 'b', the schema's features are bytes, service"
        )
    )
    feed.file("second.csv", "service,bytes,user\n" + "http,7,v\n" * 5)
    assert feed.replayed()["records_in"] == 405


def test_a_state_whose_every_artifact_is_damaged_is_refused_until_it_is_made_anew(feed):  # noqa: F811
    feed.write(
        source=feed.tree["source"] | {"paths": ["log.csv", "second.csv"]}, limits={"batch_records": 100}
    )
    feed.file("second.csv", "a,b\n1,2\n")
    feed.call("replay", code=2)
    feed.file("second.csv", "service,bytes,user\n" + "http,7,v\n" * 5)
    tensors = feed.state / "artifacts" / "000001" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[::-1])
    warning, said = feed.call("replay", code=2).err.splitlines()
    assert json.loads(warning)["event"] == "artifact_unreadable"
    assert said == (
        f"streamad: no version in {feed.state}/artifacts can be read; replay --fresh starts anew and keeps the labels"
    )
    assert feed.replayed("--fresh")["records_in"] == 405


def test_a_replay_under_another_schema_starts_anew_with_fresh(feed):  # noqa: F811
    feed.replayed()
    feed.write(schema={"fields": FIELDS | {"user": "ignore"}})
    assert "user was id, is ignore" in feed.refused()
    assert feed.replayed("--fresh")["records_in"] == 400
    assert "is finished" in feed.call("replay").err
    feed.write()
    assert "user was ignore, is id" in feed.refused()
