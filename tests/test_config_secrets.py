"""Secrets of a connector's client, ``${NAME}`` and ``{file: PATH}``: read, and shown only as they were spelled."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from streamad.config import as_written, load_config
from streamad.errors import ConfigError

SECRET = "hunter2-is-my-word"


@pytest.fixture
def write(tmp_path):
    """A config with this source and these sinks, in a folder of its own."""

    def write(source, sinks=(), state="net.state"):
        path = tmp_path / "net.yaml"
        fields = {"user": "id", "bytes": "numeric"}
        tree = {
            "streamad": 1,
            "feed": "net",
            "source": source,
            "sinks": list(sinks),
            "state": state,
            "schema": {"fields": fields},
        }
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return path

    return write


def client(**settings):
    return {"type": "kafka", "client": settings}


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"word", "word"),
        (b"word\n", "word"),
        (b"word\r\n", "word"),
        (b"word\n\n", "word\n"),
        (b" two words \n", " two words "),
        ("schlüssel\n".encode(), "schlüssel"),
        (b"x" * 65536, "x" * 65536),
    ],
)
def test_a_secret_is_what_its_file_holds_less_the_last_newline(write, tmp_path, content, secret):
    (tmp_path / "word").write_bytes(content)
    config = load_config(write(client(password={"file": "word"})))
    assert config.source["client"]["password"] == secret


def test_a_secret_file_is_relative_to_the_config_and_may_be_named_by_the_environment(
    write, tmp_path, monkeypatch
):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "word").write_text(SECRET, encoding="utf-8")
    monkeypatch.setenv("KEYS", str(tmp_path / "keys"))
    path = write(
        client(a={"file": "keys/word"}, b={"file": "${KEYS}/word"}),
        [client(c={"file": str(tmp_path / "keys/word")})],
    )
    config = load_config(path)
    assert config.source["client"] == {"a": SECRET, "b": SECRET}
    assert config.sinks[0]["client"] == {"c": SECRET}
    state = client(d={"file": "keys/word"})
    config = load_config(write(client(), state=state))
    assert (config.state["client"], as_written(config.state)) == ({"d": SECRET}, state)


def test_a_secret_is_kept_and_shown_as_it_was_spelled(write, tmp_path, monkeypatch):
    (tmp_path / "word").write_text(SECRET, encoding="utf-8")
    monkeypatch.setenv("WORD", SECRET)
    source = client(password={"file": "word"}, key="${WORD}")
    config = load_config(write(source))
    assert as_written(config.source) == source
    assert json.loads(json.dumps(as_written(config.source))) == source
    assert SECRET not in repr(config)


def test_only_a_clients_settings_are_read_from_files(write, tmp_path):
    (tmp_path / "word").write_text(SECRET, encoding="utf-8")
    source = {"type": "other", "file": "word", "from": {"file": "word"}, "client": {"file": "word"}}
    sinks = [{"type": "other", "client": {"password": {"file": "word", "mode": 1}}}]
    config = load_config(write(source, sinks))
    assert (config.source, config.sinks) == (source, (sinks[0],))


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"file": "none"}, "none: No such file or directory; expected a file that can be read"),
        ({"file": "."}, ".: not a regular file; expected a file that can be read"),
        ({"file": "pipe"}, "pipe: not a regular file; expected a file that can be read"),
        ({"file": "empty"}, "empty holds nothing; expected a secret of at most 64 KiB"),
        ({"file": "line"}, "line holds nothing; expected a secret of at most 64 KiB"),
        ({"file": "large"}, "large holds too much; expected a secret of at most 64 KiB"),
        ({"file": "bytes"}, "bytes is not UTF-8; expected a file of text"),
        (
            {"file": "${HERE}/none"},
            "${HERE}/none: No such file or directory; expected a file that can be read",
        ),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_named(write, tmp_path, monkeypatch, setting, sentence):
    monkeypatch.setenv("HERE", SECRET)
    os.mkfifo(tmp_path / "pipe")
    for name, content in {"empty": b"", "line": b"\n", "large": b"x" * 65537, "bytes": b"\xff"}.items():
        (tmp_path / name).write_bytes(content)
    path = write({"type": "kafka", "client": {"sasl.password": setting}})
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert str(refused.value) == f"{path}: source.client.sasl.password: {sentence}"


def test_a_secret_file_without_a_name_or_with_an_unset_variable_is_refused(write, monkeypatch):
    monkeypatch.delenv("HERE", raising=False)
    path = write({"type": "kafka", "client": {"sasl.password": {"file": 5}}})
    with pytest.raises(
        ConfigError, match=r"source\.client\.sasl\.password\.file: found 5; expected the path of a file"
    ):
        load_config(path)
    path = write({"type": "kafka", "client": {"sasl.password": {"file": "${HERE}/x"}}})
    with pytest.raises(ConfigError, match=r"sasl\.password\.file: \$\{HERE\} is not set"):
        load_config(path)


def test_a_secret_file_that_may_not_be_read_is_named(write, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("streamad.config._start_of", denied)  # whoever runs the tests may read everything
    path = write({"type": "kafka", "client": {"sasl.password": {"file": "word"}}})
    with pytest.raises(
        ConfigError, match=r"sasl\.password: word: Permission denied; expected a file that can be"
    ):
        load_config(path)


def test_a_setting_with_dots_in_its_name_can_be_overridden(write, tmp_path, monkeypatch):
    (tmp_path / "word").write_text(SECRET, encoding="utf-8")
    monkeypatch.setenv("WORD", SECRET)
    words = (
        "source.client.sasl.password={file: word}",
        "source.client.ssl.key.password=${WORD}",
        "source.type=x",
    )
    config = load_config(write(client()), words)
    assert config.source == {"type": "x", "client": {"sasl.password": SECRET, "ssl.key.password": SECRET}}
