"""What is asked of the trainer on the control topic, until it is answered."""

from __future__ import annotations

from streamad.ports import Wanted


class Requests:
    """The newest request, if nobody has answered it. An answer names the last request that it is for."""

    def __init__(self) -> None:
        self._newest: Wanted | None = None
        self._answered = -1

    def ask(self, wanted: Wanted) -> None:
        """Somebody asks; whoever asked before is asked no more."""
        self._newest = wanted

    def answer(self, number: int) -> None:
        """All up to this one are answered."""
        self._answered = max(self._answered, number)

    def news(self) -> list[Wanted]:
        """A request that was not told yet."""
        newest, self._newest = self._newest, None
        return [newest] if newest is not None and newest.number > self._answered else []
