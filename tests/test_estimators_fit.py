from __future__ import annotations

import doctest
import pickle

import numpy as np
import polars as pl
import pytest
import torch
from estimators_help import DETECTORS, KINDS, fitted, parameters, rows, small
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from streamad import AE, AESAD, DPVAE, MMLVAE, UAI, VAE, Auto, DeepSAD, DeepSVDD, TrainingError
from streamad.estimators import auto, base, detectors, uai
from streamad.estimators.base import fit_many
from streamad.estimators.scaling import Scaling

pytestmark = pytest.mark.usefixtures("one_thread_and_few_trees")

LABELED = tuple(kind for kind in DETECTORS if kind._labels)
UNLABELED = tuple(kind for kind in DETECTORS if not kind._labels)


def sentence(problem):
    """What an error says, which has to be one sentence on one line."""
    text = str(problem.value)
    assert "\n" not in text
    return text


def refused(kind, x, y=None, **parameters):
    with pytest.raises(ValueError) as problem:  # noqa: PT011  # what it says is compared by the caller
        small(kind, **parameters).fit(x, y)
    return sentence(problem)


@pytest.mark.parametrize(("module", "examples"), [(detectors, 10), (uai, 11), (auto, 9)])
def test_the_examples_in_the_docstrings_run(module, examples):
    assert doctest.testmod(module) == (0, examples)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_finite_the_same_twice_and_not_negative_unless_they_are_log_odds(kind):
    x, y = rows()
    one, two = (small(kind).fit(x, y).decision_function(x) for _ in range(2))
    assert one.shape == (60,)
    assert one.dtype == np.float64
    assert np.isfinite(one).all()
    assert (one >= 0).all() or kind is UAI
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (rows(5)[0], None),
        (rows(11)[0], [-1] * 10 + [1]),
        (rows(1)[0], None),
        (rows(1)[0], [0]),
        (rows()[0], np.zeros(60)),
        (rows()[0], [True] + [False] * 59),
        (rows(width=1)[0], rows()[1]),
        (rows()[0], [1] + [-1] * 59),
        (rows()[0], [0] + [-1] * 59),
        (rows()[0], [1, 0] + [-1] * 58),
        (rows(7)[0], [1] * 6 + [-1]),
        (np.ones((20, 3)), None),
        (np.ones((20, 3)), [1, 0] + [-1] * 18),
    ],
    ids=[
        "less than a batch",
        "a batch of one row",
        "one row",
        "one normal row",
        "one class",
        "booleans",
        "one column",
        "one anomaly",
        "one normal among others",
        "two labels",
        "one row beside anomalies",
        "constant",
        "constant with labels",
    ],
)
def test_any_number_of_rows_and_labels_can_be_learned_from(kind, x, y):
    detector = small(kind, batch_size=10).fit(x, y)
    assert np.isfinite(detector.decision_function(rows(40, width=x.shape[1])[0])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_labeled_anomalies_alone_are_refused(kind):
    assert refused(kind, rows(7)[0], np.ones(7)) == (
        "all rows of X (n_samples = 7) are labeled anomalies: others are needed to compare with"
    )


@pytest.mark.parametrize("kind", UNLABELED)
def test_without_use_for_labels_anomalies_are_left_out(kind):
    x, y = rows()
    some, none = small(kind).fit(x, y), small(kind).fit(x[y != 1])
    np.testing.assert_array_equal(some.decision_function(x), none.decision_function(x))


@pytest.mark.parametrize("kind", [*LABELED, UAI, Auto])
def test_labeled_anomalies_make_a_difference(kind):
    x, y = rows()
    assert (small(kind).fit(x, y).decision_function(x) != small(kind).fit(x).decision_function(x)).any()


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([2] * 60, "y may hold 1 (anomaly), 0 (normal) and -1 (unlabeled), but not 2"),
        ([0.5] * 60, "y may hold 1 (anomaly), 0 (normal) and -1 (unlabeled), but not 0.5"),
        ([np.nan] * 60, "y may hold 1 (anomaly), 0 (normal) and -1 (unlabeled), but not nan"),
        (["1"] * 60, "y may hold 1 (anomaly), 0 (normal) and -1 (unlabeled), but not '1'"),
        ([None] * 60, "y may hold 1 (anomaly), 0 (normal) and -1 (unlabeled), but not None"),
        ([0] * 59, "y must hold one label for each of the 60 rows of X, but its shape is (59,)"),
        (np.zeros((60, 1)), "y must hold one label for each of the 60 rows of X, but its shape is (60, 1)"),
    ],
)
def test_labels_that_are_none_are_named(y, said):
    assert refused(DeepSAD, rows()[0], y) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "X holds NaN, a missing value, in row 3, column 2: every value must be finite"),
        (-np.inf, "X holds infinity in row 3, column 2: every value must be finite"),
    ],
)
def test_a_value_that_is_not_finite_is_named_in_fits_and_in_scores(value, said):
    x, _ = rows()
    detector = small(DeepSAD).fit(x)
    x[3, 2] = value
    assert refused(DeepSAD, x) == said
    with pytest.raises(ValueError) as problem:  # noqa: PT011  # what it says is compared
        detector.decision_function(x)
    assert sentence(problem) == said


