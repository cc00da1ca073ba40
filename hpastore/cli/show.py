"""Print values: tables for people, JSON for programs, progress on a terminal.

All output of a command passes through here or `hpastore.cli.table`.  Texts from a database, a file
or the command line may hold control characters that a terminal would obey, and a store may come
from somebody else.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hpastore.cli.table import as_text, print_table
from hpastore.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from hpastore.classes import Classes
    from hpastore.store.engine import Store


SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

STOPPED: Final = 128
"""The exit code after a signal is this, plus the signal's number."""

PATIENCE_S: Final = 4.5
"""How long a command may take to finish after a signal."""


_MAX_MESSAGE: Final = 10_000
"""Characters in one message."""


@dataclass
class Settings:
    """The options that all commands share; set once, by `hpastore.cli.app`."""

    db: str | None = None
    json: bool = False
    quiet: bool = False
    stopped: int | None = None
    """The signal that ends the program; SQLite may raise an error of its own before."""
    warnings: list[str] = field(default_factory=list)
    """The library's warnings."""


settings = Settings()


def open_store(*, create: bool = False, classes: Classes | None = None) -> Store:
    """Open the store that ``--db`` names."""
    import hpastore

    return hpastore.open_store(settings.db, create=create, classes=classes)


@contextmanager
def store_if_any(needed: bool) -> Iterator[Store | None]:
    """Open the store that ``--db`` names if it is needed; None where there is no such store."""
    from hpastore.errors import SchemaMissingError

    with ExitStack() as stack:
        store = None
        with suppress(SchemaMissingError):
            store = stack.enter_context(open_store()) if needed else None
        yield store


def connect_anyway(*, create: bool = False) -> Store:
    """Connect to the database that ``--db`` names, even if it is not a current store."""
    from hpastore.store.engine import connect
    from hpastore.store.open import default_url

    return connect(settings.db or default_url(), create=create)


def message(text: str) -> None:
    """Print a message on stderr, unless --quiet."""
    if not settings.quiet:
        error(text)


def error(text: str) -> None:
    """Print a message on stderr, in one line."""
    print(printable(text, _MAX_MESSAGE), file=sys.stderr)


def program_error(text: str) -> None:
    """Print a message on stderr, after the program's name."""
    error(f"hpastore: {text}")


def line(text: str = "") -> None:
    """Print one line on stdout."""
    print(printable(text, None))


def text(lines: str) -> None:
    """Print a text of several lines, such as a recipe; control characters as TOML escapes."""
    if not lines.translate(_LAYOUT).isprintable():
        lines = "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in lines)
    print(end=lines)


_LAYOUT: Final = dict.fromkeys(map(ord, "\n\t"))
"""The control characters that lay out a text."""


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04X}" if number < 2**16 else f"\\U{number:08X}"


def document(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(_plain(value), allow_nan=False))


def documents(values: Iterable[Any]) -> None:
    """Print a list as one JSON document, entry by entry: memory never holds the whole text."""
    print(end="[")
    for place, value in enumerate(values):
        print(", " if place else "", json.dumps(_plain(value), allow_nan=False), sep="", end="")
    print("]")


def frame(table: pd.DataFrame) -> None:
    """Print a table: as text, or as a list of JSON objects."""
    columns = list(table.columns)
    plain = table.astype(object)
    rows = list(plain.where(plain.notna(), None).itertuples(index=False, name=None))
    if settings.json:
        document(records(columns, rows))
    else:
        print_table(columns, rows)


def records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Turn rows into objects with the columns as keys."""
    return [dict(zip(columns, row, strict=True)) for row in rows]


def lines(pairs: Mapping[str, Any]) -> None:
    """Print names and values, one pair a line."""
    width = max(map(len, pairs))
    for name, value in pairs.items():
        line(f"{name.replace('_', ' '):{width}}  {as_text(value)}")


def leave(number: int, how: str) -> NoReturn:
    """End the program for a signal."""
    settings.stopped = number
    print(f"hpastore: {how}; what was finished is kept", file=sys.stderr)
    sys.exit(STOPPED + number)


class Stop:
    """Whether a signal has come; a second one, or `PATIENCE_S`, ends the program at once."""

    def __init__(self) -> None:
        self.number: int | None = None

    def is_set(self) -> bool:
        """Whether the command should finish."""
        return self.number is not None

    def exit(self) -> None:
        """Exit with the signal's code, if one came."""
        if self.number is not None:
            sys.exit(STOPPED + self.number)

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 the signature is Python's
        """Take a signal."""
        if self.number is not None:
            leave(self.number, "stopped at once")
        self.number = number
        message("hpastore: stopping; what is in flight is finished and kept")
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Let a command finish its current work after SIGINT, SIGTERM or SIGHUP."""
    stop = Stop()
    before = {number: signal.signal(number, stop) for number in (*SIGNALS, signal.SIGALRM)}
    try:
        yield stop
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give a callback that draws a progress bar on stderr; None if stderr is not a terminal."""
    if settings.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(value: Any) -> Any:
    """Convert a value to a JSON type; NaN and infinities become null, times and bytes text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == 0:
        return int(value)  # PostgreSQL's sum of integers, an integer on SQLite too
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if hasattr(value, "item"):  # a NumPy scalar
        return _plain(value.item())
    return str(value)
