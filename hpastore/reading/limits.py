"""How large an image may be: what is beyond is refused before it is allocated."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hpastore.errors import RejectedError

MAX_SIDE: Final = 16384
"""Pixels; the largest HPA image has 4096."""

MAX_PIXELS: Final = 2**26
"""As 8192 x 8192 has: one file of any accepted kind then decodes in less than 1 GB."""

MAX_CELLS: Final = 2**16 - 1
"""As many as 16 bits can name; a real image has 10 to 100.

Of each cell the joint histograms take 8 KiB of memory, and six rows are stored.
"""

MAX_RATIO: Final = 1032
"""How many bytes one byte of deflated data can hold; an empty mask reaches 1028."""


def require_size(width: int, height: int, path: Path) -> None:
    """Refuse an image that has no pixel or too many.

    Raises
    ------
    RejectedError
        ``too_large``.
    """
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        limits = f"each side must have 1 to {MAX_SIDE}, both together at most {MAX_PIXELS}"
        raise RejectedError("too_large", path, f"is {width} x {height} pixels; {limits}")
