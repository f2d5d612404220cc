"""What the outside of streamad must do: one protocol a port, two to four verbs each.

The ports are drawn for a broker: positions are a map over partitions, the sink commits outputs and
positions together or aborts, and after an abort the source is rewound. Connectors are found through
the entry points ``streamad.sources`` and ``streamad.sinks``; each entry is a `SourcePlugin` or a
`SinkPlugin`, so anyone can add one from outside.
"""

from streamad.ports.cluster import (
    ClusterContext,
    ClusterPlugin,
    GivenLabel,
    Lookup,
    Promoted,
    Publisher,
    Reference,
    Role,
    Stage,
    Updates,
    Wanted,
)
from streamad.ports.desk import Desk, KeptVersion, Seen, Standing
from streamad.ports.mutes import Mute
from streamad.ports.plugins import (
    Finding,
    Sampling,
    SinkOptions,
    SinkPlugin,
    SourceContext,
    SourceOptions,
    SourcePlugin,
)
from streamad.ports.streams import (
    Commit,
    End,
    Idle,
    Outlet,
    Positions,
    Revoked,
    SharedSource,
    Sink,
    Source,
    SourceFigures,
    SparingSource,
    WatchedSource,
)

__all__ = [
    "ClusterContext",
    "ClusterPlugin",
    "Commit",
    "Desk",
    "End",
    "Finding",
    "GivenLabel",
    "Idle",
    "KeptVersion",
    "Lookup",
    "Mute",
    "Outlet",
    "Positions",
    "Promoted",
    "Publisher",
    "Reference",
    "Revoked",
    "Role",
    "Sampling",
    "Seen",
    "SharedSource",
    "Sink",
    "SinkOptions",
    "SinkPlugin",
    "Source",
    "SourceContext",
    "SourceFigures",
    "SourceOptions",
    "SourcePlugin",
    "SparingSource",
    "Stage",
    "Standing",
    "Updates",
    "Wanted",
    "WatchedSource",
]
