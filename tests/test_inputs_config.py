"""Wrong configs and command lines: one clear sentence, exit code 2, and no state is made."""

from __future__ import annotations

import pytest
from inputs_help import FIELDS, feed  # noqa: F401  # a fixture

from streamad.cli import main

SECRET = "hunter2-is-my-word"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [1\nb", "not YAML at line 2"),
        (b"a: \xff\xfe", "cannot be read"),
        (b"a: \x00", "not YAML"),
        (b"- a\n", "found a list; expected a YAML mapping"),
        (b"", "found nothing; expected a YAML mapping"),
        (b"[" * 3000, "not YAML that can be read"),
        (b"a: 2001-99-99\n", "not YAML that can be read"),
        (b"feed: a\nfeed: b\n", "feed is there twice at line 2"),
        (b"&a {x: *a}\n", "a mapping that holds itself"),
        (b"? [a]\n: 2\n", "found unhashable key at line 1"),
    ],
)
def test_a_config_that_is_no_mapping_in_yaml_is_refused(feed, content, sentence):  # noqa: F811
    feed.path.write_bytes(content)
    assert sentence in feed.refused()


def test_a_config_that_is_not_there_or_a_directory_is_refused(feed):  # noqa: F811
    feed.path.unlink()
    assert feed.refused() == "net.yaml: no such file; expected a config (streamad init makes one)"
    feed.path.mkdir()
    assert "Is a directory" in feed.refused()


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"foo": 1}, "net.yaml: foo: unknown key; expected one of streamad, feed, state, source, schema, "),
        ({"feed": None}, "net.yaml: feed: missing; expected a value"),
        ({"feed": "../x"}, "net.yaml: feed: found '../x'; expected a string that should match pattern"),
        ({"streamad": 2}, "net.yaml: streamad: found 2; expected 1"),
        ({"detector": {"membrs": 2}}, "net.yaml: detector.membrs: unknown key"),
        ({"detector": {"epochs": [1]}}, "net.yaml: detector.epochs: found a list; expected a valid integer"),
        ({"detector": {"hidden": [8, 0]}}, "net.yaml: detector.hidden.1: found 0; expected greater than"),
        ({"detector": {"device": "toaster"}}, "net.yaml: detector.device: found 'toaster'"),
        ({"detector": {"name": "magic"}}, "detector.name: there is no detector called 'magic'"),
        ({"detector": {"name": "head"}}, "detector.name: 'head' is not a detector"),
        ({"training": 5}, "net.yaml: training: found 5; expected a mapping"),
        (
            {"training": {"warm_up": {"records": "lots"}}},
            "net.yaml: training.warm_up.records: found 'lots'; expected a valid integer",
        ),
        (
            {"alerts": {"budget": "lots"}},
            "net.yaml: alerts.budget: found 'lots'; expected a valid number or a",
        ),
        ({"alerts": {"budget": 0}}, "net.yaml: alerts.budget: found 0; expected greater than 0"),
        (
            {"alerts": {"budget": "0.0/h"}},
            "net.yaml: alerts.budget: found '0.0/h'; expected a valid number or more than 0 alerts an hour",
        ),
        ({"alerts": {"budget": "9/h"}}, "net.yaml: alerts.budget: found '9/h' without schema.time"),
        ({"source": {"type": "floppy"}}, "net.yaml: source.type: found 'floppy'; expected one of files, gen"),
        ({"source": {"type": ["files"]}}, "net.yaml: source.type: found ['files']; expected one of"),
        ({"source": {"paths": ["x"]}}, "net.yaml: source.type: found None; expected one of"),
        ({"source": "log.csv"}, "net.yaml: source: found 'log.csv'; expected a mapping"),
        ({"source": {"type": "files"}}, "net.yaml: source.paths: missing; expected a value"),
        ({"source": {"type": "files", "paths": "x"}}, "net.yaml: source.paths: found 'x'; expected a list"),
        (
            {"source": {"type": "files", "paths": []}},
            "net.yaml: source.paths: found a list; expected a list that should have at least 1 item",
        ),
        ({"source": {"type": "generator"}}, "source.records is not set, so a replay of the generator would"),
        ({"sinks": [{"type": "floppy"}]}, "net.yaml: sinks.0.type: found 'floppy'; expected one of"),
        ({"sinks": [{"type": "ndjson", "path": "no/x"}]}, "the folder no of sink x does not exist"),
        (
            {"sinks": [{"type": "ndjson", "path": ["x"]}]},
            "net.yaml: sinks.0.path: found a list; expected a path",
        ),
        (
            {"schema": {"fields": FIELDS | {"bytes": "number"}}},
            "net.yaml: schema.fields.bytes: found 'number'",
        ),
        (
            {"schema": {"fields": FIELDS | {"bytes": "id"}}},
            "at most one field with the word id, not user, bytes",
        ),
        (
            {"schema": {"fields": {"user": "id"}}},
            "net.yaml: schema: found a mapping; expected at least one feat",
        ),
    ],
)
def test_a_config_with_a_wrong_key_or_value_is_refused_by_its_path(feed, sections, sentence):  # noqa: F811
    feed.write(**sections)
    assert sentence in feed.refused()


