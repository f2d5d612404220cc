"""`streamad run --check` on one machine: what a start would lack, without a trace."""

from __future__ import annotations

import json
import os

import pytest
from inputs_help import Feed, contents

from streamad.config import load_config
from streamad.state.directory import hold_state

WELL = {
    "config": ("ok", "config net.yaml: feed net, 2 features"),
    "detector": ("ok", "detector dp_vae: on the cpu"),
    "source": ("ok", "source files: can be read"),
    "sinks": ("ok", "sinks: none but the store"),
    "state": ("ok", "state directory net.state"),
}


@pytest.fixture
def feed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Feed(tmp_path, capsys)


def found(feed, code=0):
    """What was found, each with its kind; the test's folder is left out."""
    rows = [json.loads(line) for line in feed.call("run", "--check", code=code).out.splitlines()]
    return [(row["found"], row["text"].replace(f"{feed.folder}/", "")) for row in rows]


def but(**changes):
    """What is well, but for this."""
    return [*(WELL | changes).values()]


def hold(feed, made_by="run"):
    schema = load_config(feed.path).schema_
    return hold_state(feed.state, feed="net", made_by=made_by, schema=schema)


def test_what_is_well_is_listed_and_nothing_is_made(feed):
    before = contents(feed.folder)
    assert found(feed) == but()
    assert (contents(feed.folder), feed.state.exists()) == (before, False)


def test_each_problem_is_told_with_the_others(feed):
    (feed.folder / "log.csv").unlink()
    feed.write(
        detector={"name": "deep_sad", "settings": {"nu": 3}},
        sinks=[{"type": "ndjson", "path": "no/a.ndjson"}],
    )
    with hold(feed, made_by="replay"):
        pass
    assert found(feed, code=2) == but(
        detector=(
            "problem",
            "detector.settings: deep_sad has no setting 'nu' (it has: eta, norm, pretraining)",
        ),
        source=("problem", "log.csv does not exist"),
        sinks=("problem", "the folder no of sink a.ndjson does not exist"),
        state=("problem", "net.state was made by replay: run needs its own (--state DIR)"),
    )


def test_a_state_that_is_held_is_a_warning(feed):
    with hold(feed):
        warning = f"net.state is held by process {os.getpid()}: a second run is refused while that one runs"
        assert found(feed) == [*but(), ("warning", warning)]


def test_a_changed_schema_is_a_problem(feed):
    with hold(feed):
        pass
    feed.write(schema={"fields": {"user": "id", "bytes": "numeric", "service": "ignore"}})
    sentence = (
        "the schema changed since net.state was made: service was categorical, is ignore (streamad fit --new-schema "
        "takes it over)"
    )
    config = ("ok", "config net.yaml: feed net, 1 feature")
    assert found(feed, code=2) == but(config=config, state=("problem", sentence))


def test_a_state_that_could_not_be_written_is_a_problem(feed):
    feed.file("file", "")
    feed.write(state="file/net.state")
    sentence = "the state directory file/net.state cannot be written: let this user write file"
    assert found(feed, code=2) == but(state=("problem", sentence))


def test_standard_input_is_left_alone(feed):
    feed.write(source={"type": "stdin", "format": "csv"})
    assert found(feed) == but(source=("ok", "source stdin: not looked at"))


def test_people_are_shown_a_table(feed, monkeypatch):
    monkeypatch.setattr("streamad.commands.screen.piped", lambda: False)
    assert feed.call("run", "--check").out.splitlines()[2] == "ok  source files: can be read"


def test_a_config_that_is_none_and_a_trainer_without_a_cluster_are_one_sentence(feed):
    sentence = (
        "net.yaml: state: found a directory; expected type: kafka, since this is one process of a cluster"
    )
    assert feed.refused("--check", command="trainer") == sentence
    feed.write(feed=None)
    assert feed.refused("--check", command="run") == "net.yaml: feed: missing; expected a value"
