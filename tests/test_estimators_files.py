from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from estimators_help import (
    DETECTORS,
    KINDS,
    SMALL,
    altered,
    complaint,
    fitted,
    parameters,
    rows,
    small,
)
from safetensors.numpy import save_file
from sklearn.exceptions import NotFittedError

from streamad import AE, DAE, DPVAE, UAI, VAE, Auto, DeepSAD
from streamad.estimators import files

pytestmark = pytest.mark.usefixtures("one_thread_and_few_trees")


@pytest.fixture
def path(tmp_path):
    """A saved Deep SAD."""
    fitted(DeepSAD).save(tmp_path / "model")
    return tmp_path / "model"


def test_every_estimator_scores_identically_in_another_process(tmp_path):
    x, _ = rows(50, seed=9)
    np.save(tmp_path / "x.npy", x)
    for kind in KINDS:
        detector = fitted(kind)
        detector.save(tmp_path / kind.__name__)
        np.save(tmp_path / f"{kind.__name__}.npy", detector.decision_function(x))
    code = (
        "import sys, numpy, torch, streamad\n"
        "torch.set_num_threads(1)\n"
        "x = numpy.load('x.npy')\n"
        "for name in sys.argv[1:]:\n"
        "    detector = getattr(streamad, name).load(name)\n"
        "    print(name, (detector.decision_function(x) == numpy.load(name + '.npy')).all())\n"
    )
    names = [kind.__name__ for kind in KINDS]
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{name} True" for name in names]


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_loaded_estimator_has_the_parameters_and_the_names_that_it_had(kind, tmp_path):
    x, y = rows()
    frame = pl.DataFrame(x, schema=["a", "b", "c", "ü"])
    detector = small(kind, seed=[np.int64(3), 9], epochs=np.int32(2)).fit(frame, y)
    detector.save(str(tmp_path / "model"))
    again = kind.load(str(tmp_path / "model"))
    assert again.get_params() == {**detector.get_params(), "seed": (3, 9)}
    assert list(again.feature_names_in_) == ["a", "b", "c", "ü"]
    assert again.n_features_in_ == 4
    assert again.losses_ == detector.losses_
    np.testing.assert_array_equal(again.transform(frame), detector.transform(frame))
    np.testing.assert_array_equal(again.fit(frame, y).transform(frame), detector.transform(frame))


@pytest.mark.parametrize("kind", [UAI, Auto])
def test_so_does_one_that_is_made_of_others(kind, tmp_path):
    x, y = rows()
    frame = pl.DataFrame(x, schema=["a", "b", "c", "ü"])
    detector = small(kind, seed=np.int64(3), epochs=np.int32(2)).fit(frame, y)
    detector.save(tmp_path / "model")
    again = kind.load(tmp_path / "model")
    assert parameters(again) == {**parameters(detector), **({"base__hidden": (6, 3)} if kind is UAI else {})}
    assert list(again.feature_names_in_) == ["a", "b", "c", "ü"]
    assert again.n_features_in_ == 4
    scores = detector.decision_function(frame)
    np.testing.assert_array_equal(again.decision_function(frame), scores)
    np.testing.assert_array_equal(again.fit(frame, y).decision_function(frame), scores)


def test_a_device_can_be_named_on_loading(path):
    assert DeepSAD.load(path).device == "cpu"
    assert DeepSAD.load(path, device="auto").device == "auto"
    altered(path, lambda described, _: described["estimator"]["parameters"].update(device="cuda:99"))
    assert DeepSAD.load(path, device="cpu").get_params() == fitted(DeepSAD).get_params()


def test_a_device_is_that_of_the_members_too(tmp_path):
    for kind in (UAI, Auto):
        fitted(kind).save(tmp_path / "model")
        again = kind.load(tmp_path / "model", device="auto")
        members = [again.base, again.base_] if kind is UAI else [again, *again.deep_.values()]
        assert {member.device for member in members} == {"auto"}
    with_default_base = UAI.load(saved_with_default_base(tmp_path), device="cpu")
    assert (with_default_base.base.members, with_default_base.base_.device) == (5, "cpu")


def saved_with_default_base(folder):
    x, _ = rows()
    detector = UAI(DAE(members=5, hidden=(64, 32, 8), epochs=2)).fit(x)
    detector.base = None
    detector.save(folder / "default")
    return folder / "default"


