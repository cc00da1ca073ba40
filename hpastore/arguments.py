"""Paths and shares as people give them."""

from __future__ import annotations

from pathlib import Path

from hpastore.errors import UsageError


def expanded(path: Path | str) -> Path:
    """Replace a leading ``~`` as a shell does; that of an unknown user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def require_share(value: float, name: str) -> None:
    """Refuse a percentile that is not a share 0..1.

    Parameters
    ----------
    value : float
    name : str
        What it is, for the message.

    Raises
    ------
    UsageError
        With a hint, where 98 was meant as a percentage.
    """
    if not 0 <= value <= 1:
        hint = f"; for {value:g} % say {value / 100:g}" if 1 < value <= 100 else ""
        raise UsageError(f"{name} takes a share from 0 to 1, not {value:g}{hint}")
