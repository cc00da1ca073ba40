"""The worked queries of docs/sql.md, for the tests and the benchmark that run them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from scripts.documentation.pages import DOCS

PAGE: Final = DOCS / "sql.md"

_QUERY: Final = re.compile(
    r"^\*\*(?P<name>[^*]+)\.\*\* (?P<question>(?:(?!\n\n).)+)\n\n```sql\n(?P<sql>.*?)^```$",
    re.M | re.S,
)


class WorkedQuery(NamedTuple):
    """A query with the question that it answers.

    Parameters
    ----------
    name
        A few words.
    question
        One sentence.
    sql
        The same text for both databases.
    """

    name: str
    question: str
    sql: str


def worked_queries(page: str | None = None) -> list[WorkedQuery]:
    """Find the worked queries of a page's text, by default that of docs/sql.md, in their order."""
    text = PAGE.read_text(encoding="utf-8") if page is None else page
    return [WorkedQuery(*found.groups()) for found in _QUERY.finditer(text)]
