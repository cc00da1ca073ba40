"""One wide row of measures for each cell, and its mask in a table of its own.

Why: a question about three channels joined four rows for each cell, and every scan of the cells
read their masks too.  The rows of ``cell_channel`` become columns of ``cell``, such as
``green_fraction``; a view of the old name shows them in the long form.  The checksums stay: they
are of the values, not of where they lie.

Both databases copy ``cell``, so that no room is left to the former rows.  PostgreSQL's other tables
refer to the table itself, and SQLite's to its name.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# What PostgreSQL and a STRICT table of SQLite call the same thing.
BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")

CHANNELS: Final = ("red", "green", "blue", "yellow")

SHAPE: Final[tuple[tuple[str, Any, bool, str], ...]] = (
    ("image_id", BIGINT, False, "The image"),
    ("mask_id", BIGINT, False, "The cell's value in the mask"),
    ("x", sa.Integer(), False, "First column of the bounding box, 0-based [px]"),
    ("y", sa.Integer(), False, "First row of the bounding box, 0-based [px]"),
    (
        "width",
        sa.Integer(),
        False,
        "Columns of the bounding box; x + width is one past the last [px]",
    ),
    (
        "height",
        sa.Integer(),
        False,
        "Rows of the bounding box; y + height is one past the last [px]",
    ),
    ("area", sa.Integer(), False, "Pixels of the cell's mask [px²]"),
    ("touches_border", FLAG, False, "Whether the box reaches the first or last row or column"),
    ("pieces", sa.Integer(), False, "8-connected components of the cell's mask"),
    (
        "nucleus_area",
        sa.Integer(),
        True,
        "Pixels of the nucleus with the cell's id; NULL without a nucleus mask [px²]",
    ),
)
"""Columns of a cell before: name, type, whether it may be NULL, comment."""

MEASURES: Final[tuple[tuple[str, Any, bool, str], ...]] = (
    ("intensity_min", sa.Integer(), False, "Darkest pixel [grey level 0..255]"),
    ("intensity_max", sa.Integer(), False, "Brightest pixel [grey level 0..255]"),
    ("intensity_mean", REAL, False, "Mean [grey level 0..255]"),
    ("intensity_std", REAL, False, "Population standard deviation [grey level]"),
    ("intensity_median", REAL, False, "Median, linear interpolation [grey level 0..255]"),
    ("saturated", REAL, False, "Share of the pixels at level 255 [share 0..1]"),
    ("entropy", REAL, False, "Shannon entropy of the 256-bin histogram [bit]"),
    (
        "brenner",
        REAL,
        True,
        "Focus: mean squared difference of pixels two columns apart; green and blue only, NULL without a pair [grey level²]",
    ),
    (
        "fraction",
        REAL,
        True,
        "Share of the pixels strictly above the channel's background level; NULL without a background [share 0..1]",
    ),
    (
        "fraction_notebook",
        REAL,
        True,
        "What the public notebook computes: level over the whole image with cells set to zero, box without its last row and column; NULL where that box is empty [share 0..1]",
    ),
    (
        "correlation",
        REAL,
        True,
        "Correlation of the pixels with those of green; red, blue and yellow only, NULL where the cell is of one level in either [-1..1]",
    ),
    (
        "intensity_nucleus",
        REAL,
        True,
        "Mean over the nucleus with the cell's id, inside the cell; green and blue only, NULL without a nucleus or nucleus mask [grey level 0..255]",
    ),
    (
        "intensity_nucleus_rim",
        REAL,
        True,
        "Mean over the rim of that nucleus: its pixels within sqrt(its area / 201) rows and columns, rounded down but 1 at least, of a pixel outside of it (an eighth of the radius of a disc); green and blue only, NULL as intensity_nucleus [grey level 0..255]",
    ),
    (
        "intensity_cytoplasm",
        REAL,
        True,
        "Mean over the cell outside that nucleus; green and blue only, NULL without a nucleus mask or such a pixel [grey level 0..255]",
    ),
)
"""Columns of ``cell_channel``."""

RLE: Final = "The mask as a compressed COCO counts string; its size is the image's height, width"

REFERENCES: Final = {
    "clean_set_cell": "CASCADE",
    "cell_measure": "CASCADE",
    "cell_override": "SET NULL",
}
"""Tables that refer to a cell, and what becomes of a reference when its cell is deleted."""

CHECKS: Final = (
    ("ck_cell_shape", "area > 0 AND width > 0 AND height > 0 AND x >= 0 AND y >= 0"),
    ("ck_cell_mask_id", "mask_id BETWEEN 1 AND 4294967295"),
)

CELL: Final = "Cells; one is named NAME:ID by its image and its mask id"
WIDE_CELL: Final = "Cells and their measures; one is named NAME:ID by its image and its mask id"


def upgrade() -> None:
    op.create_table(
        "cell_mask",
        sa.Column("cell_id", BIGINT, nullable=False, comment="The cell"),
        sa.Column("rle", TEXT, nullable=False, comment=RLE),
        *references_of("cell_mask"),
        sa.PrimaryKeyConstraint("cell_id", name="pk_cell_mask"),
        comment="Masks of cells",
        sqlite_strict=True,
    )
    op.execute("INSERT INTO cell_mask (cell_id, rle) SELECT id, rle FROM cell ORDER BY id")
    wide = [
        sa.Column(f"{channel}_{name}", kind, nullable=True, comment=what)
        for channel in CHANNELS
        for name, kind, _, what in MEASURES
    ]
    values = ", ".join(f"{channel}.{m[0]}" for channel in CHANNELS for m in MEASURES)
    joins = " ".join(
        f"LEFT JOIN cell_channel AS {c} ON {c}.cell_id = cell.id AND {c}.channel = '{c}'"
        for c in CHANNELS
    )
    replace_cell(WIDE_CELL, wide, f"{values} FROM cell {joins}", "cell_mask", "cell_channel")


def downgrade() -> None:
    op.create_table(
        "cell_channel",
        sa.Column("cell_id", BIGINT, nullable=False, comment="The cell"),
        sa.Column("channel", TEXT, nullable=False, comment="red, green, blue or yellow"),
        *(
            sa.Column(name, kind, nullable=nullable, comment=what)
            for name, kind, nullable, what in MEASURES
        ),
        *references_of("cell_channel"),
        sa.CheckConstraint(
            "channel IN ('red', 'green', 'blue', 'yellow')", name=op.f("ck_cell_channel_channel")
        ),
        sa.PrimaryKeyConstraint("cell_id", "channel", name="pk_cell_channel"),
        comment="Measures of cells in a channel, on levels 0..255",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    names = [m[0] for m in MEASURES]
    for channel in CHANNELS:
        values = ", ".join(f"{channel}_{name}" for name in names)
        op.execute(
            f"INSERT INTO cell_channel (cell_id, channel, {', '.join(names)}) "  # noqa: S608 names of this module
            f"SELECT id, '{channel}', {values} FROM cell WHERE {channel}_intensity_max IS NOT NULL"
        )
    rle = sa.Column("rle", TEXT, nullable=False, comment=RLE)
    source = "cell_mask.rle FROM cell JOIN cell_mask ON cell_mask.cell_id = cell.id"
    replace_cell(CELL, [rle], source, "cell_channel", "cell_mask")


def replace_cell(
    comment: str, more: list[sa.Column[Any]], source: str, new: str, former: str
) -> None:
    """Copy ``cell`` to a table with other columns after its own, and put that in its place.

    A new table refers to the copy, and a former one goes.
    """
    columns = [
        sa.Column("id", BIGINT, nullable=False, comment="Key, counted up by the database"),
        *(sa.Column(n, kind, nullable=null, comment=what) for n, kind, null, what in SHAPE),
        *more,
    ]
    constraints = () if is_postgresql() else constraints_of_cell()
    op.create_table("cell_copy", *columns, *constraints, comment=comment, sqlite_strict=True)
    names = ", ".join(column.name for column in columns)
    own = ", ".join(f"cell.{name}" for name in ("id", *(n for n, *_ in SHAPE)))
    op.execute(f"INSERT INTO cell_copy ({names}) SELECT {own}, {source} ORDER BY cell.id")
    op.drop_table(former)
    if is_postgresql():
        for table in REFERENCES:
            op.drop_constraint(f"fk_{table}_cell_id", table, type_="foreignkey")
        op.execute("ALTER TABLE cell_copy ALTER COLUMN id SET DEFAULT nextval('cell_id_seq')")
        op.execute("ALTER SEQUENCE cell_id_seq OWNED BY cell_copy.id")
    op.drop_table("cell")
    op.rename_table("cell_copy", "cell")
    if is_postgresql():
        rename_constraints("cell", "cell_copy", "cell")
        add_constraints_of_cell()
        for table in (*REFERENCES, new):
            ondelete = REFERENCES.get(table, "CASCADE")
            name = f"fk_{table}_cell_id"
            op.create_foreign_key(name, table, "cell", ["cell_id"], ["id"], ondelete=ondelete)


def constraints_of_cell() -> tuple[sa.Constraint, ...]:
    return (
        *(sa.CheckConstraint(check, name=op.f(name)) for name, check in CHECKS),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name="fk_cell_image_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_cell"),
        sa.UniqueConstraint("image_id", "mask_id", name="uq_cell_image_id_mask_id"),
    )


def add_constraints_of_cell() -> None:
    for name, check in CHECKS:
        op.create_check_constraint(op.f(name), "cell", check)
    op.create_primary_key("pk_cell", "cell", ["id"])
    op.create_unique_constraint("uq_cell_image_id_mask_id", "cell", ["image_id", "mask_id"])
    op.create_foreign_key(
        "fk_cell_image_id", "cell", "image", ["image_id"], ["id"], ondelete="CASCADE"
    )


def references_of(table: str) -> tuple[sa.Constraint, ...]:
    """Refer to ``cell``: on SQLite by its name, on PostgreSQL when the new one is in its place."""
    if is_postgresql():
        return ()
    name = f"fk_{table}_cell_id"
    return (sa.ForeignKeyConstraint(["cell_id"], ["cell.id"], name=name, ondelete="CASCADE"),)


def is_postgresql() -> bool:
    return bool(op.get_context().dialect.name == "postgresql")


def rename_constraints(table: str, old: str, new: str) -> None:
    """Rename a table's constraints, those included that PostgreSQL 18 makes of NOT NULL."""
    statement = sa.text(
        "SELECT conname FROM pg_constraint"
        " WHERE conrelid = CAST(:table AS regclass) AND strpos(conname, :old) > 0 ORDER BY conname"
    )
    for name in op.get_bind().execute(statement, {"table": table, "old": old}).scalars().all():
        op.execute(f'ALTER TABLE {table} RENAME CONSTRAINT "{name}" TO "{name.replace(old, new)}"')
