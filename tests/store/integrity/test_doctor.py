from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Table, and_, select, text, update
from sqlalchemy.exc import DBAPIError

import hpastore
from hpastore.errors import HpastoreError, UnavailableError
from hpastore.schema.tables import Base
from hpastore.schema.types import Flag, Instant
from hpastore.store import migrate
from hpastore.store.engine import Store, connect
from hpastore.store.integrity import database_checks, row_checks
from hpastore.store.integrity import doctor as module
from hpastore.store.integrity.database_checks import file_system
from hpastore.store.integrity.doctor import doctor
from hpastore.store.integrity.finding import Finding
from tests.conftest import CopyOf, Figure, Trials
from tests.store.integrity.test_checksums import ACCOUNTS, broken, drawn, everything, unchecked
from tests.world import (
    dataset,
    dump,
    has_collations,
    has_strict_tables,
    is_a_file,
    put,
    rows,
    write_table,
)


@pytest.fixture
def filled(copy_of: CopyOf) -> Store:
    return copy_of(everything)


def change(store: Store, *statements: str) -> None:
    with unchecked(store) as connection:
        for statement in statements:
            connection.execute(text(statement))


def path_of(store: Store) -> Path:
    return Path(str(store.engine.url.database))


# Nothing wrong


def test_nothing_is_wrong_with_what_was_written(filled: Store) -> None:
    assert doctor(filled) == doctor(filled, deep=True) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE image_column SET value = 'P9' WHERE value = 'P1'",
        "UPDATE image_column SET name = 'well' WHERE value = 'P1'",
        "DELETE FROM image_column WHERE value = 'P1'",
        "INSERT INTO image_column SELECT id, 'well', 'A1' FROM image WHERE name = 'a'",
    ],
)
def test_a_deep_look_finds_damage_in_what_a_label_table_says(filled: Store, statement: str) -> None:
    change(filled, statement)
    (found,) = doctor(filled, deep=True)
    assert (found.where, "image_column" in found.what) == ("image a", True)


def test_nothing_is_wrong_with_an_empty_store(store: Store) -> None:
    assert doctor(store) == doctor(store, deep=True) == []


def test_a_doctor_changes_nothing(filled: Store) -> None:
    before = dump(filled)
    doctor(filled, deep=True)
    assert dump(filled) == before


# Rows that contradict each other

