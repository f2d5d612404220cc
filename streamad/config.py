"""The config file: assembles the sections' models, each from the package that it configures."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from streamad.errors import ConfigError
from streamad.features.options import FeatureOptions
from streamad.learning.options import LabelOptions
from streamad.models.options import DetectorOptions
from streamad.records.schema import Schema, Section
from streamad.runtime.options import HttpOptions, LimitOptions, LogOptions
from streamad.scoring.options import AlertOptions
from streamad.state.options import KeepOptions
from streamad.training.options import TrainingOptions


class Config(Section):
    """One feed. `source` and `sinks` are validated by the connectors' own models, in `wiring`."""

    streamad: Literal[1]
    feed: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    state: Path | dict[str, Any] | None = None
    """The state directory, by default ``FEED.state`` beside the config; or the options of a state that lives
    elsewhere, validated by its connector's own model."""
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
    http: HttpOptions = HttpOptions()


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a config file; `overrides` are ``a.b=value`` strings, the value in YAML.

    Raises `ConfigError` naming the file, the key path, what was found and what was expected.
    """
    tree = _read(path)
    try:
        return Config.model_validate(completed(path, tree, overrides))
    except ValidationError as error:
        raise config_error(path, error, tree, Config) from None
    except RecursionError:
        raise ConfigError(str(path), "", "a mapping that holds itself", "a YAML mapping") from None


def completed(path: Path, tree: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """A config's tree with its overrides, and with what the environment and files hold; `as_written` has neither.

    `path` is where it lies, or will. Raises `ConfigError`.
    """
    for override in overrides:
        _override(path, tree, override)
    expanded: dict[str, Any] = _expand(path, tree, "")
    return expanded


def state_path(config: Config, path: Path, given: Path | None) -> Path:
    """Where a feed's state lies: ``--state``, else ``state:``, else ``FEED.state`` beside the config."""
    if given is not None:
        return given
    if isinstance(config.state, dict):
        raise ConfigError(
            str(path), "state", "found no directory", "one, since this command reads a state directory"
        )
    return path.parent / (config.state or f"{config.feed}.state")


def config_error(
    path: Path, error: ValidationError, tree: object, model: type[BaseModel], prefix: str = ""
) -> ConfigError:
    """The first of pydantic's complaints about a part of the config that `model` describes, as one sentence."""
    errors = error.errors(include_url=False)
    first = errors[0]
    location, found = _find(tree, first["loc"])
    key = ".".join(map(str, [prefix, *location] if prefix else location))
    if first["type"] == "missing":
        missing = f"{key}.{first['loc'][-1]}".lstrip(".")
        return ConfigError(str(path), missing, "missing", "a value")
    if first["type"] == "named_key":  # the validator of a mapping says which key is wrong, and shows no value
        return ConfigError(
            str(path), f"{key}.{first['ctx']['name']}", first["ctx"]["found"], first["ctx"]["expected"]
        )
    if first["type"] == "extra_forbidden":
        return ConfigError(str(path), key, "unknown key", "one of " + ", ".join(_keys(model, location[:-1])))
    branches = [_expected(one["msg"]) for one in errors if _find(tree, one["loc"])[0] == location]
    return ConfigError(str(path), key, f"found {found}", " or ".join(dict.fromkeys(branches)))


def _keys(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    """The keys that a section may have."""
    for part in location:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        kind = fields[part].annotation if part in fields else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            model = kind
    return [field.alias or name for name, field in model.model_fields.items()]


def as_written(tree: Any) -> Any:  # noqa: ANN401  # any YAML value
    """A part of the config with ``${NAME}`` and ``{file: PATH}`` in place of what they stand for: to keep or show."""
    if isinstance(tree, dict):
        return {name: as_written(child) for name, child in tree.items()}
    if isinstance(tree, list | tuple):
        return [as_written(child) for child in tree]
    return tree.spelling if isinstance(tree, _FromElsewhere) else tree


class _FromElsewhere(str):
    """Text of the environment or a file, which may be a secret: it is shown as it was spelled."""

    __slots__ = ("spelling",)
    spelling: str | dict[str, Any]

    def __repr__(self) -> str:
        return repr(self.spelling)


_WORDS = (
    (r"Value error, |Input should be ", ""),
    (r"^Tuple ", "List "),
    (r"^(String|List) should ", lambda match: f"a {match[1].lower()} that should "),
    (r"a valid dictionary( or instance of \w+)?", "a mapping"),
    (r"a valid tuple", "a list"),
    (r", unable to parse .*| after validation, .*", ""),
    (r"input is not a valid path for .*", "a path"),
)


def _expected(message: str) -> str:
    """Pydantic's words for what it wants, in ours."""
    for pattern, better in _WORDS:
        message = re.sub(pattern, better, message, flags=re.IGNORECASE)
    return message[:1].lower() + message[1:]


def _find(tree: Any, location: Iterable[int | str]) -> tuple[list[int | str], str]:  # noqa: ANN401  # any YAML value
    """The part of pydantic's location that is in the file (a union's branches are not), and what is there."""
    there: list[int | str] = []
    for part in location:
        known: Any = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
        if part in known:
            tree = tree[part]
            there.append(part)
    if isinstance(tree, dict | list):
        return there, "a mapping" if isinstance(tree, dict) else "a list"
    return there, repr(tree)[:80]


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), "", "no such file", "a config (streamad init makes one)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"cannot be read ({error})", "a YAML file in UTF-8") from None
    tree = _parse(path, "", text)
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(str(path), "", f"found {found}", "a YAML mapping")
    return tree


