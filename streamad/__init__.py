"""Streaming anomaly detection for event feeds.

What may be relied upon: the command line, the config, the formats that README.md shows, the names listed
here, and `streamad.ports` for whoever writes a connector. Everything else may change.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
