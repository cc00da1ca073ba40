"""Measures may be imported from a file.

Why: scores that another program computes, such as a classifier's, are to be used in rules.  They are
stored as custom measures are, and their kind says that no function computes them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

BEFORE = ("histogram", "crops")
KINDS = (*BEFORE, "imported")

COMMENT_BEFORE = "histogram or crops: what it is a function of"
COMMENT = "histogram or crops: what it is a function of; imported: its values come from a file"

DELETE = (
    """UPDATE image SET checksum = NULL WHERE id IN (
        SELECT image_id FROM image_measure JOIN measure ON measure.name = image_measure.measure
        WHERE kind = 'imported')""",
    """DELETE FROM cell_measure WHERE measure_id IN (
        SELECT id FROM measure WHERE kind = 'imported')""",
    """DELETE FROM image_measure WHERE measure IN (
        SELECT name FROM measure WHERE kind = 'imported')""",
    "DELETE FROM measure WHERE kind = 'imported'",
)


def upgrade() -> None:
    allow(KINDS, COMMENT)


def downgrade() -> None:
    """Delete imported measures, which the older schema has no kind for."""
    for statement in DELETE:
        op.execute(statement)
    allow(BEFORE, COMMENT_BEFORE)


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
