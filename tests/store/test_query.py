"""The user's own SQL: what may be its first word, and what hides before it."""

from __future__ import annotations

import pytest

from hpastore.errors import QueryError
from hpastore.store.engine import Store
from hpastore.store.query import query

READING = [
    "SELECT 1",
    "select 1",
    " \t\r\n SELECT 1",
    "-- which\nSELECT 1",
    "-- which -- of\r\n--\nSELECT 1",
    "/**/SELECT 1",
    "/* a * b / c ; -- */ /***/ SELECT 1",
    "VALUES (1)",
    "WITH x AS (SELECT 1 AS y) SELECT y FROM x",
]

OTHERS = [
    "",
    "-- SELECT 1",
    "-- SELECT 1\nCOMMIT",
    "-- which\rCOMMIT /*\nSELECT 1 */",  # PostgreSQL ends the line at the carriage return
    "/* SELECT 1 */ COMMIT",
    "/* /* */ SELECT 1 */ COMMIT",  # and nests comments
    "/* SELECT 1",
    "/*/ SELECT 1",
    "selection",
    "COPY cell TO PROGRAM 'cat'",
    "-" * 5000 + "/*" * 5000,
]


@pytest.mark.parametrize("sql", READING)
def test_a_statement_that_reads_may_have_space_and_comments_before_it(store: Store, sql: str) -> None:
    assert query(store, sql).rows == [(1,)]


@pytest.mark.parametrize("sql", OTHERS, ids=range(len(OTHERS)))
def test_a_first_word_within_a_comment_is_none(store: Store, sql: str) -> None:
    with pytest.raises(QueryError, match="a query begins with SELECT, WITH"):
        query(store, sql)


def test_a_query_that_is_not_utf_8_is_refused(store: Store) -> None:
    with pytest.raises(QueryError, match="surrogates not allowed"):
        query(store, "SELECT '\udcff'")
