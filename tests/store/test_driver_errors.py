"""What a driver reports becomes an error of ours that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from hpastore.errors import DisconnectedError, HpastoreError, StoreError, UnavailableError
from hpastore.store.driver_errors import translate

POSTGRESQL = make_url("postgresql+psycopg://kim:secret@host/cells")


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


@pytest.mark.parametrize(
    ("message", "kind", "hint"),
    [
        ("database is locked", UnavailableError, "another process has been writing for 300 s"),
        ("database or disk is full", UnavailableError, "no room left on the disk; free some"),
        ("disk I/O error", UnavailableError, "the disk failed, or has no room left; free some"),
        ("unable to open database file", UnavailableError, "cannot be opened; SQLite must be able"),
        (
            "attempt to write a readonly database",
            UnavailableError,
            "is read-only; check the permissions",
        ),
        ("file is not a database", StoreError, "is not a SQLite database; name another file"),
        ("database disk image is malformed", StoreError, "is damaged; restore a backup"),
        ('near "SELEC": syntax error', StoreError, 'near "SELEC": syntax error'),
    ],
)
def test_a_message_of_sqlite_says_what_to_do(
    tmp_path: Path, message: str, kind: type[HpastoreError], hint: str
) -> None:
    ours = translate(sqlite3.OperationalError(message), sqlite_url(tmp_path / "no.db"), "no.db")
    assert type(ours) is kind
    assert ours.reason.startswith(hint)
    assert message in ours.reason


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (
            psycopg.errors.LockNotAvailable("canceling: lock timeout"),
            UnavailableError,
            "another process",
        ),
        (
            psycopg.errors.DiskFull("could not extend file"),
            UnavailableError,
            "the database's disk has no",
        ),
        (
            psycopg.errors.InsufficientPrivilege("permission denied"),
            StoreError,
            "the database's user has no",
        ),
        (psycopg.errors.AdminShutdown("terminating connection"), DisconnectedError, "terminating"),
        (
            psycopg.errors.SerializationFailure("could not serialize"),
            DisconnectedError,
            "could not",
        ),
        (psycopg.errors.DivisionByZero("division by zero"), StoreError, "division by zero"),
        (
            psycopg.OperationalError("server closed the connection"),
            DisconnectedError,
            "server closed",
        ),
        (None, StoreError, "None"),
    ],
)
def test_a_message_of_postgresql_says_what_to_do(
    error: Exception | None, kind: type[HpastoreError], hint: str
) -> None:
    ours = translate(error, POSTGRESQL, "postgresql://kim:***@host/cells")
    assert type(ours) is kind
    assert ours.reason.startswith(hint)


def test_only_the_first_line_is_shown_and_no_password() -> None:
    error = psycopg.OperationalError("cannot connect with secret\nHINT: look at secret")
    ours = translate(error, POSTGRESQL, "cells")
    assert ours.reason == "cannot connect with ***"
