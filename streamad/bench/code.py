"""A digest of the code that decides a result, so that kept results of other code no longer count."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path
from typing import Final

import streamad

_PACKAGE: Final = Path(streamad.__file__).parent


@functools.cache
def digest(sources: tuple[str, ...]) -> str:
    """16 hex digits for these files and folders of the package, comments and docstrings aside."""
    found = hashlib.sha256()
    for source in sources:
        path = _PACKAGE / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(_essence(file.read_text(encoding="utf-8")).encode())
    return found.hexdigest()[:16]


def _essence(text: str) -> str:
    """A module's syntax tree without its docstrings, as text; comments are not in it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
