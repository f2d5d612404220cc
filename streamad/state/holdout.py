"""Which records are never trained on: a tenth of them, the same ones for every version of a run; and other samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_OTHER_SEED = 0x5A17
"""Keeps the sample of `chosen` apart from the hold-out."""
_PAST_SEED = 0x9A57
"""Keeps `draws` apart from both."""

SHARE = 10
"""One record in so many is held out."""


def held_out(records: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Whether each record number [n] is held out; depends on the number and the run's seed alone."""
    out: NDArray[np.bool_] = _mixed(records, seed) % np.uint64(SHARE) == 0
    return out


def compared(records: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Whether each record number [n] is of the half that scores are compared with once a version is older than they are.

    Held-out records are among them.
    """
    out: NDArray[np.bool_] = _mixed(records, seed) % np.uint64(2) == 0
    return out


def chosen(records: NDArray[np.int64], seed: int, share: float) -> NDArray[np.bool_]:
    """Whether each record number [n] belongs to a sample of this `share` (0 to 1), whatever is held out."""
    level = _mixed(records, seed ^ _OTHER_SEED) >> np.uint64(11)  # 53 bits: every double counts exactly
    out: NDArray[np.bool_] = level < share * 2.0**53
    return out


def draws(records: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number from 0 to 1 for each record number [n], which depends on it and the run's seed alone."""
    drawn = _mixed(records, seed ^ _PAST_SEED) >> np.uint64(11)
    return drawn.astype(np.float64) * 2.0**-53


def split(records: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Like `held_out`, with at least one row on either side of two or more rows.

    A window too small for chance to have divided it gives up those that the hash ranks first; a single
    row is held out.
    """
    held = held_out(records, seed)
    if len(held) and (held.all() or not held.any()):
        order = np.argsort(_mixed(records, seed), kind="stable")
        held = np.zeros(len(records), dtype=np.bool_)
        held[order[: max(1, len(records) // SHARE)]] = True
    return held


def _mixed(records: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014) over record number and seed."""
    offset = np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    with np.errstate(over="ignore"):
        z = records.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + offset
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
