from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from hpastore.classes import DEFAULT_CLASSES
from hpastore.clean.create import create_clean_set
from hpastore.clean.overrides import Override, override_cells
from hpastore.errors import UsageError
from hpastore.kernels import rle
from hpastore.kernels.custom import CustomMeasure
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES, VERSIONS
from hpastore.kernels.histogram import unpack
from hpastore.kernels.image import measure
from hpastore.model import Cells, Failure, Measured, MeasurementSettings, Source, StoredImage
from hpastore.schema.tables import Base, Cell, CellChannel, StoredMask
from hpastore.schema.types import Flag
from hpastore.store import (
    custom_measures,
    image_records,
    measurement_settings,
    statements,
    status,
    write,
)
from hpastore.store.clean_sets.rows import find_clean_set
from hpastore.store.engine import Store
from hpastore.store.integrity.doctor import doctor
from hpastore.vocabulary import CHANNELS
from tests.world import (
    NOW,
    begin_run,
    cells,
    decoded,
    draw_channels,
    draw_mask,
    dump,
    exact,
    has_strict_tables,
    measured,
    put,
    rows,
    scalar,
    users_of,
)

TABLES = Base.metadata.sorted_tables


def drawn(name: str = "a", *, nuclei: bool = True, seed: int = 0, n: int = 3) -> Measured:
    """An image of bars, measured."""
    mask = draw_mask(n)
    made = measure(decoded(seed, mask, np.minimum(mask, 3) if nuclei else None), 0.99)
    height, width = mask.shape
    return replace(measured(name, (0, 16), made), height=height, width=width)


def stored(store: Store, table: Any, *order: Any) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(select(table.__table__).order_by(*order)).mappings())


def number(value: float, kind: str) -> Any:
    """A measured number as it must come back."""
    if np.isnan(value):
        return None
    return {"real": exact(float(value)), "integer": int(value), "flag": bool(value)}[kind]


# One image


@pytest.mark.parametrize("nuclei", [True, False])
def test_rows_are_what_was_measured(store: Store, nuclei: bool) -> None:
    image = drawn(nuclei=nuclei)
    put(store, image)
    found = stored(store, Cell, Cell.mask_id)
    assert [row["mask_id"] for row in found] == image.cells.mask_ids.tolist() == [1, 3, 5]
    masks = stored(store, StoredMask, StoredMask.cell_id)
    assert [row["cell_id"] for row in masks] == [row["id"] for row in found]
    assert [row["rle"] for row in masks] == list(image.cells.rles)
    for m in SHAPE_MEASURES:
        expected = image.cells.shape.get(m.name, np.full(3, np.nan)).tolist()
        assert [exact(row[m.name]) for row in found] == [number(v, m.kind) for v in expected], (
            m.name
        )
    ids = [row["id"] for row in found]
    levels = {(row["cell_id"], row["channel"]): row for row in stored(store, CellChannel)}
    assert len(levels) == 12
    for channel in CHANNELS:
        for m in CHANNEL_MEASURES:
            expected = image.cells.channels[channel].measures[m.name].tolist()
            assert [exact(levels[i, channel][m.name]) for i in ids] == [
                number(v, m.kind) for v in expected
            ]


def test_masks_and_histograms_unpack_to_what_was_drawn(store: Store) -> None:
    put(store, drawn())
    mask, channels = draw_mask(3), draw_channels(0, draw_mask(3))
    for row in rows(
        store,
        "SELECT mask_id, rle, image.height, image.width FROM cell_mask "
        "JOIN cell ON cell.id = cell_id JOIN image ON image_id = image.id",
    ):
        np.testing.assert_array_equal(
            rle.decode(row["rle"], row["height"], row["width"]), mask == row["mask_id"]
        )
    found = rows(store, "SELECT channel, histogram FROM image_channel")
    assert {row["channel"] for row in found} == set(CHANNELS)
    for row in found:
        pixels = channels[row["channel"]]
        expected = [np.bincount(pixels[mask == k], minlength=256) for k in (0, 1, 3, 5)]
        np.testing.assert_array_equal(unpack(bytes(row["histogram"]), len(expected)), expected)