WRONG = {
    "area": (
        "UPDATE cell SET area = area + 1 WHERE id = 4",
        "cell a:1",
        "its area, x, y, width, height are",
    ),
    "box": (
        "UPDATE cell SET x = 0, width = width + 6 WHERE id = 5",
        "cell a:3",
        "but its mask gives (44, 6, 2, 4",
    ),
    "runs": (
        "UPDATE cell_mask SET rle = rle || '1' WHERE cell_id = 5",
        "cell a:3",
        "its mask cannot be decoded",
    ),
    "text": (
        "UPDATE cell_mask SET rle = 'ä' WHERE cell_id = 5",
        "cell a:3",
        "its mask cannot be decoded",
    ),
    "mask": ("DELETE FROM cell_mask WHERE cell_id = 5", "cell a:3", "it has no mask"),
    "cells": (
        "UPDATE image SET cell_count = 4 WHERE id = 2",
        "image a",
        "it has 3 cells, but its cell_count is 4",
    ),
    "cell": (
        "UPDATE cell SET red_intensity_max = NULL WHERE id = 5",
        "cell a:3",
        "it has 3 of 4 channels",
    ),
    "channel": (
        "DELETE FROM image_channel WHERE channel = 'red' AND image_id = 2",
        "image a",
        "it has 3 of 4 channels",
    ),
    "labels": (
        "UPDATE image SET labels = '0|17' WHERE id = 2",
        "image a",
        "its labels are '0|17' and label_count is 2, but image_label has [0, 16]",
    ),
    "label_count": (
        "UPDATE image SET label_count = 3 WHERE id = 2",
        "image a",
        "label_count is 3, but",
    ),
    "label": ("DELETE FROM image_label WHERE label_id = 16", "image a", "but image_label has [0]"),
    "classes": (
        "UPDATE label SET name = 'CYTOSOL' WHERE id = 0",
        "label",
        "classes 0 and 16 have the same name, 'Cytosol'",
    ),
    "file": (
        "DELETE FROM image_file WHERE role = 'cell_mask'",
        "image a",
        "no cell_mask file is recorded",
    ),
    "settings": (
        "UPDATE measurement_settings SET current = (1 = 0)",
        "measurement_settings",
        "0 rows are marked as current, not 1",
    ),
    "orphan": (
        "DELETE FROM cell WHERE id = 5",
        "cell_mask",
        "1 row refers to a row of cell that does not",
    ),
    "verdicts": (
        "DELETE FROM clean_set",
        "clean_set_cell",
        "rows refer to a row of clean_set that does not",
    ),
    "override": (
        "UPDATE cell_override SET cell_id = (SELECT max(id) FROM cell) WHERE mask_id = 3",
        "override of a:3",
        "it is attached to another cell, replaced:7",
    ),
    "rule": (
        "UPDATE clean_set_cell SET rule_id = 99 WHERE cell_id = 4",
        "clean_set_cell",
        "to a row of clean_rule that does not exist",
    ),
    "other rule": (
        "UPDATE clean_set_cell SET rule_id = (SELECT max(id) FROM clean_rule) WHERE clean_set_id = 1",
        "clean set mine@1",
        "verdicts are shown with another rule than the reason names",
    ),
    "no rule": (
        "UPDATE clean_set_cell SET rule_id = NULL WHERE clean_set_id = 1",
        "clean set mine@1",
        "verdicts are shown with another rule than the reason names",
    ),
    "own labels": (
        "UPDATE cell SET labels = '7' WHERE labels = '18'",
        "cell a:1",
        "its labels are '7' and label_count is 1, but cell_label has [18]",
    ),
    "run": (
        "DELETE FROM ingest_run",
        "failure",
        "2 rows refer to a row of ingest_run that does not exist",
    ),
}
"""What is done to a store, and what the doctor finds: where, and what."""


def is_reported(findings: list[Finding], where: str, what: str) -> bool:
    return any(finding.where == where and what in finding.what for finding in findings)


@pytest.mark.parametrize("fault", WRONG)
def test_rows_that_contradict_each_other_are_found(filled: Store, fault: str) -> None:
    statement, where, what = WRONG[fault]
    change(filled, statement)
    findings = doctor(filled)
    assert is_reported(findings, where, what), findings
    assert all(finding.hint for finding in findings)


def test_each_wrong_cell_is_named_among_right_ones(filled: Store) -> None:
    change(
        filled,
        "UPDATE cell_mask SET rle = '5' WHERE cell_id IN (SELECT id FROM cell WHERE mask_id = 3)",
        "UPDATE cell SET y = 1 WHERE mask_id = 5",
    )
    cells = {finding.where for finding in doctor(filled)}
    assert cells == {
        f"cell {name}:{k}" for name in ("a", "bgr", "old", "unlabelled") for k in (3, 5)
    } | {"cell b:3"}


DEEP = {
    "levels": "UPDATE cell SET red_entropy = red_entropy + 0.001 WHERE id = 5",
    "histogram": "UPDATE image_channel SET histogram = 'x' WHERE image_id = 2 AND channel = 'red'",
    "other": """UPDATE image_channel SET histogram = (SELECT histogram FROM image_channel AS other
                WHERE other.image_id = 1 AND channel = 'blue') WHERE image_id = 3 AND channel = 'red'""",
    "verdict": "UPDATE clean_set_cell SET value = value + 1 WHERE value IS NOT NULL",
}


