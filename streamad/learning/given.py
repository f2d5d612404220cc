"""A cluster's labels in their one order: which verdict of an event counts, and who waits for its record.

The last label of an event counts, once its record is known: from that label, or from any other one of the event. A
label with ``completes`` only brings a record. It repeats the verdict of the label that it completes, which may have
been corrected meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from streamad.errors import UserError
from streamad.state.labels import LabelChange, Verdict, check_label

if TYPE_CHECKING:
    from streamad.ports import GivenLabel

COMPLETES = "completes"
"""In a label that was said again with its record: the number of that label."""


class GivenLabels:
    """Takes labels in as they come. What it then holds depends on nothing but them."""

    def __init__(self, feed: str) -> None:
        self._feed = feed
        self._records: dict[str, dict[str, Any]] = {}
        self.incomplete: dict[str, GivenLabel] = {}
        """By event: the label that counts, of events whose record is not known."""

    def take(self, given: GivenLabel) -> LabelChange | None:
        """The verdict that now counts, if this label changes something. Raises `UserError` for what is no label."""
        event, verdict = event_and_verdict(self._feed, given.label)
        completing, record = COMPLETES in given.label, given.label.get("record")
        if record is not None:
            self._enter(event, record, keep=completing)
        waiting = self.incomplete.pop(event, None)
        if completing:
            if waiting is None:
                return None
            verdict = waiting.label["label"]
        if event in self._records:
            return LabelChange(given.number, event, verdict, self._records[event], None)
        if verdict != "withdrawn":  # of an event that nobody was taught
            self.incomplete[event] = waiting if completing and waiting else given
        return None

    def _enter(self, event: str, record: dict[str, Any], *, keep: bool) -> None:
        if not keep or event not in self._records:
            self._records[event] = record


def event_and_verdict(feed: str, label: Mapping[str, Any]) -> tuple[str, Verdict]:
    """What a label says of which event. Raises `UserError` where it is none, or of another feed."""
    verdict, _, _ = check_label(label)
    event = label.get("event_id")
    if not isinstance(event, str) or not event.startswith(f"{feed}/"):
        raise UserError("event_id is of no event of this feed")
    return event, verdict


def said(feed: str, labels: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Verdict, Mapping[str, Any]]]:
    """Event, verdict and label of each label that people gave; what is none is left out."""
    for label in labels:
        try:
            event, verdict = event_and_verdict(feed, label)
        except UserError:
            continue
        if COMPLETES not in label:
            yield event, verdict, label
