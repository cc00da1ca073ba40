"""What a query may do on PostgreSQL, where a READ ONLY transaction may still call anything.

It runs as the role that may read all tables and nothing else, where the session may take that: a
superuser's rights are not for a query.

The server knows best which of its functions do more than compute: those that are VOLATILE set
parameters, take locks, read files, run programs, wait and notify.  Extensions and users add their own.

Names are looked for in the whole text, in its strings and comments too.  What is code there is for the
server to say: a reader of SQL that differs from it in one quote would miss a name, this one can only
find too many.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, text

from hpastore.errors import QueryError

_HARMLESS: Final = (
    *("array_sample", "array_shuffle", "clock_timestamp", "gen_random_uuid", "random", "random_normal"),
    *("timeofday", "uuidv4", "uuidv7"),
    *("pg_database_size", "pg_indexes_size", "pg_relation_size", "pg_table_size", "pg_total_relation_size"),
)
"""Built-in functions that are VOLATILE and change nothing."""

_WORD: Final = re.compile(r'([^\W\d]\w*+)("?\s*+(?:\(|--|/\*))?')
"""A word, and the parenthesis after it, or a comment that one may follow.  Nothing is tried twice."""

_ESCAPED: Final = re.compile(r'U&"', re.I)
"""Begins an identifier in which letters may be written as their numbers."""

_LONGEST: Final = 63
"""Bytes of an identifier, which PostgreSQL cuts."""

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
        ON step.oid IN (aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn)
      WHERE aggfnoid = pg_proc.oid AND step.provolatile <> 'i'))
    END
""")
"""Those of the server itself wherever they are named, ``table_to_xml`` and its like too, which read what
a string names.  Of others all that are not IMMUTABLE, since some run SQL: where they are called, where
``row.name`` would call them, and where their name is no plain word.  An aggregate is what it is made of."""

_SECRETS: Final = text("""
SELECT min(relname) FROM pg_catalog.pg_class
WHERE relname = ANY (:words)
  AND relnamespace IN (CAST('pg_catalog' AS regnamespace), CAST('pg_toast' AS regnamespace))
  AND NOT EXISTS (
    SELECT FROM pg_catalog.aclexplode(relacl) WHERE grantee = 0 AND privilege_type = 'SELECT')
""")
"""Passwords, large objects and the like: what the server keeps from PUBLIC."""

_RIGHTS: Final = text("""
SELECT rolsuper, current_setting('temp_file_limit') = '-1' AS unlimited,
  coalesce(pg_has_role(CAST(to_regrole('pg_read_all_data') AS oid), :way), false) AS reads_all,
  (SELECT string_agg(rolname, ', ') FROM pg_catalog.pg_roles
    WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
    AND pg_has_role(oid, 'MEMBER')) AS reaches,
  (SELECT quote_ident(nspname) FROM pg_catalog.pg_class
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE pg_class.oid = to_regclass('cell_stats')) AS home
FROM pg_catalog.pg_roles WHERE rolname = current_user
""")
"""What the database's user may do, and the schema that holds our tables."""

_MOST_MS: Final = 2**31 - 1
"""Milliseconds that PostgreSQL counts."""


def require_harmless(connection: Connection, sql: str) -> None:
    """Refuse a query that names what can do more than read, or reads what is none of its business.

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
        raise QueryError('U&"..." hides what it names; write the name itself')
    named = _WORD.findall(sql)
    words = _spellings(word for word, _ in named)
    found = {
        "words": words,
        "calls": _spellings(word for word, call in named if call),
        "harmless": list(_HARMLESS),
        "sql": f"{sql}\n{sql.lower()}",
    }
    function = connection.execute(_FUNCTIONS, found).scalar_one()
    if function is not None:
        raise QueryError(f"the query names the function {function}, which can do more than read")
    secret = connection.execute(_SECRETS, {"words": words}).scalar_one()
    if secret is not None:
        raise QueryError(f"the query names {secret}, which PostgreSQL shows to few")


def least(connection: Connection, version: int, timeout: float) -> list[bytes]:
    """Say with what statements a query's transaction begins: few rights, and limits.

    Parameters
    ----------
    connection
        To PostgreSQL, as the same user.
    version
        The server's, such as 180004.
    timeout
        Seconds.

    Raises
    ------
    QueryError
        If the user may do too much and cannot do without.
    """
    way = "SET" if version >= 160_000 else "MEMBER"
    rights = connection.execute(_RIGHTS, {"way": way}).one()
    if rights.reaches and not rights.reads_all:
        raise QueryError(
            f"the database's user reaches the server's files ({rights.reaches}); use one who only reads"
        )
    milliseconds = math.ceil(min(timeout * 1000, _MOST_MS))  # 0 would be none
    settings: dict[str, str | int] = {
        "extra_float_digits": 3,
        "work_mem": "'64MB'",
        "idle_in_transaction_session_timeout": min(milliseconds + 10_000, _MOST_MS),
        "lock_timeout": milliseconds,
    }
    if version >= 140_000:
        settings["client_connection_check_interval"] = 1000  # so that a killed client ends its query
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
    """All that PostgreSQL could take words for: as they are, in small letters, and cut."""
    written = {spelling for word in words for spelling in (word, word.lower())}
    return sorted({word.encode()[:_LONGEST].decode(errors="ignore") for word in written})
