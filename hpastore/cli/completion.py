"""What the shell completes when a user presses the tab key, besides commands and options."""

from __future__ import annotations

import signal
from typing import Final, NoReturn

import typer

from hpastore.cli import show

MAX_WAIT_S: Final = 2
"""A shell waits no longer for the names of a store that does not answer."""


def complete_clean_sets(ctx: typer.Context) -> list[str]:
    """Give the names of the store's clean sets; Typer offers those that match what is typed.

    The store is only read.  Where that fails, for whatever reason, there are no names: a message
    would end up in the line that the user is typing.
    """
    show.settings.db = ctx.find_root().params.get("db")
    show.settings.quiet = True
    before = signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, MAX_WAIT_S)
    try:
        return _clean_set_names()
    except Exception:  # any message would end up in the line that the user is typing
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _clean_set_names() -> list[str]:
    from hpastore.store.clean_sets import rows

    with show.open_store() as store, store.reading() as connection:
        return rows.clean_set_names(connection)


def _give_up(*_: object) -> NoReturn:
    raise TimeoutError
