from __future__ import annotations

import pytest
from sqlalchemy import Table

from hpastore.schema.row_info import (
    Natural,
    covered_columns,
    covered_tables,
    has_checksum,
    referred,
    row_info,
)
from hpastore.schema.tables import Base

TABLES = Base.metadata.tables

DUMPED = {
    "image": (
        "name split width height bit_depth labels label_count cell_count gone background_percentile levels measures",
        ["name"],
    ),
    "image_file": ("image role uri size sha256", ["image", "role"]),
    "clean_rule": (
        (
            "clean_set version rule label_id grouped_by group_value measure channel reason condition shown "
            "lower_percentile lower_value lower_median lower_image_median "
            "upper_percentile upper_value upper_median upper_image_median"
        ),
        ["clean_set", "version", "rule", "label_id", "group_value"],
    ),
    "clean_set_threshold": (
        "clean_set version rule group_value label_id n lower upper stand_in",
        ["clean_set", "version", "rule", "label_id", "group_value"],
    ),
    "clean_set_cell": (
        "clean_set version image mask_id label_id clean reason value lower upper",
        ["clean_set", "version", "image", "mask_id", "label_id"],
    ),
    "cell_override": (
        "image_name mask_id label_id rle keep score author comment attached",
        ["image_name", "mask_id", "label_id", "rle"],
    ),
    "cell_measure": ("image mask_id name channel value", ["image", "mask_id", "name", "channel"]),
}
"""Columns in the canonical dump, and the natural key: who compares two dumps relies on them."""


@pytest.mark.parametrize("table", DUMPED)
def test_references_are_dumped_as_natural_keys(table: str) -> None:
    columns, key = DUMPED[table]
    natural = Natural.dumped(TABLES[table])
    assert list(natural.columns) == columns.split()
    assert natural.key_names() == key


def test_only_runs_have_no_natural_key() -> None:
    assert [table.name for table in TABLES.values() if not row_info(table).natural_key] == [
        "ingest_run"
    ]


@pytest.mark.parametrize(
    "owner", [table for table in TABLES.values() if has_checksum(table)], ids=str
)
def test_rows_that_belong_to_another_are_found_from_it(owner: Table) -> None:
    for table in covered_tables(owner):
        column = Natural(table).join_to(owner)
        assert referred(column).table is owner


def test_a_table_that_does_not_belong_to_another_cannot_be_joined() -> None:
    with pytest.raises(LookupError, match="label does not refer to image"):
        Natural(TABLES["label"]).join_to(TABLES["image"])


def test_no_checksum_covers_a_key_that_is_given_while_rows_are_written() -> None:
    covered = {
        f"{table.name}.{column.name}"
        for table in TABLES.values()
        for column in covered_columns(table)
    }
    left_out = {
        "image.id",
        "cell.id",
        "cell.image_id",
        "cell_channel.cell_id",
        "image_file.image_id",
    }
    assert not covered & left_out
    assert {"image.name", "cell.mask_id", "image_file.mtime_ns", "clean_rule.id"} <= covered
