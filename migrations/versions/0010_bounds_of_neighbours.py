"""Bounds relative to the cell's image and to groups of images; what stands in for small labels.

Why: one median for cells of all cell lines drops good cells of small lines, and labels with few cells
were not cleaned at all.

All columns are empty in rows of before, and checksums leave out what is NULL.  In a recipe of before,
the section of a label lists all rules of the label; from now on it changes those of all labels.  The
program tells them apart by the version of their language, of which those of before have none.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

COLUMNS: Final = (
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
        "Lower bound of this rule when the cell was judged, if it was taken from the cell's image; NULL otherwise: clean_set_threshold has it",
    ),
    ("clean_set_cell", "upper", REAL, "Upper bound, as lower"),
)
"""Table, name, type and comment."""

CHOOSE_NEWER: Final = """CREATE TEMPORARY TABLE newer AS SELECT id FROM clean_set
    WHERE recipe_version IS NOT NULL AND (small_labels IS NOT NULL OR recipe_toml LIKE '%label%'
        OR id IN (SELECT clean_set_id FROM clean_rule WHERE grouped_by IS NOT NULL
            OR lower_image_median IS NOT NULL OR upper_image_median IS NOT NULL))"""
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
    for table, name, kind, comment in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True, comment=comment))


def downgrade() -> None:
    """Delete the clean sets that the older schema cannot hold; the others lose their checksums."""
    for statement in (CHOOSE_NEWER, *DELETE_NEWER):
        op.execute(statement)
    op.execute("UPDATE clean_set SET checksum = NULL WHERE recipe_version IS NOT NULL")
    for table, name, *_ in reversed(COLUMNS):
        op.drop_column(table, name)