class _Loader(yaml.SafeLoader):
    """`yaml.safe_load`, but a key that stands twice is refused instead of silently winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  # as yaml has it
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                message = f"{key.value} is there twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


def _parse(path: Path, key: str, text: str) -> Any:  # noqa: ANN401  # any YAML value
    """One YAML document."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except yaml.constructor.ConstructorError as error:
        found = f"{error.problem}{_where(error)}"
    except yaml.YAMLError as error:
        found = f"not YAML{_where(error)}"
    except (ValueError, RecursionError):  # a date that does not exist; nesting without end
        found = "not YAML that can be read"
    raise ConfigError(str(path), key, found, "a YAML value" if key else "a YAML mapping")


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}" if mark else ""


def _override(path: Path, tree: dict[str, Any], override: str) -> None:
    key, sep, value = override.partition("=")
    if not sep or not key:
        raise ConfigError(str(path), "--set", f"found {override!r}", "KEY=VALUE, as in alerts.budget=0.01")
    node = tree
    head, client, setting = key.partition(".client.")  # a client's settings have dots in their names
    *parents, last = [*head.split("."), "client", setting] if client else key.split(".")
    for part in parents:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(str(path), key, f"{part} is no mapping", "a key path that exists")
        node = child
    node[last] = _parse(path, key, value)


_PLAIN = re.compile(r"(source|state|sinks\.\d+)\.(.+\.)?client\..+|state\.signing_key")
"""Where ``{file: PATH}`` is what a file holds: the settings of a connector's client, and the signing key. They are plain
values, so a mapping there means nothing else; elsewhere one with the key ``file`` may be some connector's own option."""

_SECRET_BYTES = 64 << 10


def _expand(path: Path, node: Any, key: str) -> Any:  # noqa: ANN401  # any YAML value
    """Replace ``${NAME}`` by the environment's value, and ``{file: PATH}`` in its place by what the file holds."""
    if isinstance(node, dict) and list(node) == ["file"] and _PLAIN.fullmatch(key):
        return _from_elsewhere(_read_secret(path, node, key), node)
    if isinstance(node, dict):
        return {name: _expand(path, child, f"{key}.{name}".lstrip(".")) for name, child in node.items()}
    if isinstance(node, list):
        return [_expand(path, child, f"{key}.{i}") for i, child in enumerate(node)]
    if not isinstance(node, str) or "${" not in node:
        return node

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise ConfigError(str(path), key, f"${{{match[1]}}} is not set", "that environment variable")
        return found

    return _from_elsewhere(re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", value, node), node)


def _from_elsewhere(value: str, spelling: str | dict[str, Any]) -> str:
    expanded = _FromElsewhere(value)
    expanded.spelling = spelling
    return expanded


def _read_secret(path: Path, node: dict[str, Any], key: str) -> str:
    """What a file holds, less its last newline. Raises `ConfigError` naming the file as it was spelled."""
    name, spelled = _expand(path, node["file"], f"{key}.file"), node["file"]
    if not isinstance(name, str):
        raise ConfigError(str(path), f"{key}.file", f"found {name!r}"[:80], "the path of a file")
    try:
        content = _start_of(path.parent / name)
    except OSError as error:
        raise ConfigError(str(path), key, f"{spelled}: {error.strerror}", "a file that can be read") from None
    text = content.removesuffix(b"\n").removesuffix(b"\r")
    if not text or len(content) > _SECRET_BYTES:
        found = f"{spelled} holds {'too much' if text else 'nothing'}"
        raise ConfigError(str(path), key, found, f"a secret of at most {_SECRET_BYTES >> 10} KiB")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(path), key, f"{spelled} is not UTF-8", "a file of text") from None


def _start_of(file: Path) -> bytes:
    """A file's first bytes, one more than a secret may have."""
    if file.exists() and not file.is_file():  # a pipe could let us wait for ever
        raise OSError(errno.EINVAL, "not a regular file")
    with file.open("rb") as opened:
        return opened.read(_SECRET_BYTES + 1)
