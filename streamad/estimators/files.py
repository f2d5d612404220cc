"""A fitted estimator's file: safetensors, all but the arrays as JSON in its header, never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from sklearn.base import BaseEstimator

import streamad
from streamad.errors import UserError
from streamad.estimators.parameters import checked
from streamad.models.base import Detector

FORMAT = 1

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """What a file holds."""

    estimator: Mapping[str, Any]
    """Its class's name and its parameters, as `describe` gives them."""
    values: Mapping[str, Any]
    """What a fit left besides arrays, JSON-able."""
    arrays: Arrays


def write(path: Path, saved: Saved) -> None:
    """Write a file, or leave the one of that name as it is."""
    described = {"format": FORMAT, "estimator": saved.estimator, "values": saved.values}
    arrays = {name: np.ascontiguousarray(array) for name, array in saved.arrays.items()}
    text = json.dumps(described, allow_nan=False)
    data = save(arrays, metadata={"streamad": text, "sha256": _digest(text, arrays)})
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path, kind: str) -> Saved:
    """What a file holds, which is taken for hostile: nothing in it is run, and only its own size is read.

    Raises `UserError` where it is damaged, foreign, of another format or of another class than `kind`.
    """
    text, arrays = _contents(path)
    try:
        described = json.loads(text)
        number, found = described["format"], described["estimator"]["class"]
        saved = Saved(described["estimator"], described["values"], arrays)
    except (ValueError, RecursionError, KeyError, TypeError):
        raise UserError(f"{path} does not describe an estimator") from None
    if number != FORMAT:
        raise UserError(f"{path} has format {str(number)[:20]}, this streamad reads format {FORMAT}")
    if found != kind:
        raise UserError(f"{path} holds {str(found)[:40]}, not {kind}: load it with the class that saved it")
    return saved


def _contents(path: Path) -> tuple[str, Arrays]:
    """The JSON text and the arrays, after their checksum."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise UserError(f"{path} is no plain file")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # the file is no mapping
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged, or was not saved by an estimator ({error})") from None
    if "streamad" not in header:
        raise UserError(f"{path} was not saved by an estimator of streamad")
    if header.get("sha256") != _digest(header["streamad"], arrays):
        raise UserError(f"{path} is damaged: its checksum is another")
    return header["streamad"], arrays


def _digest(text: str, arrays: Arrays) -> str:
    """A checksum of everything in a file."""
    whole = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        whole.update(f"{name} {array.dtype} {array.shape}".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def describe(value: object) -> Any:  # noqa: ANN401  # whatever JSON can say
    """A parameter's value in JSON; an estimator by the name of its class and its own parameters."""
    if isinstance(value, BaseEstimator):
        inner = checked(value).get_params(deep=False).items()
        return {"class": type(value).__name__, "parameters": {name: describe(one) for name, one in inner}}
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def revive(value: object) -> Any:  # noqa: ANN401  # whatever a parameter may be
    """What `describe` described. Raises `ValueError` for an estimator that is none of streamad's."""
    if isinstance(value, Mapping):
        if value["class"] not in {*streamad.__all__} - {"__version__"}:
            raise ValueError("it names an estimator that streamad does not have")
        parameters = {name: revive(one) for name, one in value["parameters"].items()}
        return getattr(streamad, value["class"])(**parameters)
    return tuple(value) if isinstance(value, list) else value


def array(
    arrays: Arrays, name: str, shape: tuple[int, ...], kind: type[np.number[Any]] = np.float64
) -> NDArray[Any]:
    """One array of finite numbers. Raises `ValueError` where it is not that, `KeyError` where there is none."""
    found = arrays[name]
    if found.shape != shape or found.dtype != kind or not np.isfinite(found).all():
        raise ValueError(f"{name} does not fit")
    return found


def joined(parts: Mapping[str, Arrays]) -> Arrays:
    """The arrays of several parts, each under the part's name; `part` gives one of them back."""
    return {f"{name}.{key}": one for name, arrays in parts.items() for key, one in arrays.items()}


def part(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)}


def fill(detector: Detector, arrays: Arrays) -> None:
    """Give a detector its weights. Raises `ValueError` where they do not fit or are not finite."""
    found = {name: torch.from_numpy(one) for name, one in arrays.items()}
    kinds = [
        {name: (one.shape, one.dtype) for name, one in state.items()}
        for state in (found, detector.state_dict())
    ]
    if kinds[0] != kinds[1] or not all(bool(one.isfinite().all()) for one in found.values()):
        raise ValueError("the weights do not fit")
    detector.load_state_dict(found)
