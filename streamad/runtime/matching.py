"""Whether what comes in is the feed that the schema describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamad.errors import InputError
from streamad.records.batch import MISSING_CODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamad.records.batch import Batch
    from streamad.records.schema import Schema

_SHOWN = 5


def check_columns(schema: Schema, batch: Batch) -> None:
    """Raises `InputError` where a header names none of the features: that is another file, not missing values."""
    columns = batch.block.columns
    if columns is not None and not set(schema.features).intersection(columns):
        raise InputError(
            f"{batch.block.partition(0)} has no column of the schema: its columns are "
            f"{_some([repr(name) for name in columns]) or 'none'}, the schema's features are {_some(schema.features)}"
        )


def check_values(schema: Schema, batches: Sequence[Batch]) -> None:
    """Raises `InputError` where no accepted record holds a value in any feature, so that there is nothing to fit."""
    if any(map(has_values, batches)):
        return
    raise InputError(
        f"none of the first {sum(map(len, batches)):,} records holds a value in any field of the schema, whose "
        f"features are {_some(schema.features)}"
    )


def has_values(batch: Batch) -> bool:
    """Whether some record holds a value in a feature."""
    return bool(np.isfinite(batch.numbers).any() or (batch.codes != MISSING_CODE).any())


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
