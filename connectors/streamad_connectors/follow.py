"""Growing files, followed as ``tail -F`` does: through renames, truncation and compression."""

from __future__ import annotations

from streamad.errors import InputError
from streamad.ports import Source, SourceContext
from streamad.records.schema import PayloadFormat
from streamad_connectors.paths import FeedFile


def open_followed(files: list[FeedFile], form: PayloadFormat, context: SourceContext) -> Source:
    """Open the source."""
    raise InputError("following files is not there yet")