@pytest.mark.parametrize("fault", DEEP)
def test_other_values_are_found_by_a_deep_look(filled: Store, fault: str) -> None:
    statement = DEEP[fault].replace("'x'", "x'00'" if filled.is_sqlite else "'\\x00'")
    change(filled, statement)
    assert doctor(filled) == []
    findings = doctor(filled, deep=True)
    if fault in ("histogram", "other"):
        assert "the histogram of red does not match the masks" in findings[0].what
    assert findings[-1].what.startswith("its stored values do not match its checksum (")


def test_a_schema_that_drifted_is_found(filled: Store) -> None:
    change(filled, "DROP VIEW image_summary", "CREATE TABLE stray (id INTEGER)")
    findings = doctor(filled)
    assert [finding.where for finding in findings] == ["schema", "schema"]
    assert any("stray" in finding.what for finding in findings)


# Every value


def other_values(value: Any, column: Any) -> list[Any]:
    """The smallest changes of a value, and NULL where it may be."""
    changed: list[Any]
    if isinstance(column.type, Flag):
        changed = [not value]
    elif isinstance(column.type, Instant):
        changed = [
            (value or datetime.fromisoformat("2024-05-06T07:08:09+00:00"))
            + timedelta(microseconds=1)
        ]
    elif column.type.python_type is int:
        changed = [0] if value is None else [value + 1, value ^ 1024]
    elif column.type.python_type is float:
        changed = [0.0 if value is None else float(np.nextafter(value, np.inf))]
    elif column.type.python_type is bytes:
        half = len(value) // 2
        changed = [value[:half] + bytes([value[half] ^ 1]) + value[half + 1 :]]
    else:
        changed = [value[:-1] + chr(ord(value[-1]) ^ 1)] if value else ["0"]
    return changed + [None] * (column.nullable and value is not None)


KEYS = {"cell_override.id"}
"""A key that nothing refers to says nothing."""

CHECKED = {
    *("image.bit_depth", "image_file.role", "image_channel.channel"),
    "clean_set.scope",
}
"""Columns in which PostgreSQL refuses each of the changes below; SQLite is made to accept them."""


@pytest.mark.soak
def test_a_deep_look_finds_another_value_in_every_column(
    filled: Store, monkeypatch: pytest.MonkeyPatch, figure: Figure, trials: Trials
) -> None:
    monkeypatch.setattr(module, "_schema", lambda store: [])  # a change of rows cannot change it
    outcomes = Counter[str]()
    of_column: dict[str, set[str]] = {}
    for table in Base.metadata.sorted_tables:
        if table.name in ACCOUNTS:
            continue
        columns = [c for c in table.c if f"{table.name}.{c.name}" not in KEYS]
        for column in columns[:: trials(quick=8, full=1, soak=1)]:
            for row in chosen_rows(filled, table)[: trials(quick=1, full=1, soak=2)]:
                for value in other_values(row[column.name], column):
                    where = f"{table.name}.{column.name}: {row[column.name]!r} -> {value!r}"
                    outcome = try_change(filled, table, column, row, value)
                    assert outcome != "missed", where
                    outcomes[outcome] += 1
                    of_column.setdefault(f"{table.name}.{column.name}", set()).add(outcome)
    only_refused = {name for name, found in of_column.items() if found == {"refused"}}
    assert only_refused == (set() if filled.is_sqlite else CHECKED & of_column.keys())
    assert outcomes["found"] > trials(quick=15, full=150, soak=150)
    figure(
        f"doctor --deep, {filled.engine.dialect.name}: {outcomes['found']} changed values in "
        f"{len(of_column)} columns found, {outcomes['refused']} refused by the database, 0 missed"
    )


def chosen_rows(store: Store, table: Table) -> list[dict[str, Any]]:
    """The last row, then the first."""
    with store.reading() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key)).mappings().all()
    return [dict(found[-1]), dict(found[0])]