def test_the_image_its_files_and_labels_are_kept(store: Store) -> None:
    put(store, drawn())
    image = rows(store, "SELECT * FROM image")[0]
    columns = (
        "name",
        "split",
        "root",
        "width",
        "height",
        "bit_depth",
        "labels",
        "label_count",
        "cell_count",
    )
    assert [image[c] for c in columns] == ["a", "train", "/data", 32, 24, 8, "0|16", 2, 3]
    with store.reading() as connection:
        known = image_records.known_images(connection, DEFAULT_CLASSES)
    settings = MeasurementSettings(0.99, VERSIONS)
    files = measured("a", (0, 16)).source.files
    assert known == {"a": StoredImage("/data", "train", (0, 16), files, settings)}
    assert len({row["sha256"] for row in rows(store, "SELECT sha256 FROM image_file")}) == 5


@pytest.mark.parametrize(("column", "level"), [("fraction", None), ("brenner", None)])
def test_no_number_is_null(store: Store, column: str, level: None) -> None:
    put(store, measured(green_fraction=[float("nan")], green_brenner=[float("nan")]))
    assert scalar(store, f"SELECT {column} FROM cell_channel WHERE channel = 'green'") is level


def test_an_image_without_cells_has_its_own_rows(store: Store) -> None:
    put(store, measured(n=0))
    assert scalar(store, "SELECT cell_count FROM image") == 0
    assert scalar(store, "SELECT count(*) FROM image_channel") == 4
    assert scalar(store, "SELECT count(*) FROM cell") == 0


@has_strict_tables
def test_every_value_has_the_type_of_its_column(store: Store) -> None:
    own = {("p99", "green"): [1.0], ("offset", None): [np.nan]}
    image = drawn()
    said = image.source._replace(columns=(("plate", "P1"),))
    put(
        store,
        replace(image, source=said),
        measured("b", n=1),
        measured("d", n=1, own=own),
        measured("e", n=1),
    )
    with store.writing() as connection:
        write.label_cells(connection, "d", {1: (0, 7)}, NOW)
    create_clean_set(store, "a")
    override_cells(store, [Override("b:1", True, 0, 0.5, "me", "why")])
    put(store, measured("b", n=1))
    with store.writing() as connection:
        failure = Failure("c", "", "png", "", measured().source.files)
        write.write_failures(connection, [failure], run_id=begin_run(connection), now=NOW)
    for table in TABLES:
        for column in table.c:
            declared = column.type.compile(store.engine.dialect)
            kind = {
                "BIGINT": "integer",
                "INTEGER": "integer",
                "REAL": "real",
                "TEXT": "text",
                "BLOB": "blob",
            }
            expected = "integer" if isinstance(column.type, Flag) else kind.get(declared, "text")
            found = rows(
                store, f'SELECT DISTINCT typeof("{column.name}") AS kind FROM {table.name}'
            )
            assert found, table.name
            assert {row["kind"] for row in found} <= {expected, "null"}, (
                f"{table.name}.{column.name}"
            )


# Again


def test_an_image_takes_the_place_of_the_one_with_its_name(make_store: Any, database: str) -> None:
    store, other = make_store(database), make_store(database)
    put(store, measured("a", (0, 16), n=5), measured("b"))
    create_clean_set(store, "s")
    put(store, drawn("a"))
    put(other, measured("b"), drawn("a"))
    ids = ("id", "image_id", "cell_id")
    kept = [name for name in dump(store, views=False) if not name.startswith("clean")]
    assert {t: dump(store, without=ids)[t] for t in kept} == {
        t: dump(other, without=ids)[t] for t in kept
    }
    assert {r["image_name"] for r in rows(store, "SELECT image_name FROM clean_cell")} == {"b"}


def test_an_image_that_is_replaced_knows_when_its_labels_changed(store: Store) -> None:
    times = [NOW + timedelta(days=day) for day in range(4)]
    for time, labels in zip(times, [(0,), (0,), (0, 16), (0, 16)], strict=True):
        put(store, measured("a", labels), now=time)
    (row,) = rows(store, "SELECT ingested_at, relabelled_at FROM image")
    moments = [datetime.fromisoformat(str(row[name])) for name in ("ingested_at", "relabelled_at")]
    assert [moment.replace(tzinfo=UTC) for moment in moments] == [times[3], times[2]]
    put(store, measured("b", (0,)))
    assert scalar(store, "SELECT relabelled_at FROM image WHERE name = 'b'") is None


def test_writing_the_same_twice_changes_nothing_but_keys(store: Store) -> None:
    put(store, drawn("a"))
    ids = ("id", "image_id", "cell_id")
    before = dump(store, without=ids)
    put(store, drawn("a"))
    assert dump(store, without=ids) == before


