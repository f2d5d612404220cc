"""An artifact in messages: cut into chunks, described, and put together again by who trusts nobody."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

CHUNK_BYTES = 512 << 10
"""Bytes of a chunk, where the topic takes messages of that size."""

NAMES = ("manifest.json", "manifest.sha256", "tensors.safetensors")
"""The files that an artifact may hold."""

LAST_VERSION = 999_999_999

_MOST_CHUNKS = 1 << 16
_SHA256 = re.compile(r"[0-9a-f]{64}")


class DamagedError(Exception):
    """What is wrong with something that was read; it is ignored, and never leaves the connector."""


class File(NamedTuple):
    """A file of an artifact."""

    name: str
    length: int
    sha256: str


class Description(NamedTuple):
    """An artifact of which each chunk has its place: the files one behind the other, in `length` bytes."""

    version: int
    length: int
    sha256: str
    offsets: tuple[int, ...]
    """Of the chunks, in the one partition of the models' topic."""
    files: tuple[File, ...]


def cut(files: Mapping[str, bytes], size: int) -> Iterator[bytes]:
    """Chunks of at most `size` bytes; none holds parts of two files."""
    for data in files.values():
        for start in range(0, len(data), size):
            yield data[start : start + size]


def describe(version: int, files: Mapping[str, bytes], offsets: Sequence[int]) -> Description:
    """What a reader must know of files that were cut and written."""
    whole = hashlib.sha256()
    for data in files.values():
        whole.update(data)
    described = tuple(File(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    length = sum(file.length for file in described)
    return Description(version, length, whole.hexdigest(), tuple(offsets), described)


def to_json(description: Description) -> dict[str, Any]:
    """As it lies on the control topic."""
    return {
        "version": description.version,
        "sha256": description.sha256,
        "bytes": description.length,
        "chunks": [[0, offset] for offset in description.offsets],
        "files": [list(file) for file in description.files],
    }


def from_json(tree: Mapping[str, Any], limit: int) -> Description:
    """What `to_json` gave. Raises `DamagedError` for anything else, and for artifacts of more than `limit` bytes."""
    description = Description(
        version=_whole(tree.get("version"), "version", LAST_VERSION, least=1),
        length=_whole(tree.get("bytes"), "number of bytes", limit, least=1),
        sha256=_checksum(tree.get("sha256")),
        offsets=tuple(_offset(place) for place in _items(tree.get("chunks"), "chunks", _MOST_CHUNKS)),
        files=tuple(_file(entry, limit) for entry in _items(tree.get("files"), "files", len(NAMES))),
    )
    if sum(file.length for file in description.files) != description.length:
        raise DamagedError("its files are not as long as the whole")
    if len({file.name for file in description.files}) < len(description.files):
        raise DamagedError("it has two files of one name")
    return description


def join(description: Description, chunks: Iterable[bytes]) -> dict[str, bytes]:
    """The files that were cut.

    Raises `DamagedError` where they are not what the description says, before more memory than its length is taken.
    """
    whole = bytearray()
    for chunk in chunks:
        if len(whole) + len(chunk) > description.length:
            raise DamagedError("its chunks hold more bytes than were described")
        whole += chunk
    if len(whole) != description.length:
        raise DamagedError("its chunks hold fewer bytes than were described")
    if hashlib.sha256(whole).hexdigest() != description.sha256:
        raise DamagedError("it does not have its checksum")
    return dict(_split(description.files, memoryview(whole)))


def _split(files: Sequence[File], whole: memoryview) -> Iterator[tuple[str, bytes]]:
    start = 0
    for file in files:
        data = bytes(whole[start : start + file.length])
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise DamagedError(f"{file.name} does not have its checksum")
        yield file.name, data
        start += file.length


def _whole(value: object, what: str, most: int, *, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= most:
        raise DamagedError(f"its {what} is no number from {least} to {most}")
    return value


def _checksum(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise DamagedError("a checksum is none")
    return value


def _items(value: object, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise DamagedError(f"its {what} are no list of 1 to {most}")
    return value


def _offset(place: object) -> int:
    """The second of a chunk's partition and offset."""
    if not isinstance(place, list) or len(place) != 2 or type(place[0]) is not int or place[0] != 0:
        raise DamagedError("a chunk is not in partition 0")
    return _whole(place[1], "chunk's offset", 2**63 - 2)


def _file(entry: object, limit: int) -> File:
    if not isinstance(entry, list) or len(entry) != 3 or entry[0] not in NAMES:
        raise DamagedError(f"it has a file that is none of {', '.join(NAMES)}")
    return File(entry[0], _whole(entry[1], "file's length", limit), _checksum(entry[2]))
