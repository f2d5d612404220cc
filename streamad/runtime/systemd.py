"""What systemd is told of a service of type notify, through the socket that it names."""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamad.runtime.health import Verdict

_PATIENCE = 1.0


class Notifier:
    """Tells systemd what becomes of a process; nothing to anybody where none asked."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        """`environment` holds what systemd wants of the process `pid`."""
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        seconds = int(environment.get("WATCHDOG_USEC", 0)) / 1e6 if ours else 0.0
        self.every = seconds / 2 or math.inf
        """How often it wants to hear of us, in seconds."""
        self._started = False
        self._said, self._due = "", 0.0

    def tell(self, verdict: Verdict, *, started: bool, now: float) -> None:
        """How it is at `now`, in seconds of any clock.

        Ready is what has started: a wait for the first model may last for longer than systemd would. The watchdog is
        fed unless all has come to a stop, so that one bad partition does not end the reading of the others.
        """
        news = []
        if started and not self._started:
            self._started = True
            news.append("READY=1")
        if (said := "; ".join(verdict.red) or verdict.unready or "ready") != self._said:
            self._said = said
            news.append(f"STATUS={said}")
        if self._started and now >= self._due and not verdict.stalled and self.every < math.inf:
            self._due = now + self.every / 2
            news.append("WATCHDOG=1")
        self._send(news)

    def stopping(self) -> None:
        """It is about to end."""
        self._send(["STOPPING=1"])

    def _send(self, news: list[str]) -> None:
        if not self._address or not news:
            return
        # whatever becomes of systemd's socket, the feed goes on
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_PATIENCE)
            sender.sendto("\n".join(news).encode(), self._address)
