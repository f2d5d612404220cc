"""Samples that a source takes of itself, for ``streamad init``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamad.config import as_written, completed
from streamad.errors import UserError
from streamad.ports import SourceContext
from streamad.records.sample import Sample
from streamad.runtime.options import LimitOptions
from streamad.wiring.plugins import find_sampled, validated

_FOUND_OUT = {"format", "header", "delimiter"}


def sample_url(url: str, overrides: tuple[str, ...], out: Path | None) -> tuple[Sample, dict[str, Any]]:
    """A sample of what a URL names, and the source section without its format, as it is to be written.

    `overrides` are ``source.KEY=VALUE``. `out` is where the config will lie, None for the working folder. Raises
    `UserError` and `WorldError`.
    """
    path = out or Path("CONFIG")
    kind, _, rest = url.partition("://")
    plugin, sampling = find_sampled(kind)
    tree = completed(path, {"source": {"type": kind, **sampling.options(rest)}}, overrides)
    source = tree["source"]
    if tree.keys() != {"source"} or _FOUND_OUT & source.keys():
        raise UserError(
            "init --set takes options of the source, less those of its format: --set source.KEY=VALUE"
        )
    options = validated(path, plugin.options, source, "source")
    context = SourceContext(
        folder=path.absolute().parent, record_bytes=LimitOptions().record_bytes, seed=0, bounded=True
    )
    return sampling.take(options, context), as_written(source)
