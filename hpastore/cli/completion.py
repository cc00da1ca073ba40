"""What the shell completes when a user presses the tab key, besides commands and options."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import typer

from hpastore.cli import show
from hpastore.text import printable

T = TypeVar("T")

MAX_WAIT_S: Final = 2
"""A shell waits no longer for the names of a store that does not answer."""


def complete_clean_sets(ctx: typer.Context) -> list[str]:
    """Give the names of the store's clean sets; Typer offers those that match what is typed."""
    return _complete(ctx, _clean_set_names)


def complete_labels(ctx: typer.Context) -> list[tuple[str, str]]:
    """Give the ids of the store's classes; a shell that shows descriptions shows their names.

    Names are not offered: bash would insert one with a space as two words.
    """
    return _complete(ctx, _labels)


def _complete(ctx: typer.Context, read: Callable[[], list[T]]) -> list[T]:
    """Read from the store; where that fails, for whatever reason, there is nothing to offer.

    A message would end up in the line that the user is typing.
    """
    show.settings.db = ctx.find_root().params.get("db")
    show.settings.quiet = True
    before = signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, MAX_WAIT_S)
    try:
        return read()
    except Exception:  # any message would end up in the line that the user is typing
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _clean_set_names() -> list[str]:
    from hpastore.store.clean_sets import rows

    with show.open_store() as store, store.reading() as connection:
        return rows.clean_set_names(connection)


def _labels() -> list[tuple[str, str]]:
    import hpastore

    with show.open_store() as store:
        names = hpastore.store_classes(store).names
    return [(str(label), printable(name)) for label, name in names.items()]


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError
