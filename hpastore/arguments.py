"""Paths, shares and choices as users give them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from hpastore.errors import UsageError


def expanded(path: Path | str) -> Path:
    """Replace a leading ``~`` as a shell does; that of an unknown user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def require_share(value: float, name: str) -> None:
    """Refuse a percentile that is not a share from 0 to 1.

    Parameters
    ----------
    value : float
    name : str
        Of the argument, for the message.

    Raises
    ------
    UsageError
        With a hint where the value looks like a percentage, such as 98.
    """
    if not 0 <= value <= 1:
        hint = f"; {value:g} % is {value / 100:g}" if 1 < value <= 100 else ""
        raise UsageError(f"{name} takes a share from 0 to 1, not {value:g}{hint}")


def require_choice(value: object, choices: object, name: str) -> None:
    """Refuse a value that is not one of a few words.

    Parameters
    ----------
    value : str
    choices : type
        A `Literal`.
    name : str
        Of the argument, for the message.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> from typing import Literal
    >>> require_choice("left", Literal["left", "right"], "side")
    """
    words = get_args(choices)
    if value not in words:
        raise UsageError(f"invalid {name} {value!r} (choose from {', '.join(words)})")
