"""``streamad fit``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from streamad.commands.running import stop_on_signals
from streamad.commands.screen import console
from streamad.config import load_config
from streamad.job import Job
from streamad.runtime.logs import configure_logs
from streamad.runtime.offline import fit_offline
from streamad.wiring.local import open_feed

if TYPE_CHECKING:
    import argparse


def fit(args: argparse.Namespace) -> int:
    """Train a version offline; `run` starts with it, or takes it over where it has one already."""
    configure_logs(load_config(args.config, tuple(args.set)).log)
    stop = threading.Event()
    job = Job(
        "run",
        args.config,
        tuple(args.set),
        args.state,
        seed=args.seed,
        any_schema=args.new_schema,
        stop=stop,
    )
    with stop_on_signals(stop), open_feed(job) as live:
        try:
            version = fit_offline(live.feed, lambda: not stop.is_set())
        finally:
            live.retraining.stop()
        if version is None:
            console(results=False).print("stopped; nothing was changed")
            return 0
        live.store.put_version({"number": version, "created_record": 0})
        live.store.hand_over(version)
        live.state.take_schema()
        console().print(f"version {version} is ready; streamad run {args.config} scores with it")
    return 0
