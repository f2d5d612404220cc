"""Which of the assigned partitions the client fetches nothing of."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition


class Pauses:
    """Those that are stopped until they come back from elsewhere, and all of them while nobody wants rows."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._stopped: set[int] = set()  # changed in place, since another thread adds to it
        self._paused: set[int] = set()  # as the client knows

    def stop(self, numbers: Iterable[int]) -> None:
        """Nothing more of these. Called from any thread."""
        self._stopped.update(numbers)

    def forget(self, number: int) -> None:
        """It was assigned anew."""
        self._stopped.discard(number)

    def begin_anew(self) -> None:
        """Another client reads now."""
        self._paused = set()

    @property
    def stopped(self) -> set[int]:
        """A copy. Asked from any thread."""
        return self._stopped.copy()

    def tell(self, consumer: Consumer, assigned: Collection[int], *, all_of_them: bool) -> None:
        """Bring the client up to date."""
        wanted = {*assigned} if all_of_them else self._stopped.intersection(assigned)
        for change, numbers in (
            (consumer.pause, wanted - self._paused),
            (consumer.resume, self._paused - wanted),
        ):
            if numbers:
                change([TopicPartition(self._topic, number, OFFSET_INVALID) for number in numbers])
        self._paused = wanted
