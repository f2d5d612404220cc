"""``streamad run --check`` and ``streamad trainer --check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamad.commands import screen
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions
from streamad.wiring.checks import findings

if TYPE_CHECKING:
    from streamad.job import Job
    from streamad.ports import Role


def check(job: Job, role: Role) -> int:
    """Say what was looked at and what is wrong; returns 2 where something is."""
    configure_logs(LogOptions(level="error"))  # what a client meets is in the findings
    found = findings(job, role)
    if screen.piped():
        for one in found:
            screen.ndjson({"found": one.kind, "text": one.text})
    else:
        screen.table((one.kind, one.text) for one in found)
    return 2 if any(one.kind == "problem" for one in found) else 0
