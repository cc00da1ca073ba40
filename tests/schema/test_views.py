from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from hpastore.classes import DEFAULT_CLASSES
from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.tables import Cell, CellChannel, Image
from hpastore.schema.views import (
    CELL_SIZE,
    CELL_STATS,
    CLEAN_CELL,
    CLEAN_CELL_LIVE,
    IMAGE_SUMMARY,
    LABEL_SUMMARY,
    LABEL_THRESHOLD,
)
from hpastore.store.clean_sets.bounds import current_bounds
from hpastore.store.clean_sets.live_verdicts import stream_verdicts
from hpastore.store.clean_sets.rows import read_bounds, read_clean_set, read_rules
from hpastore.store.engine import Store
from hpastore.store.export_rows import Selection
from hpastore.vocabulary import CHANNELS, LABEL_NAMES, Scope
from tests.world import exact, measured, put, rows

NAN = float("nan")

BOX = ("x", "y", "width", "height", "fraction_notebook")

Row = dict[str, Any]


@pytest.fixture
def full(store: Store) -> Store:
    """Single labels, several labels, no label, no cell, no background, equal values."""
    put(
        store,
        measured(
            "a", (0,), green_fraction=[0.5, NAN, 0.25, 0.25], green_intensity_max=[255, 9, 80, 90]
        ),
        measured("b", (0,), green_fraction=[0.75, 0.125], area=[7, 4], touches_border=[1, 0]),
        measured("c", (0, 16), green_fraction=[0.25, 0.9, 0.3], nucleus_area=[1, 2, 0]),
        measured("d", (16,), green_fraction=[NAN, NAN]),
        measured("e", (), green_fraction=[0.5]),
        measured("f", (18,), n=0),
        measured("g", (18,), green_fraction=[0.0], green_intensity_max=[3]),
    )
    return store


def median(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.median(present)) if present else None


def share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def table(store: Store, view: Any) -> list[Row]:
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(select(view.table)).mappings()]


def test_cell_stats_has_a_column_for_every_measure(store: Store) -> None:
    with store.reading() as connection:
        found = list(connection.exec_driver_sql("SELECT * FROM cell_stats").keys())
    assert found == [
        *("cell_id", "image_name", "split", "mask_id", "labels", "label_id"),
        *(m.name for m in SHAPE_MEASURES),
        *(f"{channel}_{m.name}" for channel in CHANNELS for m in CHANNEL_MEASURES),
        "columns",
    ]


def test_cell_stats_is_the_tables_side_by_side(full: Store) -> None:
    with full.reading() as connection:
        images = {row["id"]: row for row in connection.execute(select(Image.__table__)).mappings()}
        cells = connection.execute(select(Cell.__table__)).mappings().all()
        levels = connection.execute(select(CellChannel.__table__)).mappings().all()
    expected = {}
    for cell in cells:
        image = images[cell["image_id"]]
        labels = image["labels"]
        expected[cell["id"]] = {
            "cell_id": cell["id"],
            "image_name": image["name"],
            "split": image["split"],
            "mask_id": cell["mask_id"],
            "labels": labels,
            "label_id": int(labels) if labels and "|" not in labels else None,
            "columns": "{}",
            **{m.name: cell[m.name] for m in SHAPE_MEASURES},
        }
    for row in levels:
        for m in CHANNEL_MEASURES:
            expected[row["cell_id"]][f"{row['channel']}_{m.name}"] = row[m.name]
    found = table(full, CELL_STATS)
    assert {row["cell_id"]: row for row in found} == expected
    assert len(found) == len(expected) == 13


def test_cell_stats_reads_flags_and_labels(full: Store) -> None:
    found = rows(
        full,
        "SELECT image_name, mask_id FROM cell_stats WHERE image_name = 'b' AND NOT touches_border",
    )
    assert found == [{"image_name": "b", "mask_id": 2}]
    several = rows(
        full,
        "SELECT DISTINCT image_name, labels FROM cell_stats WHERE label_id IS NULL ORDER BY image_name",
    )
    assert several == [{"image_name": "c", "labels": "0|16"}, {"image_name": "e", "labels": ""}]