def try_change(store: Store, table: Table, column: Any, row: dict[str, Any], value: Any) -> str:
    """Change one value, look for it, and change it back."""
    try:
        set_value(store, table, column, row, value)
    except DBAPIError:
        return "refused"
    findings = doctor(store, deep=True)
    with store.reading() as connection:
        by_rows = column.name in ("cell_id", "rule_id")
        certain = by_rows or broken(connection)
    set_value(store, table, column, {**row, column.name: value}, row[column.name])
    return "found" if findings and certain else "missed"


def set_value(store: Store, table: Table, column: Any, row: dict[str, Any], value: Any) -> None:
    mine = and_(*(key == row[key.name] for key in table.primary_key))
    with unchecked(store) as connection:
        done = connection.execute(update(table).where(mine).values({column.name: value}))
        assert done.rowcount == 1


@has_strict_tables  # whose flags are integers
def test_a_flag_that_is_neither_is_found(filled: Store) -> None:
    for table, column in (
        ("clean_set", "frozen"),
        ("measurement_settings", "current"),
        ("cell", "touches_border"),
    ):
        flag = rows(filled, f"SELECT {column} AS flag FROM {table} WHERE id = 2")[0]["flag"]
        change(filled, f"UPDATE {table} SET {column} = 3 WHERE id = 2")
        with filled.reading() as connection:
            assert len(broken(connection)) == 1
        change(filled, f"UPDATE {table} SET {column} = {flag} WHERE id = 2")
    assert doctor(filled, deep=True) == []


def test_rows_of_one_image_under_another_are_missed_where_they_were(filled: Store) -> None:
    change(filled, "UPDATE cell SET image_id = 4 WHERE id = 5")
    with filled.reading() as connection:
        assert broken(connection) == ["image a", "image none"]
    change(filled, "UPDATE cell SET image_id = 2 WHERE id = 5")
    change(
        filled, "UPDATE image_file SET image_id = 5 WHERE image_id = 2 AND role = 'nucleus_mask'"
    )
    assert doctor(filled, deep=True) == []


# A damaged file


@is_a_file
def test_of_a_damaged_file_only_that_is_reported(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        row_checks, "labels", lambda connection: [Finding("image a", "who knows", "")]
    )
    filled.close()
    whole = path_of(filled).read_bytes()
    page = int.from_bytes(whole[16:18])
    path = tmp_path / "damaged.db"
    path.write_bytes(whole[: 8 * page] + b"\xff" * page + whole[9 * page :])
    with connect(path) as store:
        findings = doctor(store)
    assert findings
    assert {finding.where for finding in findings} == {"database"}
    assert {finding.hint for finding in findings} == {"restore a backup"}


@is_a_file
def test_an_index_that_lost_a_row_is_found_by_a_deep_look(filled: Store) -> None:
    filled.close()
    name = "ix_image_label_label_id"
    hidden = f"CREATE TABLE hidden AS SELECT * FROM sqlite_master WHERE name = '{name}'"
    for statements in (
        [hidden, f"DELETE FROM sqlite_master WHERE name = '{name}'"],
        ["UPDATE image_label SET label_id = 17 WHERE label_id = 16"],
        ["INSERT INTO sqlite_master SELECT * FROM hidden", "DROP TABLE hidden"],
    ):
        with closing(sqlite3.connect(path_of(filled), isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            for statement in statements:
                connection.execute(statement)
    assert f"missing from index {name}" in doctor(filled, deep=True)[0].what
    assert not any("missing" in finding.what for finding in doctor(filled))


@is_a_file
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b"REFERENCES label (id)", b"REFERENCES label (if)", "schema: the tables are inconsistent"),
        (b"CREATE VIEW clean_cell", b"CREATE VIEW clean_c\xe9ll", "is damaged; restore a backup"),
        (b"CREATE VIEW clean_cell", b"CREATE WIEW clean_cell", "is damaged; restore a backup"),
        (
            b"CREATE TABLE cell_mask (",
            b"CREATE T\xd3BLE cell_mask (",
            "is damaged; restore a backup",
        ),
    ],
)
def test_a_damaged_schema_is_reported_in_a_sentence(
    filled: Store, tmp_path: Path, before: bytes, after: bytes, message: str
) -> None:
    filled.close()
    whole = path_of(filled).read_bytes()
    assert before in whole
    path = tmp_path / "damaged.db"
    path.write_bytes(whole.replace(before, after))
    try:
        with hpastore.open_store(path) as store:
            sentences = [str(finding) for finding in doctor(store)]
    except HpastoreError as error:
        sentences = [str(error)]
    assert any(message in sentence for sentence in sentences), sentences


