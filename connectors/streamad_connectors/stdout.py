"""Outlet ``stdout``: alert lines to standard output, each at least once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from streamad.ports import Outlet, SinkOptions, SinkPlugin

_STDOUT = 1


class StdoutOptions(SinkOptions):
    """Options of a sink with ``type: stdout``."""

    type: Literal["stdout"]


class StdoutOutlet:
    """Writes to a file descriptor. After a crash, lines that had no mark yet are written again."""

    def __init__(self, descriptor: int = _STDOUT) -> None:
        self._descriptor = descriptor

    def resume(self, mark: Mapping[str, Any] | None) -> None:
        """See `streamad.ports.Outlet.resume`; what was written to a pipe cannot be known."""

    def deliver(self, lines: Sequence[bytes]) -> Mapping[str, Any]:
        """See `streamad.ports.Outlet.deliver`. Raises `BrokenPipeError` when nobody reads any more."""
        rest = memoryview(b"".join(lines))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        return {}

    def close(self) -> None:
        """Standard output is the process's, not ours to close."""


def _open(options: StdoutOptions, folder: Path) -> Outlet:
    del options, folder
    return StdoutOutlet()


plugin = SinkPlugin(options=StdoutOptions, open=_open)