def test_adding_an_image_leaves_the_others_rows_alone(store: Store) -> None:
    put(store, drawn("a"))
    before = dump(store)
    put(store, drawn("b", seed=1))
    after = dump(store)
    for table in (
        "image",
        "image_file",
        "image_label",
        "image_channel",
        "cell",
        "cell_channel",
        "cell_stats",
    ):
        assert set(map(repr, before[table])) < set(map(repr, after[table]))


def test_new_labels_replace_the_old_ones_and_nothing_else(store: Store) -> None:
    put(store, drawn("a"), drawn("b"))
    before = dump(store, views=False)
    with store.writing() as connection:
        write.relabel_image(connection, Source("a", (2, 5, 11), ()), "/data", None)
        write.relabel_image(connection, Source("b", (), ()), "/data", None)
    after = dump(store, views=False)
    assert rows(store, "SELECT name, labels, label_count FROM image ORDER BY name") == [
        {"name": "a", "labels": "2|5|11", "label_count": 3},
        {"name": "b", "labels": "", "label_count": 0},
    ]
    assert rows(store, "SELECT label_id FROM image_label ORDER BY label_id") == [
        {"label_id": i} for i in (2, 5, 11)
    ]
    assert {name for name in after if after[name] != before[name]} == {"image", "image_label"}


def test_columns_are_merged_with_the_stored_ones_however_they_are_written(store: Store) -> None:
    said = (("line", "U2OS"), ("plate", "P1"))
    image = drawn("a")
    put(store, replace(image, source=image.source._replace(columns=said)))
    assert columns(store) == {"line": "U2OS", "plate": "P1"}
    put(store, drawn("a", seed=1))
    assert columns(store) == {"line": "U2OS", "plate": "P1"}
    for source, after in (
        (Source("a", (0,), ()), {"line": "U2OS", "plate": "P1"}),
        (Source("a", (0,), (), columns=(("plate", "P2"),)), {"line": "U2OS", "plate": "P2"}),
        (Source("a", (7,), (), columns=(("line", ""), ("well", ""))), {"plate": "P2"}),
    ):
        with store.writing() as connection:
            write.relabel_image(connection, source, "/data", None)
        assert columns(store) == after
    files = image.files
    for given, relabelled in (((), False), ((("plate", "P2"),), False), ((("plate", ""),), True)):
        source = Source("a", (7,), (), columns=given)
        with store.writing() as connection:
            touched = write.touch_image(connection, source, files, "/data", None)
        assert touched == relabelled
    assert columns(store) == {}


def columns(store: Store) -> dict[str, str]:
    return {row["name"]: row["value"] for row in rows(store, "SELECT * FROM image_column")}


def test_other_columns_alone_do_not_say_that_the_labels_changed(store: Store) -> None:
    put(store, drawn("a"))
    labels = drawn("a").source.labels
    with store.writing() as connection:
        source = Source("a", labels, (), columns=(("plate", "P1"),))
        write.relabel_image(connection, source, "/data", None)
    assert scalar(store, "SELECT relabelled_at FROM image") is None


def test_a_deleted_image_leaves_no_column(store: Store) -> None:
    image = drawn("a")
    put(store, replace(image, source=image.source._replace(columns=(("plate", "P1"),))))
    with store.writing() as connection:
        write.delete_images(connection, ["a"])
    assert scalar(store, "SELECT count(*) FROM image_column") == 0


# Measures that users added

OWN: dict[tuple[str, str | None], list[float]] = {
    ("p99", "green"): [1.5, np.nan, -0.0],
    ("p99", "red"): [np.nan] * 3,
    ("offset", None): [0.1, 1 / 3, 7],
}

VALUES = """
    SELECT image.name AS image, mask_id, measure.name AS measure, channel, value
    FROM cell_measure JOIN measure ON measure.id = measure_id
    JOIN cell ON cell.id = cell_id JOIN image ON image.id = image_id
    ORDER BY image.name, measure.name, channel, mask_id
"""


def values(store: Store) -> dict[tuple[str, str, str], list[Any]]:
    found: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows(store, VALUES):
        found.setdefault((row["image"], row["measure"], row["channel"]), []).append(
            exact(row["value"])
        )
    return found


