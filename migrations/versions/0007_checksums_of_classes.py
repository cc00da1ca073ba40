"""Classes have checksums.

Why: no check noticed that the name of a class, or which one is negative, was changed by hand, though
exports write the names and dark cells of the negative class are clean.  The program computes the
checksums after the migration, in the same transaction: they vouch for the classes from then on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

CHECKSUM = "Checksum of this row and of those that belong to it; NULL if it was never computed"


def upgrade() -> None:
    op.add_column("label", sa.Column("checksum", BIGINT, nullable=True, comment=CHECKSUM))


def downgrade() -> None:
    op.drop_column("label", "checksum")
