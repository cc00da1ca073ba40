"""The user's own SQL: what may be its first word, what it gives, and where it is cut."""

from __future__ import annotations

import math
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.errors import QueryError, StoreError, UnavailableError, UsageError
from hpastore.store import readonly
from hpastore.store.engine import Store, connect
from hpastore.store.sandbox import process, worker
from hpastore.store.sandbox import query as query_module
from hpastore.store.sandbox.query import query
from tests.conftest import Figure, Server
from tests.world import exact, has_comments, is_a_file, measured, put, rows

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
    "EXPLAIN COMMIT",
    "EXPLAIN (ANALYZE) COPY cell TO PROGRAM 'cat'",
    "EXPLAIN /* SELECT 1 */ DELETE FROM cell",
    "-" * 5000 + "/*" * 5000,
]

LEGITIMATE = [
    "SELECT id, name FROM label ORDER BY id",
    "SELECT name FROM image ORDER BY name DESC",
    "SELECT count(*), min(area), max(area), sum(area) FROM cell",
    "SELECT label_count, count(*) FROM image GROUP BY label_count ORDER BY 1",
    "SELECT labels, count(*) AS n FROM image GROUP BY labels HAVING count(*) > 1 ORDER BY n, labels",
    "SELECT DISTINCT channel FROM cell_channel ORDER BY channel",
    "SELECT i.name, c.mask_id FROM image i JOIN cell c ON c.image_id = i.id ORDER BY 1, 2",
    "SELECT l.name, count(il.image_id) FROM label l LEFT JOIN image_label il ON il.label_id = l.id GROUP BY l.name ORDER BY l.name",
    "SELECT a.name, b.name FROM image a CROSS JOIN image b WHERE a.name < b.name ORDER BY 1, 2",
    "SELECT name FROM image WHERE id IN (SELECT image_id FROM image_label WHERE label_id = 16) ORDER BY 1",
    "SELECT id FROM label l WHERE NOT EXISTS (SELECT 1 FROM image_label WHERE label_id = l.id) ORDER BY id",
    "SELECT image_name, mask_id FROM cell_stats WHERE green_fraction < 1 ORDER BY green_fraction LIMIT 2",
    "SELECT image_name, blue_intensity_mean, red_entropy FROM cell_stats ORDER BY image_name, mask_id",
    "SELECT label, n, lower, upper FROM label_threshold ORDER BY clean_set, version, label_id",
    "SELECT image_name, mask_id, reason FROM clean_cell WHERE NOT clean ORDER BY 1, 2, label_id",
    "SELECT count(*) FROM clean_cell_live WHERE clean AND live",
    "SELECT label, cells, clean_share FROM label_summary WHERE images > 0 ORDER BY label_id",
    "SELECT image_name, cells, green_fraction_median FROM image_summary ORDER BY image_name",
    "SELECT mask_id, rank() OVER (ORDER BY area DESC, id) FROM cell ORDER BY 2",
    "SELECT id, sum(area) OVER (PARTITION BY image_id ORDER BY mask_id) FROM cell ORDER BY id",
    "SELECT id, lag(area) OVER w, lead(area, 1, 0) OVER w FROM cell WINDOW w AS (ORDER BY id) ORDER BY id",
    "SELECT id, row_number() OVER (ORDER BY id), ntile(3) OVER (ORDER BY id) FROM cell ORDER BY id",
    "SELECT id, count(*) FILTER (WHERE area > 1) OVER () FROM cell ORDER BY id",
    "SELECT max(name) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM label ORDER BY id",
    "WITH big AS (SELECT * FROM cell WHERE area >= 1) SELECT count(*) FROM big",
    "WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT a.x, b.x FROM a, b",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) SELECT sum(i) FROM n",
    "WITH RECURSIVE f(a, b) AS (SELECT 0, 1 UNION ALL SELECT b, a + b FROM f WHERE b < 100) SELECT a FROM f",
    "SELECT id FROM label WHERE id < 3 UNION SELECT id FROM label WHERE id > 16 ORDER BY id",
    "SELECT id FROM label INTERSECT SELECT label_id FROM image_label ORDER BY 1",
    "SELECT id FROM label EXCEPT SELECT label_id FROM image_label ORDER BY 1",
    "SELECT CASE WHEN area > 1 THEN 'large' ELSE 'small' END, count(*) FROM cell GROUP BY 1 ORDER BY 1",
    "SELECT upper(name), lower(name), length(name), substr(name, 1, 3) FROM label ORDER BY id",
    "SELECT replace(name, 'a', 'b'), trim('  x '), ltrim('  x'), rtrim('x  ') FROM label WHERE id = 0",
    "SELECT name || ' (' || id || ')' FROM label ORDER BY id",
    "SELECT name FROM label WHERE lower(name) LIKE '%nuc%' ORDER BY id",
    "SELECT name FROM label WHERE name NOT LIKE 'N%' AND id BETWEEN 2 AND 9 ORDER BY id",
    "SELECT coalesce(split, 'none'), nullif(width, width) FROM image ORDER BY name",
    "SELECT abs(-7), 7 / 2, 7 % 4, -7 / 2, round(2.5), 3 * 0.5",
    "SELECT CAST('12' AS INTEGER), CAST(7 AS TEXT)",
    "SELECT exp(0), ln(1), sqrt(16), power(2, 10), floor(2.7), ceil(2.1), sign(-3), mod(7, 4)",
    "SELECT json_array_length(json_array(1, 2, 3))",
    "SELECT count(DISTINCT image_id), count(nucleus_area) FROM cell",
    "SELECT 'it''s', 'caf\u00e9 \U0001f9ec', '\u6f22\u5b57', ''",
    'SELECT name AS "a ""quoted"" name", id AS "\u00fcber" FROM label ORDER BY "\u00fcber" LIMIT 2',
    "SELECT name /* why; -- not */ FROM label -- the end;\nORDER BY id LIMIT 1",
    "SELECT name FROM label ORDER BY id LIMIT 3 OFFSET 5;",
    "SELECT NULL, 1 WHERE NULL IS NULL",
    "SELECT 1 AS none WHERE 1 = 0",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT * FROM (VALUES (1, 2), (3, 4)) AS v ORDER BY 1",
    "SELECT (SELECT max(id) FROM label), (SELECT count(*) FROM image)",
    "SELECT name FROM label WHERE (id, name) IN ((0, 'Nucleoplasm'), (1, 'x'))",
    "SELECT 'random(), pg_class; DROP TABLE label; -- ' AS words, 'U&' AS u",
    "SELECT role, uri, size, sha256 FROM image_file ORDER BY uri",
    "SELECT min(random() * 0) FROM label",
]
"""They give equal answers on both databases."""


