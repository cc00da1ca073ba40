"""The table of measurement settings is called so.

Why: a clean set is made by a recipe, and what the numbers were computed with was called a recipe too.

SQLite renames neither constraints nor the references in them, so that both tables are made anew there;
PostgreSQL renames everything in place.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What PostgreSQL and a STRICT table of SQLite call the same thing.
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

BEFORE: Final = ("recipe", "recipe_id")
AFTER: Final = ("measurement_settings", "settings_id")
"""Name of the table, and of the column of ``image`` that refers to it."""

COMMENTS: Final = (
    (
        *("image_channel", "background_level", REAL),
        (
            "The recipe's percentile of the pixels outside every cell; NULL without such a pixel "
            "[grey level 0..255]"
        ),
        (
            "Background percentile of the pixels outside every cell; NULL without such a pixel "
            "[grey level 0..255]"
        ),
    ),
    (
        *("clean_set", "background_percentile", REAL),
        "Of the store's recipe when it was made; NULL if not known [share 0..1]",
        "Of the measurement settings when it was made; NULL if not known [share 0..1]",
    ),
)
"""Table, column, its type, its comment before and after."""


def upgrade() -> None:
    rename(BEFORE, AFTER)
    for table, column, type_, _, after in COMMENTS:
        comment(table, column, type_, after)


def downgrade() -> None:
    for table, column, type_, before, _ in COMMENTS:
        comment(table, column, type_, before)
    rename(AFTER, BEFORE)


def comment(table: str, column: str, type_: sa.types.TypeEngine[Any], what: str) -> None:
    """Say what a column holds; SQLite has no comments."""
    if op.get_context().dialect.name == "postgresql":
        op.alter_column(table, column, existing_type=type_, comment=what)


def rename(before: tuple[str, str], after: tuple[str, str]) -> None:
    if op.get_context().dialect.name == "postgresql":
        rename_in_place(before, after)
    else:
        copy_settings(before[0], after[0])
        copy_image(before[1], *after)


def rename_in_place(before: tuple[str, str], after: tuple[str, str]) -> None:
    (old_table, old_column), (table, column) = before, after
    op.rename_table(old_table, table)
    op.alter_column("image", old_column, new_column_name=column)
    op.execute(f"ALTER SEQUENCE {old_table}_id_seq RENAME TO {table}_id_seq")
    op.execute(f"ALTER INDEX uq_{old_table}_current RENAME TO uq_{table}_current")
    rename_constraints(table, old_table, table)
    rename_constraints("image", old_column, column)


def rename_constraints(table: str, old: str, new: str) -> None:
    """Rename a table's constraints, those included that PostgreSQL 18 makes of NOT NULL."""
    statement = sa.text(
        "SELECT conname, contype FROM pg_constraint"
        " WHERE conrelid = CAST(:table AS regclass) AND strpos(conname, :old) > 0 ORDER BY conname"
    )
    for name, kind in op.get_bind().execute(statement, {"table": table, "old": old}).all():
        # Some versions of the first migration named a check after the table twice.
        renamed = f"ck_{new}_background_percentile" if kind == "c" else name.replace(old, new)
        op.execute(f'ALTER TABLE {table} RENAME CONSTRAINT "{name}" TO "{renamed}"')


def copy_settings(old: str, name: str) -> None:
    op.create_table(
        name,
        sa.Column("id", BIGINT, nullable=False),
        sa.Column("background_percentile", REAL, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("current", FLAG, nullable=False),
        sa.Column("checksum", BIGINT, nullable=True),
        sa.CheckConstraint(
            "background_percentile BETWEEN 0 AND 1", name=op.f(f"ck_{name}_background_percentile")
        ),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sa.UniqueConstraint(
            "background_percentile", "version", name=f"uq_{name}_background_percentile_version"
        ),
        sqlite_strict=True,
    )
    columns = "id, background_percentile, version, current, checksum"
    op.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {old}")  # noqa: S608 names of this module
    op.drop_table(old)
    op.create_index(f"uq_{name}_current", name, ["current"], unique=True, sqlite_where=sa.text("current"))


def copy_image(old_column: str, table: str, column: str) -> None:
    """Copy ``image``, whose foreign key and its name SQLite cannot change."""
    columns = (
        sa.Column("id", BIGINT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("split", TEXT, nullable=True),
        sa.Column("root", TEXT, nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("bit_depth", sa.Integer(), nullable=False),
        sa.Column("labels", TEXT, nullable=False),
        sa.Column("label_count", sa.Integer(), nullable=False),
        sa.Column("cell_count", sa.Integer(), nullable=False),
        sa.Column("ingested_at", INSTANT, nullable=False),
        sa.Column(column, BIGINT, nullable=False),
        sa.Column("gone_at", INSTANT, nullable=True),
        sa.Column("contents", BIGINT, nullable=True),
        sa.Column("checksum", BIGINT, nullable=True),
        sa.Column("relabelled_at", INSTANT, nullable=True),
        sa.Column("binary_mask", TEXT, nullable=True),
        sa.Column("match_nuclei", TEXT, nullable=True),
    )
    op.create_table(
        "image_copy",
        *columns,
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_image_size")),
        sa.CheckConstraint("bit_depth IN (8, 16)", name=op.f("ck_image_bit_depth")),
        sa.ForeignKeyConstraint([column], [f"{table}.id"], name=f"fk_image_{column}"),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
        sa.UniqueConstraint("name", name="uq_image_name"),
        sqlite_strict=True,
    )
    new = ", ".join(c.name for c in columns)
    old = ", ".join(old_column if c.name == column else c.name for c in columns)
    op.execute(f"INSERT INTO image_copy ({new}) SELECT {old} FROM image")  # noqa: S608 names of this module
    op.drop_table("image")
    op.rename_table("image_copy", "image")
