"""The commented config that `streamad init` writes: it runs as it is, and shows what can be turned."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import IO

import yaml

from streamad.records.infer import Inferred, infer
from streamad.records.sample import read_sample, sample_stream
from streamad.records.schema import PayloadFormat

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOTE_COLUMN = 36
_LONG_KEY = 1000
_SUFFIXES = (".gz", ".zst", ".csv", ".tsv", ".txt", ".log", ".json", ".jsonl", ".ndjson", ".parquet")

_OPTIONS = {
    "start": "where a group that is new begins: earliest, latest, or a time such as 2026-01-01T00:00:00Z",
    "on_lost": "when records were deleted before they were read: stop, or go on with the earliest or latest",
}

_STATE = """\
# What must last is kept in the directory {feed}.state beside this file: one process on one machine. Many processes
# keep it in topics: uncomment these lines, take out `sinks`, and start streamad trainer beside streamad run.
# state:
#   type: kafka
#   create_topics: true  # makes the topics {feed}.alerts and so on where they are missing
"""

_REST = """\

alerts:
  budget: 0.001          # how many alerts you can take: a share of the records, or so many an hour ("20/h")
  reasons: 3             # fields named in each alert
  # burst: {{by: [FIELD], within: 10m}}  # alerts alike in these are one to look at; by default in all categorical ones

sinks:                   # where alerts go beside the store
  - type: ndjson
    path: {feed}.alerts.ndjson

detector:
  name: auto             # dp_vae; or vae, mml_vae, mml_dp_vae, deep_svdd, deep_sad, ae, dae, supervised;
                         # or ae_sad, which needs features: {{scaling: minmax}}
  settings: {{}}           # the detector's own values, as in {{alpha: 5}}; a wrong name is answered with those that it has
  members: 5             # networks in the ensemble

training:
  warm_up:
    records: 10000       # the first model is fitted after so many records, or at the end of a shorter file
    seconds: 300         # a daemon waits no longer than this
  window:
    records: 100000      # what models learn from: the last so many records
  every_records: 100000  # retrain after so many records
  every_labels: 20       # and after so many new labels
  effect_after: 50000    # replay only: when the new model takes over, in records after its training began

labels:
  delay: 0               # replay only: a label applies so many records after its record
  pool: 100000           # records kept so that they can be labeled and shown

keep:
  alerts: 90d
  rejected: 7d
  versions: 10           # models to roll back to
  max_gb: 10
"""


def init_config(source: str, out: Path | None, stdin: IO[bytes]) -> tuple[str, str]:
    """The config for a file, or for standard input where `source` is ``-``, and the feed's name.

    `out` is where the config will lie (None: the working folder); a relative path is made to start there.
    Raises `InputError` for a source that cannot be read or recognised.
    """
    if source == "-":
        return config_text(infer(sample_stream(stdin)), "stdin", {"type": "stdin"}), "stdin"
    path = Path(source)
    inferred = infer(read_sample(path))
    feed = feed_name(path.name)
    block = {"type": "files", "paths": [escape(_seen_from(path, out))]}
    return config_text(inferred, feed, block, origin=path.name), feed


def config_text(inferred: Inferred, feed: str, source: Mapping[str, object], origin: str = "") -> str:
    """The whole config. `source` is the connector's own part of the source section."""
    live = source.get("type") == "kafka"
    parts = [_head(inferred, origin or feed, live=live), f"streamad: 1\nfeed: {quoted(feed)}\n"]
    parts += [_STATE.format(feed=feed)] if live else []
    parts += [_source(inferred.payload, source), _schema(inferred)]
    return "\n".join(parts) + _REST.format(feed=feed)


def feed_name(name: str) -> str:
    """A feed's name out of a file's: without its endings, and only letters, digits, dot, dash and underscore."""
    while name.lower().endswith(_SUFFIXES):
        name = name[: name.rindex(".")]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._") or "feed"


def quoted(text: str) -> str:
    """A YAML scalar that reads as exactly this text."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _key(name: str) -> str:
    """A mapping's key; a long one is marked as such, as YAML looks for a colon only so far."""
    key = quoted(name)
    return key if len(key) < _LONG_KEY else f"? {key}\n    "


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _head(inferred: Inferred, origin: str, *, live: bool) -> str:
    seen = f"{inferred.rows:,} sampled records"
    if inferred.unreadable:
        seen += f"; {inferred.unreadable:,} rows could not be read and would be rejected"
    return (
        f"# Made by streamad init from {''.join(map(_escaped, origin))}: {seen}.\n"
        f"# Run it with: streamad {'run' if live else 'replay'} CONFIG, then streamad queue CONFIG.\n"
    )


def _source(payload: PayloadFormat, source: Mapping[str, object]) -> str:
    lines = ["source:                  # where records come from"]
    for key, value in source.items():
        lines += _option(key, value)
    lines.append(f"  format: {payload.format}")
    if payload.format == "csv":
        lines.append(f"  header: {_value(payload.header)}")
        lines.append(f"  delimiter: {_value(payload.delimiter)}")
    if source.get("type") == "files" and payload.format != "parquet":
        lines.append("  follow: false          # true: streamad run goes on reading as the file grows")
    return "\n".join(lines) + "\n"


def _option(key: str, value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [f"  {key}:", *(f"    {_key(name)}: {_value(entry)}" for name, entry in value.items())]
    line = f"  {key}: {_value(value)}"
    return [f"{line:<24} # {_OPTIONS[key]}" if key in _OPTIONS else line]


def _value(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, default=str)  # YAML makes a time of what looks like one


def _schema(inferred: Inferred) -> str:
    lines = [
        "schema:",
        "  # numeric, categorical and boolean fields are features; the others are id, time, label or ignore",
        *(f"  # {omission}" for omission in inferred.omissions),
        "  fields:",
    ]
    for name, word in inferred.schema.fields.items():
        line = f"    {_key(name)}: {word}"
        note = inferred.notes.get(name, "")
        lines.append(f"{line:<{_NOTE_COLUMN}}  # {note}" if note else line)
    return "\n".join(lines + _time(inferred) + _truth(inferred)) + "\n"


def _time(inferred: Inferred) -> list[str]:
    spec = inferred.schema.time
    if spec is None:
        return []
    lines = ["  time:", f"    field: {quoted(spec.field)}", f"    format: {quoted(spec.format)}"]
    if spec.zone:
        lines.append(f"    zone: {quoted(spec.zone)}")
    return lines[:1] + [f"    # {remark}" for remark in inferred.remarks] + lines[1:]


def _truth(inferred: Inferred) -> list[str]:
    if inferred.schema.label is None:
        return []
    normal = _value(list(inferred.schema.truth.normal))
    return ["  truth:", f"    normal: {normal}  # these labels mean normal, all others mean anomaly"]


def _seen_from(path: Path, out: Path | None) -> str:
    """A relative path as the config's folder sees it."""
    if path.is_absolute() or out is None:
        return str(path)
    try:
        return str(path.resolve().relative_to(out.resolve().parent))
    except ValueError:
        return str(path.resolve())