def fill(store: Store) -> None:
    put(
        store,
        measured("a", (0,), n=3),
        measured("b", (0, 16), seed=1, n=2),
        measured("c", (16,), seed=2, n=4),
        measured("d", (0,), seed=3, green_fraction=[0.25, 0.5, math.nan]),
    )
    create_clean_set(store, "mine", CleanRecipe((Rule(lower=0.25, upper=0.75),)))


@pytest.fixture(scope="module")
def both(
    sqlite_template: Path,
    server: Server,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Store, Store]]:
    """The same store twice."""
    path = tmp_path_factory.mktemp("query") / "cells.db"
    shutil.copyfile(sqlite_template, path)
    with server.database(postgres_template) as url, connect(path) as lite, connect(url) as post:
        for store in (lite, post):
            fill(store)
        yield lite, post


def plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers as one type: both databases have their own for flags, and for some results."""
    return tuple(exact(float(v)) if isinstance(v, int | float | Decimal) else v for v in row)


@pytest.mark.parametrize("sql", LEGITIMATE, ids=range(len(LEGITIMATE)))
def test_a_reading_query_gives_the_same_on_both_databases(
    both: tuple[Store, Store], sql: str
) -> None:
    lite, post = (query(store, sql) for store in both)
    assert [*map(plain, lite.rows)] == [*map(plain, post.rows)]
    assert not lite.cut
    assert not post.cut


def test_many_reading_queries_are_tried(figure: Figure) -> None:
    assert len(set(LEGITIMATE)) == len(LEGITIMATE) >= 40
    figure(f"sql sandbox: {len(LEGITIMATE)} legitimate queries give the same on both databases")


@pytest.mark.parametrize("sql", READING)
def test_a_statement_that_reads_may_have_space_and_comments_before_it(
    store: Store, sql: str
) -> None:
    assert query(store, sql).rows == [(1,)]


@pytest.mark.parametrize("sql", OTHERS, ids=range(len(OTHERS)))
def test_a_first_word_within_a_comment_is_none(store: Store, sql: str) -> None:
    with pytest.raises(QueryError, match="a query must begin with one of SELECT, WITH"):
        query(store, sql)


@pytest.mark.parametrize("sql", ["EXPLAIN SELECT * FROM cell", "explain /* how */ (SELECT 1)"])
def test_a_plan_may_be_asked_for(store: Store, sql: str) -> None:
    if store.is_sqlite:
        sql = sql.replace("(", "").replace(")", "")
    assert query(store, sql).rows


@is_a_file
def test_sqlite_tells_its_plans_columns_and_json(store: Store) -> None:
    assert query(store, "EXPLAIN QUERY PLAN SELECT * FROM cell").rows
    columns = query(store, "SELECT name FROM pragma_table_info('label')").rows
    assert columns == [("id",), ("name",), ("negative",), ("checksum",)]
    assert query(store, "SELECT ncol FROM pragma_table_list('label')").rows == [(4,)]
    assert query(store, "SELECT value FROM json_each('[1, 2.5, null]')").rows == [
        (1,),
        (2.5,),
        (None,),
    ]


@has_comments
def test_postgresql_explains_in_every_form(store: Store) -> None:
    for options in ("ANALYZE", "(ANALYZE, COSTS OFF, TIMING OFF)", "VERBOSE", "(FORMAT JSON)"):
        assert query(store, f"EXPLAIN {options} SELECT count(*) FROM cell").rows
    assert query(store, "TABLE label").rows == query(store, "SELECT * FROM label").rows


def test_a_query_that_is_not_utf_8_is_refused(store: Store) -> None:
    with pytest.raises(QueryError, match="surrogates not allowed"):
        query(store, "SELECT '\udcff'")


@pytest.mark.parametrize(
    "limit", [{"timeout": 0}, {"timeout": math.inf}, {"max_rows": 0}, {"max_bytes": 0}]
)
def test_a_limit_that_makes_no_sense_is_refused(store: Store, limit: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="timeout must be a finite number of seconds above 0"):
        query(store, "SELECT 1", **limit)


# Values


@is_a_file
def test_sqlites_values_are_those_of_its_driver(store: Store) -> None:
    sql = (
        "SELECT 0, -1, 9223372036854775807, -9223372036854775808, 0.1, 1e308 * 10, -5e-324, 1.0, NULL, '', "
        "'a\u00e9\u6f22\U0001f9ec', char(0) || 'x', x'', x'00ff', 3.141592653589793"
    )
    with sqlite3.connect(str(store.engine.url.database)) as connection:
        expected = connection.execute(sql).fetchall()
    connection.close()
    found = query(store, sql).rows
    assert [[(type(v), exact(v)) for v in row] for row in found] == [
        [(type(v), exact(v)) for v in row] for row in expected
    ]


@has_comments
def test_postgresqls_values_are_those_of_its_driver(store: Store, url: str) -> None:
    sql = r"""
    SELECT 1, 9223372036854775807, 0.1::float8, 'NaN'::float8, '-Infinity'::float8, 1.10, 'NaN'::numeric,
      true,
      NULL, 'a\u00e9' || chr(128300), '\x00ff'::bytea, ARRAY[1, NULL], ARRAY['a,b', '"'],
      '{"a": [1, {}]}'::jsonb,
      timestamptz '2024-05-06 07:08:09.123456+02', timestamp '2024-05-06', date '2024-05-06', time '07:08',
      interval '1 day 2 hours', gen_random_uuid() IS NULL, ROW(1, 'a'), int4range(1, 5), '1.2.3.4'::inet,
      3.141592653589793::float8, 1.5::float4, 'x'::char(3), ARRAY[ARRAY[1.5]]
    """
    with psycopg.connect(url) as connection:
        expected = connection.execute(sql.encode()).fetchall()
    found = query(store, sql).rows
    assert [[(type(v), repr(v)) for v in row] for row in found] == [
        [(type(v), repr(v)) for v in row] for row in expected
    ]


@has_comments
def test_a_value_that_python_has_not_is_named(store: Store) -> None:
    for value in ("date '20000-01-01'", "jsonb '1e5000'", "json '" + "[" * 5000 + "]" * 5000 + "'"):
        with pytest.raises(
            QueryError, match=r"a value cannot be converted to Python .*; CAST it AS text"
        ):
            query(store, f"SELECT {value}")
        assert query(store, f"SELECT CAST({value} AS text)").rows


def test_a_query_without_rows_has_columns(store: Store) -> None:
    answer = query(store, "SELECT id, name FROM image WHERE id < 0")
    assert (answer.columns, answer.rows, answer.cut) == (("id", "name"), [], False)


# Limits

COUNTING = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"
)


@pytest.mark.parametrize("n", [1, 99, 100, 101, 30_000])
def test_an_answer_is_cut_at_its_rows(store: Store, n: int) -> None:
    answer = query(store, COUNTING.format(n), max_rows=100)
    assert answer.rows == [(i,) for i in range(1, min(n, 100) + 1)]
    assert (answer.cut, answer.limit) == ((True, "rows") if n > 100 else (False, ""))


def test_an_answer_is_cut_at_its_bytes(store: Store) -> None:
    answer = query(store, COUNTING.format(100_000), max_bytes=2_000_000)
    assert (answer.cut, answer.limit) == (True, "bytes")
    assert 1000 < len(answer.rows) < 2_000_000 / 50
    assert answer.rows == [(i,) for i in range(1, len(answer.rows) + 1)]


def test_one_row_that_is_too_large_is_refused(store: Store) -> None:
    value = f"replace('{'x' * 1000}', 'x', '{'y' * 1000}')"
    large = f"SELECT {', '.join([value] * 9)}"
    assert len(query(store, large).rows[0][8]) == 1_000_000
    with pytest.raises(
        QueryError, match="one row needs more than 5,000,000 bytes; select fewer columns"
    ):
        query(store, large, max_bytes=5_000_000)


def test_rows_before_a_large_one_are_kept(store: Store) -> None:
    sql = (
        "SELECT CASE WHEN id = 5 THEN replace(name, 'e', '{}') ELSE name END FROM label ORDER BY id"
    )
    answer = query(store, sql.format("x" * 90_000), max_bytes=90_000)
    assert (answer.cut, answer.limit, len(answer.rows)) == (True, "bytes", 5)


def test_a_value_that_is_too_large_is_refused(store: Store) -> None:
    value = f"replace(replace('{'x' * 110}', 'x', '{'y' * 10}'), 'y', '{{}}')"
    assert len(query(store, f"SELECT {value.format('z' * 9000)}").rows[0][0]) == 9_900_000
    with pytest.raises(
        QueryError, match="a value is larger than 10,000,000 bytes; select a part, as with substr"
    ):
        query(store, f"SELECT {value.format('z' * 9100)}")


@has_comments
def test_what_is_within_json_counts(store: Store) -> None:
    sql = "SELECT CAST('[' || repeat('[],', 100000) || '1]' AS json) FROM label"
    answer = query(store, sql, max_bytes=20_000_000)
    assert (answer.cut, len(answer.rows)) == (True, 3)


# What is around the query


@pytest.mark.parametrize(
    "name", ["a b", "a?mode=rwc", "a#b", "100%41", "it's", "caf\u00e9", "a&vfs=x"]
)
def test_a_file_may_have_any_name(tmp_path: Path, sqlite_template: Path, name: str) -> None:
    path = tmp_path / name / f"{name}.db"
    path.parent.mkdir()
    shutil.copyfile(sqlite_template, path)
    with connect(path) as store:
        assert query(store, "SELECT count(*) FROM label").rows == [(19,)]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_what_was_just_written_is_read(store: Store) -> None:
    put(store, measured("a"))
    assert query(store, "SELECT name FROM image").rows == [("a",)]
    with store.writing() as connection:
        connection.execute(text("UPDATE image SET name = 'b'"))
        assert query(store, "SELECT name FROM image").rows == [("a",)]
    assert query(store, "SELECT name FROM image").rows == [("b",)]


@is_a_file
def test_a_file_on_read_only_media_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, measured("a"))
    store.close()
    monkeypatch.setattr(readonly, "is_immutable", lambda _: True)
    requests = requests_to_workers(monkeypatch)
    assert query(store, "SELECT name FROM image").rows == [("a",)]
    assert requests[0]["uri"].endswith("?mode=ro&immutable=1")


def requests_to_workers(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """A list to which each request to a worker is added."""
    requests = []

    def running_query(request: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
        requests.append(request)
        return process.running_query(request, environment)

    monkeypatch.setattr(query_module, "running_query", running_query)
    return requests


@is_a_file
def test_a_damaged_file_is_no_fault_of_the_query(store: Store) -> None:
    put(store, *(measured(f"i{k}", seed=k) for k in range(5)))
    store.close()
    path = Path(str(store.engine.url.database))
    content = bytearray(path.read_bytes())
    sound = 3 * int.from_bytes(content[16:18], "big")  # pages
    content[sound:] = b"\xff" * (len(content) - sound)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged; restore a backup"):
        query(store, "SELECT * FROM cell_channel, image, cell ORDER BY 1, 2, 3")


def test_neither_folder_nor_environment_of_python_matter(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (
        "sqlite3",
        "resource",
        "ctypes",
        "contextlib",
        "typing",
        "psycopg",
        "typing_extensions",
    ):
        (tmp_path / f"{module}.py").write_text("import os; os._exit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    for name in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "sqlite3.py"))
    assert query(store, "SELECT 1").rows == [(1,)]


@is_a_file
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(7)", r"the query's process ended \(exit code 7\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"the query's process ended"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "the query needs more than 1024 MiB",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)",
            "the query took longer than 30 s",
        ),
        (
            "import sys; sys.stdout.buffer.write(bytes(3))",
            r"the query's process ended \(exit code 0\)",
        ),
    ],
)
def test_a_child_that_dies_is_told_of(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(program)
    monkeypatch.setattr(worker, "__file__", str(broken))
    with pytest.raises(QueryError, match=reason):
        query(store, "SELECT 1")


def test_a_child_that_cannot_start_is_told_of(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(
        QueryError, match=r"the query's process ended \(it did not start: .*/nowhere/python"
    ):
        query(store, "SELECT 1")


def test_a_child_that_never_begins_is_not_waited_for(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import time; time.sleep(600)")
    monkeypatch.setattr(worker, "__file__", str(broken))
    monkeypatch.setattr(process, "_START_TIMEOUT_S", 0.2)
    with pytest.raises(UnavailableError, match="no answer in time"):
        query(store, "SELECT 1")


# What PostgreSQL's rights do


@has_comments
def test_a_superuser_asks_with_few_rights(store: Store) -> None:
    sql = "SELECT current_user, current_setting('transaction_read_only'), current_setting('search_path')"
    assert query(store, sql).rows == [("pg_read_all_data", "on", "public, pg_temp")]
    sql = "SELECT current_setting('statement_timeout'), current_setting('transaction_isolation')"
    assert query(store, sql, timeout=7).rows == [("7s", "repeatable read")]


@has_comments
def test_one_who_reaches_the_servers_files_is_refused(store: Store, url: str) -> None:
    reaches = pytest.raises(
        QueryError, match=r"has access to the server's files \(pg_read_server_files\)"
    )
    with connect(_made(store, url, "GRANT pg_read_server_files TO")) as dangerous, reaches:
        query(dangerous, "SELECT 1")


@has_comments
def test_one_who_may_read_all_reads_all_and_no_more(store: Store, url: str) -> None:
    grants = ("GRANT pg_read_all_data TO", "GRANT pg_read_server_files TO")
    with connect(_made(store, url, *grants)) as reader:
        assert query(reader, "SELECT current_user, count(*) FROM label").columns == (
            "current_user",
            "count",
        )
        assert query(reader, "SELECT current_user").rows == [("pg_read_all_data",)]


@has_comments
def test_one_who_may_select_asks_as_himself(store: Store, url: str) -> None:
    with connect(_made(store, url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO")) as reader:
        assert query(reader, "SELECT current_user").rows == [(reader.engine.url.username,)]
        assert query(reader, "SELECT count(*) FROM cell_stats").rows == [(0,)]


def _made(store: Store, url: str, *grants: str) -> str:
    """A user of the database with some rights; he goes with the server."""
    name = f"user_{abs(hash((url, grants))):x}"
    with store.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'"))
        for grant in grants:
            connection.execute(text(f"{grant} {name}"))
    return make_url(url).set(username=name, password="secret").render_as_string(hide_password=False)


@has_comments
def test_tables_in_a_schema_of_their_own_are_found(store: Store, url: str) -> None:
    with store.engine.begin() as connection:
        connection.execute(text('ALTER SCHEMA public RENAME TO "Our cells"'))
        connection.execute(text("CREATE SCHEMA public"))
    elsewhere = make_url(url).update_query_dict({"options": '-csearch_path="Our\\ cells"'})
    with connect(elsewhere.render_as_string(hide_password=False)) as other:
        sql = "SELECT count(*), current_setting('search_path') FROM label GROUP BY 2"
        assert query(other, sql).rows == [(19, '"Our cells", pg_temp')]


@has_comments
def test_a_users_functions_shadow_no_column(store: Store) -> None:
    with store.engine.begin() as connection:
        for name in ("area", "label", "name", "clean"):
            connection.execute(
                text(f"CREATE FUNCTION {name}(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
            )
        connection.execute(
            text(
                "CREATE FUNCTION doubled(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'"
            )
        )
    assert query(store, "SELECT c.area, label.name FROM cell c, label").rows == []
    assert query(store, "SELECT doubled(21)").rows == [(42,)]
    with pytest.raises(
        QueryError, match="the query names the function area, which can do more than read"
    ):
        query(store, "SELECT area(1)")


@has_comments
def test_no_name_of_ours_is_one_that_is_refused(store: Store) -> None:
    columns = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    names = {name for row in rows(store, columns) for name in row.values()}
    assert len(names) > 50
    assert query(store, f"SELECT '{' '.join(sorted(names))}'").rows


@has_comments
def test_a_lock_of_another_is_said(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("LOCK TABLE label IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(
            QueryError, match=r"another session has locked a table|took longer than 0\.3 s"
        ):
            query(store, "SELECT * FROM label", timeout=0.3)


@has_comments
def test_a_database_that_is_gone_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_module, "_conninfo", lambda _: b"host=/nowhere password=canary")
    with pytest.raises(
        UnavailableError, match="no connection; run the same command again"
    ) as caught:
        query(store, "SELECT 1")
    assert "canary" not in str(caught.value)
