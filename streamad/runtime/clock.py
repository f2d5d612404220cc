"""The one place that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Wall time for people, monotonic time for intervals."""

    def text(self) -> str:
        """Now, RFC 3339 in UTC with milliseconds."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def micros(self) -> int:
        """Now, microseconds since 1970 UTC."""
        return time.time_ns() // 1000

    def seconds(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()