@pytest.mark.parametrize(
    ("clock", "sentence"),
    [
        ({"zone": "Mars/Base"}, "schema.time.zone: found 'Mars/Base'; expected the IANA name of a time zone"),
        ({"zone": "../../etc/passwd"}, "schema.time.zone: found '../../etc/passwd'"),
        ({"zone": ""}, "schema.time.zone: found ''"),
        *[
            (
                {"format": form},
                f"schema.time.format: found {form!r}; expected iso, epoch_s, epoch_ms, epoch_us or",
            )
            for form in ("nonsense", "%Q", "%", "%H:%M", "%Y", "%Y-%m-%d %Y", "%s", "%U %w")
        ],
    ],
)
def test_a_time_that_could_never_be_read_is_refused(feed, clock, sentence):  # noqa: F811
    time = {"field": "t", "format": "iso", "zone": "UTC"} | clock
    feed.write(schema={"fields": FIELDS | {"t": "time"}, "time": time})
    assert sentence in feed.refused()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "abc"], "net.yaml: --set: found 'abc'; expected KEY=VALUE, as in alerts.budget=0.01"),
        (["--set", "=1"], "net.yaml: --set: found '=1'; expected KEY=VALUE"),
        (["--set", "foo.bar=1"], "net.yaml: foo: unknown key"),
        (["--set", "feed.x=1"], "net.yaml: feed.x: feed is no mapping; expected a key path that exists"),
        (["--set", "feed=[1"], "net.yaml: feed: not YAML at line 1; expected a YAML value"),
        (["--set", "feed=2001-99-99"], "net.yaml: feed: not YAML that can be read; expected a YAML value"),
        (["--set", "feed=" + "[" * 3000], "net.yaml: feed: not YAML that can be read"),
        (["--set", "alerts..budget=1"], "net.yaml: alerts.: unknown key"),
        (["--set", "source.format=\x1b[31m"], "net.yaml: source.format: not YAML"),
        (["--speed", "10"], "--speed goes by event time, and the config has no schema.time"),
        (["--rate", "0"], "argument --rate: '0' is no number above 0; see streamad replay --help"),
        (["--rate", "x"], "argument --rate: 'x' is no number above 0"),
        (["--rate", "nan"], "argument --rate: 'nan' is no number above 0"),
        (["--rate", "1", "--speed", "1"], "argument --speed: not allowed with argument --rate"),
        (["--seed", "-1"], "argument --seed: "),
        (
            ["--seed", "99999999999999999999"],
            "argument --seed: '99999999999999999999' is no whole number from",
        ),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(feed, words, sentence):  # noqa: F811
    assert sentence in feed.refused(*words)


@pytest.mark.parametrize(
    ("command", "help_text"),
    [
        ("run", "--state DIR use this state directory; refused in a cluster, which has none"),
        ("trainer", "--state DIR use this state directory; refused in a cluster, which has none"),
        ("alerts", "--state DIR use this state directory --set"),
    ],
)
def test_the_help_says_where_a_state_directory_is_refused(capsys, command, help_text):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert help_text in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "sections",
    [
        {"feed": "${PLANTED}/x"},
        {"detector": {"members": "${PLANTED}"}},
        {"source": {"type": "${PLANTED}"}},
        {"source": {"type": "files", "paths": "${PLANTED}"}},
        {"source": {"type": "files", "paths": ["log.csv"], "format": "x${PLANTED}"}},
        {"source": {"type": "files", "paths": ["log.csv"], "delimiter": "${PLANTED}"}},
        {"source": {"type": "files", "paths": ["log.csv"], "key": "${PLANTED}"}},
        {"sinks": [{"type": "ndjson", "path": {"${PLANTED}": "${PLANTED}"}}]},
        {"sinks": [{"type": "${PLANTED}"}]},
        {"schema": {"fields": FIELDS | {"t": "time"}, "time": {"field": "t", "zone": "${PLANTED}"}}},
        {"schema": {"fields": FIELDS | {"t": "time"}, "time": {"field": "t", "format": "${PLANTED}"}}},
    ],
)
def test_a_value_from_the_environment_is_never_shown(feed, monkeypatch, sections):  # noqa: F811
    monkeypatch.setenv("PLANTED", SECRET)
    feed.write(**sections)
    assert SECRET not in feed.refused()


def test_a_variable_that_is_not_set_is_named(feed, monkeypatch):  # noqa: F811
    monkeypatch.delenv("PLANTED", raising=False)
    feed.source(paths=["${PLANTED}.csv"])
    assert feed.refused() == (
        "net.yaml: source.paths.0: ${PLANTED} is not set; expected that environment variable"
    )


def test_a_value_from_the_environment_works_and_is_kept_nowhere(feed, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PLANTED", SECRET)
    feed.file(f"{SECRET}.ndjson", "")
    feed.write(sinks=[{"type": "ndjson", "path": "${PLANTED}.ndjson"}], alerts={"budget": 0.5})
    out, err = feed.call("replay")
    assert (feed.folder / f"{SECRET}.ndjson").stat().st_size > 0
    kept = [path for path in feed.state.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert (SECRET in out + err, kept) == (False, [])
