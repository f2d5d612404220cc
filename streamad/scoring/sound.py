"""Artifacts that are whole: whoever wrote one, it must hold all that scoring asks for before it may score."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from streamad.errors import StateError, UserError
from streamad.models.options import DetectorOptions
from streamad.records.schema import Schema, field_changes
from streamad.scoring.scorer import Scorer
from streamad.state.artifacts import MANIFEST, TENSORS, Artifact, Tensors, read_artifact

_MAY_BE_MISSING = "usual.numbers"
"""The one tensor in which NaN has a meaning."""

_SCALES = ("heavy", "unit", "centre", "factor")
"""What the encoder has of each number."""

_UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, UserError, ValueError)
"""What numpy, torch, pydantic and our own code raise for tensors that are missing or do not fit each other."""


_NUMBERS, _CATEGORIES = {"numeric", "boolean"}, {"categorical"}
"""What fields are called that become numbers, and categories."""


class _Part(BaseModel):
    """Other keys may be there: formats grow by addition."""

    model_config = ConfigDict(strict=True)


class _Schema(_Part):
    fields: dict[str, str]

    def count(self, words: set[str]) -> int:
        """How many fields are called so."""
        return sum(word in words for word in self.fields.values())


class _Encoder(_Part):
    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    categories: list[list[str]]
    missing_slots: list[bool]


class _Trial(_Part):
    promoted: bool
    reason: str
    numbers: dict[str, Any]


class _Manifest(_Part):
    """What is read of a manifest."""

    version: PositiveInt
    parent: PositiveInt | None = None
    schema_: _Schema = Field(alias="schema")
    detector: DetectorOptions
    encoder: _Encoder
    label_position: Annotated[int, Field(ge=0)]
    labeled_events: list[str]
    labeled_verdicts: list[Literal[0, 1]]
    loss: dict[str, Any]
    trial: _Trial | None = None


def read_sound(directory: Path, version: int) -> Artifact:
    """The artifact of a version, as `read_artifact`, that can be scored with.

    Raises `StateError`, in one sentence, also where anything in it is missing, of another kind or of another shape.
    """
    manifest, tensors = read_artifact(directory)
    try:
        described = _Manifest.model_validate(manifest)
    except ValidationError as error:
        raise StateError(f"artifact {directory} is damaged: {MANIFEST}: {_first(error)}") from None
    if described.version != version:
        raise StateError(f"artifact {directory} is damaged: {MANIFEST} is of version {described.version}")
    try:
        sound = _all_finite(tensors) and _scores(described, manifest, tensors)
    except _UNFIT:
        sound = False
    if not sound:
        raise StateError(f"artifact {directory} is damaged: {TENSORS} does not hold the model of {MANIFEST}")
    return manifest, tensors


def schema_changes(manifest: Mapping[str, Any], schema: Schema) -> str:
    """How a schema differs from that which an artifact was made for, in words; empty where the artifact fits it."""
    if changes := field_changes(manifest["schema"]["fields"], schema.fields):
        return changes
    columns = [*schema.features]
    return "" if manifest.get("columns", columns) == columns else "the fields are in another order"


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, without the value that was found."""
    wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, wrong["loc"]))[:100]
    what = wrong["msg"].partition(" or instance of ")[0]  # which only a program could give
    return f"{where}: {what}"


def _all_finite(tensors: Tensors) -> bool:
    return not any(
        (np.isinf if name == _MAY_BE_MISSING else _is_odd)(tensor).any() for name, tensor in tensors.items()
    )


def _is_odd(tensor: NDArray[Any]) -> NDArray[np.bool_]:
    odd: NDArray[np.bool_] = ~np.isfinite(tensor)
    return odd


def _scores(described: _Manifest, manifest: dict[str, Any], tensors: Tensors) -> bool:
    """Whether a record without any value gets a score, also once the head has forgotten a label and learned another."""
    numbers, categories = described.schema_.count(_NUMBERS), described.schema_.count(_CATEGORIES)
    if len(described.encoder.categories) != categories or not _are_tables(tensors, numbers):
        return False
    if _least_weights(described, numbers) > sum(t.size for n, t in tensors.items() if n.startswith("model.")):
        return False  # before memory is taken for a network that these are not the weights of
    scorer = Scorer(manifest, tensors, device="cpu", threads=1, reference_rows=1)
    scorer.bind([("",)] * categories)
    row = np.full((1, numbers), np.nan), np.full((1, categories), -1, np.int32)
    before = scorer.score(*row).score
    for event in described.labeled_events[:1]:
        scorer.unlearn(event)
    scorer.learn("", scorer.features(*row)[0], "anomaly")
    scorer.recalibrate()
    return all(np.isfinite(scores).all() for scores in (before, scorer.score(*row).score))


def _are_tables(tensors: Tensors, numbers: int) -> bool:
    """Whether what numpy would stretch has the length that it must have."""
    score, features = tensors["reference.score"], tensors["reference.features"]
    lengths = {tensors[f"encoder.{name}"].shape for name in _SCALES} == {(numbers,)}
    return lengths and tensors["encoder.indicators"].ndim == 1 and score.shape == (len(features) or -1,)


def _least_weights(described: _Manifest, numbers: int) -> int:
    """What any detector with these options has: the layers on the way to the latents."""
    columns = numbers + sum(map(len, described.encoder.categories))
    sizes = (columns, *described.detector.hidden, described.detector.latent)
    return described.detector.members * sum(one * other for one, other in itertools.pairwise(sizes))
