"""The config read again while a daemon runs: a few of its keys can change, all others are for a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import structlog

from streamad.errors import UserError
from streamad.runtime.logs import configure_logs

if TYPE_CHECKING:
    from streamad.config import Config

_BUDGET, _BURST, _LEVEL = "alerts.budget", "alerts.burst", "log.level"

log = structlog.get_logger()


class Reloading:
    """Reads the config when it was asked to, which a signal's handler may do; all else on the engine's thread."""

    def __init__(self, load: Callable[[], Config] | None = None, *, budget: bool = True) -> None:
        """`load` gives the config as it lies there now; in a cluster the `budget` is the trainer's."""
        self._load = load
        self._takes = {_BURST, _LEVEL, *([_BUDGET] if budget else [])}
        self._asked = (
            False  # no event: setting one takes a lock, which the thread in the handler's way may hold
        )
        self._taken: Config | None = None

    def ask(self) -> None:
        """Look at the config again, as soon as may be."""
        self._asked = True

    def news(self, config: Config) -> Config | None:
        """The config to go on with in place of `config`; None where that goes on."""
        if self._load is None or not self._asked:
            # an engine made anew in this process begins with what was there at the start
            return None if self._taken is config else self._taken
        self._asked = False
        try:
            wanted = self._load()
        except UserError as error:
            log.warning("config_not_taken", reason=str(error), remedy="the one before goes on")
            return None
        changed = list(_changed(_tree(config), _tree(wanted)))
        taken = [key for key in changed if key in self._takes]
        self._refuse([key for key in changed if key not in self._takes])
        if taken:
            self._taken = _with(config, wanted, taken)
            configure_logs(self._taken.log)
        log.info("config_read", changed=taken)
        return self._taken if taken else None

    def _refuse(self, keys: list[str]) -> None:
        for key in keys:
            whose = "it is the trainer's" if key == _BUDGET else "it counts from a start on"
            log.warning("config_change_refused", key=key, reason=whose)


def _tree(config: Config) -> dict[str, Any]:
    return config.model_dump(by_alias=True)


def _changed(before: Any, after: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401  # parts of a config
    """The keys whose values differ: names alone, since values may be secrets."""
    mappings = isinstance(before, dict) and isinstance(after, dict)
    if not mappings or path == _BURST:
        yield from [path] if before != after else []
        return
    for name in dict.fromkeys([*before, *after]):
        yield from _changed(before.get(name), after.get(name), f"{path}.{name}" if path else str(name))


def _with(config: Config, wanted: Config, taken: list[str]) -> Config:
    """The config with what is taken of the one that is wanted."""
    sections: dict[str, dict[str, Any]] = {"alerts": {}, "log": {}}
    for section, _, name in (key.partition(".") for key in taken):
        sections[section][name] = getattr(getattr(wanted, section), name)
    return config.model_copy(
        update={section: getattr(config, section).model_copy(update=new) for section, new in sections.items()}
    )
