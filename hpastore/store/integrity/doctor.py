"""What may be wrong with a store: its database, its schema, its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from sqlalchemy import Connection

from hpastore.errors import DamagedError, StoreError, UnavailableError
from hpastore.schema.row_info import covered_tables
from hpastore.store import migrate
from hpastore.store.engine import Store
from hpastore.store.integrity import checksums, database_checks, row_checks
from hpastore.store.integrity.finding import REPLACE_IMAGE, RESTORE, Finding, damage_finding

_HINTS: Final[Mapping[str, str]] = {
    "label": f"undo the change, or {RESTORE}",
    "measurement_settings": RESTORE,
    "clean_set": f"create it again, or {RESTORE}",
    "cell_override": f"delete it and decide again, or {RESTORE}",
    "image": REPLACE_IMAGE,
}
"""What to do where a checksum does not match, by the table that has it."""


def doctor(store: Store, *, deep: bool = False) -> list[Finding]:
    """Look for what is wrong with a store.

    Parameters
    ----------
    store : Store
        May be in use: each check sees one state of it.
    deep : bool
        Whether all images, clean sets, overrides, classes and measurement settings are compared
        with their checksums, and histograms with masks.

    Returns
    -------
    list of Finding
        Empty if nothing is wrong.  Of a damaged file it is only that: what else is read may be
        anything.

    Raises
    ------
    UnavailableError
        If the database cannot be reached.
    """
    damage = (
        _look(store, partial(database_checks.sqlite_damage, deep=deep)) if store.is_sqlite else []
    )
    if damage:
        return damage
    checks: list[Callable[[Connection], Iterable[Finding]]] = [
        database_checks.sqlite_file if store.is_sqlite else database_checks.postgresql_server,
        lambda _: _schema(store),
        row_checks.orphans,
        row_checks.classes,
        row_checks.labels,
        row_checks.cell_labels,
        row_checks.current_settings,
        row_checks.counts,
        row_checks.masks,
        row_checks.files,
        row_checks.overrides,
        row_checks.override_masks,
        row_checks.verdict_rules,
        row_checks.names,
        row_checks.moments,
        partial(row_checks.masks_and_histograms, deep=deep),
        *([_checksums] if deep else []),
    ]
    return [finding for check in checks for finding in _look(store, check)]


def _look(store: Store, check: Callable[[Connection], Iterable[Finding]]) -> list[Finding]:
    try:
        return store.read(lambda connection: list(check(connection)))
    except UnavailableError:
        raise
    except DamagedError as error:
        return [damage_finding(error)]
    except StoreError as error:
        return [Finding("database", f"cannot be read: {error.reason}", RESTORE)]


def _schema(store: Store) -> Iterator[Finding]:
    for sentence in migrate.check(store):
        yield Finding("schema", sentence, f"undo it, or {RESTORE}")


def _checksums(connection: Connection) -> Iterator[Finding]:
    for found in checksums.compare_all(connection):
        hint = _HINTS[found.table.name]
        if found.stored is None:
            yield Finding(found.name, "its checksum was never computed", hint)
        elif found.stored != found.computed:
            tables = [found.table, *covered_tables(found.table)]
            names = ", ".join(table.name for table in tables)
            yield Finding(
                found.name, f"its stored values do not match its checksum ({names})", hint
            )
