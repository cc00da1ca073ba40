"""Measures of nuclei, of the image's edge and of bright pixels.

Why: a merged cell shows two nuclei and a cut one none or half of one, which no measure told without
a nucleus mask.  A cell's brightest pixel is often saturated; the 99th and 99.9th percentile are not.

The columns are empty.  ``remeasure`` fills the percentiles from the stored histograms, and the next
ingest the others from the pixels: the measurement settings of the images lack them until then.
Checksums leave out what is NULL, so that all of them stay.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import sqlite

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")

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


def upgrade() -> None:
    for name, comment in columns():
        op.add_column("cell", sa.Column(name, REAL, nullable=True, comment=comment))


def downgrade() -> None:
    for name, _ in columns():
        op.drop_column("cell", name)


def columns() -> list[tuple[str, str]]:
    """Name and comment of each new column of ``cell``."""
    of_channel = [(f"{channel}_{name}", what) for channel in CHANNELS for name, what in OF_CHANNEL]
    return [*OF_CELL, *of_channel]
