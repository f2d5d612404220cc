"""The state directory of one feed: what lies where in it, who made it, and who holds it.

STATE/format.json   format, feed, made_by, schema
STATE/lock          held by run or replay, with its process id inside
STATE/store.db      the embedded store
STATE/artifacts/    one directory a version: 000001
STATE/jobs/         what the trainer reads and writes
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Any, Literal, Self

from streamad.errors import StateError
from streamad.records.schema import Schema, field_changes
from streamad.state.artifacts import remove_leftovers

STATE_FORMAT = 1
Maker = Literal["run", "replay"]

_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|smb3|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|ncpfs|davfs2?|virtiofs|fuse\.(?!fuseblk|fuse-overlayfs|portal).+"
)
"""File systems whose locks and shared memory cannot be relied upon, so that SQLite's WAL mode breaks."""

_FORMAT_BYTES = 1 << 20
_LOCK_TRIES, _LOCK_PAUSE = 5, 0.02
"""Times and seconds."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """An existing state directory. Usable without the lock by whoever only goes through the store."""

    path: Path
    feed: str
    made_by: Maker
    schema: dict[str, Any]
    """`schema_fingerprint` of the feed's schema."""

    @property
    def store(self) -> Path:
        """The embedded store's file."""
        return self.path / "store.db"

    @property
    def artifacts(self) -> Path:
        """The folder of the versions."""
        return self.path / "artifacts"

    @property
    def jobs(self) -> Path:
        """The folder that the trainer reads from and writes to."""
        return self.path / "jobs"

    def artifact(self, number: int) -> Path:
        """The directory of one version."""
        return self.artifacts / f"{number:06d}"

    def take_schema(self) -> None:
        """Write down that the state goes on under `schema`; only for who holds the lock."""
        _describe(self)

    def clear(self) -> None:
        """Remove every artifact and job (``--fresh``); only for who holds the lock."""
        for folder in (self.artifacts, self.jobs):
            shutil.rmtree(folder, ignore_errors=True)
            _private_folder(folder)


@dataclass(slots=True)
class HeldState:
    """A state directory together with its lock: what ``run`` and ``replay`` work in."""

    state: StateDirectory
    _descriptor: int | None = field(repr=False)

    def close(self) -> None:
        """Let the lock go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def schema_fingerprint(schema: Schema) -> dict[str, Any]:
    """What of a schema may not change under an existing state; the truth column's values may."""
    clock = schema.time.model_dump(mode="json") if schema.time else None
    return {"fields": [list(pair) for pair in schema.fields.items()], "time": clock}


def hold_state(
    path: Path, *, feed: str, made_by: Maker, schema: Schema, any_schema: bool = False
) -> HeldState:
    """Make or open the state directory of a feed and lock it.

    With `any_schema` it may have been made under another schema, see `StateDirectory.take_schema`.
    Raises `StateError` where that cannot be: it is held by another process (which is named), belongs to
    another feed, command, format or schema, cannot be written, or lies on a network file system.
    """
    path = path.absolute()
    refuse_network(path)
    try:
        _make(path)
        descriptor = _lock(path)
    except OSError as error:
        raise StateError(f"the state directory {path} cannot be written: {error.strerror}") from None
    held = HeldState(StateDirectory(path, feed, made_by, schema_fingerprint(schema)), descriptor)
    try:
        _settle(held.state, any_schema=any_schema)
    except OSError as error:
        held.close()
        raise StateError(f"the state directory {path} cannot be written: {error.strerror}") from None
    except BaseException:
        held.close()
        raise
    return held


def find_state(path: Path) -> StateDirectory:
    """The state directory that is there, without its lock.

    Raises `StateError` where there is none, or one of another format.
    """
    path = path.absolute()
    described = _described(path)
    if described is None:
        raise StateError(f"no state yet in {path}: run or replay first")
    return StateDirectory(path, described["feed"], described["made_by"], described["schema"])


def holder(path: Path) -> int | None:
    """The process that holds a state directory, None where nobody does."""
    try:
        descriptor = os.open(path / "lock", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor)
    finally:
        os.close(descriptor)
    return None


