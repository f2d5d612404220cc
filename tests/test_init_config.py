"""The configs: those that `init` writes and those that come with streamad run as they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from streamad_connectors.files import FilesOptions
from streamad_connectors.ndjson import NdjsonOptions
from streamad_connectors.stdin import StdinOptions
from streamad_connectors.synthetic import GeneratorOptions, generate_lines

from streamad.config import load_config
from streamad.records.infer import infer
from streamad.records.sample import read_sample, sample_of
from streamad.records.schema import PayloadFormat
from streamad.records.template import config_text, feed_name, init_config, quoted

SOURCES = {"files": FilesOptions, "stdin": StdinOptions, "generator": GeneratorOptions}
SHIPPED = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
TABLE = b"ts,host,bytes\n" + b"".join(
    b"2026-01-01 00:00:%02d,h%d,%d.5\n" % (k, k % 3, k * k) for k in range(60)
)


def checked(path):
    """The config and its source's options, each validated by its own model."""
    config = load_config(path)
    for sink in config.sinks:
        NdjsonOptions.model_validate(sink)
    return config, SOURCES[config.source["type"]].model_validate(config.source)


def written(tmp_path, source, data=b""):
    text, feed = init_config(str(source), tmp_path / "made.yaml", io.BytesIO(data))
    (tmp_path / "made.yaml").write_text(text, encoding="utf-8")
    config, options = checked(tmp_path / "made.yaml")
    assert config.feed == feed
    return text, config, options


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_config_is_valid(path):
    config, options = checked(path)
    assert config.feed
    assert options.type == config.source["type"]


def test_the_shipped_configs_are_these():
    assert [path.name for path in SHIPPED] == ["generator.yaml", "growing-file.yaml", "kddcup99.yaml"]


@pytest.mark.parametrize("name", ["generator.yaml", "kddcup99.yaml"])
def test_the_shipped_kdd_schema_is_the_inferred_one(name):
    path = next(path for path in SHIPPED if path.name == name)
    inferred = infer(sample_of(generate_lines(1, 0, 1000), "generated"))
    assert load_config(path).schema_.fields == inferred.schema.fields
    assert tuple(load_config(path).schema_.fields) == tuple(inferred.schema.fields)


def test_the_written_config_says_what_was_inferred(tmp_path):
    (tmp_path / "net log.csv").write_bytes(TABLE)
    text, config, options = written(tmp_path, tmp_path / "net log.csv")
    assert config.feed == "net-log"
    assert config.schema_ == infer(read_sample(tmp_path / "net log.csv")).schema
    assert options.format == "csv"
    assert options.header
    assert "zone: UTC" in text
    assert "# the times carry no zone" in text
    assert "grows like a clock" in text


def test_a_relative_path_starts_at_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    Path("in/a.csv").write_bytes(TABLE)
    here, _ = init_config("in/a.csv", None, io.BytesIO())
    beside, _ = init_config("in/a.csv", Path("in/a.yaml"), io.BytesIO())
    away, _ = init_config("in/a.csv", Path("out/a.yaml"), io.BytesIO())
    assert [yaml.safe_load(text)["source"]["paths"] for text in (here, beside, away)] == [
        ["in/a.csv"],
        ["a.csv"],
        [str(tmp_path / "in/a.csv")],
    ]


def test_a_file_name_with_marks_of_a_pattern_means_this_file(tmp_path):
    (tmp_path / "a[1]*.csv").write_bytes(TABLE)
    _, _, options = written(tmp_path, tmp_path / "a[1]*.csv")
    assert options.paths == (str(tmp_path / "a[[]1][*].csv"),)


def test_standard_input_makes_a_stdin_source(tmp_path):
    _, config, options = written(tmp_path, "-", TABLE)
    assert config.feed == "stdin"
    assert options == StdinOptions(type="stdin", format="csv", header=True)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=8, unique=True))
def test_any_field_name_survives_the_config(names):
    record = json.dumps(dict.fromkeys([*names, "amount"], 1.5)).encode()  # a lone name may be a label's
    inferred = infer(sample_of(b"\n".join([record] * 30), "sample"))
    text = config_text(inferred, "feed", {"type": "stdin"})
    tree = yaml.safe_load(text)
    assert tree["schema"]["fields"] == inferred.schema.fields
    assert "numeric" in set(tree["schema"]["fields"].values())


@pytest.mark.parametrize(
    "name",
    [
        "a: b",
        "# c",
        "it's",
        'say "x"',
        "naïve",
        "two\nlines",
        "yes",
        "null",
        "1",
        "",
        " x",
        "😀",
        "\x1b[0m",
        "${HOME}",
        "\u200b" * 256,
    ],
)
def test_a_hostile_field_name_is_quoted(tmp_path, name):
    lines = [json.dumps({name: f"2026-01-01T00:00:{k:02}", "value": k / 3}) for k in range(60)]
    (tmp_path / "log").write_text("\n".join(lines), encoding="utf-8")
    text, config, _ = written(tmp_path, tmp_path / "log")
    assert list(config.schema_.fields) == [name, "value"]
    assert "\x1b" not in text


def test_hostile_values_stay_within_their_comment(tmp_path):
    values = ["a\nstreamad: 2", "b\x1b[31m", "# c", "\u2028d"]
    lines = [json.dumps({"x": values[k % 4], "y": k / 3}) for k in range(60)]
    (tmp_path / "log").write_text("\n".join(lines), encoding="utf-8")
    text, config, _ = written(tmp_path, tmp_path / "log")
    assert config.schema_.fields == {"x": "categorical", "y": "numeric"}
    assert "\x1b" not in text
    assert "\u2028" not in text


@pytest.mark.parametrize(
    "text", ["plain", "no", "~", "1e5", "0x1f", "2026-01-01", "\t", "\ud7ff\ue000", "\\", "a\u0085b"]
)
def test_a_quoted_text_reads_as_itself(text):
    assert yaml.safe_load(quoted(text)) == text


@pytest.mark.parametrize(
    ("file", "feed"),
    [
        ("kddcup.data_10_percent.gz", "kddcup.data_10_percent"),
        ("conn.log.zst", "conn"),
        ("été 2026.csv", "t-2026"),
        (".csv", "feed"),
        ("???", "feed"),
    ],
)
def test_a_feed_is_named_after_its_file(file, feed):
    assert feed_name(file) == feed


def test_a_delimiter_is_carried(tmp_path):
    (tmp_path / "t.tsv").write_bytes(TABLE.replace(b",", b"\t"))
    _, _, options = written(tmp_path, tmp_path / "t.tsv")
    assert PayloadFormat(
        format=options.format, header=options.header, delimiter=options.delimiter
    ) == PayloadFormat(format="csv", header=True, delimiter="\t")