def test_cell_size_is_the_area_by_the_labels_median(full: Store) -> None:
    cells = rows(full, "SELECT label_id, area FROM cell_stats")
    found = table(full, CELL_SIZE)
    assert {row["label_id"] for row in found} == {0, 16, 18}
    for row in found:
        expected = median([c["area"] for c in cells if c["label_id"] == row["label_id"]])
        assert expected is not None
        assert (row["area_median"], row["area_relative"]) == (expected, row["area"] / expected)
    of_c = [row["label_id"] for row in found if row["image_name"] == "c"]
    assert sorted(of_c) == [0, 0, 0, 16, 16, 16]


def test_label_summary_counts_and_takes_medians(full: Store) -> None:
    create_clean_set(full, "old", CleanRecipe((Rule(lower=0.5, upper=0.5),)))
    create_clean_set(full, "new", CleanRecipe(scope="all"))
    images = rows(full, "SELECT labels, cell_count FROM image")
    cells = rows(full, "SELECT label_id, green_fraction FROM cell_stats")
    verdicts = rows(
        full,
        "SELECT label_id, clean FROM clean_set_cell WHERE clean_set_id = (SELECT max(id) FROM clean_set)",
    )
    expected = []
    for label, name in enumerate(LABEL_NAMES):
        mine = [i for i in images if str(label) in i["labels"].split("|")]
        single = [i for i in mine if i["labels"] == str(label)]
        fractions = [c["green_fraction"] for c in cells if c["label_id"] == label]
        expected.append(
            {
                "label_id": label,
                "label": name,
                "images": len(mine),
                "single_images": len(single),
                "cells": sum(i["cell_count"] for i in mine),
                "single_cells": sum(i["cell_count"] for i in single),
                "green_fraction_median": exact(median(fractions)),
                "clean_share": exact(
                    share([bool(v["clean"]) for v in verdicts if v["label_id"] == label])
                ),
            }
        )
    found = sorted(table(full, LABEL_SUMMARY), key=lambda row: int(row["label_id"]))
    assert [{k: exact(v) for k, v in row.items()} for row in found] == expected
    assert (expected[0]["images"], expected[0]["cells"], expected[0]["single_cells"]) == (3, 9, 6)


def test_image_summary_counts_and_takes_medians(full: Store) -> None:
    create_clean_set(full, "a")
    cells = defaultdict(list)
    for row in rows(full, "SELECT image_name, area, green_fraction FROM cell_stats"):
        cells[row["image_name"]].append(row)
    clean = defaultdict(list)
    for row in rows(full, "SELECT image_name, clean FROM clean_cell"):
        clean[row["image_name"]].append(bool(row["clean"]))
    for row in table(full, IMAGE_SUMMARY):
        mine = cells[row["image_name"]]
        assert row["cells"] == len(mine)
        assert row["area_median"] == median([cell["area"] for cell in mine])
        assert row["green_fraction_median"] == median([cell["green_fraction"] for cell in mine])
        assert row["clean_share"] == share(clean[row["image_name"]])
    found = {row["image_name"]: (row["labels"], row["cells"]) for row in table(full, IMAGE_SUMMARY)}
    labels = {"a": "0", "b": "0", "c": "0|16", "d": "16", "e": "", "f": "18", "g": "18"}
    assert found == {
        name: (text, n)
        for (name, text), n in zip(labels.items(), (4, 2, 3, 2, 1, 0, 1), strict=True)
    }


def test_a_store_without_clean_sets_has_summaries_all_the_same(full: Store) -> None:
    assert [row["clean_share"] for row in table(full, LABEL_SUMMARY)] == [None] * len(LABEL_NAMES)
    assert [row["clean_share"] for row in table(full, IMAGE_SUMMARY)] == [None] * 7


def test_views_of_an_empty_store_are_empty(store: Store) -> None:
    assert table(store, CELL_STATS) == table(store, IMAGE_SUMMARY) == table(store, CLEAN_CELL) == []
    assert {row["images"] for row in table(store, LABEL_SUMMARY)} == {0}


@pytest.mark.parametrize("scope", ["single", "all"])
def test_rank_is_the_place_among_the_cells_that_made_the_threshold(
    full: Store, scope: Scope
) -> None:
    create_clean_set(full, "a", CleanRecipe(scope=scope))
    made = defaultdict(list)
    for row in rows(full, "SELECT label_id, green_fraction AS value FROM cell_stats"):
        if row["label_id"] is not None and row["value"] is not None:
            made[row["label_id"]].append(row["value"])
    single = {
        row["cell_id"]
        for row in rows(full, "SELECT cell_id FROM cell_stats WHERE label_id IS NOT NULL")
    }
    found = table(full, CLEAN_CELL_LIVE)
    for row in found:
        smaller = [
            value for value in made[row["label_id"]] if row["value"] and value < row["value"]
        ]
        ranked = row["cell_id"] in single and row["value"] is not None
        assert row["rank"] == (len(smaller) + 1 if ranked else None), row
    assert sorted(row["rank"] for row in found if row["label_id"] == 0 and row["rank"]) == [
        1,
        2,
        2,
        4,
        5,
    ]


