"""The config file: assembles the sections' models, each from the package that it configures."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from streamad.errors import ConfigError
from streamad.features.options import FeatureOptions
from streamad.learning.options import LabelOptions
from streamad.models.options import DetectorOptions
from streamad.records.schema import Schema, Section
from streamad.runtime.options import LimitOptions, LogOptions
from streamad.scoring.options import AlertOptions
from streamad.state.options import KeepOptions
from streamad.training.options import TrainingOptions


class Config(Section):
    """One feed. `source` and `sinks` are validated by the connectors' own models, in `wiring`."""

    streamad: Literal[1]
    feed: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    state: Path | None = None
    """The state directory; by default ``FEED.state`` beside the config."""
    source: dict[str, Any]
    schema_: Schema = Field(alias="schema")
    features: FeatureOptions = FeatureOptions()
    detector: DetectorOptions = DetectorOptions()
    alerts: AlertOptions = AlertOptions()
    sinks: tuple[dict[str, Any], ...] = ()
    labels: LabelOptions = LabelOptions()
    training: TrainingOptions = TrainingOptions()
    limits: LimitOptions = LimitOptions()
    keep: KeepOptions = KeepOptions()
    log: LogOptions = LogOptions()


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a config file; `overrides` are ``a.b=value`` strings, the value in YAML.

    Raises `ConfigError` naming the file, the key path, what was found and what was expected.
    """
    tree = _read(path)
    for override in overrides:
        _override(path, tree, override)
    try:
        return Config.model_validate(_expand(path, tree, ""))
    except ValidationError as error:
        raise config_error(path, error, tree) from None


def state_path(config: Config, path: Path, given: Path | None) -> Path:
    """Where a feed's state lies: ``--state``, else ``state:``, else ``FEED.state`` beside the config."""
    if given is not None:
        return given
    return path.parent / (config.state or f"{config.feed}.state")


def config_error(path: Path, error: ValidationError, tree: object, prefix: str = "") -> ConfigError:
    """The first of pydantic's complaints as one sentence."""
    first = error.errors(include_url=False)[0]
    location = [part for part in first["loc"] if not isinstance(part, str) or _is_key(part)]
    key = ".".join(str(part) for part in ([prefix] if prefix else []) + location)
    if first["type"] == "extra_forbidden":
        return ConfigError(str(path), key, "unknown key", "one of the keys in the documentation")
    if first["type"] == "missing":
        return ConfigError(str(path), key, "missing", "a value")
    found = _find(tree, location)
    return ConfigError(str(path), key, f"found {found}", _lower(first["msg"]))


def _is_key(part: str) -> bool:
    """Whether a part of pydantic's location is a key of the file, not the name of a union's branch."""
    return re.fullmatch(r"[a-z_][A-Za-z0-9_.-]*", part) is not None and part not in {"float", "str", "int"}


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return message[:1].lower() + message[1:]


def _find(tree: object, location: list[Any]) -> str:
    for part in location:
        try:
            tree = tree[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return "nothing"
    if isinstance(tree, dict | list):
        return "a mapping" if isinstance(tree, dict) else "a list"
    return repr(tree)[:80]


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), "", "no such file", "a config (streamad init makes one)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"cannot be read ({error})", "a YAML file in UTF-8") from None
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(str(path), "", f"not YAML{where}", "a YAML mapping") from None
    if not isinstance(tree, dict):
        raise ConfigError(str(path), "", f"found {type(tree).__name__}", "a YAML mapping")
    return tree


def _override(path: Path, tree: dict[str, Any], override: str) -> None:
    key, sep, value = override.partition("=")
    if not sep or not key:
        raise ConfigError(str(path), "--set", f"found {override!r}", "KEY=VALUE, as in alerts.budget=0.01")
    node = tree
    *parents, last = key.split(".")
    for part in parents:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(str(path), key, f"{part} is no mapping", "a key path that exists")
        node = child
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(str(path), key, "a value that is not YAML", "a YAML value") from None


def _expand(path: Path, node: Any, key: str) -> Any:  # noqa: ANN401  # any YAML value
    """Replace ``${NAME}`` by the environment's value."""
    if isinstance(node, dict):
        return {name: _expand(path, child, f"{key}.{name}".lstrip(".")) for name, child in node.items()}
    if isinstance(node, list):
        return [_expand(path, child, f"{key}.{i}") for i, child in enumerate(node)]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ConfigError(str(path), key, f"${{{match[1]}}} is not set", "that environment variable")
        return found

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", value, node)
