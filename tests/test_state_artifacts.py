"""Artifacts: written whole or not at all, read as if an enemy had written them."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from streamad.errors import StateError, StoreError
from streamad.state.artifacts import read_artifact, remove_leftovers, write_artifact

MANIFEST = {"version": 7, "parent": 6, "values": {"flag": ["", "SF", "ü"]}}
TENSORS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array([3], np.int64)}


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "artifacts" / "000007"
    write_artifact(path, MANIFEST, TENSORS)
    return path


def seal(path, manifest):
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    (path / "manifest.json").write_bytes(text)
    (path / "manifest.sha256").write_text(hashlib.sha256(text).hexdigest())


def replace_tensors(path, data):
    (path / "tensors.safetensors").write_bytes(data)
    seal(path, {"format": 1, "tensors": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}})


def test_an_artifact_reads_back_as_it_was_written(artifact):
    manifest, tensors = read_artifact(artifact)
    assert {key: manifest[key] for key in MANIFEST} == MANIFEST
    assert manifest["format"] == 1
    assert {name: (t.dtype, t.tolist()) for name, t in tensors.items()} == {
        name: (t.dtype, t.tolist()) for name, t in TENSORS.items()
    }


def test_the_same_artifact_has_the_same_bytes_wherever_it_is_written(artifact, tmp_path):
    write_artifact(tmp_path / "again", dict(reversed(MANIFEST.items())), TENSORS)
    files = ("manifest.json", "tensors.safetensors", "manifest.sha256")
    assert [(artifact / f).read_bytes() for f in files] == [
        (tmp_path / "again" / f).read_bytes() for f in files
    ]


def test_a_sound_artifact_is_left_as_it_is_and_a_damaged_one_is_replaced(artifact):
    write_artifact(artifact, {"version": 8}, {})
    assert read_artifact(artifact)[0]["version"] == 7
    (artifact / "tensors.safetensors").write_bytes(b"junk")
    write_artifact(artifact, {"version": 8}, {})
    assert read_artifact(artifact)[0]["version"] == 8


def test_only_the_owner_may_read_an_artifact_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write_artifact(tmp_path / "state" / "000001", MANIFEST, TENSORS)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").rglob("*")}
    assert modes == {
        "000001": 0o700,
        "manifest.json": 0o600,
        "tensors.safetensors": 0o600,
        "manifest.sha256": 0o600,
    }


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_artifact(tmp_path / "000001", {"bad": float("nan")}, TENSORS)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_a_store_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="000001 could not be written"):
        write_artifact(tmp_path / "file" / "000001", MANIFEST, TENSORS)


def test_what_a_killed_writer_left_is_removed_and_nothing_else(artifact):
    leftover = artifact.parent / ".tmp-000008-abc"
    leftover.mkdir()
    (leftover / "tensors.safetensors").touch()
    remove_leftovers(artifact.parent)
    assert [path.name for path in artifact.parent.iterdir()] == ["000007"]


@pytest.mark.parametrize("name", ["manifest.json", "tensors.safetensors", "manifest.sha256"])
def test_every_flipped_byte_and_every_missing_file_is_named(artifact, name):
    data = (artifact / name).read_bytes()
    for place in {0, len(data) // 2, len(data) - 1}:
        (artifact / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(StateError, match=r"000007 is damaged: .* does not have the checksum"):
            read_artifact(artifact)
    (artifact / name).unlink()
    with pytest.raises(StateError, match=f"000007 is incomplete: {name} is missing"):
        read_artifact(artifact)


def test_a_truncated_file_is_damaged(artifact):
    os.truncate(artifact / "tensors.safetensors", 20)
    with pytest.raises(StateError, match="does not have the size"):
        read_artifact(artifact)


def test_another_format_is_named(artifact):
    seal(artifact, {"format": 2, "tensors": {}})
    with pytest.raises(
        StateError, match="was made by a newer streamad: its format is 2, this streamad reads format 1"
    ):
        read_artifact(artifact)


@pytest.mark.parametrize(
    "manifest", [b"[" * 100_000, b"\xff\xfe", b"[]", b'{"format": 1}', b'{"format": 1, "tensors": 3}', b""]
)
def test_a_sealed_manifest_that_is_none_is_damaged(artifact, manifest):
    seal(artifact, manifest)
    with pytest.raises(StateError, match="damaged"):
        read_artifact(artifact)


class Bomb:
    def __reduce__(self):
        return (os.abort, ())


def header(described):
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps(Bomb()),
        struct.pack("<Q", 1 << 62) + b"{}",
        header({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}) + b"abcd",
        header({"w": {"dtype": "F32", "shape": [1 << 33, 1 << 33], "data_offsets": [0, 4]}}) + b"abcd",
        header({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}) + b"abcd",
        header({"w": {"dtype": "NONE", "shape": [1], "data_offsets": [0, 4]}}) + b"abcd",
    ],
    ids=["empty", "pickle", "huge header", "huge tensor", "overflow", "overlap", "no dtype"],
)
def test_hostile_tensors_with_good_checksums_neither_run_nor_take_memory(artifact, data):
    replace_tensors(artifact, data)
    tracemalloc.start()
    with pytest.raises(StateError, match="no safetensors file"):
        read_artifact(artifact)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_sparse_giant_is_refused_before_it_is_read(artifact):
    os.truncate(artifact / "tensors.safetensors", 1 << 40)
    with pytest.raises(StateError, match="larger than"):
        read_artifact(artifact)
    os.truncate(artifact / "manifest.json", 1 << 40)
    with pytest.raises(StateError, match=r"manifest.json is larger than"):
        read_artifact(artifact)


def test_links_and_pipes_are_not_followed(artifact, tmp_path):
    tensors = artifact / "tensors.safetensors"
    tensors.rename(tmp_path / "elsewhere")
    tensors.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="cannot be read"):
        read_artifact(artifact)
    tensors.unlink()
    os.mkfifo(tensors)
    with pytest.raises(StateError, match="no plain file"):
        read_artifact(artifact)
