"""The state of a feed for commands that do not run it: they go through the store, or through a cluster's desk."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamad.commands import screen
from streamad.config import Config, load_config, state_path
from streamad.errors import StateError
from streamad.runtime.clock import Clock
from streamad.runtime.logs import configure_logs
from streamad.state.directory import StateDirectory, find_state, holder
from streamad.state.queries import Reader
from streamad.state.store import Store
from streamad.wiring.desk import open_desk

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from streamad.ports import Desk, Seen


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


@dataclass(frozen=True, slots=True)
class Clustered:
    """A feed's config, its state being a cluster's."""

    config: Config
    path: Path

    @contextmanager
    def desk(self, *seen: Seen) -> Iterator[Desk]:
        """Open the desk, and say where it reads what is to be `seen`."""
        configure_logs(self.config.log)
        with open_desk(self.path, self.config) as desk:
            for what in seen:
                screen.remark(f"reading {desk.where(what)}")
            yield desk


def opened(args: argparse.Namespace) -> Stored | Clustered:
    """What CONFIG, ``--set`` and ``--state`` name; with ``--state`` it is a directory, whatever the config says.

    Raises `ConfigError`, and `StateError` where there is no state yet or it is another feed's.
    """
    config = load_config(args.config, tuple(args.set))
    if isinstance(config.state, dict) and args.state is None:
        return Clustered(config, args.config)
    state = find_state(state_path(config, args.config, args.state))
    if state.feed != config.feed:
        raise StateError(f"{state.path} belongs to the feed {state.feed!r}, not to {config.feed!r}")
    return Stored(config, state)