def test_clean_cell_shows_value_bounds_and_verdict(full: Store) -> None:
    create_clean_set(full, "a", CleanRecipe((Rule(lower=0.25, upper=0.75),)))
    found = {(row["image_name"], row["mask_id"]): row for row in table(full, CLEAN_CELL_LIVE)}
    assert len(found) == 9
    row = found["b", 1]
    expected = {
        "clean_set": "a",
        "version": 1,
        "label_id": 0,
        "label": "Nucleoplasm",
        "measure": "fraction",
        "channel": "green",
        "value": 0.75,
        "lower": 0.25,
        "upper": 0.5,
        "rank": 5,
        "clean": False,
        "reason": "above_upper",
        "live": False,
    }
    assert {name: row[name] for name in expected} == expected
    assert found["a", 2]["reason"] == "no_background"
    assert found["a", 2]["value"] is None


def test_verdicts_read_alike(full: Store) -> None:
    create_clean_set(full, "a", CleanRecipe((Rule(lower=0.25, upper=0.75),)))
    clean = rows(
        full,
        "SELECT image_name, mask_id FROM clean_cell_live WHERE clean AND live ORDER BY image_name, mask_id",
    )
    other = rows(
        full, "SELECT image_name, mask_id FROM clean_cell_live WHERE NOT clean AND NOT live"
    )
    assert [tuple(row.values()) for row in clean] == [("a", 1), ("a", 3), ("a", 4), ("g", 1)]
    assert len(other) == 5


def test_verdicts_of_now_and_ranks_cost_nothing_where_a_query_does_not_ask_for_them(
    full: Store,
) -> None:
    create_clean_set(full, "mine")

    def steps(columns: str) -> int:
        explain = "EXPLAIN QUERY PLAN" if full.is_sqlite else "EXPLAIN"
        query = f"{explain} SELECT {columns} FROM clean_cell_live WHERE clean_set = 'mine'"
        return len(rows(full, query))

    stored = steps("label, measure, reason, value, lower, upper, clean")
    assert stored < 60
    assert min(steps("rank"), steps("live")) > 3 * stored


@pytest.mark.parametrize("set_id", [1, 2, 3])
def test_statements_for_one_clean_set_say_what_the_views_do(full: Store, set_id: int) -> None:
    many = (
        Rule(),
        Rule("area", None, 0.2, 0.9),
        Rule("touches_border"),
        Rule("area", name="again"),
    )
    of_zero = (Rule("no_nucleus"), Rule("fraction", "green", None, Bound(value=0.4)))
    create_clean_set(
        full, "mine", CleanRecipe((Rule(lower=0.3, upper=0.6),), scope="all"), frozen=True
    )
    create_clean_set(full, "areas", CleanRecipe(many, labels={0: of_zero, 18: ()}, guard="keep"))
    create_clean_set(full, "mine", CleanRecipe((Rule("intensity_mean", "blue", 0.0, 0.4),)))
    put(full, measured("late", (0,), green_fraction=[0.4, 0.9], area=[20, 3]))
    with full.reading() as connection:
        clean_set = read_clean_set(connection, set_id)
        rules = read_rules(connection, set_id, DEFAULT_CLASSES)
        bounds = read_bounds(connection, set_id, DEFAULT_CLASSES)
        if not clean_set.frozen:
            bounds = current_bounds(connection, clean_set, rules)
        of_view = {
            view: [
                {column: getattr(row, column) for column in row._fields if column not in BOX}
                for row in stream_verdicts(
                    connection, Selection(set_id), DEFAULT_CLASSES, live=live
                )
            ]
            for view, live in ((CLEAN_CELL, False), (CLEAN_CELL_LIVE, True))
        }
    of_view[LABEL_THRESHOLD] = [bound._asdict() for bound in bounds]
    for view, found in of_view.items():
        expected = [
            {name: row[name] for name in found[0]}
            for row in table(full, view)
            if row["clean_set_id"] == set_id
        ]
        assert sorted(found, key=repr) == sorted(expected, key=repr)
