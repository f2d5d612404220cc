"""Whole engines over the in-memory source, in this process: real store, real decoder, training without a process."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import polars as pl
import torch
from feeds import FEED, write_config
from streamad_connectors.memory import MemorySource, MemorySourceOptions

from streamad.config import load_config
from streamad.errors import CommitAbortedError
from streamad.runtime import retraining
from streamad.runtime.clock import Clock
from streamad.state.artifacts import write_artifact
from streamad.state.directory import find_state, hold_state
from streamad.state.inherit import inherit
from streamad.training.fit import fit
from streamad.training.snapshot import Snapshot
from streamad.training.trainer import ARTIFACT, Done
from streamad.wiring import local as wiring


class InlineTrainer:
    """Trains as soon as it is started; its outcome is there at once."""

    def __init__(self, *, timeout):
        self._limit, self._done = timeout, None

    def start(self, directory):
        torch.set_num_threads(1)  # as the trainer process does
        write_artifact(directory / ARTIFACT, *fit(Snapshot.load(directory)))
        self._done = Done(directory / ARTIFACT, 0.0, 0.0, 0.0)

    def wait(self, timeout):
        assert timeout < self._limit
        return self._done

    def kill(self):
        pass


@contextmanager
def engine(
    folder, source, *, state="state", made_by="replay", origin=None, scores=False, on_step=None, **changes
):
    """A `Live` feed over `source`, a script or a `MemorySource`; `changes` to the config by section."""
    if not isinstance(source, MemorySource):
        source = MemorySource(source)
    tree = {"type": "memory", "format": "kdd", "records": {}, "paths": None}
    path = write_config(folder, source=tree, **changes)
    config, clock = load_config(path), Clock()
    steps = {"on_step": on_step} if on_step else {}
    job = wiring.Job(made_by, path, scores=Path("scores") if scores else None, **steps)
    options = MemorySourceOptions(type="memory", format="kdd", records={})
    before, retraining.Trainer = retraining.Trainer, InlineTrainer
    try:
        with (
            hold_state(folder / state, feed=FEED, made_by=made_by, schema=config.schema_) as held,
            wiring._open_store(job, config, held.state, clock) as store,
        ):
            if origin is not None:
                inherit(find_state(folder / origin), held.state)
            yield wiring._build(job, config, options, source, held, store, clock, [])
    finally:
        retraining.Trainer = before


class Sink:
    """A store behind a sink that aborts the commits of these numbers, counted from 1, and looks at each one."""

    def __init__(self, live, aborts=(), look=None):
        self._sink, self._aborts, self._look = live.feed.sink, aborts, look
        self.commits = 0
        live.feed.sink = self

    def commit(self, commit):
        self.commits += 1
        if self._look:
            self._look(commit)
        if self.commits in self._aborts:
            raise CommitAbortedError("aborted on request")
        self._sink.commit(commit)


def scored(live, folder):
    """What every record scored, in order."""
    live.scores.finish(folder / "scores.parquet")
    return pl.read_parquet(folder / "scores.parquet")
