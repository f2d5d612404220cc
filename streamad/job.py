"""One call of ``run``, ``replay`` or ``fit``: what was asked for, and whether it can be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from streamad.config import Config, as_written
from streamad.errors import ConfigError, InputError, StateError, UserError
from streamad.learning.label_file import bad_lines, give_labels
from streamad.models.base import find_detector
from streamad.models.scoring_model import choose_device
from streamad.ports import End
from streamad.records.batch import Block
from streamad.records.decoder import Decoder
from streamad.records.dictionary import Dictionary
from streamad.runtime.matching import check_columns
from streamad.runtime.reloading import Reloading
from streamad.runtime.warm_up import WarmUp
from streamad.state.directory import find_state

if TYPE_CHECKING:
    from streamad.ports import Source, SourceOptions
    from streamad.runtime.clock import Clock
    from streamad.state.store import Store

_POLL_SECONDS = 1.0

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asks for, beside the config."""

    made_by: Literal["run", "replay"]
    config: Path
    overrides: tuple[str, ...] = ()
    state: Path | None = None
    files: tuple[Path, ...] = ()
    seed: int = 0
    labels: Path | None = None
    scores: Path | None = None
    fresh: bool = False
    any_schema: bool = False
    """``--new-schema``: the state, or in a cluster the promoted version, may have been made under another schema."""
    origin: Path | None = None
    """The state of a finished replay whose model and labels a daemon starts with."""
    rate: float | None = None
    speed: float | None = None
    on_status: Callable[[Callable[[], Status]], None] = lambda _status: None
    """Given a way to ask for the engine's status, often: shows progress."""
    on_step: Callable[[str], None] = lambda _step: None
    """Told the name of each step of the engine and of the store; the crash tests kill the process there."""
    stop: threading.Event = field(default_factory=threading.Event)
    reloading: Reloading = field(default_factory=Reloading)
    """Where the config is read again while the feed runs."""


def check_times(job: Job, config: Config) -> None:
    """Raises `UserError` where a replay would need event times that the schema does not have."""
    if job.made_by == "run" or config.schema_.time is not None:
        return
    burst = config.alerts.burst
    if burst and burst.within is not None and not burst.within.endswith("records"):
        raise ConfigError(
            str(job.config),
            "alerts.burst.within",
            f"found {burst.within!r} without schema.time",
            "a number of records such as 5000 records, since a replay goes by event time",
        )
    if isinstance(config.alerts.budget, str):
        raise ConfigError(
            str(job.config),
            "alerts.budget",
            f"found {config.alerts.budget!r} without schema.time",
            "a share such as 0.001, since a replay counts hours by event time",
        )
    if job.speed is not None:
        raise UserError("--speed goes by event time, and the config has no schema.time")


def check_inputs(job: Job, config: Config) -> None:
    """Raises `UserError` for a detector, a GPU, labels or a state to start from that are not there or are none."""
    _check_detector(job, config)
    check_burst(job.config, config)
    choose_device(config.detector.device)
    if job.labels is not None:
        _refuse_bad(job.labels, list(bad_lines(job.labels)))
    if job.origin is not None:
        find_state(job.origin)


def check_burst(path: Path, config: Config) -> None:
    """Raises `ConfigError` for a field of `alerts.burst.by` that no record has."""
    burst = config.alerts.burst
    for name in (burst.by or ()) if burst else ():
        if config.schema_.fields.get(name, "label") == "label":
            expected = "fields of the schema, and not its label"
            raise ConfigError(str(path), "alerts.burst.by", f"found {name!r}", expected)


def _check_detector(job: Job, config: Config) -> None:
    """Raises `UserError` for a detector that is none, or that the config's settings or scaling do not fit."""
    kind, scaling = find_detector(config.detector.name), config.features.scaling
    if not kind.FEEDS:
        raise UserError(f"detector.name: {config.detector.name} is for tables, not for feeds")
    kind.checked(config.detector.settings)
    if kind.SCALING not in {None, scaling}:
        raise ConfigError(
            str(job.config),
            "features.scaling",
            f"found {scaling!r}",
            f"{kind.SCALING}, since the detector {config.detector.name} reads nothing else",
        )


def identity(job: Job, config: Config) -> dict[str, Any]:
    """What makes two replays the same one; nothing for a daemon, which goes on whatever its source is."""
    if job.made_by == "run":
        return {}
    files = [str(path) for path in job.files]
    return {"source": as_written(config.source), "files": files, "seed": job.seed}


def check_same_replay(job: Job, config: Config, restored: tuple[Any, Mapping[str, Any]] | None) -> None:
    """Raises `StateError` where the state holds another replay than this one."""
    if restored is not None and restored[1]["engine"]["identity"] != identity(job, config):
        raise StateError(
            "this state belongs to a replay of other files or another seed: --fresh starts anew and keeps the "
            "labels, --state DIR uses another state"
        )


def check_beginning(job: Job, config: Config, options: SourceOptions, source: Source, clock: Clock) -> None:
    """Read what the first model would be fitted on. Raises what the engine would raise over it.

    Standard input is left alone, since it could not be read again.
    """
    if options.type == "stdin":
        return
    decoder = Decoder(config.schema_, options, Dictionary(config.schema_.categories))
    warm_up, rows, number = WarmUp(config, clock, replay=True), config.limits.batch_records, 0
    source.seek({})
    while not warm_up.is_over() and not isinstance(got := source.poll(rows, _POLL_SECONDS), End):
        if isinstance(got, Block):
            batch = decoder.decode(got, number)
            check_columns(config.schema_, batch)
            warm_up.hold(batch)
            number += len(batch)
        elif job.stop.is_set():
            return
    warm_up.release()
    source.seek({})


def import_labels(job: Job, store: Store) -> None:
    """Give the labels of ``--labels`` to the store. Raises `InputError` where some of them are none."""
    if job.labels is None:
        return
    _refuse_bad(job.labels, give_labels(store, job.labels).problems)


def _refuse_bad(labels: Path, problems: Sequence[str]) -> None:
    if problems:
        raise InputError(f"{labels}: {len(problems)} bad lines, the first is {problems[0]}")
