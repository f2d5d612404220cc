"""``streamad models``: the versions of the model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamad.commands import screen
from streamad.commands.stored import Stored, opened
from streamad.errors import UserError
from streamad.ports import Promoted
from streamad.state.artifacts import read_artifact, write_files
from streamad.state.times import format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from streamad.ports import Desk, KeptVersion
    from streamad.records.schema import Schema
    from streamad.state.store import Store
    from streamad.state.versions import Version

_TELLING = ("data", "labels", "detector", "features", "loss", "trial", "seed")
"""The parts of a manifest that people ask for; the rest is for the machine."""

_HEADER = ("VERSION", "STATUS", "MADE", "FROM RECORD", "PARENT", "NUMBERS")


def models(args: argparse.Namespace) -> None:
    """List, show, pin or unpin versions, or ask the feed's process for another one."""
    feed = opened(args)
    if args.action in ("list", "rollback") and args.version is not None:
        raise UserError(f"models {args.action} takes no version")
    if args.action in ("promote", "pin", "unpin") and args.version is None:
        raise UserError(f"models {args.action} needs a version; models list names them")
    if isinstance(feed, Stored):
        of_state: dict[str, Callable[[Stored, argparse.Namespace], None]]
        of_state = {
            "list": _list,
            "show": _show,
            "promote": _ask,
            "rollback": _ask,
            "pin": _pin,
            "unpin": _pin,
        }
        of_state[args.action](feed, args)
        return
    if args.action in ("pin", "unpin"):
        raise UserError(
            f"models {args.action} is for a state directory; in a cluster keep.pinned in the trainer's config does so, "
            "from its next start on"
        )
    with feed.desk("control") as desk:
        if args.action == "list":
            _list_kept(desk, args)
        elif args.action == "show":
            _show_kept(desk, args)
        else:
            _ask_trainer(desk, args, feed.config.schema_)


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
        "pinned": version.pinned,
    }


def _cells(version: Version) -> tuple[str, ...]:
    return (
        str(version.number),
        version.status + ", pinned" * version.pinned + ", files removed" * (not version.kept),
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
    described = _described(versions[wanted]) | _told(path) | {"path": str(path)}
    _show_facts(described, args)


def _told(artifact: Path) -> dict[str, Any]:
    """What an artifact tells of itself."""
    manifest, tensors = read_artifact(artifact)
    told = {key: manifest[key] for key in _TELLING if key in manifest}
    return told | {"weights": sum(tensor.size for tensor in tensors.values())}


def _show_facts(described: Mapping[str, Any], args: argparse.Namespace) -> None:
    if _machine(args):
        screen.ndjson(described)
    else:
        screen.table((name, _fact(value)) for name, value in described.items())


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return _words(value)
    return value if isinstance(value, str) else json.dumps(value)


def _ask(feed: Stored, args: argparse.Namespace) -> None:
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


def _pin(feed: Stored, args: argparse.Namespace) -> None:
    with feed.writer() as store:
        (store.pin if args.action == "pin" else store.unpin)(args.version)
    if _machine(args):
        screen.ndjson({"version": args.version, "pinned": args.action == "pin"})
    elif args.action == "pin":
        screen.show(
            f"version {args.version} is pinned: its files stay, and while it scores no training takes its place"
        )
    else:
        screen.show(f"version {args.version} is not pinned any more")


def _is_finished(store: Store) -> bool:
    """Whether the replay has met its last record, so that no engine takes a request any more."""
    restored = store.restore()
    return restored is not None and bool(restored[1]["engine"]["finished"])


# ---- in a cluster ------------------------------------------------------------------------------------


def _list_kept(desk: Desk, args: argparse.Namespace) -> None:
    versions = [_kept(version) for version in desk.versions()]
    if _machine(args):
        for version in versions:
            screen.ndjson(version)
    elif versions:
        header = ("VERSION", "STATUS", "PUBLISHED", "BYTES")
        screen.table(
            [header, *([f"{v:,}" if k == "bytes" else v for k, v in version.items()] for version in versions)]
        )
    else:
        screen.remark("no version yet")


def _kept(version: KeptVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "status": "active" if version.promoted else "retired",
        "published_at": version.published_at,
        "bytes": version.bytes,
    }


def _show_kept(desk: Desk, args: argparse.Namespace) -> None:
    versions = {version.number: version for version in desk.versions()}
    wanted = args.version
    if wanted is None:
        wanted = next((version.number for version in versions.values() if version.promoted), None)
        if wanted is None:
            raise UserError("no version is promoted yet")
    with tempfile.TemporaryDirectory(prefix="streamad-") as folder:
        artifact = Path(folder) / "artifact"
        write_files(artifact, desk.files(wanted))
        told = _told(artifact)
    # record numbers are a trainer's own count, of what it was given since its start
    told["data"] = {key: value for key, value in told["data"].items() if not key.endswith("_record")}
    _show_facts(_kept(versions[wanted]) | told, args)


def _ask_trainer(desk: Desk, args: argparse.Namespace, schema: Schema) -> None:
    """Ask for a version that this feed's scorers can score with."""
    from streamad.runtime.published import Unfit, judged  # noqa: PLC0415  # torch takes a second to import

    wanted = desk.previous() if args.version is None else args.version
    with tempfile.TemporaryDirectory(prefix="streamad-") as folder:
        found = judged(Promoted(wanted, desk.files(wanted)), Path(folder) / "artifact", schema)
    if isinstance(found, Unfit):
        raise UserError(f"version {wanted} cannot take over: {found.reason}")
    active = desk.ask(wanted)
    when = {
        True: "the active trainer takes it",
        False: "no trainer is active now, the next one takes it",
        None: "the active trainer takes it, if there is one",
    }[active]
    if _machine(args):
        screen.ndjson({"request": args.action, "version": wanted, "trainer": active})
    else:
        screen.show(f"{args.action} to version {wanted} is asked for; {when}")
