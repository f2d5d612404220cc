"""The state of a feed for commands that do not run it: they go through the store alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamad.config import Config, load_config, state_path
from streamad.errors import StateError
from streamad.runtime.clock import Clock
from streamad.state.directory import StateDirectory, find_state, holder
from streamad.state.queries import Reader
from streamad.state.store import Store

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True)
class Stored:
    """A feed's config and the state directory that goes with it."""

    config: Config
    state: StateDirectory

    def reader(self) -> Reader:
        """Open the store to read from it."""
        return Reader(self.state.store)

    def writer(self) -> Store:
        """Open the store for one short transaction, beside the process that holds it."""
        return Store(
            self.state.store,
            feed=self.config.feed,
            made_by=self.state.made_by,
            clock=Clock().micros,
            pool_rows=self.config.labels.pool,
        )

    def process(self) -> int | None:
        """The process that runs the feed now."""
        return holder(self.state.path)


def stored(args: argparse.Namespace) -> Stored:
    """What CONFIG, ``--set`` and ``--state`` name.

    Raises `ConfigError`, and `StateError` where there is no state yet or it is another feed's.
    """
    config = load_config(args.config, tuple(args.set))
    state = find_state(state_path(config, args.config, args.state))
    if state.feed != config.feed:
        raise StateError(f"{state.path} belongs to the feed {state.feed!r}, not to {config.feed!r}")
    return Stored(config, state)
