"""The methods that ``bench stream`` compares, by the names that users know."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streamad.bench.stream.forests import Forest, Lookup
from streamad.bench.stream.one_by_one import AdaptiveForest, HalfSpace, Logistic, Pysad
from streamad.bench.stream.peers import Peer, prequential
from streamad.bench.stream.product import most_anomalous, play
from streamad.bench.stream.supervised import Nearest, Trees

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streamad.bench.stream.analyst import Analyst
    from streamad.bench.stream.judge import Emitted
    from streamad.bench.stream.streams import Stream

OURS: Final = "streamad"

_PROTOCOL = tuple(f"bench/stream/{name}.py" for name in ("analyst", "evaluate", "judge", "streams"))
_PRODUCT = (
    "config.py", "features", "job.py", "learning", "models", "records", "runtime", "scoring", "state", "training",
    "wiring",
)  # fmt: skip


_PEERS = (
    "bench/forest.py", "bench/stream/peers.py", "bench/stream/forests.py", "bench/stream/supervised.py", "features",
    "records",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Method:
    """One method."""

    play: Callable[[Stream, Analyst, int, tuple[str, ...]], Emitted]
    """(stream, analyst, seed, changes to streamad's config) -> scores as they were given."""
    sources: tuple[str, ...]
    """Files and folders of streamad whose code decides the scores."""
    with_labels: bool = True
    """Whether it learns from labels."""
    without_labels: bool = True
    """Whether it runs without any."""
    package: str = ""
    """The package of the `bench` extra that it needs."""

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None


def _peer(make: Callable[[Stream, int], Peer], source: str, *, labels: bool, package: str = "") -> Method:
    return Method(
        lambda stream, analyst, seed, _changes: prequential(make(stream, seed), stream, analyst),
        (
            *_PROTOCOL,
            "bench/stream/peers.py",
            "bench/forest.py",
            "records",
            "features",
            f"bench/stream/{source}.py",
        ),
        with_labels=labels,
        without_labels=not labels,
        package=package,
    )


def _pysad(make: Callable[[Any, NDArray[np.float64], int], Any]) -> Method:
    return _peer(lambda stream, seed: Pysad(stream, seed, make), "one_by_one", labels=False, package="pysad")


METHODS: Final[Mapping[str, Method]] = {
    OURS: Method(play, (*_PROTOCOL, "bench/stream/product.py", *_PRODUCT)),
    "isolation forest": _peer(Forest, "forests", labels=False),
    "half-space trees, river": _peer(HalfSpace, "one_by_one", labels=False),
    "loda, pysad": _pysad(lambda models, _first, seed: models.LODA(random_state=seed)),
    "rs-hash, pysad": _pysad(
        lambda models, first, seed: models.RSHash(first.min(axis=0), first.max(axis=0), random_state=seed)
    ),
    "lookup": _peer(Lookup, "forests", labels=True),
    "lookup, new only": _peer(functools.partial(Lookup, new_only=True), "forests", labels=True),
    "nearest label": _peer(Nearest, "supervised", labels=True),
    "extra trees": _peer(Trees, "supervised", labels=True),
    "logistic regression, river": _peer(Logistic, "one_by_one", labels=True),
    "adaptive forest, river": _peer(AdaptiveForest, "one_by_one", labels=True),
    "streamad, asking top-k": Method(
        functools.partial(play, choice=most_anomalous),
        (*_PROTOCOL, "bench/stream/product.py", *_PRODUCT),
        without_labels=False,
    ),
}
