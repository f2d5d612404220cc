"""``streamad init``."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from streamad.commands import screen
from streamad.errors import UserError
from streamad.records.infer import infer
from streamad.records.template import config_text, feed_name, init_config
from streamad.runtime.logs import configure_logs
from streamad.runtime.options import LogOptions

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def init(args: argparse.Namespace) -> None:
    """Infer a config from a file, from stdin or from a topic, and say what to do with it."""
    out: Path | None = args.out
    if out is not None and (out.exists() or out.is_symlink()):
        raise UserError(f"{out} exists already, and init overwrites nothing")
    text = _config_of(args.file, tuple(args.set), out)
    if out is None:
        screen.text_out(text)
        screen.remark("this config works from here; --out CONFIG writes it to a file")
        return
    _write(out, text)
    screen.remark(f"next: streamad {_next(args.file, shlex.quote(str(out)))}")


def _config_of(origin: str, overrides: tuple[str, ...], out: Path | None) -> str:
    if "://" in origin:
        from streamad.wiring.sampling import sample_url  # noqa: PLC0415  # brings torch along, which files do without

        configure_logs(LogOptions(level="error"))  # what a client meets is in the error's sentence
        sample, source = sample_url(origin, overrides, out)
        return config_text(infer(sample), feed_name(origin.rpartition("/")[2]), source, origin=origin)
    if overrides:
        raise UserError(
            "init --set takes options of the source that a URL names, such as kafka://BROKERS/TOPIC"
        )
    return init_config(origin, out, sys.stdin.buffer)[0]


def _next(origin: str, config: str) -> str:
    """The command that goes on from a config."""
    if "://" in origin:
        return f"run --check {config}, then streamad run {config}"
    return f"replay {config}" + (" < FILE" if origin == "-" else "")


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
