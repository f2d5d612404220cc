"""The command line: what there is to say to streamad, and nothing of what it then does."""

from __future__ import annotations

import argparse
import importlib
import io
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from streamad import __version__
from streamad.errors import StreamadError

if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOG = """\
start:  streamad init FILE --out feed.yaml, then streamad replay feed.yaml
try:    streamad demo

exit codes: 0 done, 1 a bug in streamad, 2 wrong input, 3 the world (disk, broken feed, stale), 130 stopped at once"""

_SEEDS = 1 << 32

_ONE_THREAD = "OPENBLAS_NUM_THREADS", "1"
"""For numpy, which is not imported yet: beside a busy core products on two threads take fifty times as long as on one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    os.environ.setdefault(*_ONE_THREAD)
    args = parser().parse_args(arguments)
    _write_anything()
    module, _, function = args.command_function.partition(":")
    try:
        command = getattr(importlib.import_module(f"streamad.commands.{module}"), function)
        return int(command(args) or 0)
    except StreamadError as error:
        from streamad.commands.screen import safe  # noqa: PLC0415  # only a failing command pays for rich

        sys.stderr.write(f"streamad: {safe(error)}\n")
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough; do not complain again when stdout is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _write_anything() -> None:
    """A character that the terminal's encoding lacks is spelled out instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as for any other wrong input."""

    def error(self, message: str) -> NoReturn:
        """Raises `SystemExit`."""
        self.exit(2, f"streamad: {message}; see {self.prog} --help\n")


class _CommandParser(_Parser):
    """Takes options anywhere, also between positional arguments of which some may be left out.

    Python 3.11's argparse alone refuses ``label CONFIG --state DIR ID normal``: having met CONFIG, it takes ID and
    verdict for left out.
    """

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401  # as argparse has them
        if self._mixing or self._subparsers is not None:  # what is mixed then is up to those
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = _Parser(
        prog="streamad",
        description="Watches feeds of records and raises alerts; learns from the few that an analyst labels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"streamad {__version__}")
    commands = root.add_subparsers(metavar="COMMAND", required=True, parser_class=_CommandParser)
    _making(commands)
    _running(commands)
    _labeling(commands)
    _reading(commands)
    _benching(commands)
    return root


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[_CommandParser]  # noqa: SLF001  # argparse has no public name for it


def _command(
    commands: Commands, name: str, function: str, text: str, *, config: bool = True
) -> argparse.ArgumentParser:
    sub = commands.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
    sub.set_defaults(command_function=function)
    if config:
        sub.add_argument("config", type=Path, metavar="CONFIG", help="the feed's YAML file")
        refused = "; refused in a cluster, which has none" if name in {"run", "trainer"} else ""
        sub.add_argument("--state", type=Path, metavar="DIR", help="use this state directory" + refused)
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key"
        )
    return sub


def _making(commands: Commands) -> None:
    init = _command(commands, "init", "making:init", "infer a config from a file or a topic", config=False)
    init.add_argument(
        "file",
        metavar="FILE|-|URL",
        help="a log (plain, .gz, .zst or Parquet), - for stdin, or kafka://BROKERS/TOPIC",
    )
    init.add_argument("--out", type=Path, metavar="CONFIG", help="write the config here (default: stdout)")
    init.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="source.KEY=VALUE",
        help="an option of the topic's source",
    )
    fit = _command(commands, "fit", "fitting:fit", "train a model offline, on the source's records")
    fit.add_argument("--seed", type=_seed, default=0, metavar="N")
    fit.add_argument("--new-schema", action="store_true", help="take a changed schema over, keeping labels")
    demo = _command(commands, "demo", "demo:demo", "show the whole loop on generated traffic", config=False)
    demo.add_argument("--state", type=Path, metavar="DIR", help="keep the demo's files here")
    demo.add_argument("--seed", type=_seed, default=7, metavar="N")
    demo.add_argument("--kafka", metavar="BROKERS", help="through topics of its own, which it removes again")


def _running(commands: Commands) -> None:
    run = _command(
        commands, "run", "running:run", "watch the feed until SIGTERM, or until a bounded source ends"
    )
    run.add_argument(
        "--from", dest="origin", type=Path, metavar="DIR", help="start from a finished replay's state"
    )
    run.add_argument("--seed", type=_seed, default=0, metavar="N")
    trainer = _command(commands, "trainer", "running:trainer", "the trainer of a cluster, alone")
    trainer.add_argument("--seed", type=_seed, default=0, metavar="N")
    trainer.add_argument(
        "--new-schema", action="store_true", help="take a changed schema over, keeping labels"
    )
    for start in (run, trainer):
        start.add_argument(
            "--check", action="store_true", help="say what a start would lack, and start nothing"
        )
    replay = _command(commands, "replay", "running:replay", "run historical logs through at full speed")
    replay.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="read these in place of the source's"
    )
    replay.add_argument("--seed", type=_seed, default=0, metavar="N")
    replay.add_argument("--labels", type=Path, metavar="FILE", help="labels to apply (NDJSON)")
    replay.add_argument("--summary", type=Path, metavar="FILE.json", help="write the summary here too")
    replay.add_argument("--scores", type=Path, metavar="FILE.parquet", help="write what every record scored")
    replay.add_argument("--fresh", action="store_true", help="start anew, keeping the labels")
    pace = replay.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=_positive, metavar="N", help="at most N records a second")
    pace.add_argument("--speed", type=_positive, metavar="X", help="X times as fast as the event time")


