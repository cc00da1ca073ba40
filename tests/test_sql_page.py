"""What docs/sql.md says: its diagrams are the tables' references, and its queries run on both databases."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import hpastore
from hpastore.clean.recipe import parse_recipe
from hpastore.model import Measured
from hpastore.schema.row_info import referred, refers
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS
from hpastore.store.engine import Store, connect
from scripts.documentation.examples import find_examples
from scripts.documentation.queries import PAGE, WorkedQuery, worked_queries
from tests.conftest import Fill, Server
from tests.world import begin_run, cells, measured, put

TEXT = PAGE.read_text(encoding="utf-8")
QUERIES = worked_queries()
TABLES = set(Base.metadata.tables)
PUBLIC = TABLES | {view.table.name for view in VIEWS}

NUCLEOPLASM, CYTOSOL = 0, 16
IMAGES = (
    *((NUCLEOPLASM,), (CYTOSOL,), (NUCLEOPLASM, CYTOSOL), (CYTOSOL,)),
    *((NUCLEOPLASM,), (CYTOSOL,), (CYTOSOL,), (NUCLEOPLASM, CYTOSOL)),
)
"""Labels of the images sample-0000, sample-0001 and so on."""

LATER = datetime(2100, 1, 1, tzinfo=UTC)

RECIPE = """
[[rule]]
measure = "fraction"
channel = "green"
lower = {percentile = 0.2}

[[rule]]
name = "size"
measure = "area"
upper = {median = 2}
"""


def image(number: int, labels: tuple[int, ...]) -> Measured:
    """Four cells: a plain one, one that glows in its nucleus, a saturated one, and a large one."""
    made = cells(
        green_fraction=[0.3 + number / 100, 0.95, 0.97 - number / 100, 0.98],
        green_saturated=[0, 0, 0.05, 0],
        green_intensity_nucleus=[20, 90, 20, 20],
        green_intensity_cytoplasm=[20, 30, 20, 20],
        green_intensity_mean=[30 + number, 60, 90, 30],
        red_intensity_mean=[100, 30, 40, 100],
        yellow_intensity_mean=[100, 30, 40, 100],
        area=[10, 11, 12, 90],
    )
    drawn = measured(f"sample-{number:04}", labels, made)
    plate = (("plate", f"P{number % 2}"),)
    return replace(drawn, source=drawn.source._replace(columns=plate))


def fill(store: Store) -> None:
    """Fill a store in which each query of the page finds something."""
    store.write(begin_run)
    put(store, *(image(number, labels) for number, labels in enumerate(IMAGES)))
    hpastore.create_clean_set(store, "mine", parse_recipe(RECIPE).validated())
    hpastore.create_clean_set(store, "plain")
    hpastore.override_cells(store, [hpastore.Override("sample-0006:4", keep=True)])
    put(store, image(8, (CYTOSOL,)), now=LATER)


@pytest.fixture(scope="module")
def stores(
    sqlite_filled: Callable[[Fill], Path], postgres_filled: Callable[[Fill], str], server: Server
) -> Iterator[Mapping[str, Store]]:
    """The same filled store on both databases."""
    urls: dict[str, str | Path] = {
        "sqlite": sqlite_filled(fill),
        "postgresql": server.url_of(postgres_filled(fill)),
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(connect(url)) for name, url in urls.items()}


def alike(value: Any) -> Any:
    """A value as both databases give it, but for the last digits of sums of floats."""
    if isinstance(value, float | Decimal):
        return float(f"{value:.9g}")
    return value


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_query_of_the_page_finds_the_same_rows_on_both_databases(
    query: WorkedQuery, stores: Mapping[str, Store]
) -> None:
    answers = {name: hpastore.query(store, query.sql) for name, store in stores.items()}
    found = {name: [tuple(map(alike, row)) for row in a.rows] for name, a in answers.items()}
    assert found["sqlite"] == found["postgresql"]
    assert answers["sqlite"].columns == answers["postgresql"].columns
    assert found["sqlite"]


def test_the_page_has_twenty_queries_of_one_question_each() -> None:
    assert len(QUERIES) == TEXT.count("```sql\n") == 20
    assert len({query.name for query in QUERIES}) == 20
    for query in QUERIES:
        assert query.question.endswith("?"), query.name
        assert query.question.count("?") == 1, query.name


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_query_of_the_page_names_only_tables_and_views_of_the_page(query: WorkedQuery) -> None:
    named = set(re.findall(r"\b(?:FROM|JOIN)\s+([^\s(]+)", query.sql))
    assert named
    assert named <= PUBLIC


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_query_of_the_page_gives_its_rows_in_an_order(query: WorkedQuery) -> None:
    assert "\nORDER BY " in query.sql or query.name == "One image"


def test_a_query_is_an_example_with_the_text_after_it_as_its_result() -> None:
    page = "```sql\nSELECT 1\n```\n\n```text\n1\n```\n\n```sql\nSELECT 2\n```\n\nNo result.\n"
    first, second = find_examples(page)
    assert (first.kind, first.command, first.shown) == ("sql", "SELECT 1\n", "1\n")
    assert page[slice(*first.span)] == "1\n"
    assert (second.command, second.shown) == ("SELECT 2\n", None)


# The diagrams


def test_the_diagrams_show_each_reference_of_the_tables_once() -> None:
    drawn = re.findall(r"^    (\w+) (\|[|o])--(o[{|]) (\w+) : (\w+)$", TEXT, re.MULTILINE)
    assert len(drawn) == TEXT.count("--o")
    shown = [
        (table, column, target, left == "|o", right == "o|")
        for target, left, right, table, column in drawn
    ]
    assert sorted(shown) == sorted(references())


def references() -> Iterator[tuple[str, str, str, bool, bool]]:
    """Table, column, table that it refers to, whether it may be NULL, whether one row at most refers."""
    for table in Base.metadata.tables.values():
        for column in table.c:
            if refers(column):
                target = referred(column).table.name
                is_key = list(table.primary_key) == [column]
                yield table.name, column.name, target, bool(column.nullable), is_key


def test_the_diagrams_name_all_tables() -> None:
    diagrams = "".join(re.findall(r"^```mermaid\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
    assert set(re.findall(r"\b\w+\b", diagrams)) >= TABLES