def measures(store: Store) -> list[tuple[Any, ...]]:
    found = rows(store, "SELECT name, version, kind, unit, comment FROM measure ORDER BY name")
    return [tuple(row.values()) for row in found]


def images(store: Store) -> list[tuple[Any, ...]]:
    """Which images have which measure of which version."""
    columns = "name, measure, version"
    found = rows(
        store, f"SELECT {columns} FROM image_measure JOIN image ON id = image_id ORDER BY {columns}"
    )
    return [tuple(row.values()) for row in found]


def test_measures_of_users_are_stored_with_their_image(store: Store) -> None:
    none: dict[tuple[str, str | None], list[float]] = {key: [] for key in OWN}
    put(store, measured("a", own=OWN), measured("b"), measured("c", n=0, own=none))
    assert values(store) == {
        ("a", "offset", ""): [(0.1).hex(), (1 / 3).hex(), (7.0).hex()],
        ("a", "p99", "green"): [(1.5).hex(), None, (0.0).hex()],
        ("a", "p99", "red"): [None] * 3,
    }
    assert measures(store) == [
        ("offset", 1, "crops", "px", "What offset is"),
        ("p99", 1, "histogram", "px", "What p99 is"),
    ]
    assert images(store) == [
        (name, measure, 1) for name in ("a", "c") for measure in ("offset", "p99")
    ]
    assert doctor(store, deep=True) == []
    put(store, measured("a", own={("offset", None): [1, 2, 3]}))
    assert images(store) == [("a", "offset", 1), ("c", "offset", 1), ("c", "p99", 1)]
    assert list(values(store)) == [("a", "offset", "")]
    put(store, measured("a"))
    assert values(store) == {}
    assert doctor(store, deep=True) == []


def test_a_worker_may_know_a_measure_that_is_not_known_here(store: Store) -> None:
    image = measured("a", own=OWN)
    known = [user for user in users_of(image.cells) if user.name == "offset"]
    with store.writing() as connection:
        columns = {
            "root": "/",
            "settings_id": write.adopt_settings(connection, MeasurementSettings(0.99, VERSIONS)),
        }
        write.write_image(connection, image, {**columns, "ingested_at": NOW}, known)
    assert images(store) == [("a", "offset", 1)]
    assert list(values(store)) == [("a", "offset", "")]
    assert doctor(store, deep=True) == []


def test_a_measure_takes_the_place_of_the_one_with_its_name_in_the_images_given(
    store: Store,
) -> None:
    put(
        store,
        measured("a", own=OWN),
        measured("b", n=1, own={key: [5] for key in OWN}),
        measured("c", n=0),
    )
    before = values(store)
    p99 = CustomMeasure("p99", 3, "", "Another", of_crops=lambda *_: 0.0)
    with store.writing() as connection:
        keys = {name: key for key, name in connection.execute(text("SELECT id, name FROM image"))}
        numbers: dict[tuple[str, str | None], Any] = {("p99", None): np.array([np.nan, 2, 3])}
        custom_measures.add_measures(
            connection, [p99], {keys["a"]: numbers, keys["c"]: {("p99", None): np.zeros(0)}}
        )
        custom_measures.add_measures(connection, [], {keys["b"]: {}})
    replaced = {("a", "p99", "green"), ("a", "p99", "red")}
    assert values(store) == {
        **{key: of for key, of in before.items() if key not in replaced},
        ("a", "p99", ""): [None, (2.0).hex(), (3.0).hex()],
    }
    assert [image for image in images(store) if image[1] == "p99"] == [
        ("a", "p99", 3),
        ("b", "p99", 1),
        ("c", "p99", 3),
    ]
    assert measures(store)[1] == ("p99", 3, "crops", "", "Another")
    assert doctor(store, deep=True) == []


@pytest.mark.parametrize("given", [2, 4])
def test_an_image_with_other_cells_is_not_given_the_numbers_of_another(
    store: Store, given: int
) -> None:
    put(store, measured("a"))
    p99 = CustomMeasure("p99", 1, "", "It", of_crops=lambda *_: 0.0)
    with pytest.raises(ValueError, match="zip"), store.writing() as connection:
        custom_measures.add_measures(connection, [p99], {1: {("p99", None): np.zeros(given)}})
    assert images(store) == []


# Failures