def test_a_file_is_replaced_whole_or_not_at_all(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        fitted(DeepSAD, seed=1).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.undo()
    fitted(DeepSAD, seed=1).save(path)
    assert DeepSAD.load(path).seed == 1


def test_what_is_not_fitted_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        small(AE).save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_class_is_named(path):
    assert complaint(path, AE) == "holds DeepSAD, not AE: load it with the class that saved it"
    fitted(DPVAE).save(path)
    assert complaint(path, VAE) == "holds DPVAE, not VAE: load it with the class that saved it"


def test_a_file_that_is_not_there_is_what_it_is_in_python(tmp_path):
    with pytest.raises(FileNotFoundError):
        DeepSAD.load(tmp_path / "nothing")


def test_what_is_no_plain_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert complaint(tmp_path / "pipe") == "is no plain file"
    assert complaint(tmp_path) == "is no plain file"


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "model"
    for content in (b"", b"\x80\x04K\x01.", b"PK\x03\x04 and so on", os.urandom(500)):
        path.write_bytes(content)
        assert complaint(path).startswith("is damaged, or was not saved by an estimator (")
    save_file({"weight": np.zeros(3)}, path)
    assert complaint(path) == "was not saved by an estimator of streamad"
    save_file({"weight": np.zeros(3)}, path, metadata={"streamad": "{}"})
    assert complaint(path) == "is damaged: its checksum is another"


def test_every_changed_byte_and_every_cut_is_noticed(path):
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert "damaged" in complaint(path) or "not saved by an estimator" in complaint(path)
    for length in (7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert complaint(path).startswith("is damaged, or was not saved by an estimator (")


def test_another_format_is_named(path):
    altered(path, lambda described, _: described.update(format=2))
    assert complaint(path) == "has format 2, this streamad reads format 1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d, _: d["estimator"]["parameters"].update(hidden=[60_000, 60_000]),
            "it is smaller than its networks",
        ),
        (lambda d, _: d["estimator"]["parameters"].update(members=3), "the weights do not fit"),
        (lambda d, _: d["estimator"]["parameters"].update(epochs="many"), "DeepSAD: epochs is 'many'"),
        (lambda d, _: d["estimator"]["parameters"].update(colour=1), "DeepSAD.__init__() got an unexpected"),
        (
            lambda d, _: d["estimator"]["parameters"].update(seed={"class": "Popen", "parameters": {}}),
            "it names an estimator that streamad does not have",
        ),
        (
            lambda d, _: d["estimator"]["parameters"].update(seed={"class": "__version__", "parameters": {}}),
            "it names an estimator that streamad does not have",
        ),
        (lambda d, _: d["values"].update(columns=5), "scaling.centre does not fit"),
        (lambda d, _: d["values"].update(columns=None), "int() argument must be"),
        (lambda d, _: d["values"].update(losses=3), "'int' object is not iterable"),
        (lambda d, _: d["values"].pop("columns"), "'columns'"),
        (lambda _, a: a.pop("scaling.factor"), "'scaling.factor'"),
        (lambda _, a: a["scaling.factor"].__setitem__(0, np.nan), "scaling.factor does not fit"),
        (lambda _, a: a["detector.centre"].__setitem__(0, np.inf), "the weights do not fit"),
        (lambda _, a: a.pop("detector.centre"), "the weights do not fit"),
        (lambda _, a: a.update({"detector.more": np.zeros(2)}), "the weights do not fit"),
        (
            lambda _, a: a.update({"detector.level": a["detector.level"].astype("f8")}),
            "the weights do not fit",
        ),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(path, change, said):
    assert complaint(altered(path, change)).startswith(f"does not hold what it should: {said}")


@pytest.mark.parametrize("described", ["[]", "{}", "nonsense", "[" * 5000, '{"format": 1, "estimator": 5}'])
def test_a_description_that_is_none_is_refused(path, described):
    arrays = {"a": np.zeros(1)}
    save_file(arrays, path, metadata={"streamad": described, "sha256": files._digest(described, arrays)})
    assert complaint(path) == "does not describe an estimator"


def test_estimators_among_the_parameters_are_saved_with_them():
    described = files.describe(small(DeepSAD))
    assert described["class"] == "DeepSAD"
    again = files.revive(json.loads(json.dumps(described)))
    assert again.get_params() == {**DeepSAD().get_params(), **SMALL}
