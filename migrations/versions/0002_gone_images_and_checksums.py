"""Images that left their inputs, files of rejected images, and checksums.

Why: an image whose row or files are gone is marked before it is deleted; a rejected image is tried
again only when its files change, so that they are remembered; and a store must notice a byte that
its disk changed.  Checksums of older rows are taken after the migration by the program, in the same
transaction: they vouch for the rows from then on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What PostgreSQL and a STRICT table of SQLite call the same thing.
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

CHECKSUM = "Checksum of {}, see store/integrity/checksums.py; NULL if it was never taken"
CHECKSUMS = (
    ("recipe", "checksum", "this row"),
    ("ingest_run", "checksum", "this row"),
    ("image", "contents", "its rows of image_channel, cell and cell_channel"),
    ("image", "checksum", "this row and its rows of image_file and image_label"),
    ("failure", "checksum", "this row and its rows of failure_file"),
    ("clean_set", "verdicts", "its rows of clean_set_cell"),
    ("clean_set", "checksum", "this row and its rows of clean_rule and clean_set_threshold"),
)


def upgrade() -> None:
    for column, comment in (
        ("remeasured", "Images whose stale numbers were computed again"),
        ("gone", "Images that left the inputs: marked, or pruned"),
    ):
        op.add_column(
            "ingest_run",
            sa.Column(
                column, sa.Integer(), server_default=sa.text("0"), nullable=False, comment=comment
            ),
        )
    op.add_column(
        "image",
        sa.Column(
            "gone_at",
            INSTANT,
            nullable=True,
            comment="When it was found to have left the inputs; views and new clean sets leave it out [UTC]",
        ),
    )
    for table, column, what in CHECKSUMS:
        op.add_column(
            table, sa.Column(column, BIGINT, nullable=True, comment=CHECKSUM.format(what))
        )
    op.create_table(
        "failure_file",
        sa.Column("image_name", TEXT, nullable=False, comment="The image's ID"),
        sa.Column(
            "role",
            TEXT,
            nullable=False,
            comment="red, green, blue, yellow, cell_mask or nucleus_mask",
        ),
        sa.Column(
            "uri", TEXT, nullable=False, comment="Path relative to the root, with forward slashes"
        ),
        sa.Column(
            "size", BIGINT, nullable=False, comment="Size; -1 if it could not be looked at [byte]"
        ),
        sa.Column("mtime_ns", BIGINT, nullable=False, comment="Modification time [ns since 1970]"),
        sa.CheckConstraint(
            "role IN ('red', 'green', 'blue', 'yellow', 'cell_mask', 'nucleus_mask')",
            name=op.f("ck_failure_file_role"),
        ),
        sa.ForeignKeyConstraint(
            ["image_name"],
            ["failure.image_name"],
            name="fk_failure_file_image_name",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("image_name", "role", name="pk_failure_file"),
        comment="Files of rejected images; while they stay as they are, they are not tried again",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("failure_file")
    for table, column, _ in reversed(CHECKSUMS):
        op.drop_column(table, column)
    op.drop_column("image", "gone_at")
    op.drop_column("ingest_run", "gone")
    op.drop_column("ingest_run", "remeasured")
