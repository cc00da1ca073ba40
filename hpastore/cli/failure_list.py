"""Print rejected images as a list: their messages are too long for a table of 80 columns."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Final

from hpastore.cli import show

_INDENT: Final = "  "


def print_failures(failures: Iterable[tuple[str, str, str]]) -> None:
    """Print image, code and message of each failure; a terminal gets lines of its width.

    Where stdout is no terminal, each message is one line.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for image, code, message in failures:
        show.line(f"{image}: {code}")
        reason = message.removeprefix(f"{image}: ")
        for line in _wrap(reason, width):
            show.line(_INDENT + line)


def _wrap(text: str, width: int | None) -> list[str]:
    """Break a text at spaces, so that paths can be copied."""
    if width is None:
        return [text]
    room = max(width - len(_INDENT), 1)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
