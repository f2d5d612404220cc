"""Streaming anomaly detection for event feeds, and its detectors as estimators for tables of numbers.

What may be relied upon: the command line, the config, the formats that README.md shows, the names listed
here, and `streamad.ports` for whoever writes a connector. Everything else may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamad.errors import TrainingError, UserError
    from streamad.estimators.auto import Auto
    from streamad.estimators.detectors import (
        AE,
        AESAD,
        DAE,
        DPVAE,
        MMLDPVAE,
        MMLVAE,
        VAE,
        DeepSAD,
        DeepSVDD,
        Supervised,
    )
    from streamad.estimators.uai import UAI

__all__ = [
    "AE",
    "AESAD",
    "DAE",
    "DPVAE",
    "MMLDPVAE",
    "MMLVAE",
    "UAI",
    "VAE",
    "Auto",
    "DeepSAD",
    "DeepSVDD",
    "Supervised",
    "TrainingError",
    "UserError",
    "__version__",
]

__version__ = "0.1.0"

_ELSEWHERE = {
    "Auto": "estimators.auto",
    "UAI": "estimators.uai",
    "TrainingError": "errors",
    "UserError": "errors",
}
"""The modules that hold what ``estimators.detectors`` does not."""


def __getattr__(name: str) -> Any:  # noqa: ANN401  # any of the classes
    """An estimator or an error, imported when first asked for: torch, which estimators bring, takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'streamad' has no attribute {name!r}")
    module = importlib.import_module(f"streamad.{_ELSEWHERE.get(name, 'estimators.detectors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