def _make(path: Path) -> None:
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        _private_folder(path)
    elif _described(path) is None:
        _check_strange(path)
        path.chmod(0o700)


def _check_strange(path: Path) -> None:
    """Refuse a directory that holds anything but the beginnings of a state."""
    strange = sorted(child.name for child in path.iterdir() if child.name not in ("lock", ".format.json"))
    if strange:
        raise StateError(f"{path} is no state directory: it holds {strange[0]!r} but no format.json")


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    # The umask can only have taken away more.
    path.chmod(0o700)


def _lock(path: Path) -> int:
    """Take the lock; returns the descriptor that holds it."""
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if not _taken(descriptor):
        pid = _pid(descriptor)
        os.close(descriptor)
        raise StateError(f"the state directory {path} is in use by process {pid}") from None
    os.fchmod(descriptor, 0o600)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _taken(descriptor: int) -> bool:
    """Whether the lock is ours now; tried for a moment, since `holder` has it while it looks."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(_LOCK_PAUSE)
        else:
            return True
    return False


def _pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else 0


def _settle(state: StateDirectory, *, any_schema: bool) -> None:
    """Check what is there, or write down what this state is; needs the lock."""
    if _described(state.path) is None:
        _describe(state)
    else:
        check_fits(state, find_state(state.path), any_schema=any_schema)
    for folder in (state.artifacts, state.jobs):
        _private_folder(folder)
    remove_leftovers(state.artifacts)


def _describe(state: StateDirectory) -> None:
    text = json.dumps(
        {"format": STATE_FORMAT, "feed": state.feed, "made_by": state.made_by, "schema": state.schema},
        indent=1,
    )
    temporary = state.path / ".format.json"
    temporary.touch(mode=0o600)
    temporary.chmod(0o600)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(state.path / "format.json")


def _described(path: Path) -> dict[str, Any] | None:
    """What format.json says, None where there is none."""
    file = path / "format.json"
    try:
        with file.open("rb") as stream:
            described = json.loads(stream.read(_FORMAT_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise StateError(f"{file} is damaged: it is no JSON") from None
    if not isinstance(described, dict) or not isinstance(described.get("format"), int):
        raise StateError(f"{file} is damaged: it names no format")
    if described["format"] != STATE_FORMAT:
        raise StateError(f"{path} has format {described['format']}, this streamad reads {STATE_FORMAT}")
    if not {"feed", "made_by", "schema"} <= described.keys():
        raise StateError(f"{file} is damaged: it lacks feed, made_by or schema")
    return described


def check_fits(state: StateDirectory, there: StateDirectory, *, any_schema: bool = False) -> None:
    """Raise `StateError` where what is there is not what the state is to be."""
    if there.feed != state.feed:
        raise StateError(f"{state.path} belongs to the feed {there.feed!r}, not to {state.feed!r}")
    if there.made_by != state.made_by:
        raise StateError(
            f"{state.path} was made by {there.made_by}: {state.made_by} needs its own (--state DIR)"
        )
    if there.schema != state.schema and not any_schema:
        changes = _schema_changes(there.schema, state.schema)
        fresh = "--fresh starts anew and keeps the labels"
        remedy = fresh if state.made_by == "replay" else "streamad fit --new-schema takes it over"
        raise StateError(f"the schema changed since {state.path} was made: {changes} ({remedy})")


def _schema_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs, in words."""
    if changes := field_changes(dict(old["fields"]), dict(new["fields"])):
        return changes
    if old["fields"] != new["fields"]:
        return "the fields are in another order"
    return "the time's field, format or zone differs"


def refuse_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Raise `StateError` where `path` lies on a network file system; elsewhere than on Linux nobody can say."""
    try:
        table = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    place = path.resolve()
    found: tuple[int, str] = (0, "")
    for line in table.splitlines():
        _, mount, kind, *_ = line.split(" ")
        # The kernel writes blanks in a path as octal escapes.
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount))
        if place.is_relative_to(point):
            found = max(found, (len(point.parts), kind), key=lambda pair: pair[0])
    if _NETWORK.fullmatch(found[1]):
        raise StateError(f"{path} is on a network file system ({found[1]}), which the store cannot live on")
