"""Tables as text."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import repeat, zip_longest
from typing import Any, Final

from hpastore.text import printable

_GAP: Final = "  "

_PIECE: Final = re.compile(r"[^ _]*[ _]|[^ _]+")
"""The pieces that a long text is broken between."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as text, in full width if stdout is not a terminal.

    On a terminal that is too narrow, texts are broken at spaces and underscores.  Where that is not
    enough, each row is printed as a block with a column in each line.  (rich takes a minute for
    100,000 rows.)
    """
    names = [printable(name, None) for name in columns]
    cells = [list(map(as_text, row)) for row in rows]
    right = [
        all(isinstance(v, int | float) or v is None for v in column) for column in _columns(rows)
    ]
    widths = [max(map(_width, column)) for column in _columns([names, *cells])]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf
    if cells and _total(widths) > room:
        minima = [max(map(_longest_piece, column)) for column in _columns([names, *cells])]
        if _total(minima) > room:
            _print_one_by_one(names, cells)
            return
        while _total(widths) > room:
            spare, place = max((width - minima[place], place) for place, width in enumerate(widths))
            widths[place] -= (min(spare, _total(widths) - int(room)) + 1) // 2
    for row in [names, ["─" * width for width in widths], *cells]:
        folded = [_fold(text, width) for text, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            line = map(_aligned, parts, widths, right or repeat(False))
            print(_GAP.join(line).rstrip())


def as_text(value: Any) -> str:
    """Write one value as text, with control characters escaped."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return printable(str(value), None)


def _columns(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _width(text: str) -> int:
    """Count the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _longest_piece(text: str) -> int:
    return max((_width(piece.rstrip()) for piece in _PIECE.findall(text)), default=0)


def _fold(text: str, width: int) -> list[str]:
    lines = [""]
    for piece in _PIECE.findall(text) if _width(text) > width else [text]:
        if lines[-1] and _width(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip(" ") for line in lines]


def _aligned(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _print_one_by_one(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as a block, with a column in each line."""
    width = max(map(_width, names))
    for number, row in enumerate(rows, 1):
        print(f"── row {number:,} ──")
        for name, text in zip(names, row, strict=True):
            print(_aligned(name, width, right=False), text, sep=_GAP)
