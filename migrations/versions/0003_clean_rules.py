"""Rules of several measures, overrides by people, verdicts on cells that are no more, more
measures.

Why: a clean set is made by a list of rules per label, each with a reason of its own, and bounds
that may be shares of the label's median; what people decided about a cell survives its mask; a
version of a clean set stays whole when an image of it is replaced; and anyone may add measures of
their own.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What PostgreSQL and a STRICT table of SQLite call the same thing.
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


def cell_channel() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column(
            "correlation",
            REAL,
            nullable=True,
            comment="Correlation of the pixels with those of green; red, blue and yellow only, NULL where "
            "the cell is of one level in either [-1..1]",
        ),
        sa.Column(
            "intensity_nucleus",
            REAL,
            nullable=True,
            comment="Mean over the nucleus with the cell's id, inside the cell; green and blue only, NULL "
            "without a nucleus or nucleus mask [grey level 0..255]",
        ),
        sa.Column(
            "intensity_nucleus_rim",
            REAL,
            nullable=True,
            comment="Mean over the rim of that nucleus: its pixels within sqrt(its area / 201) rows and columns, "
            "rounded down but 1 at least, of a pixel outside of it (an eighth of the radius of a disc); "
            "green and blue only, NULL as intensity_nucleus [grey level 0..255]",
        ),
        sa.Column(
            "intensity_cytoplasm",
            REAL,
            nullable=True,
            comment="Mean over the cell outside that nucleus; green and blue only, NULL without a nucleus "
            "mask or such a pixel [grey level 0..255]",
        ),
    )


def clean_rule() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column(
            "position",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="Its place among the set's rules, 1, 2, ...; the first that fails gives the reason",
        ),
        sa.Column(
            "reason",
            TEXT,
            nullable=True,
            comment="Reason of the cells that it drops; NULL is below_lower or above_upper",
        ),
        sa.Column(
            "condition",
            TEXT,
            nullable=True,
            comment="Flag that a cell must have for the rule to be asked; NULL is always",
        ),
        sa.Column(
            "lower_median",
            REAL,
            nullable=True,
            comment="Lower bound as a multiple of the label's median",
        ),
        sa.Column(
            "upper_median",
            REAL,
            nullable=True,
            comment="Upper bound as a multiple of the label's median",
        ),
        sa.Column(
            "shown",
            FLAG,
            server_default=sa.true(),
            nullable=False,
            comment="Whether a cell that no rule drops is shown with the value of this one",
        ),
    )


def clean_set() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column(
            "min_cells",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="Cells of a label below which its percentiles and medians bound nothing",
        ),
        sa.Column(
            "guard",
            TEXT,
            server_default=sa.text("'report'"),
            nullable=False,
            comment="What of an image that would lose all cells of a label: report, or keep its best cell",
        ),
        sa.Column(
            "background_percentile",
            REAL,
            nullable=True,
            comment="Of the store's recipe when it was made; NULL if not known [share 0..1]",
        ),
    )


CHECKSUM = "Checksum of {}, see store/integrity/checksums.py; NULL if it was never taken"
CHECKSUMS = (
    ("image", "contents", "its rows of image_channel, cell, cell_channel and cell_measure"),
    ("image", "checksum", "this row and its rows of image_file, image_label and image_measure"),
    (
        "clean_set",
        "checksum",
        "this row and its rows of clean_rule, clean_set_threshold and clean_set_former",
    ),
)
CHECKSUMS_BEFORE = (
    ("image", "contents", "its rows of image_channel, cell and cell_channel"),
    ("image", "checksum", "this row and its rows of image_file and image_label"),
    ("clean_set", "checksum", "this row and its rows of clean_rule and clean_set_threshold"),
)


def cover(checksums: tuple[tuple[str, str, str], ...]) -> None:
    """Say what checksums cover; SQLite has no comments."""
    if op.get_context().dialect.name == "postgresql":
        for table, column, what in checksums:
            op.alter_column(table, column, existing_type=BIGINT, comment=CHECKSUM.format(what))


def upgrade() -> None:
    for columns in (cell_channel, clean_rule, clean_set):
        for column in columns():
            op.add_column(columns.__name__, column)
    # Its columns that are never NULL are in the checksum, which is taken again after the migration.
    op.execute("UPDATE clean_set SET checksum = NULL")
    op.add_column(
        "image",
        sa.Column(
            "relabelled_at",
            INSTANT,
            nullable=True,
            comment="When its labels last changed; NULL if they never did [UTC]",
        ),
    )
    cover(CHECKSUMS)
    op.create_table(
        "clean_set_former",
        sa.Column("clean_set_id", BIGINT, nullable=False, comment="The clean set"),
        sa.Column("image_name", TEXT, nullable=False, comment="The image's ID"),
        sa.Column(
            "mask_id", BIGINT, nullable=False, comment="The cell's value in the mask of then"
        ),
        sa.Column("label_id", sa.Integer(), nullable=False, comment="The label, 0..18"),
        sa.Column("clean", FLAG, nullable=False, comment="Whether the cell was clean"),
        sa.Column("reason", TEXT, nullable=True, comment="As in clean_set_cell"),
        sa.ForeignKeyConstraint(
            ["clean_set_id"],
            ["clean_set.id"],
            name="fk_clean_set_former_clean_set_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_clean_set_former_label_id"),
        sa.PrimaryKeyConstraint(
            "clean_set_id", "image_name", "mask_id", "label_id", name="pk_clean_set_former"
        ),
        comment="Verdicts on cells whose image was replaced or pruned since",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cell_override",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column(
            "cell_id",
            BIGINT,
            nullable=True,
            comment="The cell; NULL while the store has none like it",
        ),
        sa.Column(
            "label_id",
            sa.Integer(),
            nullable=True,
            comment="The label it holds for; NULL is every label",
        ),
        sa.Column(
            "keep",
            FLAG,
            nullable=False,
            comment="Whether the cell is clean, whatever the rules say",
        ),
        sa.Column(
            "score",
            REAL,
            nullable=True,
            comment="How sure its author is, or how good it looks [0..1]",
        ),
        sa.Column("author", TEXT, nullable=True, comment="Who decided"),
        sa.Column("comment", TEXT, nullable=True, comment="Why"),
        sa.Column("created_at", INSTANT, nullable=False, comment="When it was decided [UTC]"),
        sa.Column("image_name", TEXT, nullable=False, comment="The image's ID"),
        sa.Column(
            "mask_id",
            BIGINT,
            nullable=False,
            comment="The cell's value in the mask that it was last found in",
        ),
        sa.Column("width", sa.Integer(), nullable=False, comment="Columns of the image [px]"),
        sa.Column("height", sa.Integer(), nullable=False, comment="Rows of the image [px]"),
        sa.Column(
            "rle",
            TEXT,
            nullable=False,
            comment="The cell's mask as it was decided about, a compressed COCO counts string",
        ),
        sa.Column(
            "checksum",
            BIGINT,
            nullable=True,
            comment="Checksum of this row, see store/integrity/checksums.py; NULL if it was never taken",
        ),
        sa.CheckConstraint("score BETWEEN 0 AND 1", name=op.f("ck_cell_override_score")),
        sa.ForeignKeyConstraint(
            ["cell_id"], ["cell.id"], name="fk_cell_override_cell_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_cell_override_label_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cell_override"),
        sa.UniqueConstraint("cell_id", "label_id", name="uq_cell_override_cell_id_label_id"),
        comment="What people decided about cells; it beats the rules",
        sqlite_strict=True,
    )
    op.create_index("ix_cell_override_image_name", "cell_override", ["image_name"])
    op.create_index(
        "uq_cell_override_every_label",
        "cell_override",
        ["cell_id"],
        unique=True,
        sqlite_where=sa.text("label_id IS NULL"),
        postgresql_where=sa.text("label_id IS NULL"),
    )
    op.create_table(
        "measure",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column("name", TEXT, nullable=False, comment="Name of the measure"),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="Version of its formula; an image may have an older one",
        ),
        sa.Column(
            "kind", TEXT, nullable=False, comment="histogram or crops: what it is a function of"
        ),
        sa.Column("unit", TEXT, nullable=False, comment="Unit; empty for a number without one"),
        sa.Column("comment", TEXT, nullable=False, comment="What it is"),
        sa.Column(
            "checksum",
            BIGINT,
            nullable=True,
            comment="Checksum of this row, see store/integrity/checksums.py; NULL if it was never taken",
        ),
        sa.CheckConstraint("kind IN ('histogram', 'crops')", name=op.f("ck_measure_kind")),
        sa.PrimaryKeyConstraint("id", name="pk_measure"),
        sa.UniqueConstraint("name", name="uq_measure_name"),
        comment="Measures that users added, as they were last computed",
        sqlite_strict=True,
    )
    op.create_table(
        "image_measure",
        sa.Column("image_id", BIGINT, nullable=False, comment="The image"),
        sa.Column("measure", TEXT, nullable=False, comment="The measure that its cells have"),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="Version of the formula that they have it by",
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name="fk_image_measure_image_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "measure", name="pk_image_measure"),
        comment="Which images have which of the users' measures",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cell_measure",
        sa.Column("cell_id", BIGINT, nullable=False, comment="The cell"),
        sa.Column("measure_id", BIGINT, nullable=False, comment="The measure"),
        sa.Column(
            "channel", TEXT, nullable=False, comment="The channel; empty for the cell as a whole"
        ),
        sa.Column("value", REAL, nullable=True, comment="Its value, in the measure's unit"),
        sa.ForeignKeyConstraint(
            ["cell_id"], ["cell.id"], name="fk_cell_measure_cell_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["measure_id"], ["measure.id"], name="fk_cell_measure_measure_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cell_id", "measure_id", "channel", name="pk_cell_measure"),
        comment="Measures that users added, of cells",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    cover(CHECKSUMS_BEFORE)
    for table in ("cell_measure", "image_measure", "measure", "cell_override", "clean_set_former"):
        op.drop_table(table)
    op.drop_column("image", "relabelled_at")
    for columns in (clean_set, clean_rule, cell_channel):
        for column in columns():
            op.drop_column(columns.__name__, column.name)
    op.execute("UPDATE clean_set SET checksum = NULL")
