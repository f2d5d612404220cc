"""An artifact that is not whole is refused in one sentence, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import json
import time

import numpy as np
import pytest
from processes import say
from safetensors.numpy import load, save
from test_training_fit import FOR_FEEDS, snapshot

from streamad.errors import StateError
from streamad.scoring.sound import read_sound
from streamad.state.artifacts import MANIFEST, SEAL, TENSORS, write_artifact
from streamad.training.fit import fit

VERSION = 4
NEEDED = (
    "version",
    "schema",
    "detector",
    "encoder",
    "label_position",
    "labeled_events",
    "labeled_verdicts",
    "loss",
)
JUNK = (None, "junk", 7.5, [], {}, [[1]], {"fields": 3}, {"fields": {"a": "numeric"}}, True, -1, "\ud800")


@pytest.fixture(scope="module")
def fitted():
    shot = snapshot(labels=6)
    shot.numbers[:3, 1] = np.nan
    return fit(shot)


@pytest.fixture
def directory(tmp_path, fitted):
    write_artifact(tmp_path / "000004", *fitted)
    return tmp_path / "000004"


def rewrite(directory, manifest=lambda tree: tree, tensors=lambda table: table):
    """Change an artifact, with checksums that say that it is meant to be so."""
    tree = json.loads((directory / MANIFEST).read_text())
    table = tensors(load((directory / TENSORS).read_bytes()))
    data = save({name: np.ascontiguousarray(tensor) for name, tensor in table.items()})
    described = {"tensors": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
    text = json.dumps(manifest(tree) | described).encode()
    (directory / TENSORS).write_bytes(data)
    (directory / MANIFEST).write_bytes(text)
    (directory / SEAL).write_bytes(hashlib.sha256(text).hexdigest().encode())


def refusal(directory):
    """Why it is refused: one line that names it."""
    with pytest.raises(StateError, match=r"\Aartifact \S+000004 is damaged: [^\n]*\Z") as caught:
        read_sound(directory, VERSION)
    return str(caught.value).partition(" is damaged: ")[2]


@pytest.mark.parametrize("name", FOR_FEEDS)
@pytest.mark.parametrize("labels", [0, 6])
def test_what_a_training_makes_is_sound_with_every_detector(tmp_path, name, labels):
    write_artifact(tmp_path / "000004", *(made := fit(snapshot(labels=labels, name=name))))
    began = time.perf_counter()
    manifest, tensors = read_sound(tmp_path / "000004", VERSION)
    say(f"{name}: read in {1000 * (time.perf_counter() - began):.0f} ms")
    assert manifest | {"format": 1} == manifest
    assert {n: t.tobytes() for n, t in tensors.items()} == {n: t.tobytes() for n, t in made[1].items()}


def test_more_than_is_asked_for_may_be_there(directory):
    rewrite(directory, lambda tree: tree | {"later": 1}, lambda table: table | {"later.x": np.zeros(3)})
    assert read_sound(directory, VERSION)[0]["later"] == 1


@pytest.mark.parametrize("name", NEEDED)
def test_a_part_of_the_manifest_that_is_missing_is_named(directory, name):
    rewrite(directory, lambda tree: {key: value for key, value in tree.items() if key != name})
    assert refusal(directory) == f"manifest.json: {name}: Field required"


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "loss"])
def test_a_part_of_the_manifest_that_is_something_else_is_refused(directory, name):
    text = (directory / MANIFEST).read_bytes()
    for junk in JUNK:
        (directory / MANIFEST).write_bytes(text)
        rewrite(directory, lambda tree, junk=junk: tree | {name: junk})
        refusal(directory)


@pytest.mark.parametrize("part", ["limit", "categories", "missing_slots"])
def test_an_encoder_that_lacks_a_part_or_has_another_is_refused(directory, part):
    text = (directory / MANIFEST).read_bytes()
    for junk in (junk for junk in JUNK if junk != 7.5):
        (directory / MANIFEST).write_bytes(text)
        rewrite(directory, lambda tree, junk=junk: tree | {"encoder": tree["encoder"] | {part: junk}})
        assert refusal(directory)


def test_another_version_than_the_one_asked_for_is_refused(directory):
    rewrite(directory, lambda tree: tree | {"version": 3})
    assert refusal(directory) == "manifest.json is of version 3"


def test_an_unknown_detector_is_refused(directory):
    rewrite(directory, lambda tree: tree | {"detector": tree["detector"] | {"name": "none"}})
    assert refusal(directory) == "tensors.safetensors does not hold the model of manifest.json"


def test_a_network_of_a_terabyte_is_refused_before_memory_is_taken(directory):
    vast = {"members": 64, "hidden": [65536, 65536]}
    rewrite(directory, lambda tree: tree | {"detector": tree["detector"] | vast})
    assert refusal(directory) == "tensors.safetensors does not hold the model of manifest.json"


def broken(tensor):
    """The same, of other shapes and with a value that is none."""
    yield np.zeros((0,), tensor.dtype)
    yield np.zeros((*tensor.shape, 2), tensor.dtype)
    yield np.concatenate([np.atleast_1d(tensor)] * 2)
    if tensor.dtype.kind == "f":
        yield np.full_like(tensor, np.inf)


def test_every_tensor_that_is_missing_or_of_another_shape_is_refused(directory, fitted):
    manifest, tensors = fitted
    for name, tensor in tensors.items():
        others = [{key: value for key, value in tensors.items() if key != name}]
        others += [tensors | {name: changed} for changed in broken(tensor)]
        for other in others:
            rewrite(directory, lambda _: manifest | {"format": 1}, lambda _, other=other: other)
            assert refusal(directory) == "tensors.safetensors does not hold the model of manifest.json", name
