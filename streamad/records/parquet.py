"""Parquet columns as JSON can write them."""

from __future__ import annotations

import polars as pl


def json_columns(schema: pl.Schema) -> list[pl.Expr]:
    """Make columns writable as JSON: binary values in hexadecimal and NaN as null, at any depth of structs.

    In lists, binary values are written so too; what else they hold stays as it is.
    """
    return [_writable(pl.col(name), kind) for name, kind in schema.items()]


def _writable(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if kind == pl.Binary:
        return value.bin.encode("hex")
    if kind.is_float():
        return value.fill_nan(None)
    if isinstance(kind, pl.List) and kind.inner == pl.Binary:
        return value.list.eval(pl.element().bin.encode("hex"))
    if isinstance(kind, pl.Struct) and kind.fields:
        inner = [_writable(pl.field(each.name), _data_type(each)) for each in kind.fields]
        return value.struct.with_fields(inner)
    return value


def _data_type(each: pl.Field) -> pl.DataType:
    """A field's type as an object; polars also allows its class."""
    return each.dtype if isinstance(each.dtype, pl.DataType) else each.dtype()
