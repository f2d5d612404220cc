"""The streams of ``bench stream``: KDDCUP99 in file order with its attacks thinned, and generated traffic.

All are lines in KDDCUP99's format. A seed decides which attacks stay, and the generator's network.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from streamad.errors import UserError
from streamad.ports import SourceContext, SourcePlugin
from streamad.records.batch import Block
from streamad.wiring.plugins import find_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

KDD_FILE: Final = "kddcup99/kddcup.data_10_percent.gz"
"""Where KDDCUP99 lies in the data folder."""

NORMAL: Final = "normal"
"""The family of the records that are no attack."""

_SHARE = 0.02
_AT_MOST = 100
_HELD_BACK = 200
_GROUPS = 5
"""Of the families with records enough, a seed holds back every fifth: after five seeds each had its turn."""
_LATE = 0.6
"""The part of the stream that comes before the families held back, and in which labels are given."""
_SETTLED = 150_000
"""The generator's record from which on no family is new, so that nothing changes but the hour."""
_GENERATED = 150_000, 200_000
_BLOCK = 4096
_SETTING_ASIDE, _THINNING = 1, 2  # what a random stream is for


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """n records in order."""

    name: str
    lines: tuple[bytes, ...]
    """[n] each a record of KDDCUP99's 42 fields, with its newline."""
    family: NDArray[np.str_]
    """[n] the attack that a record belongs to, or `NORMAL`."""
    labels_end: int
    """Analysts are asked about records before this one only, and not after it."""
    held_back: tuple[str, ...] = ()
    """Families that begin at `labels_end`."""

    @property
    def truth(self) -> NDArray[np.bool_]:
        """[n] which records are attacks."""
        attacks: NDArray[np.bool_] = self.family != NORMAL
        return attacks

    def __len__(self) -> int:
        return len(self.lines)


def load(name: str, folder: Path, seed: int) -> Stream:
    """One of `STREAMS`, drawn with a seed; `folder` holds the data sets.

    Raises `UserError` where KDDCUP99 is not there or is something else.
    """
    return STREAMS[name](folder, seed)


def is_in_files(name: str) -> bool:
    """Whether a stream is read from the data folder."""
    return name.startswith("kdd")


def generated(seed: int, records: int, *, drift: bool, start: int = 0) -> tuple[bytes, ...]:
    """The lines ``[start, start + records)`` of the shipped generator's traffic.

    Without drift its everyday traffic is stationary but for a daily cycle of 50,000 records: heavy-tailed sizes,
    sessions of like records in a row; 2 % attacks come in episodes, of all families from record 150,000 on.
    """
    plugin: SourcePlugin = find_plugin(Path("bench"), "streamad.sources", "source", {"type": "generator"})
    options = plugin.options.model_validate(
        {"type": "generator", "records": start + records, "drift": drift, "seed": seed}
    )
    source = plugin.open(options, SourceContext(Path(), record_bytes=1 << 20, seed=seed, bounded=True))
    source.seek({"generator": {"offset": start}})
    lines: list[bytes] = []
    while isinstance(block := source.poll(_BLOCK, 1.0), Block):
        lines += block.data.tobytes().splitlines(keepends=True)
    source.close()
    return tuple(lines)


def families(lines: tuple[bytes, ...]) -> NDArray[np.str_]:
    """[n] the last field of each line, without its dot."""
    return np.array([line[line.rindex(b",") + 1 :].strip().rstrip(b".").decode() for line in lines])


# ---- KDDCUP99 ------------------------------------------------------------------------------------


def _two_percent(folder: Path, seed: int) -> Stream:
    """All normal records and a random choice of attacks, 2 % of the stream."""
    lines, family = _kdd(folder)
    attacks = _thinned(np.flatnonzero(family != NORMAL), int((family == NORMAL).sum()), seed)
    return _taken("kdd-2pct", lines, family, np.sort(np.append(np.flatnonzero(family == NORMAL), attacks)))


