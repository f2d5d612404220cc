"""What the benchmarks have in common: names that exist, where cells are kept, progress, failures."""

from __future__ import annotations

import os
import platform
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamad.commands.screen import console, remark
from streamad.errors import TrainingError, UserError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from _typeshed import DataclassInstance

    from streamad.bench.pool import Finished

    C = TypeVar("C", bound="DataclassInstance")
    R = TypeVar("R", bound="DataclassInstance")


def data_folder(args: argparse.Namespace) -> Path:
    """The folder of the data sets."""
    return args.data or Path(os.environ.get("STREAMAD_DATA", "../shared/data"))


def known(what: str, names: Sequence[str], existing: Iterable[str]) -> Sequence[str]:
    """The names again. Raises `UserError` for one that does not exist."""
    existing = list(existing)
    for name in names:
        if name not in existing:
            raise UserError(f"there is no {what} {name!r}; there are {', '.join(existing)}")
    return names


def say_skipped(missing: Mapping[str, Iterable[str]]) -> None:
    """One line for each package that is not installed, with the methods that need it."""
    for package, names in missing.items():
        remark(
            f"{' and '.join(sorted(names))} left out: {package} is not installed (pip install streamad[bench])"
        )


def kept_path(args: argparse.Namespace) -> Path | None:
    """Where finished cells are kept: in --cache, else beside the JSON file, else nowhere."""
    if args.cache is not None:
        return Path(args.cache) / "cells.jsonl"
    return None if args.json is None else Path(args.json).with_suffix(".cells.jsonl")


@contextmanager
def following(
    cells: Sequence[C], said: Callable[[Finished[C, R]], str], failures: list[Finished[C, R]]
) -> Iterator[Callable[[Finished[C, R]], None]]:
    """What to call for each cell that is done: shows progress in the words of `said` and collects the failures.

    SIGTERM meanwhile does as Ctrl-C, so that it stops the other processes as well.
    """
    with _stopped_by_sigterm_too(), _progress(cells, said) as on_done:

        def done(finished: Finished[C, R]) -> None:
            if isinstance(finished.outcome, TrainingError):
                failures.append(finished)
            on_done(finished)

        yield done


def complain(failures: Sequence[Finished[C, R]], total: int, place: Callable[[C], str]) -> None:
    """Raises `TrainingError` over the cells that failed, if there are any; `place` names the first."""
    if failures:
        first = failures[0]
        raise TrainingError(
            f"{len(failures)} of {total} cells failed, first {place(first.cell)}: {first.outcome}"
        )


def made_on(jobs: int) -> str:
    """When and on what a report was made."""
    day = time.strftime("%d %B %Y", time.gmtime())
    return f"{day}; {jobs} process(es) of one thread each on {os.cpu_count()} cores ({platform.machine()})"


@contextmanager
def _stopped_by_sigterm_too() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(
    cells: Sequence[C], said: Callable[[Finished[C, R]], str]
) -> Iterator[Callable[[Finished[C, R]], None]]:
    """A bar on a terminal, a line for each newly computed cell elsewhere; both on stderr."""
    screen = console(results=False)
    if not screen.is_terminal:
        yield _lines(len(cells), said)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=len(cells))
        yield lambda done: bar.update(task, advance=1, description=said(done))


def _lines(total: int, said: Callable[[Finished[C, R]], str]) -> Callable[[Finished[C, R]], None]:
    count = 0

    def done(finished: Finished[C, R]) -> None:
        nonlocal count
        count += 1
        if not finished.was_kept:
            remark(f"{count}/{total} {said(finished)}")

    return done
