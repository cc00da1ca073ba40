"""What a query may do on PostgreSQL, where even a READ ONLY transaction may call any function.

A query runs as the role ``pg_read_all_data`` if the database's user may take that role: so a query
of a superuser has no superuser's rights.

Functions with side effects are refused by name.  The server knows them: the VOLATILE ones set
parameters, take locks, read files, run programs, wait or notify.  Extensions and users add more.

Names are searched in the whole text of a query, in strings and comments too.  A parser of ours that
differed from the server's in one quote would miss a name; this search can only find too many.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, text

from hpastore.errors import QueryError

_HARMLESS: Final = (
    *(
        "array_sample",
        "array_shuffle",
        "clock_timestamp",
        "gen_random_uuid",
        "random",
        "random_normal",
    ),
    *("timeofday", "uuidv4", "uuidv7"),
    *(
        "pg_database_size",
        "pg_indexes_size",
        "pg_relation_size",
        "pg_table_size",
        "pg_total_relation_size",
    ),
)
"""Built-in functions that are VOLATILE but have no side effects."""

_WORD: Final = re.compile(r'([^\W\d]\w*+)("?\s*+(?:\(|--|/\*))?')
"""A word, and a parenthesis after it, or a comment before one.  Never backtracks."""

_ESCAPED: Final = re.compile(r'U&"', re.I)
"""Begins an identifier in which letters may be escaped by their code points."""

_MAX_IDENTIFIER_BYTES: Final = 63
"""PostgreSQL cuts longer identifiers."""

_FUNCTIONS: Final = text("""
SELECT min(proname) FROM pg_catalog.pg_proc
WHERE NOT CAST('internal' AS regtype) = ANY (proargtypes)
  AND CASE WHEN pronamespace = CAST('pg_catalog' AS regnamespace)
    THEN proname = ANY (:words)
      AND (provolatile = 'v' AND NOT proname = ANY (:harmless) OR proname ~ '_to_xml')
    ELSE (
      proname = ANY (:calls)
      OR proname = ANY (:words) AND EXISTS (
        SELECT FROM pg_catalog.pg_type WHERE pg_type.oid = proargtypes[0] AND typtype IN ('c', 'p'))
      OR proname !~ '^[A-Za-z_][A-Za-z0-9_]*$'
        AND position(replace(proname, '"', '""') IN CAST(:sql AS text)) > 0
    ) AND (provolatile <> 'i' OR EXISTS (
      SELECT FROM pg_catalog.pg_aggregate JOIN pg_catalog.pg_proc AS step
        ON step.oid IN (aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn,
        aggmfinalfn)
      WHERE aggfnoid = pg_proc.oid AND step.provolatile <> 'i'))
    END
""")
"""The first function that a query may not name.

Of the server's own functions: the VOLATILE ones, and ``table_to_xml`` and its like, which read the
table that a string names; wherever they are named.  Of all other functions: those that are not
IMMUTABLE, since some run SQL; where they are called, where ``row.name`` would call them, and where
their name is not a plain word.  An
aggregate is judged by the functions that it consists of."""

_PROTECTED_CATALOGUES: Final = text("""
SELECT min(relname) FROM pg_catalog.pg_class
WHERE relname = ANY (:words)
  AND relnamespace IN (CAST('pg_catalog' AS regnamespace), CAST('pg_toast' AS regnamespace))
  AND NOT EXISTS (
    SELECT FROM pg_catalog.aclexplode(relacl) WHERE grantee = 0 AND privilege_type = 'SELECT')
""")
"""The first catalogue in a query that PUBLIC may not read, such as that of passwords."""

_RIGHTS: Final = text("""
SELECT rolsuper, current_setting('temp_file_limit') = '-1' AS unlimited,
  coalesce(pg_has_role(CAST(to_regrole('pg_read_all_data') AS oid), :right), false) AS reads_all,
  (SELECT string_agg(rolname, ', ') FROM pg_catalog.pg_roles
    WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
    AND pg_has_role(oid, 'MEMBER')) AS file_roles,
  (SELECT quote_ident(nspname) FROM pg_catalog.pg_class
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = to_regclass('cell_stats')) AS home
FROM pg_catalog.pg_roles WHERE rolname = current_user
""")
"""The rights of the database's user, and the schema of hpastore's tables."""

_MAX_TIMEOUT_MS: Final = 2**31 - 1
"""The longest timeout that PostgreSQL can set."""


def refuse_side_effects(connection: Connection, sql: str) -> None:
    """Refuse a query that names a function with side effects, or a protected catalogue.

    Parameters
    ----------
    connection
        To PostgreSQL.
    sql
        The query.

    Raises
    ------
    QueryError
        With the name.
    """
    if _ESCAPED.search(sql):
        raise QueryError('the query escapes a name as U&"..."; write the name itself')
    found = _WORD.findall(sql)
    words = _spellings(word for word, _ in found)
    parameters = {
        "words": words,
        "calls": _spellings(word for word, call in found if call),
        "harmless": list(_HARMLESS),
        "sql": f"{sql}\n{sql.lower()}",
    }
    function = connection.execute(_FUNCTIONS, parameters).scalar_one()
    if function is not None:
        raise QueryError(f"the query names the function {function}, which can do more than read")
    catalogue = connection.execute(_PROTECTED_CATALOGUES, {"words": words}).scalar_one()
    if catalogue is not None:
        raise QueryError(f"the query names {catalogue}, which PostgreSQL does not show to everyone")


def restricted_transaction(connection: Connection, version: int, timeout: float) -> list[bytes]:
    """Give the statements that begin a query's transaction with few rights and with limits.

    Parameters
    ----------
    connection
        To PostgreSQL, as the same user.
    version
        Of the server, such as 180004.
    timeout
        Seconds.

    Returns
    -------
    list of bytes
        Statements to run in this order before the query.

    Raises
    ------
    QueryError
        If the user has access to the server's files, and cannot give it up by another role.
    """
    right = "SET" if version >= 160_000 else "MEMBER"
    rights = connection.execute(_RIGHTS, {"right": right}).one()
    if rights.file_roles and not rights.reads_all:
        raise QueryError(
            f"the database's user has access to the server's files ({rights.file_roles}); "
            "connect as a user who can only read"
        )
    milliseconds = math.ceil(min(timeout * 1000, _MAX_TIMEOUT_MS))  # not 0, which is no timeout
    settings: dict[str, str | int] = {
        "extra_float_digits": 3,
        "work_mem": "'64MB'",
        "idle_in_transaction_session_timeout": min(milliseconds + 10_000, _MAX_TIMEOUT_MS),
        "lock_timeout": milliseconds,
    }
    if version >= 140_000:
        settings["client_connection_check_interval"] = 1000  # the query of a killed client ends
    if rights.home:
        settings["search_path"] = f"{rights.home}, pg_temp"
    if rights.rolsuper and rights.unlimited:
        settings["temp_file_limit"] = "'4GB'"
    statements = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        *(f"SET LOCAL {name} = {value}" for name, value in settings.items()),
        *(["SET LOCAL ROLE pg_read_all_data"] if rights.reads_all else []),
        f"SET LOCAL statement_timeout = {milliseconds}",
    ]
    return [statement.encode() for statement in statements]


def _spellings(words: Iterable[str]) -> list[str]:
    """Give each word as PostgreSQL may read it: as it is, in lower case, and cut."""
    written = {spelling for word in words for spelling in (word, word.lower())}
    return sorted(
        {word.encode()[:_MAX_IDENTIFIER_BYTES].decode(errors="ignore") for word in written}
    )
