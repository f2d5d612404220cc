"""What ``--check`` looks at before a start: nothing is written, joined or moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from streamad.config import Config, load_config, state_path
from streamad.errors import StateError, UserError
from streamad.job import Job, check_inputs
from streamad.models.scoring_model import choose_device
from streamad.ports import Desk, Finding, Promoted, Role
from streamad.runtime.published import Unfit, judged
from streamad.state.directory import (
    StateDirectory,
    check_fits,
    find_state,
    holder,
    refuse_network,
    schema_fingerprint,
)
from streamad.wiring.cluster import Member, member, scratch
from streamad.wiring.local import open_outlets
from streamad.wiring.plugins import source_context, source_options


def findings(job: Job, role: Role) -> list[Finding]:
    """What was found; of several problems all that can be told. Raises `UserError` and `WorldError` for what ends it."""
    config = load_config(job.config, job.overrides)
    if role == "scorer" and not isinstance(config.state, dict):
        return [*_alone(job, config)]
    one = member(job)
    found = [_config(job, config), _detector(config)]
    if one.source.type != one.state.type:  # a cluster looks at records of its own
        found += _source(job, config)
    found += one.plugin.check(one.state, one.source, one.context, role)
    if not any(finding.kind == "problem" for finding in found):  # else what is promoted may not be readable
        found += _promoted(one, role)
    return found


def _promoted(one: Member, role: Role) -> Iterator[Finding]:
    """Whether a start could score with what is promoted, or learn on from it."""
    with closing(one.plugin.open_desk(one.state, one.source, one.context)) as desk:
        try:
            versions = desk.versions()
        except UserError:  # topics that will be made: the plugin's check has told so
            return
        version = next((kept.number for kept in versions if kept.promoted), None)
        if version is None:
            return
        unfit = _unfit(desk, version, one.config)
    if unfit is None:
        yield _ok(f"version {version}: promoted, and fits the schema")
    elif unfit.of_another_schema and not (role == "trainer" and one.job.any_schema):
        yield Finding("problem", unfit.reason)
    else:
        then = "waits for another one" if role == "scorer" else "begins anew and makes the next one"
        yield Finding("warning", f"version {version} is promoted, and this {role} {then}: {unfit.reason}")


def _unfit(desk: Desk, version: int, config: Config) -> Unfit | None:
    try:
        promoted = Promoted(version, desk.files(version))
    except UserError as error:
        return Unfit(version, str(error), of_another_schema=False)
    with scratch() as folder:
        found = judged(promoted, folder / "artifact", config.schema_)
    return found if isinstance(found, Unfit) else None


def _alone(job: Job, config: Config) -> Iterator[Finding]:
    """One process on one machine."""
    yield _config(job, config)
    yield from _tried(lambda: check_inputs(job, config), lambda: _detector(config))
    yield from _source(job, config)
    sinks = ", ".join(str(tree.get("type")) for tree in config.sinks)
    yield from _tried(
        lambda: _close_outlets(job, config), lambda: _ok(f"sinks: {sinks or 'none but the store'}")
    )
    yield from _state(state_path(config, job.config, job.state), config)


def _config(job: Job, config: Config) -> Finding:
    count = len(config.schema_.features)
    return _ok(f"config {job.config}: feed {config.feed}, {count} feature{'s'[: count > 1]}")


def _detector(config: Config) -> Finding:
    return _ok(f"detector {config.detector.name}: on the {choose_device(config.detector.device).type}")


def _source(job: Job, config: Config) -> Iterator[Finding]:
    try:
        plugin, options = source_options(job, config)
        context = source_context(job, config, lambda _partitions: None)
        if plugin.check is not None:
            yield from plugin.check(options, context)
        elif options.type == "stdin":  # looking would take records away
            yield _ok("source stdin: not looked at")
        else:
            plugin.open(options, context).close()
            yield _ok(f"source {options.type}: can be read")
    except UserError as error:
        yield _problem(error)


def _close_outlets(job: Job, config: Config) -> None:
    for _, outlet in open_outlets(job, config):
        outlet.close()


def _state(path: Path, config: Config) -> Iterator[Finding]:
    yield from _tried(lambda: _check_state(path.absolute(), config), lambda: _ok(f"state directory {path}"))
    if (pid := holder(path)) is not None:
        yield Finding(
            "warning", f"{path} is held by process {pid}: a second run is refused while that one runs"
        )


def _check_state(path: Path, config: Config) -> None:
    refuse_network(path)
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise StateError(f"the state directory {path} cannot be written: let this user write {there}")
    if (path / "format.json").exists():
        wanted = StateDirectory(path, config.feed, "run", schema_fingerprint(config.schema_))
        check_fits(wanted, find_state(path))


def _tried(look: Callable[[], object], well: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        look()
        yield well()
    except UserError as error:
        yield _problem(error)


def _ok(text: str) -> Finding:
    return Finding("ok", text)


def _problem(error: UserError) -> Finding:
    return Finding("problem", str(error))
