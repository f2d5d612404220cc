"""Auto: deep and shallow members on one scale of evidence."""

from __future__ import annotations

import numpy as np
import pytest
from estimators_help import altered, complaint, fitted, rows, small

from streamad import Auto
from streamad.estimators import auto, shallow
from streamad.estimators.auto import evidence, fit_autos
from streamad.estimators.shallow import Line, Neighbours, Trees

pytestmark = pytest.mark.usefixtures("one_thread_and_few_trees")


@pytest.fixture
def path(tmp_path):
    """A saved Auto."""
    fitted(Auto).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def made(monkeypatch):
    """The models of scikit-learn that the shallow members are made of, as they come."""
    models = []
    for name in ("ExtraTreesClassifier", "LogisticRegression"):
        kind = getattr(shallow, name)

        def make(*given, kind=kind, **named):
            models.append(kind(*given, **named))
            return models[-1]

        monkeypatch.setattr(shallow, name, make)
    return models


def table(n=200, seed=0):
    """Rows [n, 4] as the shallow members get them, and which are labeled anomalies [n]."""
    x, y = rows(n, anomalies=20, seed=seed)
    return x.astype(np.float32), y == 1


def test_trees_score_new_rows_as_the_forest_and_their_own_by_those_that_did_not_see_them(made):
    x, y = table()
    trees, scores = Trees.fit(x, y, 3)
    (forest,) = made
    new = 3 * table(500, seed=1)[0]
    np.testing.assert_allclose(trees.score(new), forest.predict_proba(new)[:, 1], rtol=0, atol=1e-9)
    on_the_edge = np.repeat(trees.threshold[:500, np.newaxis], 4, axis=1).astype(np.float32)
    np.testing.assert_allclose(
        trees.score(on_the_edge), forest.predict_proba(on_the_edge)[:, 1], rtol=0, atol=1e-9
    )
    np.testing.assert_array_equal(scores, forest.oob_decision_function_[:, 1])


def test_of_few_rows_those_that_every_tree_saw_count_as_normal(monkeypatch):
    monkeypatch.setattr(shallow, "_TREES", 1)
    x, y = table(40)
    _, scores = Trees.fit(x, y, 0)
    assert np.isfinite(scores).all()
    assert (scores == 0).sum() > 20


