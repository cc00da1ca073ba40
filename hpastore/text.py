"""Foreign texts and counts as messages show them."""

from __future__ import annotations


def printable(text: str, most: int | None = 128) -> str:
    """Escape the control characters of a foreign text, and cut it if it is for a message.

    What was cut ends in an ellipsis, so that it never reads as another name that is allowed.
    """
    shown = text if most is None else text[: most + 1]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    return shown if most is None or len(shown) <= most else f"{shown[: most - 1]}…"


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
