"""How many records to take of each partition, where not all can be had."""

from __future__ import annotations

from collections.abc import Mapping


def shares(sizes: Mapping[int, int], room: int) -> dict[int, int]:
    """Of partitions that hold so many, `room` at most in all: equal parts, what small ones leave going to the others."""
    found: dict[int, int] = {}
    for place, number in enumerate(sorted(sizes, key=lambda number: sizes[number])):
        found[number] = min(sizes[number], room // (len(sizes) - place))
        room -= found[number]
    return found
