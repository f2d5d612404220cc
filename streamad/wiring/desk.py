"""The desk of a cluster, for commands that run nothing: without torch, since people wait for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamad.config import Config
from streamad.ports import ClusterContext, ClusterPlugin, Desk, SourceContext, SourceOptions, SourcePlugin
from streamad.wiring.plugins import find_plugin, validated


@contextmanager
def open_desk(path: Path, config: Config) -> Iterator[Desk]:
    """The desk of the cluster whose config lies at `path`. Raises `UserError`; its verbs raise more."""
    assert isinstance(config.state, dict)
    cluster: ClusterPlugin = find_plugin(path, "streamad.states", "state", config.state)
    plugin: SourcePlugin = find_plugin(path, "streamad.sources", "source", config.source)
    state = validated(path, cluster.options, config.state, "state")
    source: SourceOptions = validated(path, plugin.options, config.source, "source")
    desk = cluster.open_desk(state, source, _context(path, config, plugin, source))
    try:
        yield desk
    finally:
        desk.close()


def _context(path: Path, config: Config, plugin: SourcePlugin, options: SourceOptions) -> ClusterContext:
    source = SourceContext(
        folder=path.absolute().parent,
        record_bytes=config.limits.record_bytes,
        seed=0,
        bounded=False,
        feed=config.feed,
    )
    return ClusterContext(
        feed=config.feed,
        source=source,
        open_source=lambda: plugin.open(options, source),
        window_records=config.training.window.records,
        keep_versions=config.keep.versions,
    )