@pytest.mark.parametrize("kind", [DeepSAD, UAI, Auto])
def test_a_polars_frame_says_what_its_columns_are_called(kind):
    x, y = rows()
    frame = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    detector = small(kind).fit(frame, pl.Series(y))
    assert list(detector.feature_names_in_) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(
        detector.decision_function(frame), small(kind).fit(x, y).decision_function(x)
    )
    with pytest.raises(ValueError, match=r"^The feature names should match .*: - e ") as problem:
        detector.decision_function(frame.rename({"b": "e"}))
    sentence(problem)
    with pytest.raises(ValueError, match="X holds NaN, a missing value, in row 0, column c"):
        detector.decision_function(frame.with_columns(c=pl.col("c").shift(1)))


def test_whole_numbers_and_booleans_of_a_frame_are_numbers():
    frame = pl.DataFrame({"n": range(20), "flag": [True, False] * 10, "price": ["1.5", "2"] * 10})
    frame = frame.with_columns(pl.col("price").cast(pl.Decimal(10, 2)))
    table = np.column_stack((np.arange(20), [1, 0] * 10, [1.5, 2] * 10))
    scores = small(AE).fit(frame).decision_function(frame)
    np.testing.assert_array_equal(scores, small(AE).fit(table).decision_function(table))


def test_a_column_that_is_not_numeric_is_named():
    frame = pl.DataFrame({"bytes": [1.0, 2.0], "service": ["http", "smtp"]})
    assert refused(AE, frame) == (
        "column 'service' of X is String, not numeric: leave it out or encode it as numbers"
    )
    with pytest.raises(TypeError, match=r"^X is a lazy frame: collect\(\) it first$"):
        small(AE).fit(frame.lazy())


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        (AE, {"epochs": 0}, "AE: epochs is 0, but should be greater than or equal to 1"),
        (AE, {"epochs": "3"}, "AE: epochs is '3', but should be a valid integer"),
        (AE, {"epochs": True}, "AE: epochs is True, but should be a valid integer"),
        (AE, {"epochs": 3.0}, "AE: epochs is 3.0, but should be a valid integer"),
        (AE, {"hidden": (8,)}, "AE: hidden is (8,), but "),
        (AE, {"hidden": (8, 0)}, "AE: hidden is (8, 0), but should be greater than or equal to 1"),
        (AE, {"hidden": 8}, "AE: hidden is 8, but "),
        (AE, {"members": 65}, "AE: members is 65, but should be less than or equal to 64"),
        (AE, {"scaling": "robust"}, "AE: scaling is 'robust', but should be 'standard', 'minmax' or 'none'"),
        (AE, {"device": "tpu"}, "AE: device is 'tpu', but "),
        (AE, {"learning_rate": float("nan")}, "AE: learning_rate is nan, but should be"),
        (AE, {"seed": [1, 2, 3]}, "seed holds 3 numbers, but there are 2 members"),
        (AE, {"patience": 0}, "AE: patience is 0, but should be greater than or equal to 1"),
        (DeepSVDD, {"nu": 1}, "DeepSVDD: nu is 1, but should be less than 1"),
        (MMLVAE, {"beta_cubo": 0.5}, "MMLVAE: beta_cubo is 0.5, but should be less than 0.5"),
        (DPVAE, {"alpha": "far"}, "DPVAE: alpha is 'far', but should be a valid number"),
        (UAI, {"base": "dae"}, "UAI: base is 'dae', but should be an instance of Estimator"),
        (
            UAI,
            {"base": {"members": 3}},
            "UAI: base is {'members': 3}, but should be an instance of Estimator",
        ),
        (UAI, {"base": Auto()}, "UAI: base is Auto(...), but should be an instance of Estimator"),
        (UAI, {"base": UAI()}, "UAI: base is UAI(...), but should be an instance of Estimator"),
        (UAI, {"base": AE(members=0)}, "AE: members is 0, but should be greater than or equal to 1"),
        (
            UAI,
            {"level_weight": 1e300},
            "UAI: level_weight is 1e+300, but should be less than or equal to 1000000",
        ),
        (UAI, {"prior_rate": 1}, "UAI: prior_rate is 1, but should be less than 1"),
        (Auto, {"epochs": 0}, "Auto: epochs is 0, but should be greater than or equal to 1"),
        (Auto, {"seed": [1, 2]}, "Auto: seed is [1, 2], but should be a valid integer"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(kind, parameters, said):
    assert refused(kind, rows()[0], **parameters).startswith(said)


def test_numbers_of_numpy_are_parameters_too():
    detector = small(
        DeepSAD, epochs=np.int64(3), learning_rate=np.float32(0.5), hidden=np.array([6, 3]).tolist()
    )
    assert len(detector.fit(rows()[0]).losses_) == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_clear_error():
    with pytest.raises(ValueError, match="device is cuda, but there is no GPU that can be used; auto takes"):
        small(AE, device="cuda").fit(rows()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_as_far_out_as_numbers_go_scores_finitely(kind):
    x, y = rows()
    detector = small(kind, scaling="standard").fit(x, y)
    far = np.concatenate((x[6:], [[1.7e308, -1.7e308, 1e300, -1e200]]))
    assert np.isfinite(detector.decision_function(far)).all()


def test_values_too_large_to_be_scaled_are_refused():
    x, _ = rows()
    x[0, 1], x[1, 1] = 1.7e308, -1.7e308
    assert refused(AE, x) == "the values in column 1 of X are too large to be scaled"


def test_scaling_is_that_of_the_rows_trained_on():
    x, y = rows()
    others = x[y != 1]
    expected = (x - others.mean(0)) / others.std(0)
    np.testing.assert_allclose(fitted(AE).scaling_.apply(x), expected, atol=1e-6)
    span = (x - x.min(0)) / np.ptp(x, 0)
    np.testing.assert_allclose(fitted(AESAD).scaling_.apply(x), span, atol=1e-6)
    np.testing.assert_array_equal(fitted(AE, scaling="none").scaling_.apply(x), x.astype(np.float32))
    same = Scaling.fit(np.full((9, 1), 0.1), "standard").apply(np.array([[0.1], [1.1]]))
    np.testing.assert_allclose(same, [[0], [1]], atol=1e-6)


def test_a_row_scores_the_same_whatever_rows_are_beside_it(monkeypatch):
    x, _ = rows(300)
    monkeypatch.setattr(base, "MANY", 128)
    detector = small(VAE, members=5, hidden=(11, 7, 3)).fit(x)
    whole = detector.decision_function(x)
    np.testing.assert_array_equal(detector.decision_function(x[::-1])[::-1], whole)
    np.testing.assert_array_equal(detector.decision_function(x[200:]), whole[200:])
    alone = [detector.decision_function(row[np.newaxis])[0] for row in x[:20]]
    np.testing.assert_array_equal(detector.decision_function(x[:20]), alone)
    np.testing.assert_allclose(alone, whole[:20], rtol=1e-5)


def test_codes_are_those_of_all_members_side_by_side():
    x, y = rows()
    both = small(DeepSAD, seed=[5, 6]).fit(x, y).transform(x)
    singles = [small(DeepSAD, members=1, seed=[seed]).fit(x, y).transform(x) for seed in (5, 6)]
    np.testing.assert_allclose(both, np.hstack(singles), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", DETECTORS)
def test_estimators_fitted_together_are_what_they_are_alone(kind):
    sets = [rows(seed=seed) for seed in (1, 2)]
    together = [small(kind, seed=seed) for seed in (3, 4)]
    fit_many(together, sets)
    for estimator, (x, y) in zip(together, sets, strict=True):
        alone = clone(estimator).fit(x, y).decision_function(x)
        np.testing.assert_allclose(estimator.decision_function(x), alone, rtol=1e-3, atol=1e-5)


def test_estimators_fitted_together_have_to_be_alike():
    for pair, sets in (
        ([small(AE), small(AE, epochs=4)], [rows(), rows()]),
        ([small(AE), small(VAE)], [rows(), rows()]),
        ([small(AE), small(AE)], [rows(), rows(61)]),
    ):
        with pytest.raises(ValueError) as problem:  # noqa: PT011  # what it says is compared
            fit_many(pair, sets)
        assert sentence(problem) == "estimators fitted together need equal parameters, and sets of one shape"
        assert not hasattr(pair[0], "detector_")


@pytest.mark.parametrize("kind", [DeepSAD, UAI, Auto])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, TrainingError("the training diverged")])
def test_a_fit_that_does_not_end_leaves_the_one_before(kind, stop, monkeypatch):
    x, y = rows()
    detector = fitted(kind)
    before, state = detector.decision_function(x), dict(vars(detector))

    def halt(*_, **__):
        raise stop

    monkeypatch.setattr(base, "train", halt)
    with pytest.raises(type(stop) if isinstance(stop, Exception) else stop):
        detector.fit(pl.DataFrame(rows(width=7)[0]), y)
    assert vars(detector) == state
    np.testing.assert_array_equal(detector.decision_function(x), before)


def test_a_training_that_diverges_says_so():
    with pytest.raises(TrainingError, match="the training diverged: the loss of epoch"):
        small(AE, scaling="none", learning_rate=1e30).fit(rows()[0])


@pytest.mark.parametrize("kind", [AE, UAI, Auto])
def test_before_a_fit_there_are_no_scores(kind):
    with pytest.raises(NotFittedError):
        small(kind).decision_function(rows()[0])


def test_patience_ends_a_training_that_no_longer_gets_better():
    x, _ = rows()
    long = small(AE, epochs=200, learning_rate=0.1, batch_size=10)
    losses = long.fit(x).losses_
    short = clone(long).set_params(patience=3).fit(x).losses_
    assert len(losses) == 200
    assert short == losses[: len(short)]
    assert len(short) < 200
    best = int(np.argmin(short))
    assert len(short) == best + 4


@pytest.mark.parametrize(("kind", "settling"), [(AE, 0), (VAE, 15), (DPVAE, 30), (DeepSAD, 100)])
def test_patience_waits_for_warm_up_annealing_and_pretraining(kind, settling, monkeypatch):
    monkeypatch.setattr("streamad.training.loop._finite", lambda *_: 1.0)
    losses = small(kind, epochs=100, patience=4).fit(rows(20)[0]).losses_
    assert len(losses) == settling + 5


def test_progress_is_shown_on_stderr_when_asked_for(capsys):
    fitted(DeepSAD, epochs=20)
    assert capsys.readouterr().err == ""
    detector = fitted(DeepSAD, epochs=20, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"DeepSAD epoch {epoch} of 40, loss {detector.losses_[epoch - 1]:.4g}" for epoch in range(4, 41, 4)
    ]


def test_on_a_terminal_progress_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    fitted(AE, epochs=20, verbose=True)
    shown = capsys.readouterr().err
    assert "20/20" in shown
    assert "━" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_estimator_scores_identically(kind):
    detector = fitted(kind)
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.decision_function(rows()[0]), detector.decision_function(rows()[0]))
    assert parameters(again) == parameters(detector)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1234.567, 1e-5, 7.0])
def test_a_constant_column_gets_scale_one_however_its_mean_rounds(value):
    x = np.c_[rows(5_000)[0], np.full(5_000, value)]
    assert Scaling.fit(x, "standard").factor[-1] == 1
    assert Scaling.fit(x, "minmax").factor[-1] == 1


def test_what_is_no_table_of_numbers_is_refused_by_name():
    assert refused(AE, np.full((9, 2), "1")) == "X holds <U1 and not numbers: encode it first"
    dates = np.full((9, 2), np.datetime64("2026-11-23"))
    assert refused(AE, dates) == "X holds datetime64[D] and not numbers: encode it first"
    with pytest.raises(TypeError, match="X is a masked array: fill it"):
        small(AE).fit(np.ma.masked_array(rows()[0]))
