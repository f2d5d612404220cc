"""The papers' data sets and how the tables divide them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from bench_help import folder_of, numbered, small

from streamad.bench.papers.datasets import FILES, DataSet, load
from streamad.bench.papers.halves import DEVELOPMENT, REPORT, half_of
from streamad.bench.papers.protocols import (
    LABELS,
    POLLUTIONS,
    ae_sad_split,
    clustered_split,
    deep_sad_split,
    family_split,
    novelty_split,
    pollution_split,
)
from streamad.bench.papers.tables import TABLES
from streamad.errors import UserError


@pytest.fixture(scope="module")
def reverse(data_dir):
    return load(data_dir, "kddcup-rev")


def counts(split):
    """Unlabeled and labeled training rows, normal and anomalous test rows."""
    told, tested = split.train_y, split.test_y
    return int((told == -1).sum()), int((told == 1).sum()), int((tested == 0).sum()), int((tested == 1).sum())


def rows(split):
    """The rows of a split of `numbered` data: unlabeled, labeled, tested."""
    train, test = split.train_x[:, 0].astype(int), split.test_x[:, 0].astype(int)
    return train[split.train_y == -1], train[split.train_y == 1], test


def test_every_file_has_the_rows_features_and_anomalies_of_the_manifest(data_dir):
    manifest = json.loads((data_dir / "MANIFEST.json").read_text(encoding="utf-8"))
    names = [name for name, file in FILES.items() if file.endswith(".npz")]
    found = {name: load(data_dir, name) for name in names}
    told = {name: manifest[FILES[name]] for name in names}
    assert {n: (*d.x.shape, d.y.sum()) for n, d in found.items()} == {
        n: (m["n"], m["d"], m["anomalies"]) for n, m in told.items()
    }


def test_kddcup_takes_the_normal_connections_for_the_anomalies_and_its_reverse_the_attacks(data_dir, reverse):
    straight = load(data_dir, "kddcup")
    assert (*straight.x.shape, straight.y.sum()) == (494_021, 120, 97_278)
    assert np.array_equal(straight.y == 1, straight.family == "normal")
    assert (*reverse.x.shape, reverse.y.sum()) == (121_597, 120, 24_319)
    assert np.array_equal(reverse.y == 0, reverse.family == "normal")
    assert np.isin(reverse.x[:, 34:], (0, 1)).all()
    assert (reverse.x[:, 34:].sum(axis=1) == 6).all()  # one value of each symbolic field that varies


def test_a_data_folder_without_the_file_is_named_with_the_option(tmp_path):
    with pytest.raises(UserError, match=r"odds/wine\.npz does not exist; name the folder .* --data DIR"):
        load(tmp_path, "wine")


def test_a_file_that_is_no_data_set_is_refused_in_one_sentence(tmp_path):
    folder = folder_of(tmp_path, "wine")
    (folder / FILES["wine"]).write_bytes(b"PK no zip")
    with pytest.raises(UserError, match=r"wine\.npz is no NPZ file with the arrays X and y"):
        load(folder, "wine")
    np.savez(folder / FILES["wine"], X=np.array([{}], dtype=object), y=np.zeros(1))
    with pytest.raises(UserError, match=r"wine\.npz is no NPZ file with the arrays X and y"):
        load(folder, "wine")


def test_deep_sads_splits_have_the_sizes_of_its_protocol(data_dir):
    six = {
        name: counts(deep_sad_split(load(data_dir, name), 0)) for name in TABLES["deep-sad-table-6"].datasets
    }
    assert six == {
        "arrhythmia": (232, 2, 154, 26),
        "cardio": (993, 10, 662, 70),
        "satellite": (2639, 27, 1760, 814),
        "satimage-2": (3439, 35, 2293, 28),
        "shuttle": (27352, 276, 18234, 1404),
        "thyroid": (2207, 22, 1472, 37),
    }


def test_ae_sads_splits_label_a_twentieth_but_at_most_three_fifths_of_the_anomalies(data_dir):
    names = ("cardio", "thyroid", "mammography", "lympho")
    splits = {name: ae_sad_split(load(data_dir, name), 0) for name in names}
    assert {name: (counts(split), split.note) for name, split in splits.items()} == {
        "cardio": ((993, 52, 662, 124), ""),
        "thyroid": ((2207, 55, 1472, 38), "labels capped at 55 of 93 anomalies"),
        "mammography": ((6554, 156, 4369, 104), "labels capped at 156 of 260 anomalies"),
        "lympho": ((85, 3, 57, 3), "labels capped at 3 of 6 anomalies"),
    }


def test_the_sets_with_twenty_splits_are_those_that_test_fewer_than_ten_anomalies(data_dir):
    table = TABLES["ae-sad-table-2"]
    few = {n for n in table.datasets if ae_sad_split(load(data_dir, n), 0).test_y.sum() < 10}
    assert few == table.more_seeds
    assert {table.seeds_for(name) for name in few} == {20}
    assert {table.seeds_for(name) for name in set(table.datasets) - few} == {5}


@pytest.mark.parametrize("name", ["arrhythmia", "cardio", "satimage-2", "pima"])
@pytest.mark.parametrize("divide", [deep_sad_split, ae_sad_split, clustered_split])
def test_no_row_both_trains_and_tests_and_labels_are_anomalies(data_dir, name, divide):
    data = load(data_dir, name)
    number = np.arange(len(data.y))[:, None]
    split = divide(replace(data, x=np.hstack([number, data.x])), 3)
    unlabeled, labeled, tested = rows(split)
    taken = np.concatenate([unlabeled, labeled, tested])
    assert len(np.unique(taken)) == len(taken)
    assert data.y[unlabeled].sum() == 0
    assert data.y[labeled].all()
    assert np.array_equal(data.y[tested], split.test_y)


def test_a_split_is_a_function_of_the_seed_alone():
    data = numbered(small())
    for divide in (deep_sad_split, ae_sad_split, clustered_split):
        first, again, other = divide(data, 1), divide(data, 1), divide(data, 2)
        assert np.array_equal(first.test_x, again.test_x)
        assert not np.array_equal(first.test_x, other.test_x)


def test_pollution_and_labels_are_the_shares_that_they_are_said_to_be(data_dir):
    data = numbered(load(data_dir, "satellite"))
    for pollution in POLLUTIONS:
        for labels in LABELS:
            split = pollution_split(data, 0, pollution, labels)
            unlabeled, labeled, tested = rows(split)
            assert data.y[unlabeled].mean() == pytest.approx(pollution, abs=2e-4)
            assert len(labeled) / len(split.train_y) == pytest.approx(labels, abs=2e-4)
            taken = np.concatenate([unlabeled, labeled, tested])
            assert len(np.unique(taken)) == len(taken)


def test_more_pollution_and_more_labels_add_rows_and_change_no_other():
    data = numbered(small(normals=1000, anomalies=300))
    few, many = pollution_split(data, 0, 0.01, 0.01), pollution_split(data, 0, 0.1, 0.05)
    for less, more in zip(rows(few)[:2], rows(many)[:2], strict=True):
        assert set(less) < set(more)
    assert np.array_equal(few.test_x, many.test_x)


def test_where_the_test_is_clustered_its_anomalies_are_far_from_the_labeled_ones():
    rng = np.random.default_rng(0)
    centres = np.repeat([-30.0, -10.0, 10.0, 30.0], 25)
    x = np.concatenate([rng.normal(0, 1, 400), rng.normal(centres, 1)])[:, None]
    data = DataSet("cardio", x, np.repeat(np.array([0, 1], dtype=np.int8), [400, 100]))
    for seed in range(5):
        split = clustered_split(data, seed)
        labeled, tested = split.train_x[split.train_y == 1], split.test_x[split.test_y == 1]
        assert np.abs(labeled - tested.T).min() > 10


def test_few_known_families_give_labels_and_all_families_are_tested(reverse):
    splits = {known: family_split(reverse, 0, known) for known in (1, 2, 4)}
    for known, split in splits.items():
        families = split.note.removeprefix("labels of ").split(", ")
        assert len(families) == known
        assert counts(split)[:3] == (3000, 30, 3000)
        assert 0 < split.unknown.sum() < split.test_y.sum()
        assert not split.unknown[split.test_y == 0].any()
    one, four = (set(splits[known].note.removeprefix("labels of ").split(", ")) for known in (1, 4))
    assert one < four


def test_figure_fours_families_train_with_three_fifths_of_their_rows_or_are_new_to_the_test(reverse):
    split = novelty_split(reverse, 0)
    families = split.note.removeprefix("known families: ").split(", ")
    assert len(families) == 10
    assert set(split.train.family) == {"normal", *families}
    assert (split.train.y == 0).sum() == round(0.6 * 97_278)
    assert len(split.test_x) + len(split.train.y) == len(reverse.y)
    attacks = int(split.train.y.sum())
    assert attacks / (attacks + split.known.sum()) == pytest.approx(0.6, abs=0.01)
    assert split.new.sum() == 24_319 - attacks - split.known.sum()


def test_families_are_asked_only_of_a_set_that_has_them():
    with pytest.raises(ValueError, match="cardio has no families of anomalies"):
        family_split(small(), 0, 1)
    with pytest.raises(ValueError, match="cardio has no families of anomalies"):
        novelty_split(small(), 0)


def test_the_halves_follow_from_their_rule():
    places = {name: origin for origin in (*DEVELOPMENT, *REPORT) for name in origin}
    halves = {"development": [], "report": []}
    for table in ("deep-sad-table-6", "ae-sad-table-2", "uainets-table-1", "uainets-digits"):
        sets = {*TABLES[table].datasets, *TABLES[table].apart}
        for name in sorted(sets):
            if places[name] in halves["development"] + halves["report"]:
                continue
            held = {half: sum(len(origin & sets) for origin in origins) for half, origins in halves.items()}
            halves[min(halves, key=held.__getitem__)].append(places[name])
    assert (tuple(halves["development"]), tuple(halves["report"])) == (DEVELOPMENT, REPORT)
    assert {half_of(name) for name in FILES} == {"development", "report"}
    with pytest.raises(KeyError):
        half_of("speech")
