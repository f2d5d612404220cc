"""Every error that streamad raises on purpose, and the exit code that each one means.

StreamadError
├── UserError            2   the user's input: a restart will not help
│   ├── ConfigError          the config file: path, key, what was found, what was expected
│   ├── InputError           a file or feed that cannot be read as what it is said to be
│   └── StateError           the state directory: locked, made by another command, another format
├── WorldError           3   the world: a restart may help
│   ├── OutOfTouchError      nobody answers at the other end, or it goes on with somebody else in our place
│   │   └── NumberTakenError the number of a version was given to another one meanwhile
│   ├── StoreError           the store could not commit (disk full, I/O error)
│   ├── BrokenFeedError      too many rejected records in a row of batches (the breaker)
│   └── TrainingError        the trainer failed, and there is no model to go on with
└── CommitAbortedError            the sink took the commit back: rewind and go on (never leaves the engine)
"""

from __future__ import annotations


class StreamadError(Exception):
    """Root of the tree; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class UserError(StreamadError):
    """Wrong input from the user, said in one sentence."""

    exit_code = 2


class ConfigError(UserError):
    """A config that cannot be used."""

    def __init__(self, file: str, key: str, found: str, expected: str) -> None:
        self.file, self.key, self.found, self.expected = file, key, found, expected
        where = f"{file}: {key}: " if key else f"{file}: "
        super().__init__(f"{where}{found}; expected {expected}")


class InputError(UserError):
    """A source that cannot be read as what it is said to be."""


class StateError(UserError):
    """A state directory that cannot be used."""


class WorldError(StreamadError):
    """Something outside streamad failed; a restart may help."""

    exit_code = 3


class OutOfTouchError(WorldError):
    """Nobody answers at the other end, or somebody else has our place there: who begins anew loses nothing."""


class NumberTakenError(OutOfTouchError):
    """The number of a version was given to another one while it was made."""


class StoreError(WorldError):
    """The store could not write; nothing of the open transaction was kept."""


class BrokenFeedError(WorldError):
    """Most of the recent records were rejected, so the feed itself is broken."""


class TrainingError(WorldError):
    """The trainer process failed and there is no model to go on with."""


class CommitAbortedError(StreamadError):
    """The sink rolled the transaction back; the engine rewinds to the last committed positions."""
