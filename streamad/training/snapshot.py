"""What one training starts from, written to a directory for the trainer process: arrays and JSON, no pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamad.features.options import FeatureOptions
from streamad.models.options import DetectorOptions
from streamad.records.batch import MISSING_CODE, OTHER_CODE
from streamad.records.general import GeneralDecoder
from streamad.records.schema import PayloadFormat, Schema

_META, _RECORDS = "snapshot.json", "labeled_records"


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The window, the labels and the options of one training."""

    numbers: NDArray[np.float64]
    """[n, N] rows of the past, then those of the window; NaN = missing."""
    codes: NDArray[np.int32]
    """[n, C] codes of `values`; -1 = missing."""
    records: NDArray[np.int64]
    """[n] record numbers, ascending but for rows of several partitions."""
    values: tuple[tuple[str, ...], ...]
    """``values[field][code]``, the dictionary of `codes` and `labeled_codes`; code 0 is "other"."""
    labeled_numbers: NDArray[np.float64]
    """[m, N] the labeled rows, in the order in which their labels were applied."""
    labeled_codes: NDArray[np.int32]
    """[m, C]."""
    labeled_verdict: NDArray[np.int8]
    """[m] 1 anomaly, 0 normal."""
    labeled_events: tuple[str, ...]
    """[m] event ids, so that a label that the head learned can be taken back."""
    label_position: int
    """How many labels of the feed's order are included, withdrawn and replaced ones too."""
    schema: Schema
    features: FeatureOptions
    detector: DetectorOptions
    seed: int
    """The run's seed; the version is added to it where each training must differ."""
    version: int
    parent: int | None
    feed: str
    prior_rate: float
    """The share of anomalies that the head assumes before any label."""
    past: int = 0
    """How many of the n rows are of the time before the window."""
    labeled_records: str = ""
    """The labeled rows as JSON, a line each, in place of `labeled_numbers` and `labeled_codes`: `load` decodes them, which
    takes a feed's process too long."""

    def save(self, directory: Path) -> None:
        """Write into an existing directory."""
        meta: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                np.save(directory / f"{item.name}.npy", value, allow_pickle=False)
            elif item.name == _RECORDS:
                (directory / f"{_RECORDS}.ndjson").write_text(value, encoding="utf-8")
            else:
                meta[item.name] = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        (directory / _META).write_text(json.dumps(meta), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote. Raises `OSError` or `ValueError` where it is not complete."""
        meta = json.loads((directory / _META).read_text(encoding="utf-8"))
        meta["values"] = tuple(tuple(field) for field in meta["values"])
        meta["labeled_events"] = tuple(meta["labeled_events"])
        meta["schema"] = Schema.model_validate(meta["schema"])
        meta["features"] = FeatureOptions.model_validate(meta["features"])
        meta["detector"] = DetectorOptions.model_validate(meta["detector"])
        arrays = {
            item.name: np.load(directory / f"{item.name}.npy", allow_pickle=False)
            for item in fields(cls)
            if item.name not in {*meta, _RECORDS}
        }
        snapshot = cls(**meta, **arrays)
        if labeled := (directory / f"{_RECORDS}.ndjson").read_text(encoding="utf-8"):
            numbers, codes = _decoded(labeled, snapshot.schema, snapshot.values)
            return replace(snapshot, labeled_numbers=numbers, labeled_codes=codes)
        return snapshot


def _decoded(
    labeled: str, schema: Schema, values: tuple[tuple[str, ...], ...]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Records as JSON, a line each, as numbers [m, N] and codes [m, C] of `values`."""
    decoder = GeneralDecoder(schema, PayloadFormat(format="ndjson"))
    known = [{value: code for code, value in enumerate(field)} for field in values]
    read = [decoder.features(json.loads(line)) for line in labeled.split("\n")]
    numbers = np.array([row for row, _, _ in read], np.float64)
    codes = [
        [
            MISSING_CODE if text is None else code.get(text, OTHER_CODE)
            for text, code in zip(row, known, strict=True)
        ]
        for _, row, _ in read
    ]
    return numbers, np.array(codes, np.int32)