def test_a_line_scores_new_rows_as_the_regression_does(made):
    x, y = table()
    line, scores = Line.fit(x, y, 3)
    new = table(500, seed=1)[0]
    np.testing.assert_allclose(line.score(new), made[0].decision_function(new), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(scores, line.score(x))


def test_neighbours_are_the_five_nearest_of_the_other_rows():
    x, y = table(100)
    neighbours, scores = Neighbours.fit(x, np.zeros_like(y), 3)
    apart = np.sort(np.linalg.norm(x[:, np.newaxis] - x, axis=2), axis=1)
    np.testing.assert_allclose(scores, apart[:, 1:6].mean(1), rtol=1e-4)
    np.testing.assert_allclose(neighbours.score(x), apart[:, :5].mean(1), rtol=1e-4)


def test_neighbours_are_looked_for_among_so_many_rows(monkeypatch):
    monkeypatch.setattr(shallow, "_MOST_ROWS", 50)
    x, y = table(100)
    kept = Neighbours.fit(x, y, 3)[0].arrays()["rows"]
    assert kept.shape == (50, 4)
    assert {tuple(row) for row in kept.tolist()} <= {tuple(row) for row in x[~y].tolist()}


@pytest.mark.parametrize("levels", [[1.0], [0.0] * 50, np.arange(100.0), [-3e38, 0.0, 0.0, 3e38]])
def test_evidence_is_finite_not_negative_and_grows_with_the_score(levels):
    levels = np.array(levels)
    scores = np.sort(np.concatenate((levels, levels + 0.5, [-3e38, -1, 0, 0.3, 60, 99.5, 101, 1e9, 3e38])))
    found = evidence(scores, levels)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (np.diff(found) >= 0).all()


def test_evidence_is_how_rare_a_score_is_and_how_far_beyond_all_others():
    levels = np.arange(100.0)
    found = evidence(np.array([-1, 50, 99, 99.5, 108]), levels)
    rare = -np.log([100.5 / 101, 50.5 / 101, 1.5 / 101, 0.5 / 101, 0.5 / 101])
    np.testing.assert_allclose(found, rare + np.log1p([0, 0, 0, 0.5 / 9, 1]))


def test_levels_are_thinned_out_evenly_with_the_greatest_among_them():
    scores = np.random.default_rng(0).permutation(np.arange(10_000.0))
    levels = auto._levels(scores)
    assert (len(levels), levels[0], levels[-1]) == (4096, 0, 9999)
    assert set(np.diff(levels)) == {2.0, 3.0}
    np.testing.assert_array_equal(auto._levels(scores[:4096]), np.sort(scores[:4096]))


@pytest.mark.parametrize(
    ("y", "members"),
    [
        (None, ["neighbours"]),
        ([0] * 60, ["neighbours"]),
        ([0] * 5 + [-1] * 55, ["neighbours"]),
        ([1] + [-1] * 59, ["trees", "line"]),
        ([1, 0] * 30, ["trees", "line"]),
    ],
)
def test_trees_and_a_line_take_part_with_a_labeled_anomaly_and_neighbours_without(y, members):
    detector = small(Auto).fit(rows()[0], y)
    assert list(detector.deep_) == ["dp_vae", "deep_sad", "ae_sad"]
    assert list(detector.shallow_) == members
    assert list(detector.levels_) == [*detector.deep_, *members]


def test_an_anomaly_far_beyond_all_other_rows_can_be_learned_from():
    x, y = rows()
    x[0], x[1:, 2] = 1e150, 1
    assert np.isfinite(small(Auto).fit(x, y).decision_function(x)).all()


@pytest.mark.parametrize(
    ("given", "n", "epochs"), [(None, 100, 150), (None, 20_000, 64), (None, 2_000_000, 1), (7, 20_000, 7)]
)
def test_many_rows_are_gone_through_less_often(given, n, epochs):
    detector = Auto(epochs=given)
    detector.prepare(np.zeros((n, 1)), None)
    assert detector.epochs_ == epochs
    assert {one.epochs for one in detector.deep_.values()} == {epochs}


def test_autos_fitted_together_are_what_they_are_alone():
    sets = [rows(seed=seed) for seed in (1, 2)]
    together = [small(Auto, seed=seed) for seed in (3, 4)]
    fit_autos(together, sets)
    for detector, (x, y) in zip(together, sets, strict=True):
        alone = small(Auto, seed=detector.seed).fit(x, y)
        for name, one in detector.deep_.items():
            expected = alone.deep_[name].decision_function(x)
            np.testing.assert_allclose(one.decision_function(x), expected, rtol=1e-3, atol=1e-5)
        for name, one in detector.shallow_.items():
            for key, array in one.arrays().items():
                np.testing.assert_array_equal(array, alone.shallow_[name].arrays()[key])


def test_autos_fitted_together_have_to_be_alike():
    pair = [small(Auto), small(Auto)]
    with pytest.raises(
        ValueError, match=r"^estimators fitted together need equal parameters, and sets of one"
    ):
        fit_autos(pair, [rows(), rows(61)])
    assert vars(pair[0]) == vars(small(Auto))


def test_one_that_was_trained_less_often_is_so_when_loaded(path):
    again = Auto.load(path)
    assert again.epochs_ == 3
    assert {one.epochs for one in again.deep_.values()} == {3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d, _: d["values"].update(shallow=["svm"]), "it names a member that Auto does not have"),
        (lambda d, _: d["values"].update(shallow=[["trees"]]), "unhashable type: 'list'"),
        (lambda d, _: d["values"].update(shallow=["neighbours"]), "'rows'"),
        (lambda d, _: d["values"].update(epochs="often"), "invalid literal for int()"),
        (lambda d, _: d["values"].update(columns=5), "scaling.centre does not fit"),
        (lambda d, _: d["values"]["deep"].pop("ae_sad"), "'ae_sad'"),
        (lambda _, a: a.pop("levels.trees"), "'levels.trees'"),
        (lambda _, a: a.update({"levels.trees": np.zeros(0)}), "levels.trees does not fit"),
        (lambda _, a: a.update({"levels.trees": np.zeros((3, 2))}), "levels.trees does not fit"),
        (lambda _, a: a.update({"levels.line": np.array([2.0, 1.0])}), "levels.line does not fit"),
        (lambda _, a: a["levels.dp_vae"].__setitem__(0, np.nan), "levels.dp_vae does not fit"),
        (lambda _, a: a["scaling.factor"].__setitem__(0, np.nan), "scaling.factor does not fit"),
        (lambda _, a: a["line.weight"].__setitem__(0, np.nan), "weight does not fit"),
        (lambda _, a: a.update({"line.bias": np.zeros(2)}), "bias does not fit"),
        (lambda _, a: a.update({"trees.starts": np.zeros(0, "i8")}), "the trees do not fit"),
        (lambda _, a: a["trees.starts"].__setitem__(0, 10**6), "the trees do not fit"),
        (lambda _, a: a["trees.starts"].__setitem__(0, -1), "the trees do not fit"),
        (lambda _, a: a["trees.children"].__setitem__((1, 0), 0), "the trees do not fit"),
        (lambda _, a: a["trees.children"].__setitem__((0, 1), 10**6), "the trees do not fit"),
        (lambda _, a: a["trees.feature"].__setitem__(0, 4), "the trees do not fit"),
        (lambda _, a: a["trees.feature"].__setitem__(0, -1), "the trees do not fit"),
        (
            lambda _, a: a.update({"trees.children": a["trees.children"][:, :1].copy()}),
            "children does not fit",
        ),
        (lambda _, a: a.update({"trees.feature": a["trees.feature"][:, None]}), "feature does not fit"),
        (lambda _, a: a.update({"trees.feature": a["trees.feature"].astype("f8")}), "feature does not fit"),
        (lambda _, a: a.update({"trees.share": a["trees.share"][1:]}), "share does not fit"),
        (lambda _, a: a["trees.share"].__setitem__(0, np.nan), "share does not fit"),
        (lambda _, a: a["trees.threshold"].__setitem__(0, np.nan), "threshold does not fit"),
        (lambda _, a: a.update({"trees.starts": np.array(0)}), "len() of unsized object"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(path, change, said):
    assert complaint(altered(path, change), Auto).startswith(f"does not hold what it should: {said}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((0, 4), "f4"), "there are no rows to be near to"),
        (np.zeros((5, 3), "f4"), "rows does not fit"),
        (np.zeros((5, 4)), "rows does not fit"),
        (np.full((5, 4), np.nan, "f4"), "rows does not fit"),
    ],
)
def test_neighbours_that_are_none_are_refused(tmp_path, given, said):
    path = tmp_path / "model"
    small(Auto).fit(rows()[0]).save(path)
    altered(path, lambda _, arrays: arrays.update({"neighbours.rows": given}))
    assert complaint(path, Auto) == f"does not hold what it should: {said}"
