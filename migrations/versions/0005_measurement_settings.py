"""Measurement settings have a table of this name; one checksum per image and per clean set.

Why: a clean set is made by a recipe, and what the numbers were computed with was called a recipe
too.  An image had two checksums and so had a clean set, and one answers the same question.  Runs,
failures and the descriptions of custom measures have none any more: they only keep account, and no
result depends on them.

The program computes the remaining checksums anew after the migration, in the same transaction: they
cover other rows, and vouch for these from now on.  Who doubts an old store asks 'hpastore doctor
--deep' of the older version.

SQLite renames neither constraints nor the references in them, so that both tables are made anew
there; PostgreSQL renames everything in place.
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
        "clean_set",
        "min_cells",
        "Cells of a label below which its percentiles and medians bound nothing",
        "Number of cells that a label must have for its percentiles and medians to set a bound",
    ),
    (
        "clean_set",
        "guard",
        "What of an image that would lose all cells of a label: report, or keep its best cell",
        "If an image would lose all cells of a label: report it, or keep its best cell",
    ),
    (
        "clean_set",
        "background_percentile",
        "Of the store's recipe when it was made; NULL if not known [share 0..1]",
        "Of the measurement settings when it was made; NULL if not known [share 0..1]",
    ),
    (
        "clean_set",
        "split",
        "Only cells of images of this split were judged, and made the thresholds; NULL is all",
        "Split whose cells were judged and gave the thresholds; NULL is all images",
    ),
    (
        "measure",
        None,
        "Measures that users added, as they were last computed",
        "Custom measures, as they were last computed",
    ),
    (
        "clean_rule",
        "condition",
        "Flag that a cell must have for the rule to be asked; NULL is always",
        "Flag that a cell must have for the rule to apply; NULL: it always applies",
    ),
    (
        "clean_set_former",
        None,
        "Verdicts on cells whose image was replaced or pruned since",
        "Verdicts on cells whose image was replaced or deleted since",
    ),
    (
        "clean_set_former",
        "mask_id",
        "The cell's value in the mask of then",
        "The cell's value in the mask that was judged",
    ),
    (
        "failure",
        None,
        "Images that were rejected; a row goes when its image is stored",
        "Rejected images; the row is deleted when the image is stored",
    ),
    (
        "image_channel",
        "background_level",
        (
            "The recipe's percentile of the pixels outside every cell; NULL without such a pixel [grey level 0..255]"
        ),
        (
            "Background percentile of the pixels outside every cell; NULL without such a pixel [grey level 0..255]"
        ),
    ),
    (
        "image_measure",
        None,
        "Which images have which of the users' measures",
        "Which images have which custom measures",
    ),
    (
        "cell_measure",
        None,
        "Measures that users added, of cells",
        "Custom measures of cells",
    ),
    (
        "cell_override",
        "cell_id",
        "The cell; NULL while the store has none like it",
        "The cell; NULL while the store has no such cell",
    ),
)
"""Table, column or None for the table itself, its comment before and after."""

COVERED: Final = {
    "measurement_settings": "this row",
    "image": "this row and its rows of image_file, image_label and image_measure",
    "clean_set": "this row and its rows of clean_rule, clean_set_threshold and clean_set_former",
    "cell_override": "this row",
}
"""Tables with a checksum, and what it covered before."""

DROPPED: Final = (
    ("clean_set", "verdicts", "its rows of clean_set_cell"),
    ("ingest_run", "checksum", "this row"),
    ("failure", "checksum", "this row and its rows of failure_file"),
    ("measure", "checksum", "this row"),
)
"""Checksums that are no more, and what they covered; that of an image's cells, ``contents``, is
another."""

CONTENTS: Final = "its rows of image_channel, cell, cell_channel and cell_measure"

CHECKSUM_BEFORE: Final = (
    "Checksum of {}, see store/integrity/checksums.py; NULL if it was never taken"
)
CHECKSUM: Final = (
    "Checksum of this row and of those that belong to it; NULL if it was never computed"
)


def upgrade() -> None:
    if is_postgresql():
        shorten_checks()
    rename(BEFORE, AFTER)
    add_up_clean_sets()
    if is_postgresql():
        op.drop_column("image", "contents")
    for table, column, _ in DROPPED:
        op.drop_column(table, column)
    for table in ("image", "measurement_settings"):
        op.execute(f"UPDATE {table} SET checksum = NULL")  # noqa: S608 names of this module
    for table, commented, _, after in COMMENTS:
        comment(table, commented, after)
    for table in COVERED:
        comment(table, "checksum", CHECKSUM)


def downgrade() -> None:
    for table, commented, before, _ in COMMENTS:
        comment(table, commented, before)
    for table, covered in COVERED.items():
        comment(table, "checksum", CHECKSUM_BEFORE.format(covered))
    for table in ("image", "measurement_settings", "clean_set"):
        op.execute(f"UPDATE {table} SET checksum = NULL")  # noqa: S608 names of this module
    for table, column, covered in DROPPED:
        what = CHECKSUM_BEFORE.format(covered)
        op.add_column(table, sa.Column(column, BIGINT, nullable=True, comment=what))
    if is_postgresql():
        what = CHECKSUM_BEFORE.format(CONTENTS)
        op.add_column("image", sa.Column("contents", BIGINT, nullable=True, comment=what))
    rename(AFTER, BEFORE)


def add_up_clean_sets() -> None:
    """Make one checksum of the two of each clean set: their sum modulo 2**63, which no database
    computes.
    """
    op.execute(
        "UPDATE clean_set SET checksum = CASE WHEN checksum > 9223372036854775807 - verdicts"
        " THEN checksum - (9223372036854775807 - verdicts) - 1 ELSE checksum + verdicts END"
    )


def is_postgresql() -> bool:
    return bool(op.get_context().dialect.name == "postgresql")


def comment(table: str, column: str | None, what: str) -> None:
    """Say what a table or a column holds; SQLite has no comments."""
    if is_postgresql():
        target = f"TABLE {table}" if column is None else f"COLUMN {table}.{column}"
        quoted = what.replace("'", "''")
        op.get_bind().exec_driver_sql(f"COMMENT ON {target} IS '{quoted}'")


def rename(before: tuple[str, str], after: tuple[str, str]) -> None:
    if is_postgresql():
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
        "SELECT conname FROM pg_constraint"
        " WHERE conrelid = CAST(:table AS regclass) AND strpos(conname, :old) > 0 ORDER BY conname"
    )
    for name in op.get_bind().execute(statement, {"table": table, "old": old}).scalars().all():
        op.execute(f'ALTER TABLE {table} RENAME CONSTRAINT "{name}" TO "{name.replace(old, new)}"')


def shorten_checks() -> None:
    """Name all checks alike: some versions of the first migration named theirs after the table
    twice.
    """
    statement = sa.text(
        "SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
        " WHERE contype = 'c' AND connamespace = CAST(current_schema() AS regnamespace)"
        " AND starts_with(conname, 'ck_' || relname || '_ck_' || relname || '_') ORDER BY relname, conname"
    )
    for table, name in op.get_bind().execute(statement).all():
        short = name.removeprefix(f"ck_{table}_")
        op.execute(f'ALTER TABLE {table} RENAME CONSTRAINT "{name}" TO "{short}"')


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
    op.create_index(
        f"uq_{name}_current", name, ["current"], unique=True, sqlite_where=sa.text("current")
    )


def copy_image(old_column: str, table: str, column: str) -> None:
    """Copy ``image``, whose foreign key and its name SQLite cannot change.

    The checksum of its cells is in the older table only.
    """
    columns: list[sa.Column[Any]] = [
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
        sa.Column("checksum", BIGINT, nullable=True),
        sa.Column("relabelled_at", INSTANT, nullable=True),
        sa.Column("binary_mask", TEXT, nullable=True),
        sa.Column("match_nuclei", TEXT, nullable=True),
    ]
    if column == BEFORE[1]:
        columns.append(sa.Column("contents", BIGINT, nullable=True))
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
    sources = {column: old_column, "contents": "NULL"}
    old = ", ".join(sources.get(c.name, c.name) for c in columns)
    op.execute(f"INSERT INTO image_copy ({new}) SELECT {old} FROM image")  # noqa: S608 names of this module
    op.drop_table("image")
    op.rename_table("image_copy", "image")