@is_a_file
@pytest.mark.filterwarnings(
    "ignore::sqlalchemy.exc.SAWarning"
)  # of what it reads in a damaged schema
@pytest.mark.soak
def test_a_flipped_bit_is_found_or_changes_no_row_that_a_result_depends_on(
    filled: Store, tmp_path: Path, figure: Figure, trials: Trials
) -> None:
    put(filled, *(drawn(f"image-{i}", (i % 18,), n=i % 6, seed=i) for i in range(60)))
    rows_before = covered_rows(filled)
    filled.close()
    whole = path_of(filled).read_bytes()
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    rng, outcomes = random.Random(8), Counter[str]()
    path = tmp_path / "flipped.db"
    for _ in range(trials(quick=5, full=25, soak=500)):
        place, bit = int(rng.choice(used)), rng.randrange(8)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        outcomes[outcome_of(path, rows_before)] += 1
        for beside in tmp_path.glob("flipped.db-*"):
            beside.unlink()
    figure(f"flipped bits of a SQLite file: {dict(sorted(outcomes.items()))}, 0 missed")
    assert outcomes["found"] > sum(outcomes.values()) // trials(quick=6, full=3, soak=3)
    assert "missed" not in outcomes


def covered_rows(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    found = dump(store, views=False)
    return {table: found[table] for table in found if table not in ACCOUNTS}


def outcome_of(path: Path, rows_before: dict[str, list[tuple[Any, ...]]]) -> str:
    try:
        with hpastore.open_store(path) as store:
            if doctor(store, deep=True):
                return "found"
            return "same rows" if covered_rows(store) == rows_before else "missed"
    except HpastoreError:
        return "refused"


# What to do


def test_an_image_is_made_whole_as_the_hint_says(url: str, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    with connect(url) as store:
        hpastore.ingest(store, root, executor="serial")
        hpastore.create_clean_set(store, "mine")
        change(store, "UPDATE cell SET pieces = 9 WHERE image_id = 2")
        (finding,) = doctor(store, deep=True)
        assert finding.where == "image image-01"
        assert (
            "remove the image from the label table, run 'hpastore ingest ROOT --prune', put it back"
            in finding.hint
        )
        table = (root / "train.csv").read_text()
        write_table(root, {"image-00": "0", "image-02": "0|16"})
        hpastore.ingest(store, root, executor="serial", prune=True)
        (root / "train.csv").write_text(table)
        assert hpastore.ingest(store, root, executor="serial").new == 1
        assert doctor(store, deep=True) == []


# Where and how it is kept

MOUNTS = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:26 / /data rw - nfs4 server:/export rw,vers=4.2
31 30 254:1 / /data/local rw shared:5 master:1 - xfs /dev/sdb rw
32 22 0:27 / /with\040blank rw - cifs //server/share rw
33 22 0:28 / /twice rw - ext4 /dev/sdc rw
34 33 0:29 / /twice rw - fuse.sshfs me@there: rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/cells.db", "ext4"),
        ("/data/cells.db", "nfs4"),
        ("/data/deep/er/cells.db", "nfs4"),
        ("/data/local/cells.db", "xfs"),
        ("/database/cells.db", "ext4"),
        ("/with blank/cells.db", "cifs"),
        ("/twice/cells.db", "fuse.sshfs"),
    ],
)
def test_a_file_is_on_the_nearest_mount(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_no_mount_is_no_kind() -> None:
    assert file_system(Path("/cells.db"), "") is None


@pytest.mark.parametrize(
    ("kind", "remote"),
    [
        *(
            (kind, True)
            for kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre", "gpfs")
        ),
        *((kind, True) for kind in ("ceph", "fuse.ceph-fuse", "fuse.glusterfs", "smbfs", "beegfs")),
        *(
            (kind, False)
            for kind in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk")
        ),
    ],
)
@is_a_file
def test_a_network_file_system_is_reported(
    store: Store, kind: str, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_checks, "file_system", lambda path, mounts: kind)
    messages = [f"on a network file system ({kind})" in finding.what for finding in doctor(store)]
    assert messages == [True] * remote


@is_a_file
def test_a_long_log_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_checks, "MAX_LOG_BYTES", 400_000)
    with store.reading() as connection:
        connection.execute(text("SELECT count(*) FROM image"))  # keeps the log from being folded in
        put(store, drawn("a"), drawn("b"))
        assert doctor(store) == []
        put(store, *(drawn(f"c{i}") for i in range(60)))
        (finding,) = doctor(store)
    assert f"{path_of(store).name}-wal has " in finding.what


