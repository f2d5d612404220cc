"""``streamad bench papers`` as users run it, on small files under the papers' names."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from bench_help import folder_of

from streamad.bench.papers import evaluate, methods
from streamad.bench.papers.baselines import neighbours
from streamad.bench.papers.datasets import DataSet
from streamad.bench.papers.entries import SplitEntry
from streamad.bench.papers.grid import grids_of
from streamad.bench.papers.kept import Kept
from streamad.bench.papers.methods import METHODS
from streamad.bench.papers.report import means_of, published, rows_of
from streamad.bench.papers.run import Choice, cells_of, run
from streamad.bench.papers.tables import TABLES
from streamad.cli import main


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")


@pytest.fixture
def bench(tmp_path, capsys):
    """Runs the command on small sets; gives its exit code, stdout and stderr."""
    folder = folder_of(tmp_path / "data", "cardio", "satellite", "wine", "abalone")

    def command(*words, data=folder):
        code = main(["bench", "papers", "--data", str(data), *map(str, words)])
        return code, *capsys.readouterr()

    return command


def entries_of(path):
    return {
        (row["table"], row["dataset"], row["method"], row["setting"]): row
        for row in json.loads(path.read_text())
    }


SMALL = ("--table", "deep-sad-table-6", "--datasets", "cardio", "satellite", "--methods", "knn", "oc-svm raw")


def test_a_run_shows_and_writes_every_cell_beside_what_was_published(bench, tmp_path):
    json_file, html = tmp_path / "out.json", tmp_path / "out.html"
    code, out, err = bench(*SMALL, "--seeds", 2, "--json", json_file, "--html", html)
    assert code == 0
    rows = json.loads(json_file.read_text())
    assert [
        (r["dataset"], r["method"], r["seeds"], r["published_mean"], r["published_std"], r["half"])
        for r in rows
    ] == [
        ("cardio", "oc-svm raw", 2, 98.5, 0.3, "report"),
        ("cardio", "knn", 2, None, None, "report"),
        ("satellite", "oc-svm raw", 2, 95.1, 0.2, "development"),
        ("satellite", "knn", 2, None, None, "development"),
    ]
    assert all(50 < r["mean"] <= 100 and r["std"] >= 0 for r in rows)
    shown = {f"{r['mean']:.1f} ± {r['std']:.1f}" for r in rows}
    assert all(text in out and text in html.read_text() for text in shown)
    assert "98.5 ± 0.3" in out
    assert "98.5 ± 0.3" in html.read_text()
    mean = np.mean([r["mean"] for r in rows if r["method"] == "knn"])
    assert re.search(rf"mean .*{mean:.1f}", out)
    assert err.count("\n") == 4


def test_a_second_run_computes_nothing_and_writes_the_same(bench, tmp_path, monkeypatch):
    json_file = tmp_path / "out.json"
    bench(*SMALL, "--seeds", 2, "--json", json_file)
    first = json_file.read_bytes()
    json_file.unlink()
    monkeypatch.setattr(evaluate, "split_for", None)
    code, _, err = bench(*SMALL, "--seeds", 2, "--json", json_file)
    assert (code, err, json_file.read_bytes()) == (0, "", first)


def test_a_run_stopped_by_ctrl_c_goes_on_where_it_was(bench, tmp_path, monkeypatch):
    words = (*SMALL, "--seeds", 2, "--cache", tmp_path / "cache", "--json", tmp_path / "out.json")
    calls = []

    def stop_at_third(split, seed):
        calls.append(seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return neighbours(split, seed)

    with monkeypatch.context() as patch:
        patch.setitem(METHODS["deep-sad-table-6"], "knn", methods._plain(stop_at_third, "ignored"))
        assert bench(*words)[0] == 130
    assert not (tmp_path / "out.json").exists()
    kept = (tmp_path / "cache" / "cells.jsonl").read_text().splitlines()
    code, _, err = bench(*words)
    assert (code, err.count("\n")) == (0, 4 - len(kept))
    assert len(kept) in {1, 2, 3}


def test_a_line_cut_short_by_a_crash_is_computed_again(bench, tmp_path):
    json_file, cells = tmp_path / "out.json", tmp_path / "out.cells.jsonl"
    bench(*SMALL, "--seeds", 2, "--json", json_file)
    whole = entries_of(json_file)
    cells.write_bytes(cells.read_bytes()[:-40])
    _, _, err = bench(*SMALL, "--seeds", 2, "--json", json_file)
    assert err.count("\n") == 1
    assert {key: row["mean"] for key, row in entries_of(json_file).items()} == {
        k: r["mean"] for k, r in whole.items()
    }
    assert len([json.loads(line) for line in cells.read_text().splitlines()[-1:]]) == 1


def test_other_seeds_other_data_and_other_code_are_other_cells(bench, tmp_path, monkeypatch):
    words = ("--table", "deep-sad-table-6", "--methods", "knn", "--cache", tmp_path / "cache")
    cardio, two = ("--datasets", "cardio"), ("--seeds", 2)
    assert bench(*words, *cardio, *two)[2].count("\n") == 1
    assert bench(*words, *cardio, *two)[2] == ""
    assert bench(*words, *cardio, "--seeds", 3)[2].count("\n") == 1
    other = folder_of(tmp_path / "other", "satellite", "cardio")
    assert bench(*words, *cardio, *two, data=other)[2].count("\n") == 1
    monkeypatch.setattr(SplitEntry, "code", "changed")
    assert bench(*words, *cardio, *two)[2].count("\n") == 1


def test_processes_give_what_one_process_gives(bench, tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    words = (
        "--table",
        "ae-sad-table-2",
        "--datasets",
        "wine",
        "cardio",
        "--methods",
        "knn",
        "extratrees",
        "--seeds",
        2,
    )
    assert bench(*words, "--json", one)[0] == 0
    assert bench(*words, "--jobs", 2, "--json", two)[0] == 0
    plain = [[{**row, "seconds": 0} for row in json.loads(path.read_text())] for path in (one, two)]
    assert plain[0] == plain[1]


def test_a_method_that_fails_leaves_the_others_and_is_told_at_the_end(bench, tmp_path, monkeypatch):
    failing = methods._plain(lambda split, _: np.full(len(split.test_y), np.nan), "ignored")
    monkeypatch.setitem(METHODS["ae-sad-table-2"], "kde", failing)
    words = ("--table", "ae-sad-table-2", "--datasets", "cardio", "satellite", "--methods", "knn", "kde")
    code, out, err = bench(*words, "--seeds", 1, "--json", tmp_path / "out.json")
    assert code == 3
    assert [key[1:3] for key in entries_of(tmp_path / "out.json")] == [
        ("cardio", "knn"),
        ("satellite", "knn"),
    ]
    sentence = "2 of 4 cells failed, first kde on cardio: it gave a score that is no finite number"
    assert err.splitlines()[-1] == f"streamad: {sentence}"
    assert "kde" not in out


def test_the_pollution_table_runs_each_method_where_it_can_do_something(bench, tmp_path):
    json_file = tmp_path / "out.json"
    words = ("--table", "pollution", "--datasets", "cardio", "--seeds", 1, "--json", json_file)
    code, out, _ = bench(*words, "--methods", "knn", "logistic regression", "extratrees + knn ranks")
    assert code == 0
    found = {}
    for _, _, method, setting in entries_of(json_file):
        found.setdefault(method, set()).add(setting)
    every = {f"pollution {p} %, labels {m} %".replace(" %", "%") for p in (0, 1, 5, 10) for m in (0, 1, 5)}
    assert found == {
        "knn": {s for s in every if s.endswith("labels 0%")},
        "logistic regression": {s for s in every if not s.endswith("labels 0%")},
        "extratrees + knn ranks": every,
    }
    assert "pollution 10%, labels 5%" in out


def test_figure_four_is_one_search_told_at_several_numbers_of_answers(bench, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    family = np.repeat(np.array(["normal", *"abcdefghijkl"]), [300, *range(45, 21, -2)])
    x = rng.normal(0, 1, (len(family), 3)) + 4 * (family != "normal")[:, None] * np.array([1.0, 0, 0])
    data = DataSet("kddcup-rev", x, (family != "normal").astype(np.int8), family)
    monkeypatch.setattr(evaluate, "load", lambda *_: data)
    monkeypatch.setattr("streamad.bench.papers.run.file_of", lambda *_: tmp_path)
    monkeypatch.setattr("streamad.bench.papers.kept.file_of", lambda *_: tmp_path / "o")
    (tmp_path / "o").write_bytes(b"")
    monkeypatch.setattr("streamad.commands.benching.file_of", lambda *_: tmp_path)
    evaluate._loaded.cache_clear()
    words = ("--table", "uainets-figure-4", "--methods", "active extratrees", "--json", tmp_path / "out.json")
    code, out, _ = bench(*words)
    evaluate._loaded.cache_clear()
    rows = json.loads((tmp_path / "out.json").read_text())
    assert code == 0
    assert [row["setting"] for row in rows] == [
        f"{number} answers, {kind} families"
        for kind in ("known", "new")
        for number in ("0", "1,000", "2,000", "4,000", "8,000")
    ]
    assert {row["note"] for row in rows} == {"known families: a, c, e, f, g, h, i, j, k, l"}
    assert rows[4]["mean"] > 90
    assert "8,000 answers, new families" in out


def test_the_active_table_asks_k_rows_at_a_time(bench, tmp_path):
    words = (
        "--table",
        "uainets-table-1",
        "--datasets",
        "abalone",
        "--methods",
        "active extratrees",
        "--seeds",
        1,
        "--json",
        tmp_path / "o.json",
    )
    assert bench(*words)[0] == 0
    (row,) = entries_of(tmp_path / "o.json").values()
    assert (row["method"], row["metric"], row["note"]) == ("active extratrees", "F1", "3 queries a round")
    assert 0 <= row["mean"] <= 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--table", "table-9"],
            "there is no table 'table-9'; there are deep-sad-table-6, dp-vae-table-6, uainets-",
        ),
        (["--datasets", "iris"], "there is no data set 'iris'; there are annthyroid, arrhythmia, "),
        (["--methods", "magic"], "there is no method 'magic'; there are deep sad, "),
        (
            ["--table", "uainets-table-1", "--methods", "knn"],
            "there is no method 'knn'; there are dae-uai, ",
        ),
        (
            ["--datasets", "kddcup", "--table", "clustered"],
            "no method runs on these data sets in these tables",
        ),
        (
            ["--datasets", "pima"],
            "odds/pima.npz does not exist; name the folder of the data sets with --data DIR",
        ),
    ],
)
def test_what_does_not_exist_is_said_in_one_sentence(bench, words, sentence):
    code, out, err = bench(*words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--jobs", "-1"], ["--seeds", "two"]])
def test_a_number_that_is_none_is_refused(bench, capsys, words):
    with pytest.raises(SystemExit) as stopped:
        bench(*words)
    assert stopped.value.code == 2
    assert "is no whole number above 0" in capsys.readouterr().err


def test_a_result_that_cannot_be_written_is_found_out_before_the_work(bench, tmp_path):
    code, _, err = bench(*SMALL, "--json", tmp_path / "nowhere" / "out.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written" in err


def test_a_cache_that_cannot_be_written_is_found_out_before_the_work(bench, tmp_path):
    (tmp_path / "out.cells.jsonl").mkdir()
    code, _, err = bench(*SMALL, "--json", tmp_path / "out.json")
    assert code == 2
    assert err.count("\n") == 1
    assert "finished cells cannot be kept in" in err


def test_a_line_that_is_no_cell_is_passed_over(bench, tmp_path):
    (tmp_path / "out.cells.jsonl").write_text('{"key": 3}\n[1]\n')
    assert bench(*SMALL, "--seeds", 1, "--json", tmp_path / "out.json")[0] == 0


def test_a_method_whose_package_is_missing_is_left_out_with_a_sentence(bench, monkeypatch):
    monkeypatch.setattr("streamad.bench.papers.entries.importlib.util.find_spec", lambda _: None)
    code, out, err = bench(
        "--table", "deep-sad-table-6", "--datasets", "cardio", "--seeds", 1, "--methods", "knn", "pyod ecod"
    )
    assert code == 0
    assert "pyod ecod left out: pyod is not installed (pip install streamad[bench])" in err
    assert "pyod" not in out


def test_the_published_means_are_those_that_are_known():
    mean = {
        (table, method): round(float(np.mean([one[0] for one in sets.values()])), 1)
        for table, by_method in published().items()
        for method, sets in by_method.items()
    }
    known = {"vae": 90.6, "dp-vae": 95.8, "mml-vae": 96.1, "mml-dp-vae": 96.3}
    assert {method: mean["dp-vae-table-6", method] for method in known} == known
    assert mean["deep-sad-table-6", "deep sad"] == 93.2
    assert published()["uainets-table-1"]["dae-uai"]["abalone"] == [0.55, None]
    assert published()["ae-sad-table-2"]["ae-sad"]["shuttle"] == [0.808, 0.353]
    assert list(published()) == [name for name in TABLES if name in published()]


def test_means_leave_out_the_sets_that_stand_apart_and_are_told_for_both_halves(tmp_path):
    folder = folder_of(tmp_path, "cardio", "satellite", "shuttle")
    choice = Choice(("ae-sad-table-2",), ("cardio", "satellite", "shuttle"), ("knn", "oc-svm"), seeds=1)
    rows = rows_of(run(cells_of(choice), folder, Kept(None, folder), 1, lambda _: None))
    by_set = {row.dataset: row for row in rows if row.method == "oc-svm"}
    means = means_of(list(by_set.values()))
    cardio, satellite = by_set["cardio"].mean, by_set["satellite"].mean
    assert (means.sets, means.development, means.report) == (2, satellite, cardio)
    assert means.all == pytest.approx((cardio + satellite) / 2)
    assert means.published == pytest.approx((0.954 + 0.728) / 2)
    (grid,) = grids_of(rows)
    assert [line.label for line in grid.lines] == [
        "cardio", "satellite", "shuttle (apart)", "mean", "development half", "report half",
    ]  # fmt: skip


def test_kddcup_runs_only_when_it_is_named_and_then_once():
    active = ("uainets-table-1",)
    assert {cell.dataset for cell in cells_of(Choice(active))}.isdisjoint({"kddcup", "kddcup-rev"})
    assert {(c.dataset, c.seeds) for c in cells_of(Choice(active, ("kddcup", "yeast")))} == {
        ("kddcup", 1),
        ("yeast", 5),
    }
