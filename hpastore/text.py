"""Texts from outside, counts and names of measures, as messages show them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def printable(text: str, max_length: int | None = 128) -> str:
    """Escape the control characters of a text from outside, and shorten it.

    A shortened text ends in an ellipsis, so that it cannot be taken for another, valid name.

    Parameters
    ----------
    text : str
    max_length : int, optional
        In characters; None keeps the whole text.
    """
    shown = text if max_length is None else text[: max_length + 1]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    if max_length is None or len(shown) <= max_length:
        return shown
    return f"{shown[: max_length - 1]}…"


def measure_name(channel: str | None, measure: str | None) -> str:
    """Name a measure, after its channel if it has one: ``green fraction``, ``area``."""
    return " ".join(filter(None, (channel, measure)))


def short_list(names: Sequence[str], most: int = 3) -> str:
    """List names, at most some of them: ``a, b``, ``a, b, c and 9 more``."""
    named = ", ".join(names[:most])
    more = len(names) - most
    return named if more <= 0 else f"{named} and {more} more"


def count_text(n: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun: ``1 file``, ``1,200 files``.

    Parameters
    ----------
    n : int
    noun : str
        For one.
    plural : str, optional
        For all other numbers; by default `noun` with an s.
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def size_text(size: int) -> str:
    """Write a number of bytes: ``12 MB``, ``1,234 MB``; less than one counts as one."""
    return f"{max(1, math.ceil(size / 1_000_000)):,} MB"
