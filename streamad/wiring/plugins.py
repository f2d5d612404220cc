"""Connectors by their entry points, with their part of the config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from streamad.config import Config, config_error
from streamad.errors import ConfigError, UserError
from streamad.ports import Sampling, Source, SourceContext, SourceOptions, SourcePlugin

if TYPE_CHECKING:
    from streamad.job import Job  # its imports take seconds, and people at a desk have no job

Release = Callable[[tuple[str, ...]], None]
"""`SourceContext.release`."""


def open_source(
    job: Job, config: Config, release: Release = lambda _partitions: None
) -> tuple[SourceOptions, Source]:
    """The source that the config or the command line names, not yet read. Raises `InputError`."""
    plugin, options = source_options(job, config)
    return options, plugin.open(options, source_context(job, config, release))


def source_options(job: Job, config: Config) -> tuple[SourcePlugin, SourceOptions]:
    """The source's plugin, and its options validated by it. Raises `ConfigError`."""
    tree = dict(config.source)
    if job.files:
        tree |= {"type": "files", "paths": [str(path.absolute()) for path in job.files]}
    if job.made_by == "replay" and tree.get("follow"):
        tree["follow"] = False
    plugin: SourcePlugin = find_plugin(job.config, "streamad.sources", "source", tree)
    options: SourceOptions = validated(job.config, plugin.options, tree, "source")
    return plugin, options


def source_context(job: Job, config: Config, release: Release) -> SourceContext:
    """What a source may know beside its options."""
    return SourceContext(
        folder=job.config.absolute().parent,
        record_bytes=config.limits.record_bytes,
        seed=job.seed,
        bounded=job.made_by == "replay",
        release=release,
        feed=config.feed,
    )


def find_sampled(kind: str) -> tuple[SourcePlugin, Sampling]:
    """The plugin of a source that samples itself. Raises `UserError` where it is none, or does not."""
    for entry in entry_points(group="streamad.sources", name=kind):
        plugin: SourcePlugin = entry.load()
        if plugin.sampling is not None:
            return plugin, plugin.sampling
    raise UserError(f"init knows no {kind}://, but files, standard input (-) and kafka://BROKERS/TOPIC")


def find_plugin(path: Path, group: str, key: str, tree: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any kind of plugin
    """The plugin that the tree's ``type`` names. Raises `ConfigError`."""
    known = {entry.name: entry for entry in entry_points(group=group)}
    kind = tree.get("type")
    if not isinstance(kind, str) or kind not in known:
        raise ConfigError(str(path), f"{key}.type", f"found {kind!r}", "one of " + ", ".join(sorted(known)))
    return known[kind].load()


def validated(path: Path, model: type[Any], tree: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401  # the plugin's model
    """A part of the config as its plugin's model. Raises `ConfigError`."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise config_error(path, error, tree, model, key) from None
