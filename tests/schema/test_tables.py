from __future__ import annotations

from datetime import timedelta, timezone

import numpy as np
import pytest
from sqlalchemy import Double, Integer, Table, insert, inspect, select, text, update

from hpastore.errors import StoreError
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES, Measure
from hpastore.schema.tables import Base, Cell, CellChannel, Image, IngestRun, StoredSettings
from hpastore.schema.types import Flag
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS, LABEL_NAMES, MAX_MASK_ID
from tests.world import (
    NOW,
    has_collations,
    has_comments,
    has_strict_tables,
    measured,
    put,
    rows,
    scalar,
)

TABLES = Base.metadata.sorted_tables
KINDS = {"integer": Integer, "real": Double, "flag": Flag}


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_table_and_column_says_what_it_holds(table: Table) -> None:
    assert table.comment
    assert [column.name for column in table.c if not column.comment] in ([], ["id"])


WIDE = {f"{c}_{m.name}": m for c in CHANNELS for m in CHANNEL_MEASURES}


ADDED = ("border_share", "intensity_p99", "intensity_p999")
"""Measures that every cell has, but for those of images that were measured before there were any."""


@pytest.mark.parametrize(
    ("table", "keys", "measures"),
    [
        (Cell, {"id", "image_id", "mask_id", "labels", "label_count", *WIDE}, SHAPE_MEASURES),
        (CellChannel, {"cell_id", "channel"}, CHANNEL_MEASURES),
    ],
)
def test_columns_of_cells_are_the_table_of_measures(
    table: type[Base], keys: set[str], measures: tuple[Measure, ...]
) -> None:
    columns = [column for column in table.__table__.c if column.name not in keys]
    assert [(c.name, c.comment, type(c.type)) for c in columns] == [
        (m.name, m.comment, KINDS[m.kind]) for m in measures
    ]
    assert [c.name for c in columns if c.nullable] == [
        m.name for m in measures if "NULL" in m.sentence or m.name in ADDED
    ]


def test_a_measure_of_a_channel_is_a_column_for_each_and_null_where_an_image_lacks_it() -> None:
    columns = [column for column in Cell.__table__.c if column.name in WIDE]
    assert [c.name for c in columns] == list(WIDE)
    assert [(c.comment, type(c.type)) for c in columns] == [
        (m.comment, KINDS[m.kind]) for m in WIDE.values()
    ]
    assert all(c.nullable for c in columns)


@has_comments
def test_postgresql_shows_the_comments(store: Store) -> None:
    with store.reading() as connection:
        found = inspect(connection)
        for table in TABLES:
            shown = {column["name"]: column["comment"] for column in found.get_columns(table.name)}
            assert shown == {column.name: column.comment for column in table.c}
            assert found.get_table_comment(table.name) == {"text": table.comment}


def test_the_19_labels_come_with_the_schema(store: Store) -> None:
    found = rows(store, "SELECT id, name FROM label ORDER BY id")
    assert [(row["id"], row["name"]) for row in found] == list(enumerate(LABEL_NAMES))


def test_text_sorts_by_bytes(store: Store) -> None:
    names = ["b", "B", "a_", "a-b", "A", "ab", "a.b", "0", "a"]
    put(store, *(measured(name, n=0) for name in names))
    found = rows(store, "SELECT name FROM image ORDER BY name")
    assert [row["name"] for row in found] == sorted(names)


@has_collations
def test_text_sorts_by_bytes_whatever_the_servers_language(store: Store) -> None:
    collations = "SELECT DISTINCT collation_name AS name FROM information_schema.columns"
    texts = "table_schema = 'public' AND data_type = 'text' AND is_updatable = 'YES'"
    assert rows(store, f"{collations} WHERE {texts}") == [{"name": "C"}]


def test_flags_read_alike(store: Store) -> None:
    put(store, measured(area=[1, 2, 3], touches_border=[1, 0, 1]))
    assert [
        r["area"] for r in rows(store, "SELECT area FROM cell WHERE touches_border ORDER BY area")
    ] == [
        1,
        3,
    ]
    assert [r["area"] for r in rows(store, "SELECT area FROM cell WHERE NOT touches_border")] == [2]
    with store.reading() as connection:
        flags = connection.execute(select(Cell.touches_border).order_by(Cell.area)).scalars().all()
    assert all(flag is expected for flag, expected in zip(flags, [True, False, True], strict=True))


