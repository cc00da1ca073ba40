"""One module knows where a measure's value is stored; both of its ways give the value of every cell."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from hpastore.classes import DEFAULT_CLASSES
from hpastore.schema.measure_value import (
    CHANNEL_NAMES,
    SHAPE_NAMES,
    MeasureKey,
    MeasureValues,
    flag_value,
    named_value,
)
from hpastore.schema.tables import Cell, CellChannel, CleanRule, CleanSet
from hpastore.store.clean_sets.materialise import write_clean_set
from hpastore.store.engine import Store
from tests.world import NOW, measured, put, rows

NAN = float("nan")

MEASURES: list[tuple[MeasureKey, list[float | None]]] = [
    (("area", None), [5.0, 7.0]),
    (("touches_border", None), [1.0, 0.0]),
    (("fraction", "green"), [0.25, None]),
    (("intensity_max", "green"), [200.0, 9.0]),
    (("glow", "red"), [1.5, None]),
    (("offset", None), [None, 2.0]),
    (("glow", "blue"), [None, None]),
]
"""Measures, and their values for both cells of the image."""


@pytest.fixture
def two_cells(store: Store) -> Store:
    custom = {("glow", "red"): [1.5, NAN], ("offset", None): [NAN, 2.0]}
    put(
        store,
        measured(
            "a",
            (0,),
            own=custom,
            green_fraction=[0.25, NAN],
            green_intensity_max=[200, 9],
            area=[5, 7],
            touches_border=[1, 0],
            nucleus_area=[0, 3],
        ),
    )
    return store


def test_values_of_several_measures_come_from_one_statement(two_cells: Store) -> None:
    values = MeasureValues(key for key, _ in MEASURES)
    columns = [values.value(*key) for key, _ in MEASURES]
    statement = select(*columns).select_from(values.join_to(Cell.__table__)).order_by(Cell.mask_id)
    with two_cells.reading() as connection:
        found = [list(row) for row in connection.execute(statement)]
    assert found == [[values[cell] for _, values in MEASURES] for cell in (0, 1)]
    assert all(isinstance(value, float | None) for row in found for value in row)


@pytest.mark.parametrize(("key", "expected"), MEASURES)
def test_a_rule_names_its_measure(
    two_cells: Store, key: MeasureKey, expected: list[float | None]
) -> None:
    columns = {"name": "x", "scope": "single", "min_green": 0, "recipe_toml": "", "frozen": False}
    rule = {"measure": key[0], "channel": key[1], "lower_value": 0.0, "upper_value": None}
    with two_cells.writing() as connection:
        clean_set = {**columns, "created_at": NOW}
        write_clean_set(connection, clean_set, [{**rule, "label_id": None}], DEFAULT_CLASSES)

    value = named_value(CleanRule.measure, CleanRule.channel)
    same_channel = (CellChannel.cell_id == Cell.id) & (CellChannel.channel == CleanRule.channel)
    statement = (
        select(value)
        .select_from(CleanSet)
        .join(CleanRule, CleanRule.clean_set_id == CleanSet.id)
        .join(Cell, Cell.id > 0)
        .outerjoin(CellChannel, same_channel)
        .order_by(Cell.mask_id)
    )
    with two_cells.reading() as connection:
        assert list(connection.execute(statement).scalars()) == expected


def test_flags_are_those_of_the_cells(two_cells: Store) -> None:
    columns = (flag_value("touches_border"), flag_value("no_nucleus"))
    with two_cells.reading() as connection:
        found = connection.execute(select(*columns).order_by(Cell.mask_id)).all()
    assert [tuple(map(bool, row)) for row in found] == [(True, True), (False, False)]


def test_every_measure_of_cell_stats_has_a_value(two_cells: Store) -> None:
    keys: list[MeasureKey] = [(name, None) for name in SHAPE_NAMES]
    keys += [(name, "blue") for name in CHANNEL_NAMES]
    values = MeasureValues(keys)
    columns = [values.value(*key) for key in keys]
    statement = select(*columns).select_from(values.join_to(Cell.__table__)).order_by(Cell.mask_id)
    with two_cells.reading() as connection:
        found = [list(row) for row in connection.execute(statement)]
    names = [name if channel is None else f"{channel}_{name}" for name, channel in keys]
    stats = rows(two_cells, "SELECT * FROM cell_stats ORDER BY mask_id")
    assert found == [[row[name] for name in names] for row in stats]
