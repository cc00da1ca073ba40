"""Parse the name of a store: the path of a SQLite file, or a URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from hpastore.arguments import expanded
from hpastore.errors import UsageError

_FORMS: Final = "--db takes a file's path, sqlite:///PATH or postgresql://USER@HOST/NAME"

_INCOMPLETE_URL: Final = re.compile(
    r"^postgres\w*(\+\w+)?:|^[^/\s]*:[^/]*@|(^|\s)(host|hostaddr|dbname|user|password|service)\s*=",
    re.I,
)
"""A URL of a database that lacks a part, or libpq's keywords: no path looks like this."""

_BARE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse_url(name: str | Path) -> URL:
    """Parse the name of a store.

    Parameters
    ----------
    name : str or Path
        The path of a SQLite file, ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``.

    Raises
    ------
    UsageError
        If it is none of these.  The message quotes nothing, since the name may hold a password.
    """
    text = str(name)
    if "://" not in text and text != ":memory:":
        if _INCOMPLETE_URL.search(text) and not expanded(text).exists():
            raise UsageError(_FORMS)
        return URL.create("sqlite", database=str(expanded(text)))
    if text.startswith("postgres"):
        _refuse_unencoded(text)
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UsageError(_FORMS) from None  # the cause may quote a part of a password
    if backend == "sqlite" and url.database and url.database != ":memory:":
        return url.set(database=str(expanded(url.database)))
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise UsageError(_FORMS)


def _refuse_unencoded(text: str) -> None:
    """Refuse special characters that are not encoded: a password could be read as the host."""
    user_to_name, _, query = text.partition("://")[2].partition("?")
    parameters = [parameter for parameter in query.split("&") if parameter]
    if (
        user_to_name.count("@") > 1
        or _BARE_PERCENT.search(user_to_name)
        or any("=" not in parameter for parameter in parameters)
    ):
        raise UsageError(
            "the URL of --db cannot be parsed; percent-encode @ (%40), % (%25), / (%2F), ? (%3F) "
            "and & (%26) in the user, the password and the database's name"
        )