def test_moments_come_back_and_sort_as_they_went(store: Store) -> None:
    tokyo = timezone(timedelta(hours=9))
    moments = [
        NOW,
        NOW.replace(microsecond=0),
        (NOW + timedelta(minutes=5)).astimezone(tokyo),
        NOW + timedelta(hours=1),
    ]
    zeros = dict.fromkeys(("added", "changed", "relabelled", "rejected", "cells"), 0)
    with store.writing() as connection:
        for moment in moments:
            row = insert(IngestRun).values(root="/data", version="0", started_at=moment, **zeros)
            connection.execute(row)
        found = (
            connection.execute(select(IngestRun.started_at).order_by(IngestRun.started_at))
            .scalars()
            .all()
        )
    assert found == sorted(moments)
    assert {moment.utcoffset() for moment in found} == {timedelta(0)}


def test_mask_ids_and_file_sizes_have_64_bits(store: Store) -> None:
    put(store, measured(n=1))
    with store.writing() as connection:
        connection.execute(update(Cell).values(mask_id=MAX_MASK_ID))
        connection.execute(
            text("UPDATE image_file SET size = :big, mtime_ns = :big"), {"big": 2**62}
        )
    assert scalar(store, "SELECT mask_id FROM cell") == MAX_MASK_ID
    assert scalar(store, "SELECT max(mtime_ns) FROM image_file") == 2**62


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE cell SET mask_id = {MAX_MASK_ID + 1}",
        "UPDATE cell SET mask_id = 0",
        "UPDATE cell SET area = 0",
        "UPDATE cell SET x = -1",
        "UPDATE cell SET image_id = 99",
        "UPDATE image SET bit_depth = 12",
        "UPDATE image SET width = 0",
        "UPDATE image SET settings_id = 99",
        "UPDATE image_label SET label_id = 19",
        "UPDATE image_file SET role = 'purple'",
        "UPDATE image_channel SET channel = 'purple'",
        "UPDATE cell_mask SET cell_id = 99",
        "UPDATE image SET name = 'b'",
        "INSERT INTO measurement_settings SELECT id + 1, 0.5, levels, measures, current FROM measurement_settings",
        "UPDATE measurement_settings SET background_percentile = 98",
    ],
)
def test_facts_are_constraints(store: Store, statement: str) -> None:
    put(store, measured("a", n=1), measured("b", n=1))
    with pytest.raises(StoreError), store.writing() as connection:
        connection.execute(text(statement))


def test_one_row_of_settings_is_current_and_others_may_be_many(store: Store) -> None:
    old = [
        {"background_percentile": share, "measures": "{}", "current": False} for share in (0.1, 0.2)
    ]
    with store.writing() as connection:
        connection.execute(
            insert(StoredSettings),
            [*old, {"background_percentile": 0.3, "measures": "{}", "current": True}],
        )
        found = connection.execute(
            text("SELECT count(*) FROM measurement_settings WHERE NOT current")
        ).scalar_one()
    assert found == 2


def test_all_goes_with_its_image(store: Store) -> None:
    put(store, measured("a"), measured("b", n=2))
    with store.writing() as connection:
        connection.execute(text("DELETE FROM image WHERE name = 'a'"))
    left = {
        t: scalar(store, f"SELECT count(*) FROM {t}")
        for t in ("cell", "cell_mask", "cell_channel", "image_channel")
    }
    assert left == {
        "cell": 2,
        "cell_mask": 2,
        "cell_channel": 2 * len(CHANNELS),
        "image_channel": len(CHANNELS),
    }
    assert scalar(store, "SELECT count(*) FROM image_file") == 5
    assert scalar(store, "SELECT count(*) FROM image_label") == 1


@has_strict_tables
def test_sqlite_tables_are_strict_and_refuse_numpys_integers(store: Store) -> None:
    listed = rows(
        store, "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    )
    strict = {row["name"] for row in listed if row["strict"]}
    assert strict == {table.name for table in TABLES}
    put(store, measured(n=1))
    refused = pytest.raises(StoreError, match="cannot store BLOB value in INTEGER column")
    with refused, store.writing() as connection:
        connection.execute(update(Image).values(width=np.int64(7)))
