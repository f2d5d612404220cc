"""Everyday files from `init` to a replay's summary: what people have on their disks just works."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import subprocess
import sys

import polars as pl
import pytest
import yaml
import zstandard

from streamad.cli import main

NAMES = ("user", "bytes sent", "service", "message")
SMALL = [
    "detector.members=2",
    "detector.epochs=1",
    "detector.hidden=[8]",
    "detector.latent=2",
    "detector.device=cpu",
]


def records(count):
    """Rows of an everyday log."""
    rng = random.Random(4)
    return [
        (
            f"u-{n:05}",
            rng.randrange(5000),
            rng.choice(["http", "dns", "smtp"]),
            rng.choice(["ok", "a, b\nc", '"x"']),
        )
        for n in range(count)
    ]


def as_csv(rows, names=NAMES, *, line_end="\n", blanks=False):
    """A CSV file as programs write it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=line_end)
    if names:
        writer.writerow([f" {name} " for name in names] if blanks else names)
    writer.writerows(rows)
    return out.getvalue().encode()


class Desk:
    """A folder with a file in it, and streamad called on it."""

    def __init__(self, folder, capsys):
        self.folder, self._capsys = folder, capsys
        self.config = folder / "feed.yaml"

    def init(self, name, content=None):
        """The config made for a file."""
        if content is not None:
            (self.folder / name).write_bytes(content)
        assert main(["init", str(self.folder / name), "--out", str(self.config)]) == 0
        self._capsys.readouterr()
        return yaml.safe_load(self.config.read_text(encoding="utf-8"))

    def replay(self, *words):
        """The summary: records in, scored, rejected."""
        sets = [word for key in SMALL for word in ("--set", key)]
        assert main(["replay", str(self.config), *sets, *map(str, words)]) == 0
        summary = json.loads(self._capsys.readouterr().out)
        return summary["records_in"], summary["scored"], summary["rejected"]


@pytest.fixture
def desk(tmp_path, capsys):
    return Desk(tmp_path, capsys)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_csv_with_a_mark_blanks_carriage_returns_and_quotes(desk, pack):
    name = {bytes: "log.csv", gzip.compress: "log.csv.gz"}.get(pack, "log.csv.zst")
    content = b"\xef\xbb\xbf" + as_csv(records(300), line_end="\r\n", blanks=True)
    tree = desk.init(name, pack(content))
    assert tree["schema"]["fields"] == {
        "user": "id",
        "bytes sent": "numeric",
        "service": "categorical",
        "message": "categorical",
    }
    assert desk.replay() == (300, 300, 0)


def test_csv_without_a_header(desk):
    tree = desk.init("log.csv", as_csv([row[:3] for row in records(300)], ()))
    assert tree["source"]["header"] is False
    assert desk.replay() == (300, 300, 0)


def test_nested_ndjson(desk):
    lines = [
        json.dumps({"user": {"id": u}, "net": {"bytes": b, "service": s}}) for u, b, s, _ in records(300)
    ]
    tree = desk.init("log.ndjson", "\n".join(lines).encode())
    assert tree["schema"]["fields"] == {"user.id": "id", "net.bytes": "numeric", "net.service": "categorical"}
    assert desk.replay() == (300, 300, 0)


def test_parquet(desk):
    pl.DataFrame(records(300), schema=list(NAMES), orient="row").write_parquet(desk.folder / "log.parquet")
    tree = desk.init("log.parquet")
    assert tree["source"]["format"] == "parquet"
    assert desk.replay() == (300, 300, 0)


def test_several_files_whose_headers_have_another_order_map_by_name(desk):
    rows = records(400)
    desk.init("a.csv", as_csv(rows[:200]))
    (desk.folder / "b.csv").write_bytes(as_csv([row[::-1] for row in rows[200:]], NAMES[::-1]))
    (desk.folder / "whole.csv").write_bytes(as_csv(rows))
    scores = []
    for name, files in (("two", ("a.csv", "b.csv")), ("one", ("whole.csv",))):
        target = desk.folder / f"{name}.parquet"
        paths = [desk.folder / file for file in files]
        assert desk.replay(*paths, "--scores", target, "--state", desk.folder / name) == (400, 400, 0)
        scores.append(pl.read_parquet(target)["score"].to_list())
    assert scores[0] == scores[1]


def test_standard_input(desk):
    content = as_csv([row[:3] for row in records(300)], NAMES[:3])
    run = [sys.executable, "-m", "streamad"]
    subprocess.run(
        [*run, "init", "-", "--out", str(desk.config)], input=content, capture_output=True, check=True
    )
    sets = [word for key in SMALL for word in ("--set", key)]
    done = subprocess.run(
        [*run, "replay", str(desk.config), *sets], input=content, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["scored"] == 300


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_file_of_a_few_rows_is_fitted_on_what_is_there(desk, count):
    desk.init("log.csv", as_csv(records(count)))
    assert desk.replay() == (count, count, 0)


def test_columns_that_are_constant_or_hold_nothing(desk):
    rows = [(1, "same", "", n % 7) for n in range(300)]
    desk.init("log.csv", as_csv(rows, ("one", "word", "nothing", "n")))
    assert desk.replay() == (300, 300, 0)


def test_a_file_whose_numbers_are_all_missing(desk):
    desk.init("log.csv", as_csv(records(300)))
    (desk.folder / "holes.csv").write_bytes(as_csv([(u, "", s, m) for u, _, s, m in records(300)]))
    assert desk.replay(desk.folder / "holes.csv") == (300, 300, 0)


def test_three_hundred_columns_with_dots_quotes_and_other_scripts_in_their_names(desk):
    rng = random.Random(5)
    kinds = (
        "a.b.{}",
        'the "{}" one',
        "größe {}",
        "名前{}",
        "it's {}",
        "x,{}",
        "#{}: y",
        "yes{}",
        "${{{}}}",
    )
    names = [kinds[i % len(kinds)].format(i) for i in range(300)]
    rows = [[rng.randrange(100) for _ in names] for _ in range(200)]
    tree = desk.init("log.csv", as_csv(rows, names))
    assert list(tree["schema"]["fields"]) == names
    assert desk.replay() == (200, 200, 0)


def test_a_replay_takes_about_as_long_as_its_rate_says(desk):
    desk.init("log.csv", as_csv(records(300)))
    sets = [word for key in (*SMALL, "limits.batch_records=20") for word in ("--set", key)]
    assert main(["replay", str(desk.config), *sets, "--rate", "200"]) == 0
    summary = json.loads(desk._capsys.readouterr().out)
    assert 1.4 < summary["scoring_seconds"] < 5


def test_a_replay_takes_about_as_long_as_its_speed_says(desk):
    rows = [(f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z", b, s) for n, (_, b, s, _) in enumerate(records(300))]
    tree = desk.init("log.csv", as_csv(rows, ("when", "bytes", "service")))
    assert tree["schema"]["time"]["field"] == "when"
    sets = [word for key in (*SMALL, "limits.batch_records=20") for word in ("--set", key)]
    assert main(["replay", str(desk.config), *sets, "--speed", "200"]) == 0
    summary = json.loads(desk._capsys.readouterr().out)
    assert 1.3 < summary["scoring_seconds"] < 5
