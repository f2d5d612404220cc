"""``streamad run`` and ``streamad replay``."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn

from streamad.commands.checking import check
from streamad.commands.screen import console, ndjson, piped
from streamad.config import load_config
from streamad.errors import StoreError, UserError
from streamad.job import Job, check_burst
from streamad.runtime.logs import configure_logs
from streamad.runtime.reloading import Reloading
from streamad.training.process import peak_rss_mb
from streamad.wiring.cluster import member
from streamad.wiring.local import Live, open_feed
from streamad.wiring.trainer import train
from streamad.wiring.watched import watched

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from streamad.config import Config
    from streamad.runtime.engine import Engine

log = structlog.get_logger()

_PROGRESS_SECONDS = 5.0


def run(args: argparse.Namespace) -> int:
    """The daemon: until SIGTERM, or until a bounded source ends."""
    config = load_config(args.config, tuple(args.set))
    configure_logs(config.log)
    job = Job("run", args.config, tuple(args.set), args.state, seed=args.seed, origin=args.origin)
    if args.check:
        return check(job, "scorer")
    reloading = Reloading(lambda: _read_again(job), budget=not isinstance(config.state, dict))
    with stop_on_signals(job.stop, reloading.ask), watched(config) as watch:
        job = replace(job, on_status=watch, reloading=reloading)
        if isinstance(config.state, dict):
            with member(job).scorer() as engine:
                return _run(engine, state=config.state["type"])
        with open_feed(job) as live:
            return _run(live.engine, state=str(live.state.path))


def trainer(args: argparse.Namespace) -> int:
    """The trainer of a cluster: stands by until it is the active one, then learns until SIGTERM."""
    config = load_config(args.config, tuple(args.set))
    configure_logs(config.log)
    job = Job("run", args.config, tuple(args.set), args.state, seed=args.seed, any_schema=args.new_schema)
    if args.check:
        return check(job, "trainer")
    reloading = Reloading(lambda: _read_again(job))
    with stop_on_signals(job.stop, reloading.ask), watched(config) as watch:
        train(member(replace(job, on_status=watch, reloading=reloading)), partial(_run, role="trainer"))
    return 0


def _read_again(job: Job) -> Config:
    """The config as it is now. Raises `UserError`."""
    config = load_config(job.config, job.overrides)
    check_burst(job.config, config)
    return config


def _run(engine: Engine, **described: str) -> int:
    log.info("started", pid=os.getpid(), **described)
    engine.run()
    log.info("stopped", records=engine.status()["records_in"])
    return 0


def replay(args: argparse.Namespace) -> int:
    """Historical logs at full speed, then a summary."""
    configure_logs(load_config(args.config, tuple(args.set)).log)
    for target in (args.summary, args.scores):
        check_target(target)
    stop = threading.Event()
    with progress() as on_status, stop_on_signals(stop):
        job = Job(
            "replay",
            args.config,
            tuple(args.set),
            args.state,
            files=tuple(args.files),
            seed=args.seed,
            labels=args.labels,
            scores=args.scores,
            fresh=args.fresh,
            rate=args.rate,
            speed=args.speed,
            on_status=on_status,
            stop=stop,
        )
        with open_feed(job) as live:
            summary = _replayed(live, args)
    if summary is None:
        return 0
    _show(summary)
    if args.summary is not None:
        write_result(args.summary, json.dumps(summary, indent=2) + "\n")
    return 0


def check_target(target: Path | None) -> None:
    """Find out before the work, not after it, that its result cannot be written. Raises `UserError`."""
    if target is None:
        return
    try:
        if target.exists():
            target.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}") from None


def write_result(target: Path, text: str) -> None:
    """Write a file of results. Raises `StoreError`."""
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from None


def _replayed(live: Live, args: argparse.Namespace) -> dict[str, Any] | None:
    if live.finished:
        _scores_of_finished(live, args)
        console(results=False).print("this replay is finished; --fresh starts anew and keeps the labels")
        return None
    live.engine.run()
    if not live.engine.finished:
        console(results=False).print("stopped; the same command goes on from here")
        return None
    if live.scores is not None:
        live.scores.finish(args.scores)
    return summary_of(live)


def _scores_of_finished(live: Live, args: argparse.Namespace) -> None:
    """The file of ``--scores`` once more: the call that finished the replay may have been killed before it."""
    if live.scores is not None and live.feed.restored is not None:
        live.scores.resume(live.feed.restored[1]["engine"]["records"])
        live.scores.finish(args.scores)


def summary_of(live: Live) -> dict[str, Any]:
    """The summary of a finished replay."""
    peak = peak_rss_mb() + live.retraining.peak_rss_mb
    return {**live.engine.summary(), "peak_rss_mb": round(peak)}


def _show(summary: Mapping[str, Any]) -> None:
    if piped():
        ndjson(summary)
        return
    for name, value in summary.items():
        console().print(
            f"{name:>22}  {value:,}" if isinstance(value, int | float) else f"{name:>22}  {value}"
        )


@contextmanager
def stop_on_signals(stop: threading.Event, reload: Callable[[], None] | None = None) -> Iterator[None]:
    """SIGTERM and SIGINT drain; a second SIGINT ends the process at once, which loses nothing either.

    SIGHUP does what `reload` does; without one it ends the process, as if nobody had heard of it.
    """
    draining = False

    def drain(number: int, _frame: object) -> None:
        nonlocal draining
        if draining and number == signal.SIGINT:
            os._exit(130)
        if not draining:  # setting it takes a lock, which a handler within a handler would wait for
            draining = True
            stop.set()

    before = {number: signal.signal(number, drain) for number in (signal.SIGTERM, signal.SIGINT)}
    if reload is not None:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda _number, _frame: reload())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress() -> Iterator[Callable[[Callable[[], Mapping[str, Any]]], None]]:
    """A bar on a terminal, a log line every few seconds elsewhere."""
    err = console(results=False)
    if not err.is_terminal:
        yield _log_progress()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rest]}"),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("starting", total=None, rest="")
        shown = 0.0

        def show(status: Callable[[], Mapping[str, Any]]) -> None:
            nonlocal shown
            if time.monotonic() - shown < 0.1:
                return
            shown, now = time.monotonic(), status()
            share = now["progress"]
            bar.update(
                task,
                description=now["state"].replace("_", " "),
                completed=now["records_in"],
                total=now["records_in"] / share if share else None,
                rest=f"{now['alerts']:,} alerts, model {now['version'] or '-'}"
                + (", training" if now["training"] else ""),
            )

        yield show


def _log_progress() -> Callable[[Callable[[], Mapping[str, Any]]], None]:
    shown = time.monotonic()

    def show(status: Callable[[], Mapping[str, Any]]) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _PROGRESS_SECONDS:
            shown, now = time.monotonic(), status()
            log.info("progress", **{key: now[key] for key in ("state", "records_in", "alerts", "version")})

    return show
