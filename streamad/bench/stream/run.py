"""All cells of a choice of streams, methods and numbers of labels, the finished ones kept."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from streamad.bench.code import digest
from streamad.bench.kept import KeptCells
from streamad.bench.papers.datasets import digest as file_digest
from streamad.bench.pool import Finished, run_cells
from streamad.bench.stream.evaluate import Cell, Outcome, evaluate
from streamad.bench.stream.judge import Judgement
from streamad.bench.stream.methods import METHODS, OURS, Method
from streamad.bench.stream.streams import KDD_FILE, generated, is_in_files

Done: TypeAlias = Finished[Cell, Outcome]
"""One cell that is done."""

_SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to run."""

    streams: tuple[str, ...]
    methods: tuple[str, ...]
    labels: tuple[int, ...]
    seeds: int
    delay: int
    wrong_labels: float
    changes: tuple[str, ...]


def cells_of(choice: Choice) -> list[Cell]:
    """The cells of a choice, seed by seed, without the methods whose package is not installed."""
    return [
        Cell(
            stream,
            name,
            labels,
            choice.delay,
            choice.wrong_labels,
            seed,
            choice.changes if name == OURS else (),
        )
        for stream in choice.streams
        for seed in range(choice.seeds)
        for labels in choice.labels
        for name in choice.methods
        if _runs(METHODS[name], labels)
    ]


def run(
    cells: Sequence[Cell], folder: Path, path: Path | None, jobs: int, on_done: Callable[[Done], None]
) -> dict[Cell, Outcome]:
    """Compute the cells that were not kept in `path`; see `run_cells`.

    Raises `UserError` where a stream's file is missing.
    """
    attempt = functools.partial(evaluate, folder=folder)
    return run_cells(cells, attempt, _Kept(path, folder), jobs, on_done)


def as_json(outcomes: Mapping[Cell, Outcome]) -> str:
    """A JSON list with one cell a line."""
    rows = []
    for cell, outcome in outcomes.items():
        row = asdict(cell) | asdict(outcome.judgement) | {"seconds": round(outcome.seconds, 2)}
        del row["curve"], row["changes"]
        rows.append(json.dumps({name: _rounded(value) for name, value in row.items()}))
    return "[\n" + ",\n".join(rows) + "\n]\n"


def _runs(method: Method, labels: int) -> bool:
    return method.installed and (method.with_labels if labels else method.without_labels)


def _rounded(value: Any) -> Any:  # noqa: ANN401  # a value of a JSON object
    return round(value, 6) if isinstance(value, float) else value


class _Kept(KeptCells[Cell, Outcome]):
    """Outcomes by their cells, the code and the records."""

    def __init__(self, path: Path | None, data: Path) -> None:
        super().__init__(path)
        self._data = data

    def depends(self, cell: Cell) -> Mapping[str, Any]:
        code = digest(METHODS[cell.method].sources)
        return {"changes": list(cell.changes), "code": code, "data": _digest_of(cell.stream, self._data)}

    def read(self, entry: Mapping[str, Any]) -> Outcome:
        values = {field.name: entry["judgement"][field.name] for field in fields(Judgement)}
        return Outcome(Judgement(**values | {"curve": tuple(values["curve"])}), entry["seconds"])


@functools.cache
def _digest_of(stream: str, folder: Path) -> str:
    """Of the file, or of the generator's first records, which change where the generator does."""
    if is_in_files(stream):
        return file_digest(folder / KDD_FILE)
    return hashlib.sha256(b"".join(generated(0, _SAMPLE, drift=True))).hexdigest()[:16]