def fail(
    store: Store, later: int, code: str = "png", uri: str = "train/a_red.png", message: str = "cut"
) -> None:
    with store.writing() as connection:
        run_id = begin_run(connection)
        failure = Failure("a", uri, code, message)
        write.write_failures(connection, [failure], run_id=run_id, now=NOW + timedelta(hours=later))


def failure(store: Store) -> dict[str, Any]:
    (row,) = status.failures(store).to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_the_same_fault_keeps_when_it_was_first_seen(store: Store) -> None:
    fail(store, 0)
    fail(store, 5, message="cut again")
    assert failure(store) == {
        "image_name": "a",
        "uri": "train/a_red.png",
        "code": "png",
        "message": "cut again",
        "first_seen": NOW,
        "last_seen": NOW + timedelta(hours=5),
        "run_id": 2,
    }


@pytest.mark.parametrize("other", [{"code": "io"}, {"uri": "train/a_blue.png"}])
def test_another_fault_is_first_seen_now(store: Store, other: dict[str, str]) -> None:
    fail(store, 0)
    fail(store, 5, **other)
    found = failure(store)
    assert found["first_seen"] == found["last_seen"] == NOW + timedelta(hours=5)
    assert {name: found[name] for name in other} == other


def test_a_failure_goes_when_its_image_is_stored_or_relabelled(store: Store) -> None:
    fail(store, 0)
    put(store, measured("b"))
    assert scalar(store, "SELECT count(*) FROM failure") == 1
    put(store, measured("a"))
    assert scalar(store, "SELECT count(*) FROM failure") == 0
    fail(store, 1)
    with store.writing() as connection:
        write.relabel_image(connection, Source("a", (3,), ()), "/data", None)
    assert scalar(store, "SELECT count(*) FROM failure") == 0


def test_no_failures_write_nothing(store: Store) -> None:
    with store.writing() as connection:
        write.write_failures(connection, [], run_id=0, now=NOW)
    assert scalar(store, "SELECT count(*) FROM failure") == 0


# Recipes


def test_a_store_has_one_row_of_settings_at_a_time(store: Store) -> None:
    with store.writing() as connection:
        assert measurement_settings.current_settings(connection) is None
        first = write.adopt_settings(connection, MeasurementSettings(0.99, VERSIONS))
        assert write.adopt_settings(connection, MeasurementSettings(0.99, VERSIONS)) == first
        second = write.adopt_settings(connection, MeasurementSettings(0.5, VERSIONS))
        assert measurement_settings.current_settings(connection) == MeasurementSettings(
            0.5, VERSIONS
        )
        assert write.adopt_settings(connection, MeasurementSettings(0.99, VERSIONS)) == first
        assert measurement_settings.current_settings(connection) == MeasurementSettings(
            0.99, VERSIONS
        )
    assert first != second
    assert scalar(store, "SELECT count(*) FROM measurement_settings") == 2


# Reading


def test_counts_and_roots(store: Store) -> None:
    put(store, measured("a"), measured("b", ()))
    put(store, measured("c", n=0), root="/other")
    with store.reading() as connection:
        assert status.counts(connection) == {
            "images": 3,
            "cells": 6,
            "clean_sets": 0,
            "failures": 0,
            "runs": 0,
            "unlabelled": 1,
            "gone": 0,
        }
    found = status.status(store)
    assert (found.stale, found.unmeasured, found.unmeasured_measures) == (0, 0, ())
    assert found.roots == [
        {"root": "/data", "split": "train", "images": 2},
        {"root": "/other", "split": "train", "images": 1},
    ]


def test_a_stream_gives_all_rows(store: Store) -> None:
    put(store, measured("a", n=7))
    with store.reading() as connection:
        statement = select(Cell.mask_id).order_by(Cell.mask_id)
        found = [row[0] for row in statements.stream(connection, statement, size=2)]
    assert found == [1, 2, 3, 4, 5, 6, 7]


def test_a_version_is_a_number(store: Store) -> None:
    with (
        store.reading() as connection,
        pytest.raises(UsageError, match="invalid version in 'a@new'; use a number, as in a@1"),
    ):
        find_clean_set(connection, "a@new")


def test_cells_of_the_helper_are_cells() -> None:
    made = cells(2, green_fraction=[0.25, 0.5], area=[3, 4])
    assert isinstance(made, Cells)
    assert made.channels["green"].measures["fraction"].tolist() == [0.25, 0.5]
    assert made.shape["area"].tolist() == [3, 4]
