"""How masks were read, splits of clean sets, images that came back or moved in a run.

Why: an image that is read again is read as before, though the option was given to an earlier run; a
clean set that was limited to a split stays so; and a list of runs says what came and went in each.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

TEXTS = (
    (
        "image",
        "binary_mask",
        "components: a mask of one value was split into its connected components; NULL: taken as it is",
    ),
    (
        "image",
        "match_nuclei",
        "overlap: each nucleus was given to the cell that holds most of it; NULL: to the cell of its id",
    ),
    ("ingest_run", "labels", "Table of labels that was read; NULL for images without labels"),
    (
        "clean_set",
        "split",
        "Only cells of images of this split were judged, and made the thresholds; NULL is all",
    ),
)
COUNTS = (
    ("returned", "Images that were gone and came back as they were"),
    ("moved", "Images that were found in another root, unchanged"),
    ("resplit", "Images that were given a split: their first one, or another"),
)


def upgrade() -> None:
    for table, column, comment in TEXTS:
        op.add_column(table, sa.Column(column, TEXT, nullable=True, comment=comment))
    for column, comment in COUNTS:
        zero = sa.text("0")
        op.add_column(
            "ingest_run",
            sa.Column(column, sa.Integer(), server_default=zero, nullable=False, comment=comment),
        )
    # Columns that are never NULL are in the checksum, which is taken again after the migration.
    op.execute("UPDATE ingest_run SET checksum = NULL")


def downgrade() -> None:
    for column, _ in COUNTS:
        op.drop_column("ingest_run", column)
    for table, column, _ in TEXTS:
        op.drop_column(table, column)
    op.execute("UPDATE ingest_run SET checksum = NULL")
