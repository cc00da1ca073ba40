"""Counts with their nouns, for messages."""

from __future__ import annotations


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
