from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from hpastore.clean.create import create_clean_set
from hpastore.errors import SchemaMissingError, SchemaNewError, SchemaOldError, StoreError
from hpastore.store import migrate, version
from hpastore.store.engine import Store, connect
from hpastore.store.integrity.doctor import doctor
from tests.world import dump, is_a_file, measured, put, rows, scalar, switches_foreign_keys

NEXT = '''
"""{why}"""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
'''

HEAD = version.head()

COPY_IMAGE = """
    with op.batch_alter_table("image") as batch:
        batch.add_column(sa.Column("well", sa.Text()))
        batch.alter_column("split", new_column_name="part")
"""
COPY_BACK = """
    with op.batch_alter_table("image") as batch:
        batch.drop_column("well")
        batch.alter_column("part", new_column_name="split")
"""

SCHEMA = (
    """SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name,
              row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position)
       FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 7""",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
       FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    """SELECT objoid::regclass::text, description,
              (SELECT attname FROM pg_attribute WHERE attrelid = objoid AND attnum = objsubid)
       FROM pg_description WHERE classoid = 'pg_class'::regclass AND objoid >= 16384
       ORDER BY 1, 2, 3""",
)
"""What PostgreSQL knows about tables, constraints, indexes, views and comments."""


def ddl(store: Store) -> list[dict[str, Any]]:
    """Everything that the database knows about the schema."""
    if store.is_sqlite:
        return rows(store, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    return [row for sql in SCHEMA for row in rows(store, sql)]


def counts(store: Store) -> dict[str, int]:
    tables = (
        "image",
        "image_file",
        "image_label",
        "image_channel",
        "cell",
        "cell_mask",
        "clean_set_cell",
    )
    return {table: scalar(store, f"SELECT count(*) FROM {table}") for table in tables}


def write_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, upgrade: str, downgrade: str = "pass"
) -> None:
    """Give the program one more migration."""
    scripts = folder / "migrations"
    shutil.copytree(version.scripts(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    script = NEXT.format(
        why="For a test.", head=HEAD, upgrade=upgrade.strip(), downgrade=downgrade.strip()
    )
    (scripts / "versions" / "9999_next.py").write_text(script)
    monkeypatch.setattr(version, "scripts", lambda: scripts)


@pytest.fixture
def filled(store: Store) -> Store:
    put(store, measured("a", (0,)), measured("b", (0, 16)), measured("c", (18,), n=0))
    create_clean_set(store, "a")
    return store


# Upgrade and downgrade


def test_an_empty_database_is_brought_to_the_schema_once(empty_url: str) -> None:
    with connect(empty_url, create=True) as store:
        assert version.current(store) is None
        assert migrate.upgrade(store) is True
        made = ddl(store)
        assert version.current(store) == version.head()
        assert migrate.check(store) == []
        put(store, measured())
        before = dump(store)
        assert migrate.upgrade(store) is False
        assert ddl(store) == made
        assert dump(store) == before


def test_down_and_up_again_gives_the_same_schema(store: Store) -> None:
    before = ddl(store)
    migrate.downgrade(store, "base")
    left = (
        {row["name"] for row in ddl(store)}
        if store.is_sqlite
        else {r.get("table_name") for r in ddl(store)}
    )
    assert left - {None} <= {"alembic_version", "sqlite_autoindex_alembic_version_1"}
    assert version.current(store) is None
    assert migrate.upgrade(store) is True
    assert ddl(store) == before
    assert migrate.check(store) == []


def test_a_migration_that_fails_leaves_the_old_schema(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, schema = dump(filled), ddl(filled)
    write_next(
        tmp_path,
        monkeypatch,
        'op.execute("DELETE FROM clean_set")\n    op.drop_table("failure_file")\n    1 / 0',
    )
    with pytest.raises(ZeroDivisionError):
        migrate.upgrade(filled)
    assert (dump(filled), ddl(filled)) == (before, schema)
    assert version.current(filled) == HEAD


# Other versions


def test_a_database_without_tables_is_reported(empty_url: str) -> None:
    with connect(empty_url, create=True) as store:
        for use in (version.require_current, migrate.check):
            with pytest.raises(
                SchemaMissingError,
                match="holds no hpastore tables; 'hpastore ingest ROOT' makes them",
            ):
                use(store)


def test_an_older_schema_is_refused_with_what_to_do(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_next(tmp_path, monkeypatch, "pass")
    for use in (version.require_current, migrate.check):
        with pytest.raises(
            SchemaOldError, match=f"has the older schema {HEAD}; run 'hpastore db upgrade' first"
        ):
            use(filled)
    assert migrate.upgrade(filled) is True
    version.require_current(filled)
    assert version.current(filled) == "9999"


def stamp(store: Store, revision: str) -> None:
    with store.writing() as connection:
        connection.execute(
            text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision}
        )


USES = (version.require_current, migrate.upgrade, migrate.check)


def test_a_newer_schema_is_refused(filled: Store) -> None:
    stamp(filled, "ffff")
    before, schema = dump(filled), ddl(filled)
    for use in USES:
        with pytest.raises(
            SchemaNewError, match=r"a newer hpastore \(schema ffff\); upgrade hpastore to use it"
        ):
            use(filled)
    assert (dump(filled), ddl(filled)) == (before, schema)
    assert scalar(filled, "SELECT version_num FROM alembic_version") == "ffff"


@is_a_file
def test_the_file_of_a_newer_schema_is_left_as_it_is(url: str) -> None:
    path = Path(url.removeprefix("sqlite:///"))
    with connect(url) as store:
        stamp(store, "ffff")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    for use in USES:
        with connect(url) as store, pytest.raises(SchemaNewError):
            use(store)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# Drift


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("ALTER TABLE image ADD COLUMN well TEXT", "well"),
        ("ALTER TABLE image DROP COLUMN split", "split"),
        ("CREATE TABLE stray (id INTEGER)", "stray"),
        ("DROP INDEX ix_image_label_label_id", "ix_image_label_label_id"),
        ("DROP VIEW image_summary", "the view image_summary is missing"),
        ("DROP TABLE failure_file", "failure"),
        (
            "DROP VIEW image_summary; CREATE VIEW image_summary AS SELECT id AS image_id FROM image",
            "the view image_summary differs from hpastore's definition",
        ),
    ],
)
def test_what_differs_from_the_models_is_reported(
    store: Store, statement: str, message: str
) -> None:
    with store.writing() as connection:
        if " DROP COLUMN" in statement:  # views hold on to their columns
            migrate._drop_views(connection)
        for part in statement.split(";"):
            connection.execute(text(part))
        if " DROP COLUMN" in statement and not store.is_sqlite:
            connection.execute(text("ALTER TABLE image ADD COLUMN part TEXT"))
    found = migrate.check(store)
    assert any(message in sentence for sentence in found), found


ACTIONS = {
    "sqlite": {
        "CREATE TRIGGER t AFTER INSERT ON clean_set BEGIN DELETE FROM cell_override; END": (
            "hpastore did not create the trigger t on clean_set, which may change rows; "
            'remove it: DROP TRIGGER "t"'
        ),
        "CREATE TRIGGER u INSTEAD OF DELETE ON clean_cell BEGIN DELETE FROM cell; END": (
            "hpastore did not create the trigger u on clean_cell, which may change rows; "
            'remove it: DROP TRIGGER "u"'
        ),
    },
    "postgresql": {
        """CREATE TRIGGER t BEFORE UPDATE ON clean_set FOR EACH ROW
           EXECUTE FUNCTION suppress_redundant_updates_trigger()""": (
            "hpastore did not create the trigger t on clean_set, which may change rows; "
            'remove it: DROP TRIGGER "t" ON "clean_set"'
        ),
        "CREATE RULE r AS ON INSERT TO clean_set DO ALSO DELETE FROM cell_override": (
            "hpastore did not create the rule r on clean_set, which may change rows; "
            'remove it: DROP RULE "r" ON "clean_set"'
        ),
    },
}


def test_triggers_and_rules_are_reported_and_removed_as_the_sentence_says(
    store: Store, database: str
) -> None:
    actions = ACTIONS[database]
    with store.writing() as connection:
        for statement in actions:
            connection.exec_driver_sql(statement)
    found = migrate.check(store)
    assert found == list(actions.values())
    assert [f"schema: {sentence}; undo it, or restore a backup" for sentence in found] == [
        str(finding) for finding in doctor(store)
    ]

    with store.writing() as connection:
        for sentence in found:
            connection.exec_driver_sql(sentence.partition("remove it: ")[2])
    assert migrate.check(store) == []


def test_all_that_differs_is_reported(store: Store) -> None:
    with store.writing() as connection:
        for statement in (
            "DROP VIEW image_summary",
            "DROP VIEW label_summary",
            "DROP TABLE failure_file",
        ):
            connection.execute(text(statement))
    messages = " ".join(migrate.check(store))
    assert all(name in messages for name in ("image_summary", "label_summary", "failure"))


# A copy of a table on SQLite


def test_a_migration_that_copies_a_table_keeps_its_children(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, schema, rows_before = counts(filled), ddl(filled), dump(filled)
    assert before["cell"] == 6
    write_next(tmp_path, monkeypatch, COPY_IMAGE, COPY_BACK)
    for uses_old_column in ("_create_views", "_verify"):
        monkeypatch.setattr(migrate, uses_old_column, lambda connection: None)
    migrate.upgrade(filled)
    assert counts(filled) == before
    assert {row["name"] for row in rows(filled, "SELECT name FROM image WHERE part = 'train'")} == {
        "a",
        "b",
        "c",
    }
    monkeypatch.undo()
    write_next(tmp_path / "again", monkeypatch, COPY_IMAGE, COPY_BACK)
    migrate.downgrade(filled, HEAD)
    monkeypatch.undo()
    with migrate._schema_transaction(filled) as connection:
        migrate._create_views(connection)
    assert dump(filled) == rows_before
    assert migrate.check(filled) == []
    assert len(ddl(filled)) == len(schema)


def copy_image(connection: Connection) -> int:
    """Copy ``image`` as a migration does, and count the cells that are left."""
    op = Operations(MigrationContext.configure(connection))
    migrate._drop_views(connection)
    with op.batch_alter_table("image", recreate="always") as batch:
        batch.alter_column("split", new_column_name="part")
    return int(connection.execute(text("SELECT count(*) FROM cell")).scalar_one())


@switches_foreign_keys
def test_the_copy_would_lose_all_cells_if_foreign_keys_were_on(filled: Store) -> None:
    with filled.writing() as connection:
        assert copy_image(connection) == 0
        connection.rollback()
    with migrate._schema_transaction(filled) as connection:
        assert copy_image(connection) == 6


@switches_foreign_keys
def test_rows_that_would_refer_to_nothing_stop_a_migration(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(filled)
    write_next(tmp_path, monkeypatch, "op.execute(\"DELETE FROM image WHERE name = 'a'\")")
    with pytest.raises(
        StoreError,
        match=r"\d+ rows, the first in table \w+, would refer to rows that do not exist; nothing was changed",
    ):
        migrate.upgrade(filled)
    assert dump(filled) == before
    assert version.current(filled) == HEAD


def test_the_ddl_test_sees_a_difference(store: Store) -> None:
    before = ddl(store)
    with store.writing() as connection:
        connection.execute(text("DROP INDEX ix_image_label_label_id"))
    assert ddl(store) != before


def test_an_upgrade_remakes_a_view_that_is_not_ours(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(text("DROP VIEW label_summary"))
        connection.execute(text("create view label_summary as select 1 as x"))
    assert len(migrate.check(store)) == 1
    assert migrate.upgrade(store)
    assert migrate.check(store) == []
    assert not migrate.upgrade(store)


def test_a_database_of_somebody_elses_is_refused_untouched(empty_url: str, tmp_path: Path) -> None:
    with connect(empty_url, create=True) as store, store.engine.begin() as connection:
        connection.execute(text("CREATE TABLE label (id INTEGER)"))
    file = tmp_path / "empty.db"
    before = file.read_bytes() if file.exists() else b""
    with (
        connect(empty_url) as store,
        pytest.raises(StoreError, match=r"holds foreign tables \(label\)"),
    ):
        migrate.upgrade(store)
    assert before == (file.read_bytes() if file.exists() else b"")


def test_the_names_of_migrations_say_what_alembic_finds_in_them() -> None:
    scripts = ScriptDirectory.from_config(migrate._config())
    in_order = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    assert version._known_revisions() == in_order
    assert scripts.get_heads() == [version.head()]
