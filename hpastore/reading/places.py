"""Folders are places, and not texts: one may be written in several ways."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection
from pathlib import Path

from hpastore.arguments import expanded
from hpastore.errors import NotFoundError
from hpastore.text import printable


def is_same_folder(one: str, other: str) -> bool:
    """Whether two paths lead to one folder now."""
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):  # one does not exist; a text of a damaged store that is no path
        return False


def exists(root: str) -> bool:
    """Whether there is something at a path; one that may not be looked at is taken to be there."""
    try:
        os.stat(root)  # noqa: PTH116 pathlib hides why it fails
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def quoted(path: str) -> str:
    """Write a path as a command of a shell takes it."""
    return shlex.quote(printable(path, None))


def find_root(given: str | Path, roots: Collection[str]) -> str:
    """Find a stored root by its path: as it is stored, or as it may be written now.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    text = str(given)
    path = expanded(text)
    spelt = (text, os.path.normpath(path.absolute()), os.path.realpath(path))
    found = next((path for path in spelt if path in roots), None)
    found = found or next((root for root in roots if is_same_folder(root, str(path))), None)
    if found is None:
        known = f"; its roots are {', '.join(sorted(roots))}" if roots else ""
        raise NotFoundError(f"the store has no images of the root {text}{known}")
    return found