@is_a_file
def test_another_journal_is_reported_and_an_upgrade_sets_it(store: Store) -> None:
    store.close()
    with sqlite3.connect(path_of(store)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    (finding,) = doctor(store)
    assert "its journal mode is delete" in finding.what
    assert "hpastore db upgrade" in finding.hint
    migrate.upgrade(store)
    assert doctor(store) == []


SERVER = {
    "index": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq_label_name'::regclass",
        Finding("uq_label_name of label", "the index is not valid", "REINDEX INDEX uq_label_name"),
    ),
    "constraint": (
        "UPDATE pg_constraint SET convalidated = false WHERE conname = 'fk_cell_image_id'",
        Finding(
            "fk_cell_image_id of cell",
            "the constraint was never checked",
            "ALTER TABLE cell VALIDATE CONSTRAINT fk_cell_image_id",
        ),
    ),
    "collation": (
        'ALTER TABLE failure ALTER COLUMN uri TYPE text COLLATE "default"',
        Finding(
            "uri of failure",
            "text is not sorted by its bytes, as in other stores",
            "set the column's collation to C; 'hpastore db upgrade' recreates views in the way",
        ),
    ),
}


@has_collations
@pytest.mark.parametrize("fault", SERVER)
def test_what_postgresql_knows_to_be_wrong_is_reported(store: Store, fault: str) -> None:
    statement, finding = SERVER[fault]
    change(store, statement, "CREATE TABLE other (name text)")
    assert finding in doctor(store)
    change(store, "DROP TABLE other")
    assert doctor(store) == [finding]


@has_collations
def test_an_old_postgresql_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_checks, "MIN_POSTGRESQL", 999)
    (finding,) = doctor(store)
    assert finding.what.endswith(" is older than 999")


# Databases that do not answer


def test_a_check_that_the_database_refuses_is_a_finding(filled: Store) -> None:
    with filled.writing() as connection:
        migrate._drop_views(connection)
        connection.execute(text("ALTER TABLE cell RENAME TO sell"))
    findings = doctor(filled, deep=True)
    assert any(finding.what.startswith("cannot be read: ") for finding in findings)
    assert any(finding.where == "schema" for finding in findings)


def test_a_database_out_of_reach_is_no_finding(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(connection: Connection) -> list[Finding]:
        raise UnavailableError("url", "gone")

    monkeypatch.setattr(row_checks, "labels", unavailable)
    with pytest.raises(UnavailableError):
        doctor(store)
