"""``streamad init``."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from streamad.commands import screen
from streamad.errors import UserError
from streamad.records.template import init_config

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def init(args: argparse.Namespace) -> None:
    """Infer a config from a file or from stdin, and say what to do with it."""
    if args.file.startswith("kafka://"):
        raise UserError("init reads files and standard input so far; Kafka comes in a later version")
    out: Path | None = args.out
    if out is not None and (out.exists() or out.is_symlink()):
        raise UserError(f"{out} exists already, and init overwrites nothing")
    text, _feed = init_config(args.file, out, sys.stdin.buffer)
    if out is None:
        screen.text_out(text)
        screen.remark("this config works from here; --out CONFIG writes it to a file")
        return
    _write(out, text)
    source = "" if args.file != "-" else " < FILE"
    screen.remark(f"next: streamad replay {shlex.quote(str(out))}{source}")


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
