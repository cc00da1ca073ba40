"""Cleaning that holds on real cells: measures of nuclei, imported measures, bounds of neighbours.

Why: a merged cell shows two nuclei and a cut one none or half of one, which no measure told without
a nucleus mask; a cell's brightest pixel is often saturated, the 99th and 99.9th percentile are not.
Scores that another program computes, such as a classifier's, are to be used in rules.  One median for
cells of all cell lines drops good cells of small lines, and labels with few cells were not cleaned.

All new columns are empty, and checksums leave out what is NULL, so that all of them stay.
``remeasure`` fills the percentiles from the stored histograms, and the next ingest the other measures
from the pixels: the measurement settings of the images lack them until then.  In a recipe of before,
the section of a label lists all rules of the label; from now on it changes those of all labels.  The
program tells them apart by the version of their language, of which those of before have none.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

CHANNELS: Final = ("red", "green", "blue", "yellow")

OF_CELL: Final = (
    (
        "border_share",
        "Share of the cell's outline that lies on the image's edge; the outline is made of the sides of its pixels that face no pixel of the cell [share 0..1]",
    ),
    (
        "nucleus_size",
        "Area of the largest piece of nuclear light in the cell ÷ that of the image's median nucleus, both seen in blue and never taken from a nucleus mask; 0 without such light, NULL where blue cannot tell [median nuclei]",
    ),
    (
        "second_nucleus",
        "The same of the second largest piece; 0 without one, NULL as nucleus_size [median nuclei]",
    ),
    (
        "nucleus_cut",
        "How long the cell's outline runs between its largest piece of nuclear light and a neighbour's piece that continues it, ÷ the diameter of a disc as large as the piece; 0 without such light, NULL as nucleus_size [nucleus diameters]",
    ),
)
"""Measures of a cell: name and comment."""

OF_CHANNEL: Final = (
    ("intensity_p99", "99th percentile, linear interpolation [grey level 0..255]"),
    ("intensity_p999", "99.9th percentile, linear interpolation [grey level 0..255]"),
)
"""Measures of a cell in a channel."""


KINDS_BEFORE: Final = ("histogram", "crops")
KINDS: Final = (*KINDS_BEFORE, "imported")

KIND_BEFORE: Final = "histogram or crops: what it is a function of"
KIND: Final = "histogram or crops: what it is a function of; imported: its values come from a file"

DELETE_IMPORTED: Final = (
    """UPDATE image SET checksum = NULL WHERE id IN (
        SELECT image_id FROM image_measure JOIN measure ON measure.name = image_measure.measure
        WHERE kind = 'imported')""",
    """DELETE FROM cell_measure WHERE measure_id IN (
        SELECT id FROM measure WHERE kind = 'imported')""",
    """DELETE FROM image_measure WHERE measure IN (
        SELECT name FROM measure WHERE kind = 'imported')""",
    "DELETE FROM measure WHERE kind = 'imported'",
)

OF_CLEAN_SETS: Final = (
    (
        "clean_set",
        "small_labels",
        TEXT,
        "What stands in for a label with fewer cells than min_cells: image, the median of the cell's own image; all, the cells of all labels; NULL is nothing",
    ),
    (
        "clean_set",
        "recipe_version",
        sa.Integer(),
        "Version of the language of recipe_toml: 2; NULL is 1, in which the section of a label lists all its rules",
    ),
    (
        "clean_rule",
        "grouped_by",
        TEXT,
        "Column of the label table by which the images are grouped; NULL: they are not",
    ),
    (
        "clean_rule",
        "group_value",
        TEXT,
        "What that column says of the images that the rule is for; NULL: it says nothing of them",
    ),
    (
        "clean_rule",
        "lower_image_median",
        REAL,
        "Lower bound as a multiple of the median of all cells of the cell's image",
    ),
    (
        "clean_rule",
        "upper_image_median",
        REAL,
        "Upper bound as a multiple of the median of all cells of the cell's image",
    ),
    (
        "clean_set_threshold",
        "stand_in",
        TEXT,
        "What the bounds were taken from in place of a label with few cells: all, the cells of all labels; image, the median of each cell's image, which is no bound of the label; NULL is the label itself",
    ),
    (
        "clean_set_cell",
        "lower",
        REAL,
        "Lower bound of this rule when the cell was judged, if it is that of the cell's image or group of images; NULL otherwise: clean_set_threshold has it",
    ),
    ("clean_set_cell", "upper", REAL, "Upper bound, as lower"),
)
"""Table, name, type and comment."""

CHOOSE_NEWER: Final = """CREATE TEMPORARY TABLE newer AS SELECT id FROM clean_set
    WHERE recipe_version IS NOT NULL AND (small_labels IS NOT NULL OR recipe_toml LIKE '%label%'
        OR recipe_toml LIKE '%negative_class%'
        OR id IN (SELECT clean_set_id FROM clean_rule WHERE grouped_by IS NOT NULL
            OR lower_image_median IS NOT NULL OR upper_image_median IS NOT NULL
            OR measure IN ('border_share', 'nucleus_size', 'second_nucleus', 'nucleus_cut',
                'intensity_p99', 'intensity_p999')))"""
"""Clean sets from which an older program may read another meaning, or none."""

DELETE_NEWER: Final = (
    "DELETE FROM clean_set_cell WHERE clean_set_id IN (SELECT id FROM newer)",
    "DELETE FROM clean_set_former WHERE clean_set_id IN (SELECT id FROM newer)",
    "DELETE FROM clean_set_threshold WHERE clean_set_id IN (SELECT id FROM newer)",
    "DELETE FROM clean_rule WHERE clean_set_id IN (SELECT id FROM newer)",
    "DELETE FROM clean_set WHERE id IN (SELECT id FROM newer)",
    "DROP TABLE newer",
)


def upgrade() -> None:
    for name, comment in measures():
        op.add_column("cell", sa.Column(name, REAL, nullable=True, comment=comment))
    allow(KINDS, KIND)
    for table, name, kind, comment in OF_CLEAN_SETS:
        op.add_column(table, sa.Column(name, kind, nullable=True, comment=comment))


def downgrade() -> None:
    """Delete what the older schema cannot hold: imported measures, and clean sets with newer bounds.

    Rows that lose a value lose their checksum with it.
    """
    for statement in (CHOOSE_NEWER, *DELETE_NEWER):
        op.execute(statement)
    op.execute("UPDATE clean_set SET checksum = NULL WHERE recipe_version IS NOT NULL")
    for table, name, *_ in reversed(OF_CLEAN_SETS):
        op.drop_column(table, name)
    for statement in DELETE_IMPORTED:
        op.execute(statement)
    allow(KINDS_BEFORE, KIND_BEFORE)
    op.execute("UPDATE image SET checksum = NULL")
    for name, _ in measures():
        op.drop_column("cell", name)


def measures() -> list[tuple[str, str]]:
    """Name and comment of each new measure, a column of ``cell``."""
    of_channel = [(f"{channel}_{name}", what) for channel in CHANNELS for name, what in OF_CHANNEL]
    return [*OF_CELL, *of_channel]


def allow(kinds: tuple[str, ...], comment: str) -> None:
    """Replace the check of the column ``kind``; SQLite copies the table, which has few rows."""
    check = f"kind IN ({', '.join(map(repr, kinds))})"
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_measure_kind"), "measure")
        op.create_check_constraint(op.f("ck_measure_kind"), "measure", check)
        op.alter_column("measure", "kind", existing_type=TEXT, comment=comment)
        return
    op.create_table(
        "measure_copy",
        sa.Column("id", BIGINT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("unit", TEXT, nullable=False),
        sa.Column("comment", TEXT, nullable=False),
        sa.CheckConstraint(check, name=op.f("ck_measure_kind")),
        sa.PrimaryKeyConstraint("id", name="pk_measure"),
        sa.UniqueConstraint("name", name="uq_measure_name"),
        sqlite_strict=True,
    )
    op.execute(
        "INSERT INTO measure_copy (id, name, version, kind, unit, comment) "
        "SELECT id, name, version, kind, unit, comment FROM measure"
    )
    op.drop_table("measure")
    op.rename_table("measure_copy", "measure")
