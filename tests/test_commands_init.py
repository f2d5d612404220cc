"""`streamad init`: from a file to a config that runs, and nothing overwritten."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import yaml

from streamad.cli import main
from streamad.config import load_config

TABLE = b"host,bytes\n" + b"".join(b"h%d,%d.5\n" % (k % 3, k * k) for k in range(60))


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "logs" / "conn.csv"
    path.parent.mkdir()
    path.write_bytes(TABLE)
    return path


@pytest.fixture
def _piped_table(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TABLE)))


@pytest.mark.usefixtures("log")
def test_a_config_is_written_and_the_next_command_said(capsys):
    assert main(["init", "logs/conn.csv", "--out", "my feed.yaml"]) == 0
    assert capsys.readouterr() == ("", "next: streamad replay 'my feed.yaml'\n")
    config = load_config(Path("my feed.yaml"))
    assert config.source == {
        "type": "files",
        "paths": ["logs/conn.csv"],
        "format": "csv",
        "header": True,
        "delimiter": ",",
        "follow": False,
    }
    assert config.schema_.fields == {"host": "categorical", "bytes": "numeric"}


def test_paths_in_a_config_elsewhere_start_at_the_config(log):
    assert main(["init", "logs/conn.csv", "--out", "logs/a.yaml"]) == 0
    assert load_config(Path("logs/a.yaml")).source["paths"] == ["conn.csv"]
    Path("other").mkdir()
    assert main(["init", "logs/conn.csv", "--out", "other/a.yaml"]) == 0
    assert load_config(Path("other/a.yaml")).source["paths"] == [str(log)]


@pytest.mark.usefixtures("log")
def test_without_out_the_config_goes_to_stdout(capsys):
    assert main(["init", "logs/conn.csv"]) == 0
    out, err = capsys.readouterr()
    assert yaml.safe_load(out)["source"]["paths"] == ["logs/conn.csv"]
    assert err == "this config works from here; --out CONFIG writes it to a file\n"


@pytest.mark.usefixtures("_piped_table")
def test_a_sample_may_come_from_stdin(tmp_path, capsys):
    out = tmp_path / "a.yaml"
    assert main(["init", "-", "--out", str(out)]) == 0
    assert load_config(out).source["type"] == "stdin"
    assert capsys.readouterr().err == f"next: streamad replay {out} < FILE\n"


@pytest.mark.usefixtures("log")
def test_an_existing_file_is_not_overwritten(capsys):
    Path("mine.yaml").write_text("mine", encoding="utf-8")
    Path("dangling.yaml").symlink_to("nowhere")
    for name in ("mine.yaml", "dangling.yaml"):
        assert main(["init", "logs/conn.csv", "--out", name]) == 2
        assert capsys.readouterr() == (
            "",
            f"streamad: {name} exists already, and init overwrites nothing\n",
        )
    assert Path("mine.yaml").read_text(encoding="utf-8") == "mine"
    assert not Path("nowhere").exists()


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("no.csv",), "no.csv does not exist"),
        (("logs",), "logs is a directory; name one of its files"),
        (
            ("logs/conn.csv", "--out", "no/a.yaml"),
            "no/a.yaml cannot be written: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(capsys, words, sentence):
    assert main(["init", *words]) == 2
    assert capsys.readouterr() == ("", f"streamad: {sentence}\n")
