"""Every released schema is kept as a small store, and upgraded with its rows."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

import hpastore
from hpastore.errors import DamagedError, SchemaOldError
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.runtime import failpoints
from hpastore.store import migrate, version
from hpastore.store.engine import Store, connect
from hpastore.store.integrity.doctor import doctor
from hpastore.vocabulary import CHANNELS
from tests.conftest import Trials
from tests.store.test_migrate import ddl
from tests.world import has_comments, is_a_file, measured, put, rows

STORED = Path(__file__).parents[1] / "stored"
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")


def test_every_schema_but_this_programs_is_kept() -> None:
    scripts = {path.name[:4] for path in version.scripts().glob("versions/0*.py")}
    assert scripts - {version.head()} == set(REVISIONS)
    assert {path.name for path in STORED.iterdir()} == {
        f"{revision}.{database}.sql"
        for revision in REVISIONS
        for database in ("sqlite", "postgresql")
    }


@pytest.fixture(params=REVISIONS)
def old_url(request: pytest.FixtureRequest, database: str, empty_url: str) -> str:
    """A database as an older hpastore left it."""
    load(empty_url, str(request.param), database)
    return empty_url


def load(url: str, revision: str, database: str) -> None:
    script = (STORED / f"{revision}.{database}.sql").read_text()
    if database == "sqlite":
        connection = sqlite3.connect(str(make_url(url).database))
        connection.executescript(script)
        connection.close()
    else:
        with psycopg.connect(url) as server:
            server.execute(script.encode())


def contents(url: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, whatever the schema."""
    with connect(url) as store, store.reading() as connection:
        if store.is_sqlite:
            names = (
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        else:
            names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        tables = list(connection.execute(text(names)).scalars())
        return {
            table: sorted(
                map(dict, connection.execute(text(f"SELECT * FROM {table}")).mappings()), key=repr
            )
            for table in tables
        }


def old_columns(
    rows: dict[str, list[dict[str, Any]]], like: dict[str, list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """The tables and columns that an older schema has."""
    return {
        table: sorted(
            (
                {name: row[name] for name in (like[table][0] if like[table] else row)}
                for row in rows[table]
            ),
            key=repr,
        )
        for table in like
    }


def in_former_tables(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Put masks back among the cells, and the measures of channels into rows of their own."""
    masks = {row["cell_id"]: row["rle"] for row in tables["cell_mask"]}
    tables["cell_channel"] = [
        {
            "cell_id": cell["id"],
            "channel": channel,
            **{m.name: cell[f"{channel}_{m.name}"] for m in CHANNEL_MEASURES},
        }
        for cell in tables["cell"]
        for channel in CHANNELS
    ]
    tables["cell"] = [{**cell, "rle": masks[cell["id"]]} for cell in tables["cell"]]
    for settings in tables["measurement_settings"]:
        versions = json.loads(settings["measures"])
        assert set(versions.values()) == {1}
        settings["version"] = 2 if "correlation" in versions else 1
    return tables


def without_checksums(tables: dict[str, list[dict[str, Any]]]) -> None:
    """Leave out what an upgrade computes again."""
    for row in (row for of_table in tables.values() for row in of_table):
        for column in ("checksum", "contents", "verdicts"):
            row.pop(column, None)


def with_new_names(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Name tables and columns as today."""
    names = {"recipe": "measurement_settings", "recipe_id": "settings_id"}
    return {
        names.get(table, table): sorted(
            ({names.get(column, column): value for column, value in row.items()} for row in rows),
            key=repr,
        )
        for table, rows in tables.items()
    }


def test_an_older_store_is_refused_and_not_touched(old_url: str) -> None:
    before = contents(old_url)
    with pytest.raises(SchemaOldError, match="run 'hpastore db upgrade' first"):
        hpastore.open_store(old_url)
    assert contents(old_url) == before


def test_an_older_store_keeps_all_its_rows(old_url: str) -> None:
    before = contents(old_url)
    assert len(before["cell"]) == 9
    assert len(before["clean_set_cell"]) == 18
    with connect(old_url) as store:
        assert migrate.upgrade(store)
        assert not migrate.upgrade(store)
        assert migrate.check(store) == []
    after = in_former_tables(contents(old_url))
    assert after.pop("alembic_version") == [{"version_num": version.head()}]
    del before["alembic_version"]
    without_checksums(before)
    without_checksums(after)
    assert old_columns(after, with_new_names(before)) == with_new_names(before)


def test_an_upgraded_store_has_the_schema_of_a_new_one(
    store: Store, empty_url: str, database: str
) -> None:
    load(empty_url, "0005", database)
    with connect(empty_url) as old:
        migrate.upgrade(old)
        assert ddl(old) == ddl(store)


@pytest.mark.parametrize("revision", ["0005", "0007"])
def test_masks_and_measures_move_and_all_checksums_stay(
    revision: str, empty_url: str, database: str
) -> None:
    load(empty_url, revision, database)
    before = contents(empty_url)
    with connect(empty_url) as store:
        migrate.upgrade(store)
        assert doctor(store, deep=True) == []
    after = contents(empty_url)
    for table in ("image", "clean_set", "cell_override"):
        checksums = [row["checksum"] for row in before[table]]
        assert None not in checksums
        assert [row["checksum"] for row in after[table]] == checksums


PERCENTILES = ("intensity_p99", "intensity_p999")
OF_THE_MASK = ("border_share", "nucleus_cut", "nucleus_size", "second_nucleus")
NEW = {
    "cell": {"labels", "label_count", *OF_THE_MASK},
    "cell_channel": {*PERCENTILES},
    "clean_set_cell": {"value", "lower", "upper"},
}
"""Columns of the dump that the oldest schemas lacked."""


def without_new(lines: Iterable[str]) -> Iterator[str]:
    """Give the rows of a dump without new columns."""
    kept: dict[str, list[int]] = {}
    for line in lines:
        table, colon, heading = line.partition(": ")
        if colon and "\t" not in table:
            new = NEW.get(table, set())
            kept[table] = [i for i, name in enumerate(heading.split(", "), 1) if name not in new]
        else:
            name, *values = line.split("\t")
            yield "\t".join((name, *(values[i - 1] for i in kept.get(name, ()))))


def test_an_upgraded_store_works_like_a_new_one(old_url: str) -> None:
    with connect(old_url) as store:
        migrate.upgrade(store)
    with hpastore.open_store(old_url) as store:
        assert hpastore.status(store).images == 4
        assert hpastore.status(store).stale == 4  # they lack percentiles
        overrides = hpastore.list_overrides(store)
        assert hpastore.undo_overrides(store, list(overrides["cell"])) == len(overrides)
        assert hpastore.create_clean_set(store, "mine").version == 2
        kept: tuple[str, ...] = ("image_file\t", "image_channel\t", "cell\t", "cell_mask\t")
        kept = (*kept, "cell_channel\t", "clean_set_cell\t")
        lines = [line for line in without_new(hpastore.dump(store)) if line.startswith(kept)]
    # On both databases, and for ever.
    assert (
        hashlib.sha256("\n".join(lines).encode()).hexdigest()
        == "3a66b4ac062a1d445ebc4eddccd9cc3089b5564ac4a2715f7aef03826ddfb4de"
    )


def test_an_upgraded_store_lacks_only_the_measures_that_it_never_had(
    empty_url: str, database: str
) -> None:
    load(empty_url, "0005", database)
    with connect(empty_url) as store:
        migrate.upgrade(store)
        status = hpastore.status(store)
    older = ("correlation", "intensity_cytoplasm", "intensity_nucleus", "intensity_nucleus_rim")
    missing = tuple(sorted((*older, *OF_THE_MASK)))
    assert (status.stale, status.unmeasured_measures) == (4, missing)


def test_remeasure_fills_the_percentiles_of_an_upgraded_store_and_leaves_the_rest(
    old_url: str,
) -> None:
    with connect(old_url) as store:
        migrate.upgrade(store)
    before = contents(old_url)
    columns = [f"{channel}_{name}" for channel in CHANNELS for name in PERCENTILES]
    assert {cell[name] for cell in before["cell"] for name in columns} == {None}
    with hpastore.open_store(old_url) as store:
        assert hpastore.remeasure(store).remeasured == 4
        status = hpastore.status(store)
        assert (status.stale, status.unmeasured) == (0, 4)
        assert {*OF_THE_MASK} <= {*status.unmeasured_measures}
        assert migrate.check(store) == []
        assert doctor(store, deep=True) == []
    after = contents(old_url)
    for cell in after["cell"]:
        for channel in CHANNELS:
            median, p99, p999, brightest = (
                cell[f"{channel}_{name}"]
                for name in ("intensity_median", *PERCENTILES, "intensity_max")
            )
            assert median <= p99 <= p999 <= brightest
    for table in ("cell_override", "clean_set", "clean_set_cell", "cell_mask", "image_channel"):
        assert after[table] == before[table]
    others = [{k: v for k, v in cell.items() if k not in columns} for cell in after["cell"]]
    assert others == [
        {k: v for k, v in cell.items() if k not in columns} for cell in before["cell"]
    ]


def test_a_clean_set_of_an_older_store_is_refreshed_by_its_rules(old_url: str) -> None:
    with connect(old_url) as store:
        migrate.upgrade(store)
    rules = "SELECT measure, channel, lower_percentile, upper_percentile FROM clean_rule"
    with hpastore.open_store(old_url) as store:
        for name in ("mine", "wide"):
            recipe = hpastore.clean_set_recipe(store, name)
            assert hpastore.refresh_clean_set(store, name).superseded is None
            assert hpastore.clean_set_recipe(store, name) == recipe
        mine, wide, *refreshed = rows(store, f"{rules} ORDER BY clean_set_id")
        assert refreshed == [mine, wide]
        assert doctor(store, deep=True) == []


@pytest.mark.parametrize("damaged", ["", "[1]", '{"area":"1"}', '{"area":true}', "[" * 9999])
def test_damaged_versions_of_measures_name_their_row(store: Store, damaged: str) -> None:
    put(store, measured("a"))
    with store.writing() as connection:
        connection.execute(
            text("UPDATE measurement_settings SET measures = :damaged"), {"damaged": damaged}
        )
    with pytest.raises(DamagedError, match=r"^measurement settings 1: its measures .* are not"):
        hpastore.status(store)


def change(url: str, *statements: str) -> None:
    """Change rows behind the program's back."""
    with connect(url) as store, store.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def warnings_of_upgrade(url: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    with connect(url) as store:
        assert migrate.upgrade(store)
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def copy_hint(url: str, database: str) -> str:
    """How a warning ends, which names the copy of a SQLite file."""
    if database == "postgresql":
        return ""
    path = make_url(url).database
    return f"; {path}.schema-0005.backup is the store before the upgrade"


def test_an_upgrade_of_a_sound_store_warns_of_nothing(
    old_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings_of_upgrade(old_url, caplog) == []


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (
            ["UPDATE cell SET area = area + 1 WHERE id = 1"],
            "1 row does not match the stored checksum (image image-00)",
        ),
        (
            ["UPDATE image SET width = width + 1", "UPDATE clean_set SET min_green = 7"],
            "6 rows do not match the stored checksum (clean set mine@1, clean set wide@1, image image-00 and 3 more)",
        ),
    ],
)
def test_what_was_damaged_before_an_upgrade_is_one_warning(
    statements: list[str],
    text: str,
    empty_url: str,
    database: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    load(empty_url, "0005", database)
    change(empty_url, *statements)
    warning = (
        f"{text}, and may have been damaged before the upgrade; "
        f"'hpastore doctor --deep' lists what is damaged{copy_hint(empty_url, database)}"
    )
    assert warnings_of_upgrade(empty_url, caplog) == [warning]
    with connect(empty_url) as store:
        findings = [str(finding) for finding in doctor(store, deep=True)]
    assert any("its stored values do not match its checksum" in line for line in findings)


@has_comments  # a driver that decodes moments
def test_values_that_cannot_be_read_do_not_stop_an_upgrade(
    empty_url: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    load(empty_url, "0005", database)
    change(empty_url, "UPDATE clean_set SET created_at = 'infinity' WHERE id = 1")
    [warning] = warnings_of_upgrade(empty_url, caplog)
    assert warning.startswith("the checksums could not be compared after the upgrade (")
    assert warning.endswith("; 'hpastore doctor --deep' lists what is damaged")
    with connect(empty_url) as store:
        assert version.current(store) == version.head()


@has_comments  # a database that plans by statistics
def test_the_planner_knows_the_new_tables(empty_url: str, database: str) -> None:
    load(empty_url, "0005", database)
    with connect(empty_url) as store:
        migrate.upgrade(store)
        known = "SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'public'"
        tables = {row["tablename"] for row in rows(store, known)}
    assert {"cell", "cell_mask", "clean_set_cell"} <= tables


@is_a_file
def test_a_file_is_copied_beside_itself_first(old_url: str) -> None:
    before = contents(old_url)
    [was] = before["alembic_version"]
    with connect(old_url) as store:
        migrate.upgrade(store)
        copy = migrate.backup_path(store, was["version_num"])
    assert copy.name == f"empty.db.schema-{was['version_num']}.backup"
    assert contents(f"sqlite:///{copy}") == before
    assert sorted(path.name for path in copy.parent.iterdir() if "backup" in path.name) == [
        copy.name
    ]


@pytest.mark.parametrize(
    "old_url",
    # The oldest goes through the statements of all migrations, and the newest through the fewest.
    ["0001", *(pytest.param(r, marks=pytest.mark.full) for r in REVISIONS[1:-1]), REVISIONS[-1]],
    indirect=True,
)
def test_an_upgrade_that_fails_at_any_statement_changes_nothing(
    old_url: str, monkeypatch: pytest.MonkeyPatch, trials: Trials
) -> None:
    before = contents(old_url)
    for n in range(1, 1000, trials(quick=37, full=1, soak=1)):
        failpoints.reached.clear()
        monkeypatch.setenv(failpoints.VARIABLE, f"schema.statement:{n}:raise")
        with connect(old_url) as store:
            try:
                migrate.upgrade(store)
                break
            except RuntimeError:
                pass
        assert contents(old_url) == before, n
    assert n > 12
    with connect(old_url) as store:
        assert migrate.check(store) == []
