"""The first schema: images, cells and their measures, clean sets, runs and failures.

Why: everything that version 0.1 stores.  The 19 labels are part of it, since their ids are the
dataset's own.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What PostgreSQL and a STRICT table of SQLite call the same thing.
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

LABELS = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Intermediate filaments",
    "Actin filaments",
    "Microtubules",
    "Mitotic spindle",
    "Centrosome",
    "Plasma membrane",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Vesicles and punctate cytosolic patterns",
    "Negative",
)


def upgrade() -> None:
    op.create_table(
        "clean_set",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column("name", TEXT, nullable=False, comment="Name; unique with the version"),
        sa.Column("version", sa.Integer(), nullable=False, comment="1, 2, ... of this name"),
        sa.Column("created_at", INSTANT, nullable=False, comment="When it was materialised [UTC]"),
        sa.Column(
            "scope",
            TEXT,
            nullable=False,
            comment="single: cells of images with one label; all: each cell against each label of its image",
        ),
        sa.Column(
            "min_green",
            sa.Integer(),
            nullable=False,
            comment="Cells whose green intensity_max is below are dark, except in images of label 18 only [grey level 0..255]",
        ),
        sa.Column("recipe_toml", TEXT, nullable=False, comment="The set's rules as TOML"),
        sa.Column(
            "frozen",
            FLAG,
            nullable=False,
            comment="Whether its cells are kept as they were materialised",
        ),
        sa.CheckConstraint("scope IN ('single', 'all')", name="ck_clean_set_scope"),
        sa.PrimaryKeyConstraint("id", name="pk_clean_set"),
        sa.UniqueConstraint("name", "version", name="uq_clean_set_name_version"),
        comment="Clean sets: which cells to train on, by which rules",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "ingest_run",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column("root", TEXT, nullable=False, comment="Folder that was ingested"),
        sa.Column("split", TEXT, nullable=True, comment="Name given to the images, such as train"),
        sa.Column("version", TEXT, nullable=False, comment="Version of hpastore"),
        sa.Column("started_at", INSTANT, nullable=False, comment="When it started [UTC]"),
        sa.Column(
            "finished_at",
            INSTANT,
            nullable=True,
            comment="When it ended; NULL while it runs, or if it was killed [UTC]",
        ),
        sa.Column(
            "added", sa.Integer(), nullable=False, comment="Images stored for the first time"
        ),
        sa.Column(
            "changed", sa.Integer(), nullable=False, comment="Images replaced, since a file differs"
        ),
        sa.Column(
            "relabelled", sa.Integer(), nullable=False, comment="Images whose labels were replaced"
        ),
        sa.Column(
            "rejected", sa.Integer(), nullable=False, comment="Images not taken, see failure"
        ),
        sa.Column("cells", sa.Integer(), nullable=False, comment="Cells stored"),
        sa.PrimaryKeyConstraint("id", name="pk_ingest_run"),
        comment="Runs of ingest that had work to do",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    label = op.create_table(
        "label",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False, comment="0..18"),
        sa.Column("name", TEXT, nullable=False, comment="Name of the class"),
        sa.PrimaryKeyConstraint("id", name="pk_label"),
        sa.UniqueConstraint("name", name="uq_label_name"),
        comment="Location classes of the Human Protein Atlas",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.bulk_insert(label, [{"id": i, "name": name} for i, name in enumerate(LABELS)])
    op.create_table(
        "recipe",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column(
            "background_percentile",
            REAL,
            nullable=False,
            comment="Share of the background's pixels at or below the background level [share 0..1]",
        ),
        sa.Column("version", sa.Integer(), nullable=False, comment="Version of the measures"),
        sa.Column(
            "current",
            FLAG,
            nullable=False,
            comment="Whether new images are measured with it; numbers of others are stale",
        ),
        sa.CheckConstraint(
            "background_percentile BETWEEN 0 AND 1", name="ck_recipe_background_percentile"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_recipe"),
        sa.UniqueConstraint(
            "background_percentile", "version", name="uq_recipe_background_percentile_version"
        ),
        comment="What the numbers were computed with",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index(
        "uq_recipe_current",
        "recipe",
        ["current"],
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    )

    op.create_table(
        "clean_rule",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column("clean_set_id", BIGINT, nullable=False, comment="The clean set"),
        sa.Column(
            "label_id",
            sa.Integer(),
            nullable=True,
            comment="The label it holds for; NULL is every label",
        ),
        sa.Column("measure", TEXT, nullable=False, comment="Name of a measure"),
        sa.Column(
            "channel",
            TEXT,
            nullable=True,
            comment="The measure's channel; NULL for a measure of shape",
        ),
        sa.Column(
            "lower_percentile",
            REAL,
            nullable=True,
            comment="Lower bound as a percentile of the label [share 0..1]",
        ),
        sa.Column(
            "lower_value",
            REAL,
            nullable=True,
            comment="Lower bound as a value, in the measure's unit",
        ),
        sa.Column(
            "upper_percentile",
            REAL,
            nullable=True,
            comment="Upper bound as a percentile of the label [share 0..1]",
        ),
        sa.Column(
            "upper_value",
            REAL,
            nullable=True,
            comment="Upper bound as a value, in the measure's unit",
        ),
        sa.ForeignKeyConstraint(
            ["clean_set_id"],
            ["clean_set.id"],
            name="fk_clean_rule_clean_set_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_clean_rule_label_id"),
        sa.PrimaryKeyConstraint("id", name="pk_clean_rule"),
        comment="Rules of clean sets",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_index("ix_clean_rule_clean_set_id", "clean_rule", ["clean_set_id"])

    op.create_table(
        "failure",
        sa.Column("image_name", TEXT, nullable=False, comment="The image's ID"),
        sa.Column("uri", TEXT, nullable=False, comment="The file at fault, relative to the root"),
        sa.Column("code", TEXT, nullable=False, comment="What kind of fault"),
        sa.Column("message", TEXT, nullable=False, comment="What happened and what to do"),
        sa.Column(
            "first_seen", INSTANT, nullable=False, comment="When this fault was first met [UTC]"
        ),
        sa.Column("last_seen", INSTANT, nullable=False, comment="When it was last met [UTC]"),
        sa.Column("run_id", BIGINT, nullable=False, comment="The run that last met it"),
        sa.ForeignKeyConstraint(["run_id"], ["ingest_run.id"], name="fk_failure_run_id"),
        sa.PrimaryKeyConstraint("image_name", name="pk_failure"),
        comment="Images that were rejected; a row goes when its image is stored",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "image",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column("name", TEXT, nullable=False, comment="The image's ID, unique in the store"),
        sa.Column("split", TEXT, nullable=True, comment="Such as train; given to ingest"),
        sa.Column(
            "root", TEXT, nullable=False, comment="Folder that the files' uris are relative to"
        ),
        sa.Column("width", sa.Integer(), nullable=False, comment="Columns [px]"),
        sa.Column("height", sa.Integer(), nullable=False, comment="Rows [px]"),
        sa.Column(
            "bit_depth",
            sa.Integer(),
            nullable=False,
            comment="Of the files; levels are stored as 0..255 [bit]",
        ),
        sa.Column(
            "labels",
            TEXT,
            nullable=False,
            comment="Distinct label ids joined by |, ascending; empty without labels",
        ),
        sa.Column("label_count", sa.Integer(), nullable=False, comment="Number of distinct labels"),
        sa.Column("cell_count", sa.Integer(), nullable=False, comment="Number of cells"),
        sa.Column(
            "ingested_at", INSTANT, nullable=False, comment="When its cells were stored [UTC]"
        ),
        sa.Column(
            "recipe_id", BIGINT, nullable=False, comment="What its numbers were computed with"
        ),
        sa.CheckConstraint("bit_depth IN (8, 16)", name="ck_image_bit_depth"),
        sa.CheckConstraint("width > 0 AND height > 0", name="ck_image_size"),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipe.id"], name="fk_image_recipe_id"),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
        sa.UniqueConstraint("name", name="uq_image_name"),
        comment="One row per field of cells",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "cell",
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        sa.Column("image_id", BIGINT, nullable=False, comment="The image"),
        sa.Column("mask_id", BIGINT, nullable=False, comment="The cell's value in the mask"),
        sa.Column(
            "x",
            sa.Integer(),
            nullable=False,
            comment="First column of the bounding box, 0-based [px]",
        ),
        sa.Column(
            "y", sa.Integer(), nullable=False, comment="First row of the bounding box, 0-based [px]"
        ),
        sa.Column(
            "width",
            sa.Integer(),
            nullable=False,
            comment="Columns of the bounding box; x + width is one past the last [px]",
        ),
        sa.Column(
            "height",
            sa.Integer(),
            nullable=False,
            comment="Rows of the bounding box; y + height is one past the last [px]",
        ),
        sa.Column("area", sa.Integer(), nullable=False, comment="Pixels of the cell's mask [px²]"),
        sa.Column(
            "touches_border",
            FLAG,
            nullable=False,
            comment="Whether the box reaches the first or last row or column",
        ),
        sa.Column(
            "pieces",
            sa.Integer(),
            nullable=False,
            comment="8-connected components of the cell's mask",
        ),
        sa.Column(
            "nucleus_area",
            sa.Integer(),
            nullable=True,
            comment="Pixels of the nucleus with the cell's id; NULL without a nucleus mask [px²]",
        ),
        sa.Column(
            "rle",
            TEXT,
            nullable=False,
            comment="The mask as a compressed COCO counts string; its size is the image's height, width",
        ),
        sa.CheckConstraint(
            "area > 0 AND width > 0 AND height > 0 AND x >= 0 AND y >= 0", name="ck_cell_shape"
        ),
        sa.CheckConstraint("mask_id BETWEEN 1 AND 4294967295", name="ck_cell_mask_id"),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name="fk_cell_image_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_cell"),
        sa.UniqueConstraint("image_id", "mask_id", name="uq_cell_image_id_mask_id"),
        comment="Cells; one is named NAME:ID by its image and its mask id",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "clean_set_threshold",
        sa.Column("clean_set_id", BIGINT, nullable=False, comment="The clean set"),
        sa.Column("rule_id", BIGINT, nullable=False, comment="The rule"),
        sa.Column("label_id", sa.Integer(), nullable=False, comment="The label, 0..18"),
        sa.Column(
            "n",
            BIGINT,
            nullable=False,
            comment="Cells of images with this one label that have a value",
        ),
        sa.Column(
            "lower", REAL, nullable=True, comment="Lower bound, inclusive, in the measure's unit"
        ),
        sa.Column(
            "upper", REAL, nullable=True, comment="Upper bound, inclusive, in the measure's unit"
        ),
        sa.ForeignKeyConstraint(
            ["clean_set_id"],
            ["clean_set.id"],
            name="fk_clean_set_threshold_clean_set_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_clean_set_threshold_label_id"),
        sa.ForeignKeyConstraint(
            ["rule_id"],
            ["clean_rule.id"],
            name="fk_clean_set_threshold_rule_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "clean_set_id", "rule_id", "label_id", name="pk_clean_set_threshold"
        ),
        comment="Thresholds as they were when the clean set was materialised",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "image_channel",
        sa.Column("image_id", BIGINT, nullable=False, comment="The image"),
        sa.Column("channel", TEXT, nullable=False, comment="red, green, blue or yellow"),
        sa.Column(
            "background_level",
            REAL,
            nullable=True,
            comment="The recipe's percentile of the pixels outside every cell; NULL without such a pixel [grey level 0..255]",
        ),
        sa.Column(
            "histogram",
            sa.LargeBinary(),
            nullable=False,
            comment="Joint histogram: zlib of the four byte planes, lowest first, of little-endian uint32 counts; (cells + 1) rows of 256 levels, first the background, then the cells by ascending mask id",
        ),
        sa.CheckConstraint(
            "channel IN ('red', 'green', 'blue', 'yellow')", name="ck_image_channel_channel"
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name="fk_image_channel_image_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "channel", name="pk_image_channel"),
        comment="Channels of images",
        sqlite_strict=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "image_file",
        sa.Column("image_id", BIGINT, nullable=False, comment="The image"),
        sa.Column(
            "role",
            TEXT,
            nullable=False,
            comment="red, green, blue, yellow, cell_mask or nucleus_mask",
        ),
        sa.Column(
            "uri",
            TEXT,
            nullable=False,
            comment="Path relative to the image's root, with forward slashes",
        ),
        sa.Column("size", BIGINT, nullable=False, comment="Size [byte]"),
        sa.Column("mtime_ns", BIGINT, nullable=False, comment="Modification time [ns since 1970]"),
        sa.Column(
            "sha256",
            TEXT,
            nullable=False,
            comment="SHA-256 of the bytes that were decoded, hexadecimal",
        ),
        sa.CheckConstraint(
            "role IN ('red', 'green', 'blue', 'yellow', 'cell_mask', 'nucleus_mask')",
            name="ck_image_file_role",
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name="fk_image_file_image_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "role", name="pk_image_file"),
        comment="Files that an image was read from",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "image_label",
        sa.Column("image_id", BIGINT, nullable=False, comment="The image"),
        sa.Column("label_id", sa.Integer(), nullable=False, comment="The label, 0..18"),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name="fk_image_label_image_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_image_label_label_id"),
        sa.PrimaryKeyConstraint("image_id", "label_id", name="pk_image_label"),
        comment="Labels of images; a label is a claim about the image, not about each cell",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_image_label_label_id", "image_label", ["label_id"])

    op.create_table(
        "cell_channel",
        sa.Column("cell_id", BIGINT, nullable=False, comment="The cell"),
        sa.Column("channel", TEXT, nullable=False, comment="red, green, blue or yellow"),
        sa.Column(
            "intensity_min",
            sa.Integer(),
            nullable=False,
            comment="Darkest pixel [grey level 0..255]",
        ),
        sa.Column(
            "intensity_max",
            sa.Integer(),
            nullable=False,
            comment="Brightest pixel [grey level 0..255]",
        ),
        sa.Column("intensity_mean", REAL, nullable=False, comment="Mean [grey level 0..255]"),
        sa.Column(
            "intensity_std",
            REAL,
            nullable=False,
            comment="Population standard deviation [grey level]",
        ),
        sa.Column(
            "intensity_median",
            REAL,
            nullable=False,
            comment="Median, linear interpolation [grey level 0..255]",
        ),
        sa.Column(
            "saturated",
            REAL,
            nullable=False,
            comment="Share of the pixels at level 255 [share 0..1]",
        ),
        sa.Column(
            "entropy",
            REAL,
            nullable=False,
            comment="Shannon entropy of the 256-bin histogram [bit]",
        ),
        sa.Column(
            "brenner",
            REAL,
            nullable=True,
            comment="Focus: mean squared difference of pixels two columns apart; green and blue only, NULL without a pair [grey level²]",
        ),
        sa.Column(
            "fraction",
            REAL,
            nullable=True,
            comment="Share of the pixels strictly above the channel's background level; NULL without a background [share 0..1]",
        ),
        sa.Column(
            "fraction_notebook",
            REAL,
            nullable=True,
            comment="What the public notebook computes: level over the whole image with cells set to zero, box without its last row and column; NULL where that box is empty [share 0..1]",
        ),
        sa.CheckConstraint(
            "channel IN ('red', 'green', 'blue', 'yellow')", name="ck_cell_channel_channel"
        ),
        sa.ForeignKeyConstraint(
            ["cell_id"], ["cell.id"], name="fk_cell_channel_cell_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cell_id", "channel", name="pk_cell_channel"),
        comment="Measures of cells in a channel, on levels 0..255",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "clean_set_cell",
        sa.Column("clean_set_id", BIGINT, nullable=False, comment="The clean set"),
        sa.Column("cell_id", BIGINT, nullable=False, comment="The cell"),
        sa.Column("label_id", sa.Integer(), nullable=False, comment="The label, 0..18"),
        sa.Column("clean", FLAG, nullable=False, comment="Whether the cell is clean"),
        sa.Column(
            "reason",
            TEXT,
            nullable=True,
            comment="Why it is not: no_background, dark, below_lower, ...; NULL if clean",
        ),
        sa.ForeignKeyConstraint(
            ["cell_id"], ["cell.id"], name="fk_clean_set_cell_cell_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["clean_set_id"],
            ["clean_set.id"],
            name="fk_clean_set_cell_clean_set_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_clean_set_cell_label_id"),
        sa.PrimaryKeyConstraint("clean_set_id", "cell_id", "label_id", name="pk_clean_set_cell"),
        comment="Verdicts as they were when the clean set was materialised",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_clean_set_cell_cell_id", "clean_set_cell", ["cell_id"])


def downgrade() -> None:
    op.drop_table("clean_set_cell")
    op.drop_table("cell_channel")
    op.drop_table("image_label")
    op.drop_table("image_file")
    op.drop_table("image_channel")
    op.drop_table("clean_set_threshold")
    op.drop_table("cell")
    op.drop_table("image")
    op.drop_table("failure")
    op.drop_table("clean_rule")
    op.drop_table("recipe")
    op.drop_table("label")
    op.drop_table("ingest_run")
    op.drop_table("clean_set")