def _hundred_each(folder: Path, seed: int) -> Stream:
    """All normal records and at most a hundred of each family."""
    lines, family = _kdd(folder)
    random = np.random.default_rng((seed, _THINNING))
    rows = [np.flatnonzero(family == NORMAL)]
    rows += [
        _some(random, np.flatnonzero(family == one), _AT_MOST) for one in np.unique(family[family != NORMAL])
    ]
    return _taken("kdd-100-each", lines, family, np.sort(np.concatenate(rows)))


def _held(folder: Path, seed: int) -> Stream:
    """As `_two_percent`, but two families come late, 200 records of each, scattered over the last part."""
    lines, family = _kdd(folder)
    late = _held_families(family, seed)
    normal = np.flatnonzero(family == NORMAL)
    others = np.flatnonzero((family != NORMAL) & ~np.isin(family, late))
    rows = np.sort(np.append(normal, _thinned(others, len(normal), seed)))
    random = np.random.default_rng((seed, _SETTING_ASIDE))
    held = np.concatenate([_some(random, np.flatnonzero(family == one), _HELD_BACK) for one in late])
    end = int(len(rows) * _LATE)
    rows = np.insert(rows, np.sort(random.integers(end, len(rows) + 1, len(held))), random.permutation(held))
    return _taken("kdd-held-back", lines, family, rows, labels_end=end, held_back=late)


def _held_families(family: NDArray[np.str_], seed: int) -> tuple[str, ...]:
    """Every fifth of the families with at least `_HELD_BACK` records, the largest first."""
    names, counts = np.unique(family[family != NORMAL], return_counts=True)
    large = names[np.argsort(-counts, kind="stable")][: int((counts >= _HELD_BACK).sum())]
    groups = min(_GROUPS, len(large))
    return tuple(large[seed % groups :: groups].tolist())


def _thinned(attacks: NDArray[np.int64], normal: int, seed: int) -> NDArray[np.int64]:
    return _some(np.random.default_rng((seed, _THINNING)), attacks, round(normal * _SHARE / (1 - _SHARE)))


def _some(random: np.random.Generator, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return random.choice(rows, min(most, len(rows)), replace=False)


def _taken(
    name: str,
    lines: tuple[bytes, ...],
    family: NDArray[np.str_],
    rows: NDArray[np.int64],
    *,
    labels_end: int | None = None,
    held_back: tuple[str, ...] = (),
) -> Stream:
    end = len(rows) if labels_end is None else labels_end
    return Stream(name, tuple(lines[row] for row in rows.tolist()), family[rows], end, held_back)


def _kdd(folder: Path) -> tuple[tuple[bytes, ...], NDArray[np.str_]]:
    path = folder / KDD_FILE
    try:
        lines = tuple(gzip.decompress(path.read_bytes()).splitlines(keepends=True))
        return lines, families(lines)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; name the folder of the data sets with --data DIR or STREAMAD_DATA"
        ) from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} is no KDDCUP99 file ({error})") from error


# ---- generated traffic ---------------------------------------------------------------------------


def _stationary(_folder: Path, seed: int) -> Stream:
    lines = generated(seed, _GENERATED[0], drift=False, start=_SETTLED)
    return Stream("generator-stationary", lines, families(lines), len(lines))


def _drifting(_folder: Path, seed: int) -> Stream:
    """Services and sizes move, and new attacks appear at the records 60,000 and 150,000."""
    lines = generated(seed, _GENERATED[1], drift=True)
    return Stream("generator-drifting", lines, families(lines), len(lines))


STREAMS: Final[Mapping[str, Callable[[Path, int], Stream]]] = {
    "kdd-2pct": _two_percent,
    "kdd-100-each": _hundred_each,
    "kdd-held-back": _held,
    "generator-stationary": _stationary,
    "generator-drifting": _drifting,
}
"""By the names that users know."""
