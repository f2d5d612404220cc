"""The one place that imports numba, and where its cache lives.

Import this module only where kernels are needed: it looks at the environment and is slow. numba's cache is
pickle, so it must lie where nobody else can write: in a directory of the user's with mode 0700.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

_log = logging.getLogger(__name__)


def _sources_digest() -> str:
    """A digest of every file that holds kernels: numba itself only looks at the outermost kernel's file."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].glob("*/*.py")):
        text = file.read_bytes()
        if b"records.compiled import" in text:
            digest.update(text)
    return digest.hexdigest()[:16]


def _private(folder: Path) -> Path:
    """`folder`, made if need be, closed to everybody else. Raises OSError where that is not possible."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        message = f"{folder} is not a directory of this user"
        raise OSError(message)
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"{folder} cannot be written"
        raise OSError(message)
    return folder


def _cache_folder() -> Path | None:
    """Where kernels are kept between processes; None where no private place is writable."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return _private(_private(base / "streamad" / "numba") / _sources_digest())
    except (OSError, RuntimeError) as error:
        _log.warning("compiled kernels are not kept between runs: %s", error)
        return None


def _set_up_cache() -> bool:
    """Point numba to the cache unless the user did; False for no cache."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return True
    folder = _cache_folder()
    if folder is None:
        return False
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # somebody imported it first, and it read the environment then
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    return True


try:
    _cached = _set_up_cache()
    import numba
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True
"""Whether kernels can be compiled here."""


_FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    # Kernels allocate nothing, and counting references to their arrays would take most of their time.
    "_nrt": False,
}


def njit(kernel: _Kernel) -> _Kernel:
    """Compile a kernel to run without the interpreter's lock. It may not allocate, and checks no bounds.

    Without numba the function stays as it is.
    """
    if not AVAILABLE:
        return kernel
    return cast("_Kernel", numba.njit(cache=_cached, **_FLAGS)(kernel))
