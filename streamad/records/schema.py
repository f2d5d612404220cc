"""What the fields of a feed mean: the `schema` section of the config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FieldWord = Literal["numeric", "categorical", "boolean", "id", "time", "label", "ignore"]
"""A feature of one of three kinds, or the role of a field that is no feature."""

TimeFormat = str
"""``iso``, ``epoch_s``, ``epoch_ms``, ``epoch_us``, or a strptime pattern that holds a ``%``."""


_TIME_FORMATS = ("iso", "epoch_s", "epoch_ms", "epoch_us")


def _is_pattern(form: str) -> bool:
    """Whether strptime finds the day again in what strftime made of it."""
    moment = datetime(2001, 2, 3, 16, 5, 6, tzinfo=UTC)
    try:
        return datetime.strptime(moment.strftime(form), form).date() == moment.date()  # noqa: DTZ007  # only its day counts
    except (ValueError, re.error):
        return False


class Section(BaseModel):
    """Base of every config section: unknown keys are refused, values never shown in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TimeSpec(Section):
    """Which field is the event time and how it is written."""

    field: str
    format: TimeFormat = "iso"
    zone: str | None = None
    """IANA zone for times that carry none; without it such a time is refused."""

    @field_validator("format")
    @classmethod
    def _gives_a_day(cls, form: str) -> str:
        if form not in _TIME_FORMATS and not _is_pattern(form):
            message = "iso, epoch_s, epoch_ms, epoch_us or a strptime pattern with year, month and day"
            raise ValueError(message)
        return form

    @field_validator("zone")
    @classmethod
    def _is_known(cls, zone: str | None) -> str | None:
        try:
            if zone is not None and zone.upper() != "UTC":
                ZoneInfo(zone)
        except (OSError, ValueError, LookupError):
            message = "the IANA name of a time zone that this system knows"
            raise ValueError(message) from None
        return zone


class TruthSpec(Section):
    """How the label column of a historical file reads; used for evaluation only."""

    normal: tuple[str, ...] = ("normal", "normal.", "0", "false")
    """Values that mean normal; every other value that is not empty means anomaly."""


class Schema(Section):
    """The fields of a feed in column order."""

    fields: dict[str, FieldWord] = Field(min_length=1)
    time: TimeSpec | None = None
    truth: TruthSpec = TruthSpec()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for word in ("id", "time", "label"):
            if len(self.names(word)) > 1:
                message = f"at most one field with the word {word}, not {', '.join(self.names(word))}"
                raise ValueError(message)
        named = self.names("time")
        if (self.time is None) != (not named) or (self.time and self.time.field != named[0]):
            message = "time.field to name the one field whose word is 'time'"
            raise ValueError(message)
        if not self.features:
            message = "at least one feature (a numeric, categorical or boolean field)"
            raise ValueError(message)
        return self

    def names(self, *words: FieldWord) -> tuple[str, ...]:
        """The fields with one of these words, in column order."""
        return tuple(name for name, word in self.fields.items() if word in words)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The columns of `Batch.numbers`: numeric fields, then booleans."""
        return self.names("numeric") + self.names("boolean")

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The columns of `Batch.codes`."""
        return self.names("categorical")

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Every feature: `numbers`, then `categories`."""
        return self.numbers + self.categories

    @cached_property
    def key(self) -> str | None:
        """The field that is carried as ``key``, if there is one."""
        return next(iter(self.names("id")), None)

    @cached_property
    def label(self) -> str | None:
        """The truth column, if there is one."""
        return next(iter(self.names("label")), None)


def field_changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The fields (name -> word) that differ, in words; empty where none do, whatever their order."""
    changes = [f"{name} is new" for name in after if name not in before]
    changes += [f"{name} is gone" for name in before if name not in after]
    changes += [
        f"{name} was {word}, is {after[name]}"
        for name, word in before.items()
        if after.get(name, word) != word
    ]
    return "; ".join(changes)


class PayloadFormat(Section):
    """How a payload is written; every source's options extend it."""

    format: Literal["csv", "kdd", "ndjson", "parquet"] = "csv"
    header: bool = True
    """CSV only: the first line of each file names the columns. Without it, schema order is column order."""
    delimiter: str = Field(default=",", pattern=r'^[^"\r\n\x00]$')
