"""Progress of a training on stderr: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from streamad.training.loop import Progress

_LINES = 10


@contextmanager
def shown(title: str, *, verbose: bool) -> Iterator[Progress | None]:
    """What to tell a training to call after each epoch; None where nothing is to be shown."""
    console = Console(stderr=True)
    if not verbose:
        yield None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=console) as bars:
            yield _bar(bars, title)
    else:
        yield _lines(console, title)


def _bar(bars: Bars, title: str) -> Progress:
    """A bar of epochs with the loss before it."""
    task = bars.add_task(title, total=None)

    def tell(state: Mapping[str, float]) -> None:
        text = f"{title} loss {state['loss']:.4g}"
        bars.update(task, completed=state["epoch"], total=state["epochs"], description=text)

    return tell


def _lines(console: Console, title: str) -> Progress:
    """A line for about every tenth of the epochs, and for the last."""

    def tell(state: Mapping[str, float]) -> None:
        epoch, epochs = int(state["epoch"]), int(state["epochs"])
        if epoch % max(1, epochs // _LINES) == 0 or epoch == epochs:
            text = f"{title} epoch {epoch} of {epochs}, loss {state['loss']:.4g}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)

    return tell
