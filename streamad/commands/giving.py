"""Labels given to a cluster: to its topic, with the record where that is known here."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from streamad.commands.lately import Lately, lately
from streamad.errors import UserError
from streamad.state.labels import LabelOutcome, check_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamad.ports import Desk

Label = dict[str, Any]


class Giver:
    """Takes labels as `state.store.Store` does."""

    def __init__(self, desk: Desk, feed: str, now: str) -> None:
        """`now` is said of labels that do not say when they were given."""
        self._desk, self._feed, self._now = desk, feed, now

    def add_labels(self, labels: Sequence[Mapping[str, Any]]) -> list[LabelOutcome]:
        """Give labels in their order; what became of each. Raises `UserError` and `WorldError`."""
        checked = [self._checked(label) for label in labels]
        problems = iter(self._desk.give([label for label in checked if isinstance(label, dict)]))
        return [_became(label, next(problems)) if isinstance(label, dict) else label for label in checked]

    def _checked(self, label: Mapping[str, Any]) -> Label | LabelOutcome:
        """A label as it is to be said, or why it is not."""
        name = str(label.get("event_id") or label.get("key"))
        try:
            verdict, analyst, _ = check_label(label)
        except UserError as error:
            return LabelOutcome("invalid", name, str(error))
        found = [name] if name.startswith(f"{self._feed}/") else self._known.resolve(name)
        if len(found) != 1:
            return self._unnamed(name, found)
        return {
            "event_id": found[0],
            "label": verdict,
            "analyst": analyst,
            "labeled_at": label.get("labeled_at") or self._now,
            "note": str(label.get("note") or ""),
            "record": label.get("record") or self._known.record(found[0]),
        }

    def _unnamed(self, name: str, found: Sequence[str]) -> LabelOutcome:
        if found:
            several = ", ".join(found)
            return LabelOutcome("ambiguous", name, f"the key {name!r} names several events: {several}")
        return LabelOutcome(
            "unknown", name, f"no event among {self._known.looked} has the id or key {name!r}"
        )

    @cached_property
    def _known(self) -> Lately:
        return lately(self._desk)


def _became(label: Label, problem: str | None) -> LabelOutcome:
    if problem is not None:
        return LabelOutcome("unknown", label["event_id"], problem)
    return LabelOutcome("added" if label["record"] is not None else "waiting", label["event_id"])