def _labeling(commands: Commands) -> None:
    queue = _command(commands, "queue", "labeling:queue", "the events most worth an analyst's look now")
    queue.add_argument("--limit", type=_whole, default=20, metavar="N")
    queue.add_argument("--json", action="store_true", help="NDJSON, as when piped")
    label = _command(commands, "label", "labeling:label", "say what an event was")
    label.add_argument("event", nargs="?", metavar="ID", help="an event id, or a key that is unique")
    label.add_argument("verdict", nargs="?", choices=("anomaly", "normal", "withdrawn"))
    label.add_argument("--from", dest="file", type=Path, metavar="FILE", help="many labels at once (NDJSON)")
    label.add_argument("--analyst", default="", metavar="NAME")
    label.add_argument("--note", default="", metavar="TEXT")
    mute = _command(commands, "mute", "muting:mute", "keep and count alerts without sending them")
    mute.add_argument("condition", nargs="?", metavar="CONDITION", help="such as 'src_ip == 10.0.0.9'")
    mute.add_argument("--for", dest="lasting", metavar="TIME", help="for so long: 12h, 7d")
    mute.add_argument("--why", default="", metavar="TEXT")
    mute.add_argument("--analyst", default="", metavar="NAME")
    mute.add_argument("--list", action="store_true", help="what is and was muted, by whom and why")
    mute.add_argument("--end", metavar="ID", help="end a mute early")


def _reading(commands: Commands) -> None:
    alerts = _command(commands, "alerts", "reading:alerts", "what was found")
    alerts.add_argument("--follow", action="store_true", help="go on with new ones as they come")
    alerts.add_argument("--limit", type=_whole, default=50, metavar="N", help="the newest N (0: all)")
    alerts.add_argument("--all", action="store_true", help="also the repeats of a burst, and what is muted")
    show = _command(commands, "show", "showing:show", "why this event, alert or not")
    show.add_argument("event", metavar="ID")
    rejected = _command(commands, "rejected", "reading:rejected", "what could not be read, and why")
    rejected.add_argument("--limit", type=_whole, default=50, metavar="N", help="the newest N (0: all)")
    models = _command(commands, "models", "models:models", "versions of the model")
    models.add_argument("action", choices=("list", "show", "promote", "rollback", "pin", "unpin"))
    models.add_argument("version", nargs="?", type=int, metavar="VERSION")
    models.add_argument("--json", action="store_true")
    status = _command(
        commands, "status", "status:status", "what the daemon is doing; exit code 3 when it is stale"
    )
    status.add_argument("--json", action="store_true")


def _benching(commands: Commands) -> None:
    text = "the evidence: published figures, streams with an analyst"
    both = commands.add_parser("bench", help=text, description=text[:1].upper() + text[1:] + ".")
    kinds = both.add_subparsers(metavar="WHAT", required=True, parser_class=_CommandParser)
    papers = _command(
        kinds, "papers", "benching:papers", "the tables of the four papers, by their protocols", config=False
    )
    papers.add_argument("--table", nargs="+", default=[], metavar="NAME", help="these tables (default: all)")
    papers.add_argument(
        "--datasets", nargs="+", default=[], metavar="NAME",
        help="these data sets (default: all but kddcup and kddcup-rev of the active table, which take long)",
    )  # fmt: skip
    papers.add_argument(
        "--seeds", type=_count, metavar="N", help="N splits each (default: as many as the papers)"
    )
    _bench_options(papers)
    stream = _command(
        kinds, "stream", "bench_stream:stream", "whole streams with a simulated analyst", config=False
    )
    stream.add_argument(
        "--streams", nargs="+", default=[], metavar="NAME", help="these streams (default: all)"
    )
    stream.add_argument(
        "--labels", nargs="+", type=_whole, default=[0, 50, 200], metavar="N",
        help="so many labels over the stream (default: 0 50 200)",
    )  # fmt: skip
    stream.add_argument("--seeds", type=_count, default=5, metavar="N", help="N runs of each (default: 5)")
    stream.add_argument(
        "--delay", type=_whole, default=1000, metavar="N",
        help="a verdict applies N records after the question (default: 1000)",
    )  # fmt: skip
    stream.add_argument(
        "--wrong-labels", type=_part, default=0.0, metavar="SHARE", help="this share of verdicts is wrong"
    )
    stream.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the config of streamad"
    )
    stream.add_argument("--png", type=Path, metavar="FILE", help="draw the figures over time")
    _bench_options(stream)


def _bench_options(bench: argparse.ArgumentParser) -> None:
    bench.add_argument(
        "--methods", nargs="+", default=[], metavar="NAME", help="these methods (default: all)"
    )
    bench.add_argument("--jobs", type=_count, default=1, metavar="N", help="N processes, one thread each")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    bench.add_argument("--html", type=Path, metavar="FILE", help="write them as a page with figures")
    bench.add_argument("--data", type=Path, metavar="DIR", help="the data sets (default: $STREAMAD_DATA)")
    bench.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="keep what is finished here, to go on from after a stop (default: beside the JSON file)",
    )  # fmt: skip


def _whole(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _part(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        message = f"{text!r} is no share from 0 to 1"
        raise argparse.ArgumentTypeError(message)
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        message = f"{text!r} is no whole number above 0"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        message = f"{text!r} is no number above 0"
        raise argparse.ArgumentTypeError(message)
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= _SEEDS:
        message = f"{text!r} is no whole number from 0 to {_SEEDS - 1}"
        raise argparse.ArgumentTypeError(message)
    return int(text)
