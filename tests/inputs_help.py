"""A small feed that learns within a second, and the one sentence with which wrong input is refused."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
import yaml

from streamad.cli import main

FIELDS = {"user": "id", "bytes": "numeric", "service": "categorical"}


def rows(count, *, first=0):
    """CSV lines of an unremarkable feed."""
    rng = random.Random(first)
    return "".join(
        f"u{n},{rng.randrange(1000)},{rng.choice(['http', 'dns', 'smtp'])}\n"
        for n in range(first, first + count)
    )


class Feed:
    """A config in a folder of its own, and commands on it."""

    def __init__(self, folder, capsys):
        self.folder, self._capsys = Path(folder), capsys
        self.tree = {
            "streamad": 1,
            "feed": "net",
            "source": {"type": "files", "paths": ["log.csv"], "format": "csv"},
            "schema": {"fields": dict(FIELDS)},
            "detector": {"members": 2, "hidden": [8], "latent": 2, "epochs": 1, "device": "cpu"},
            "training": {"warm_up": {"records": 200}},
        }
        self.path = self.folder / "net.yaml"
        self.state = self.folder / "net.state"
        self.write()
        self.file("log.csv", "user,bytes,service\n" + rows(400))

    def write(self, **sections):
        """The config with these sections instead of its own; None leaves one out."""
        tree = {name: value for name, value in (self.tree | sections).items() if value is not None}
        self.path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def source(self, **options):
        """The config with these options of the source."""
        self.write(source=self.tree["source"] | options)

    def file(self, name, content):
        """A file beside the config."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def call(self, command, *words, code=0):
        """What one command wrote to stdout and to stderr."""
        try:
            ended = main([command, str(self.path), *map(str, words)])
        except SystemExit as exit_:
            ended = exit_.code
        said = self._capsys.readouterr()
        assert ended == code, said.err
        return said

    def refused(self, *words, command="replay"):
        """The one sentence on stderr, stdout being empty and the state as it was."""
        before = contents(self.state)
        said = self._sentence(command, *words)
        assert contents(self.state) == before
        return said

    def refused_at_first(self, *words):
        """The one sentence of a replay that could not begin; a state without a record may have been made."""
        return self._sentence("replay", *words)

    def _sentence(self, command, *words):
        out, err = self.call(command, *words, code=2)
        assert (out, err.count("\n"), err[:10]) == ("", 1, "streamad: "), err
        return err[10:-1].replace(f"{self.folder}/", "")

    def ended(self, command, *words):
        """The exit code of one command."""
        code = main([command, str(self.path), *map(str, words)])
        self._capsys.readouterr()
        return code

    def replayed(self, *words):
        """The summary of a replay."""
        return json.loads(self.call("replay", *words).out)

    def lines(self, command, *words):
        """The NDJSON that a command wrote."""
        return [json.loads(line) for line in self.call(command, *words).out.splitlines()]


@pytest.fixture
def feed(tmp_path, capsys):
    """A feed of 400 good records that nothing was done with yet."""
    return Feed(tmp_path, capsys)


def contents(folder):
    """Every file of a folder by its hash, but what any opening of a state makes; None where there is none."""
    if not folder.exists():
        return None
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and not path.name.endswith(("-wal", "-shm"))
    }
