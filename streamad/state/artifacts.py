"""Artifacts on disk: a manifest in JSON, tensors in safetensors, checksums of both, and nothing that runs.

Three files make a complete artifact: ``tensors.safetensors``, ``manifest.json`` with the size and checksum of
the tensors, and ``manifest.sha256`` with the checksum of the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from streamad.errors import StateError, StoreError

ARTIFACT_FORMAT = 1
MANIFEST, TENSORS, SEAL = "manifest.json", "tensors.safetensors", "manifest.sha256"

_MANIFEST_BYTES = 64 << 20
_TEMPORARY = ".tmp-"

Tensors = Mapping[str, NDArray[Any]]

Artifact = tuple[dict[str, Any], dict[str, Any]]
"""(manifest, tensors)"""


def write_artifact(directory: Path, manifest: Mapping[str, Any], tensors: Tensors) -> None:
    """Write an artifact so that it is there completely, or not at all, also after a power cut.

    A sound artifact that is there already is left as it is. `manifest` is JSON-able; its keys ``format`` and
    ``tensors`` are set here. Raises `StoreError` where the disk refuses.
    """
    if _is_sound(directory):
        return
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with mode 0700 beside its later place: a rename works within one file system only.
        temporary = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{directory.name}-", dir=directory.parent))
        try:
            _write_files(temporary, manifest, tensors)
            shutil.rmtree(directory, ignore_errors=True)
            temporary.rename(directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _sync_directory(directory.parent)
    except OSError as error:
        raise StoreError(f"{directory} could not be written ({error})") from error


def read_files(directory: Path) -> dict[str, bytes]:
    """An artifact's files by name, for `write_files` elsewhere. Raises `StateError` where one is missing."""
    try:
        return {name: (directory / name).read_bytes() for name in (MANIFEST, TENSORS, SEAL)}
    except OSError as error:
        raise StateError(f"artifact {directory} cannot be read ({error})") from None


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Put an artifact's files that came from elsewhere into a new directory; `read_artifact` checks them.

    Raises `StoreError` where the disk refuses.
    """
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, parents=True)
        for name in (MANIFEST, TENSORS, SEAL):
            if name in files:
                _write_file(directory / name, files[name])
    except OSError as error:
        raise StoreError(f"{directory} could not be written ({error})") from error


def _write_files(directory: Path, manifest: Mapping[str, Any], tensors: Tensors) -> None:
    data = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    described = {
        **manifest,
        "format": ARTIFACT_FORMAT,
        "tensors": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
    }
    text = json.dumps(described, indent=1, sort_keys=True, allow_nan=False).encode()
    _write_file(directory / TENSORS, data)
    _write_file(directory / MANIFEST, text)
    _write_file(directory / SEAL, hashlib.sha256(text).hexdigest().encode())
    _sync_directory(directory)


def _write_file(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123  # Path.open takes no descriptor
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_sound(directory: Path) -> bool:
    try:
        read_artifact(directory)
    except StateError:
        return False
    return True


def remove_leftovers(parent: Path) -> None:
    """Remove what a killed writer left behind; only for who holds the state directory's lock."""
    for path in parent.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def read_artifact(directory: Path, *, limit: int = 2 << 30) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The manifest and the tensors of an artifact, which is taken for hostile.

    Nothing in it is run. At most `limit` bytes of tensors are read, and only after their size and checksum
    turned out to be what the manifest says, and the manifest's checksum what its seal says.

    Raises `StateError`, in one sentence, for anything that is missing, damaged or of another format.
    """
    try:
        manifest = _read_manifest(directory)
        return manifest, _read_tensors(directory / TENSORS, manifest["tensors"], limit)
    except FileNotFoundError as error:
        raise StateError(
            f"artifact {directory} is incomplete: {Path(error.filename).name} is missing"
        ) from None
    except OSError as error:
        raise StateError(f"artifact {directory} cannot be read ({error})") from None
    except _DamagedError as error:
        raise StateError(f"artifact {directory} is damaged: {error}") from None


class _DamagedError(Exception):
    """What is wrong with a file of an artifact."""


def _read_manifest(directory: Path) -> dict[str, Any]:
    with _open(directory / MANIFEST, _MANIFEST_BYTES) as file:
        text = file.read()
    with _open(directory / SEAL, 64) as file:
        seal = file.read()
    if hashlib.sha256(text).hexdigest().encode() != seal:
        raise _DamagedError(f"{MANIFEST} does not have the checksum in {SEAL}")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        raise _DamagedError(f"{MANIFEST} is no JSON") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("tensors"), dict):
        raise _DamagedError(f"{MANIFEST} describes no tensors")
    if (found := manifest.get("format")) != ARTIFACT_FORMAT:
        words = f"its format is {str(found)[:20]}, this streamad reads format {ARTIFACT_FORMAT}"
        if isinstance(found, int) and found > ARTIFACT_FORMAT:
            raise StateError(f"artifact {directory} was made by a newer streamad: {words}")
        raise _DamagedError(words)
    return manifest


def _read_tensors(path: Path, described: Mapping[str, Any], limit: int) -> dict[str, NDArray[Any]]:
    with _open(path, limit) as file:
        if os.fstat(file.fileno()).st_size != described.get("bytes"):
            raise _DamagedError(f"{TENSORS} does not have the size in {MANIFEST}")
        if hashlib.file_digest(file, "sha256").hexdigest() != described.get("sha256"):
            raise _DamagedError(f"{TENSORS} does not have the checksum in {MANIFEST}")
        file.seek(0)
        data = file.read()
    try:
        tensors: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise _DamagedError(f"{TENSORS} is no safetensors file ({error})") from None
    return tensors


def packed(tensors: Tensors) -> bytes:
    """Arrays by name as one piece of safetensors."""
    return save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})


def unpacked(data: bytes) -> dict[str, NDArray[Any]]:
    """What `packed` packed. Raises `StateError` for anything else."""
    try:
        tensors: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise StateError(f"arrays are no safetensors ({error})") from None
    return tensors


def _open(path: Path, limit: int) -> BufferedReader:
    """Open a plain file of at most `limit` bytes: no link, no pipe, no device."""
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise _DamagedError(f"{path.name} is no plain file")
    if status.st_size > limit:
        os.close(descriptor)
        raise _DamagedError(f"{path.name} is larger than {limit} bytes")
    return open(descriptor, "rb")  # noqa: PTH123  # Path.open takes no descriptor; the callers close it
