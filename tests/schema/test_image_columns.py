"""The column ``columns`` of the view ``cell_stats``."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from hpastore.schema.tables import Image, ImageColumn
from hpastore.store.engine import Store
from hpastore.store.sandbox.query import query
from tests.world import measured, put, rows

HARD = {
    "plate": "P1",
    "cell line": 'U-2 "OS"',
    "Plate": "back\\slash / and ' quotes",
    "größe": "猫 🦠 \u2028 \ufeff",
    "control": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "zero": "\\u0000 is no zero",
    '"': "{}",
    "json": '{"a": [1]}',
}


def keep(store: Store, image: str, columns: dict[str, str]) -> None:
    """Write columns past the checksums, in a shuffled order."""
    with store.writing() as connection:
        key = connection.execute(select(Image.id).where(Image.name == image)).scalar_one()
        found = [{"image_id": key, "name": n, "value": v} for n, v in reversed(columns.items())]
        if found:
            connection.execute(insert(ImageColumn), found)


def shown(store: Store) -> list[str]:
    found = rows(store, "SELECT image_name, columns FROM cell_stats ORDER BY image_name, mask_id")
    return [row["columns"] for row in found]


def as_json(columns: dict[str, str]) -> str:
    """What the view gives, by Python: sorted by bytes, without spaces, only what must be escaped."""
    ordered = dict(sorted(columns.items(), key=lambda item: item[0].encode()))
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))


def test_each_cell_has_the_columns_of_its_image(store: Store) -> None:
    put(store, measured("a", n=2), measured("b", n=1), measured("c", n=1))
    keep(store, "a", {"plate": "P1", "cell line": "U2OS"})
    keep(store, "c", HARD)
    said = '{"cell line":"U2OS","plate":"P1"}'
    assert shown(store) == [said, said, "{}", as_json(HARD)]
    assert json.loads(shown(store)[3]) == HARD


def test_columns_are_the_last_of_the_view(store: Store) -> None:
    put(store, measured("a", n=1))
    (row,) = rows(store, "SELECT * FROM cell_stats")
    assert list(row)[-1] == "columns"


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns=st.dictionaries(texts.filter(bool), texts.filter(bool), max_size=4))
def test_any_text_is_the_same_bytes_on_both_databases(
    store: Store, columns: dict[str, str]
) -> None:
    with store.writing() as connection:
        connection.execute(delete(Image))
    put(store, measured("a", n=1))
    keep(store, "a", columns)
    assert shown(store) == [as_json(columns)]


def test_a_value_can_be_asked_for(store: Store) -> None:
    put(store, measured("a", n=2), measured("b", n=1))
    keep(store, "a", {"plate": "P1", "cell line": "U2OS"})
    plate = "json_extract(columns, '$.plate')" if store.is_sqlite else "columns::json->>'plate'"
    sql = f"SELECT {plate} AS plate, count(*) FROM cell_stats GROUP BY 1 ORDER BY 2"
    assert query(store, sql).rows == [(None, 1), ("P1", 2)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT image_name, mask_id FROM cell_stats WHERE area > 1",
        "SELECT label_id, count(*) FROM cell_stats GROUP BY label_id",
        "SELECT a.mask_id FROM cell_stats a JOIN cell_stats b ON a.cell_id = b.cell_id",
    ],
)
def test_a_query_that_does_not_name_them_does_not_look_for_them(store: Store, sql: str) -> None:
    put(store, measured("a", n=1))
    assert "image_column" not in plan_of(store, sql)
    named = sql.replace("SELECT ", "SELECT columns, ", 1).replace("BY label", "BY columns, label")
    assert "image_column" in plan_of(
        store, named.replace("SELECT columns, a.", "SELECT a.columns, a.")
    )


def plan_of(store: Store, sql: str) -> str:
    explain = "EXPLAIN QUERY PLAN" if store.is_sqlite else "EXPLAIN"
    return "\n".join(str(row) for row in rows(store, f"{explain} {sql}"))
