"""``streamad models``: the versions of the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.stored import Stored, stored
from streamad.errors import UserError
from streamad.state.artifacts import read_artifact
from streamad.state.times import format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from streamad.state.store import Store
    from streamad.state.versions import Version

_TELLING = ("data", "labels", "detector", "features", "loss", "seed")
"""The parts of a manifest that people ask for; the rest is for the machine."""

_HEADER = ("VERSION", "STATUS", "MADE", "FROM RECORD", "PARENT", "NUMBERS")


def models(args: argparse.Namespace) -> None:
    """List or show versions, or ask the feed's process for another one."""
    feed = stored(args)
    if args.action in ("list", "rollback") and args.version is not None:
        raise UserError(f"models {args.action} takes no version")
    {"list": _list, "show": _show, "promote": _ask, "rollback": _ask}[args.action](feed, args)


def _machine(args: argparse.Namespace) -> bool:
    return bool(args.json) or screen.piped()


def _list(feed: Stored, args: argparse.Namespace) -> None:
    with feed.reader() as reader:
        versions = reader.versions()
    if _machine(args):
        for version in versions:
            screen.ndjson(_described(version))
    elif versions:
        screen.table([_HEADER, *map(_cells, versions)])
    else:
        screen.remark("no version yet")


def _described(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "status": version.status,
        "created_at": format_time(version.created_at),
        "created_record": version.created_record,
        "parent": version.parent,
        "numbers": version.numbers,
        "kept": version.kept,
    }


def _cells(version: Version) -> tuple[str, ...]:
    return (
        str(version.number),
        version.status + ("" if version.kept else ", files removed"),
        format_time(version.created_at),
        "-" if version.created_record is None else f"{version.created_record:,}",
        str(version.parent or "-"),
        _words(version.numbers),
    )


def _words(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_rounded(value)}" for name, value in numbers.items()) or "-"


def _rounded(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _show(feed: Stored, args: argparse.Namespace) -> None:
    with feed.reader() as reader:
        versions = {version.number: version for version in reader.versions()}
    wanted = args.version
    if wanted is None:
        wanted = next((v.number for v in versions.values() if v.status == "active"), None)
        if wanted is None:
            raise UserError("no version is active yet")
    if wanted not in versions:
        raise UserError(f"there is no version {wanted}")
    if not versions[wanted].kept:
        raise UserError(f"the files of version {wanted} were removed (keep.versions)")
    path = feed.state.artifact(wanted)
    manifest, tensors = read_artifact(path)
    described = _described(versions[wanted]) | {key: manifest[key] for key in _TELLING if key in manifest}
    described |= {"weights": sum(tensor.size for tensor in tensors.values()), "path": str(path)}
    if _machine(args):
        screen.ndjson(described)
    else:
        screen.table((name, _fact(value)) for name, value in described.items())


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return _words(value)
    return value if isinstance(value, str) else json.dumps(value)


def _ask(feed: Stored, args: argparse.Namespace) -> None:
    if args.action == "promote" and args.version is None:
        raise UserError("models promote needs a version; models list names them")
    with feed.writer() as store:
        if feed.state.made_by == "replay" and _is_finished(store):
            raise UserError("this replay is finished; streamad run --from takes its active version along")
        store.ask(args.action, args.version)
        active = store.active_version()
    process = feed.process()
    if process is None:
        when = f"the next streamad {feed.state.made_by} takes it, no process runs the feed now"
    else:
        when = f"process {process} takes it before its next batch"
    wanted = args.version if args.version is not None else active.parent if active else None
    if _machine(args):
        screen.ndjson({"request": args.action, "version": wanted, "process": process})
    else:
        screen.show(f"{args.action} to version {wanted} is asked for; {when}")


def _is_finished(store: Store) -> bool:
    """Whether the replay has met its last record, so that no engine takes a request any more."""
    restored = store.restore()
    return restored is not None and bool(restored[1]["engine"]["finished"])
