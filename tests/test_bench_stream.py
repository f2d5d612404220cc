"""``streamad bench stream`` as users run it, on short streams under the streams' names."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
from stream_help import QUICK, RECORDS, short, use_short_streams

from streamad.bench.stream import methods, product
from streamad.bench.stream.analyst import Analyst
from streamad.bench.stream.methods import METHODS
from streamad.cli import main
from streamad.errors import TrainingError
from streamad.state.queries import Reader

KEYS = {
    "stream",
    "method",
    "labels",
    "delay",
    "wrong_labels",
    "seed",
    "average_precision",
    "auroc",
    "recall_at_budget",
    "family_recall",
    "recall_unseen",
    "families_found",
    "alert_rate",
    "seconds",
}
PEERS = ("isolation forest", "lookup")


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Runs the command on short streams; gives its exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")
    use_short_streams(monkeypatch, "generator-stationary", "generator-drifting")

    def command(*words):
        changes = (word for change in QUICK for word in ("--set", change))
        code = main(["bench", "stream", "--data", str(tmp_path), *map(str, words), *changes])
        return code, *capsys.readouterr()

    return command


def test_a_run_shows_and_writes_every_cell(bench, tmp_path):
    target, page = tmp_path / "out.json", tmp_path / "out.html"
    words = ("--methods", *PEERS, "--labels", 0, 10, "--seeds", 2, "--delay", 100, "--wrong-labels", 0.1)
    code, out, err = bench(*words, "--json", target, "--html", page)
    assert code == 0
    rows = json.loads(target.read_text())
    assert all(row.keys() == KEYS for row in rows)
    assert [(r["stream"], r["seed"], r["method"], r["labels"]) for r in rows] == [
        (stream, seed, method, labels)
        for stream in ("generator-stationary", "generator-drifting")
        for seed in (0, 1)
        for labels, method in ((0, "isolation forest"), (10, "lookup"))
    ]
    assert {(r["delay"], r["wrong_labels"], r["alert_rate"]) for r in rows} == {(100, 0.1, None)}
    assert all(0 < r["average_precision"] <= 1 for r in rows)
    assert out.count("generator-stationary, 10 labels") == 1
    assert "8/8 generator-drifting · lookup · 10 labels · seed 1" in err
    text = page.read_text()
    assert text.count("<svg") == 4
    assert "2 seed(s), a verdict 100 records after its question, 10% of them wrong" in text


def test_a_second_run_computes_nothing_and_writes_the_same(bench, tmp_path, monkeypatch):
    target = tmp_path / "out.json"
    words = ("--streams", "generator-stationary", "--methods", "lookup", "--labels", 10, "--seeds", 1)
    bench(*words, "--json", target)
    first = target.read_text()
    monkeypatch.setattr("streamad.bench.stream.evaluate.judge", None)
    code, _, err = bench(*words, "--json", target)
    assert (code, err, target.read_text()) == (0, "", first)


def test_the_product_learns_from_the_answers_and_says_the_same_twice(bench, tmp_path):
    target = tmp_path / "out.json"
    words = ("--streams", "generator-stationary", "--methods", "streamad", "--seeds", 1, "--delay", 50)
    assert bench(*words, "--labels", 30, "--json", target)[0] == 0
    (first,) = json.loads(target.read_text())
    target.with_suffix(".cells.jsonl").unlink()
    bench(*words, "--labels", 30, 0, "--json", target)
    again, unlabeled = json.loads(target.read_text())
    assert first.pop("seconds") != again.pop("seconds")
    assert again == first
    assert (unlabeled["families_found"], first["families_found"] > 0) == (0, True)
    assert unlabeled["average_precision"] != first["average_precision"]
    assert 0 < unlabeled["alert_rate"] < 1


def test_the_product_is_answered_through_its_store_and_never_before_the_delay(monkeypatch, tmp_path):
    use_short_streams(monkeypatch)
    monkeypatch.setattr(product, "TemporaryDirectory", lambda **_: nullcontext(str(tmp_path)))
    asked_at = {}

    class Noting(Analyst):
        def ask(self, rows, records):
            assert all(row < records for row in rows)
            asked_at.update(dict.fromkeys(rows, records))
            super().ask(rows, records)

    analyst = Noting(short("x", 0), labels=10, delay=150, wrong=0.0, seed=0)
    emitted = product.play(short("x", 0), analyst, 0, QUICK)
    assert len(emitted.score) == RECORDS
    assert len(asked_at) == len(analyst.asked) == 10
    (store,) = tmp_path.glob("*.state/store.db")
    with Reader(store) as reader:
        applied = [(int(e.event_id.rpartition(":")[2]) - 1, e.record_number) for e in reader.log_after()]
    assert {row for row, _ in applied} == {row for row, at in asked_at.items() if at + 150 < RECORDS}
    assert all(150 <= number - asked_at[row] <= 250 for row, number in applied)


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if n not in {"streamad", *PEERS} and not m.package]
)
def test_every_peer_ranks_a_short_stream(bench, tmp_path, name):
    target = tmp_path / "out.json"
    words = ("--streams", "generator-stationary", "--methods", name, "--labels", 0, 20, "--seeds", 1)
    assert bench(*words, "--delay", 50, "--json", target)[0] == 0
    (row,) = json.loads(target.read_text())
    assert row["auroc"] > 0


def test_a_method_that_fails_leaves_the_others_and_is_told_at_the_end(bench, tmp_path, monkeypatch):
    def failing(*_):
        raise TrainingError("it did not converge")

    monkeypatch.setitem(METHODS, "isolation forest", methods.Method(failing, (), with_labels=False))
    words = ("--streams", "generator-stationary", "--methods", *PEERS, "--labels", 0, 10, "--seeds", 1)
    code, out, err = bench(*words, "--json", tmp_path / "out.json")
    assert code == TrainingError.exit_code
    assert (
        "1 of 2 cells failed, first generator-stationary · isolation forest · 0 labels · seed 0: it did"
        in err
    )
    assert "lookup" in out


def test_a_method_whose_package_is_missing_is_left_out_with_a_sentence(bench, monkeypatch):
    monkeypatch.setattr("streamad.bench.stream.methods.importlib.util.find_spec", lambda _: None)
    words = ("--streams", "generator-stationary", "--seeds", 1, "--labels", 0)
    code, _, err = bench(*words, "--methods", "isolation forest", "loda, pysad")
    assert code == 0
    assert "loda, pysad left out: pysad is not installed (pip install streamad[bench])" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--streams", "kdd"), "there is no stream 'kdd'"),
        (("--methods", "magic"), "there is no method 'magic'; there are streamad, isolation forest"),
        (("--methods", "lookup", "--labels", 0), "none of these methods runs with these numbers of labels"),
        (("--json", "/nowhere/out.json"), "/nowhere/out.json cannot be written"),
    ],
)
def test_what_does_not_exist_is_said_in_one_sentence(bench, words, said):
    code, out, err = bench(*words)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    "words", [("--labels", "-1"), ("--wrong-labels", "1.5"), ("--wrong-labels", "few"), ("--seeds", "0")]
)
def test_numbers_that_mean_nothing_are_refused(bench, words, capsys):
    with pytest.raises(SystemExit) as raised:
        bench(*words)
    assert raised.value.code == 2
    assert capsys.readouterr().err.startswith("streamad: ")


def test_without_matplotlib_a_png_is_refused_before_the_work(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("streamad.bench.stream.curves.importlib.util.find_spec", lambda _: None)
    code, _, err = bench("--png", tmp_path / "out.png")
    assert code == 2
    assert "--png needs matplotlib, which is not installed (pip install streamad[bench])" in err


def test_a_png_holds_a_panel_for_each_stream_and_number_of_labels(bench, tmp_path):
    pytest.importorskip("matplotlib")
    target = tmp_path / "out.png"
    code, _, _ = bench("--methods", *PEERS, "--labels", 0, 10, "--seeds", 1, "--png", target)
    data = target.read_bytes()
    assert (code, data[:8]) == (0, b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (1320, 792)
