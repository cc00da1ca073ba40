"""A schema for questions: one wide row of measures for each cell, and room for what comes.

Why: a question about three channels joined four rows for each cell, and every scan of the cells
read their masks too.  The rows of ``cell_channel`` become columns of ``cell``, such as
``green_fraction``; a view of the old name shows them in the long form.  The checksums stay: they
are of the values, not of where they lie.

Verdicts say by which rule and value they were made, so that nobody must find it out again; those
that are there get their rule, and no value, which nobody wrote down.  They have no foreign keys any
more, since PostgreSQL looked up each of them for each verdict.

Room: classes are data, one of them the negative one; cells may have labels of their own, and images
what a label table says of them; measurement settings know how levels were made 0..255, and each
measure has a version of its own.

Both databases copy ``cell`` and ``clean_set_cell``, so that no room is left to the former rows.
PostgreSQL's other tables refer to the table itself, and SQLite's to its name.
"""

from __future__ import annotations

import json
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

OF_VERSION_2: Final = (
    "correlation",
    "intensity_nucleus",
    "intensity_nucleus_rim",
    "intensity_cytoplasm",
)
"""Measures that version 1 of all measures lacked."""

RLE: Final = "The mask as a compressed COCO counts string; its size is the image's height, width"

REFERENCES: Final = {
    "cell_measure": "CASCADE",
    "cell_override": "SET NULL",
}
"""Tables that refer to a cell, and what becomes of a reference when its cell is deleted."""

CHECKS: Final = (
    ("ck_cell_shape", "area > 0 AND width > 0 AND height > 0 AND x >= 0 AND y >= 0"),
    ("ck_cell_mask_id", "mask_id BETWEEN 1 AND 4294967295"),
)

REASON: Final = "Why it is not: no_background, dark, below_lower, ...; NULL if clean"
RULE_ID: Final = (
    "The rule that dropped it; of others, the one whose value is shown; NULL without a rule"
)
VALUE: Final = "The cell's value by this rule when it was judged, in the measure's unit; NULL also where the set is older than the column"
LEVELS: Final = "How levels of 16 bit become 0..255: divided by 257, and rounded"
VERSIONS: Final = "Version of each measure's formula, as a JSON object by name"

CELL: Final = "Cells; one is named NAME:ID by its image and its mask id"
WIDE_CELL: Final = "Cells and their measures; one is named NAME:ID by its image and its mask id"


OWN_LABELS: Final = (
    (
        "labels",
        TEXT,
        "Distinct label ids of this cell, joined by |, ascending; NULL: the cell has those of its image",
    ),
    (
        "label_count",
        sa.Integer(),
        "Number of distinct labels of this cell; NULL: the cell has those of its image",
    ),
)
"""Columns of ``cell`` for labels of its own."""

NEGATIVE: Final = 18
"""The negative class of the 19."""

COMMENTS: Final = (
    (
        "label",
        None,
        "Location classes of the Human Protein Atlas",
        "Classes; those of a new store are the 19 of the Human Protein Atlas in 2021",
    ),
    ("label", "id", "0..18", "Number of the class, as labels name it"),
    ("image_label", "label_id", "The label, 0..18", "The label"),
    ("clean_set_threshold", "label_id", "The label, 0..18", "The label"),
    ("clean_set_former", "label_id", "The label, 0..18", "The label"),
    (
        "clean_set",
        "min_green",
        "Cells whose green intensity_max is below are dark, except in images of label 18 only [grey level 0..255]",
        "Cells whose green intensity_max is below are dark, except those of the negative class alone [grey level 0..255]",
    ),
)
"""Table, column or None for the table itself, its comment before and after."""

DECIDING: Final = """
    SELECT min(r.id) FROM clean_rule AS r
    WHERE r.clean_set_id = named.clean_set_id
    AND (r.label_id IS NULL OR r.label_id = named.label_id)
    AND (r.reason = named.reason
        OR (r.reason IS NULL AND named.reason IN ('below_lower', 'above_upper'))
        OR (r.shown AND (named.reason IS NULL OR named.reason IN ('no_background', 'no_value', 'dark',
            'no_threshold', 'override_keep', 'override_drop', 'kept_best'))))
"""
"""The rule that a verdict's reason names, or else the one whose value is shown."""


def upgrade() -> None:
    copy_verdicts(upgraded=True)
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
    own = [sa.Column(name, kind, nullable=True, comment=what) for name, kind, what in OWN_LABELS]
    values = ", ".join(f"{channel}.{m[0]}" for channel in CHANNELS for m in MEASURES)
    joins = " ".join(
        f"LEFT JOIN cell_channel AS {c} ON {c}.cell_id = cell.id AND {c}.channel = '{c}'"
        for c in CHANNELS
    )
    source = f"NULL, NULL, {values} FROM cell {joins}"
    replace_cell(WIDE_CELL, [*own, *wide], source, "cell_mask", "cell_channel")
    has_own = sa.text("label_count IS NOT NULL")
    op.create_index(
        "ix_cell_own_labels", "cell", ["image_id"], sqlite_where=has_own, postgresql_where=has_own
    )
    add_labels()
    settings_have_measures()
    for table, column, _, after in COMMENTS:
        comment(table, column, after)


def downgrade() -> None:
    for table, column, before, _ in COMMENTS:
        comment(table, column, before)
    settings_have_version()
    drop_labels()
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
    copy_verdicts(upgraded=False)


def add_labels() -> None:
    """Make room for any classes, for labels of cells, and for what a label table says of images."""
    negative = "Whether it is the class of cells that do not show the protein; one at most"
    op.add_column(
        "label",
        sa.Column("negative", FLAG, nullable=False, server_default=sa.false(), comment=negative),
    )
    is_negative = sa.text("negative")
    op.execute(f"UPDATE label SET negative = {true()} WHERE id = {NEGATIVE}")  # noqa: S608 names of this module
    op.create_index(
        "uq_label_negative",
        "label",
        ["negative"],
        unique=True,
        sqlite_where=is_negative,
        postgresql_where=is_negative,
    )
    op.create_table(
        "cell_label",
        sa.Column("cell_id", BIGINT, nullable=False, comment="The cell"),
        sa.Column("label_id", sa.Integer(), nullable=False, comment="The label"),
        foreign_key("cell_label", "cell_id", "cell", ondelete="CASCADE"),
        foreign_key("cell_label", "label_id", "label"),
        sa.PrimaryKeyConstraint("cell_id", "label_id", name="pk_cell_label"),
        comment="Labels of single cells; a cell with any has these instead of its image's",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_cell_label_label_id", "cell_label", ["label_id"])
    op.create_table(
        "image_column",
        sa.Column("image_id", BIGINT, nullable=False, comment="The image"),
        sa.Column("name", TEXT, nullable=False, comment="Name of the column"),
        sa.Column("value", TEXT, nullable=False, comment="What it says, as it is written there"),
        foreign_key("image_column", "image_id", "image", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image_id", "name", name="pk_image_column"),
        comment="Further columns of the label table, such as the cell line or the plate",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_image_column_name", "image_column", ["name"])


def drop_labels() -> None:
    op.drop_table("image_column")
    op.drop_table("cell_label")
    op.drop_index("uq_label_negative", "label")
    op.drop_column("label", "negative")


def copy_verdicts(*, upgraded: bool) -> None:
    """Copy the verdicts to a table with a rule and a value, or without."""
    table = "clean_set_cell"
    columns: list[sa.Column[Any]] = [
        sa.Column("clean_set_id", BIGINT, nullable=False, comment="The clean set"),
        sa.Column("cell_id", BIGINT, nullable=False, comment="The cell"),
        sa.Column(
            "label_id",
            sa.Integer(),
            nullable=False,
            comment="The label" if upgraded else "The label, 0..18",
        ),
        sa.Column("clean", FLAG, nullable=False, comment="Whether the cell is clean"),
        sa.Column("reason", TEXT, nullable=True, comment=REASON),
    ]
    own = [column.name for column in columns]
    references: list[sa.Constraint] = []
    if upgraded:
        columns.append(sa.Column("rule_id", BIGINT, nullable=True, comment=RULE_ID))
        columns.append(sa.Column("value", REAL, nullable=True, comment=VALUE))
    else:
        references = [
            foreign_key(table, "clean_set_id", "clean_set", ondelete="CASCADE"),
            foreign_key(table, "cell_id", "cell", ondelete="CASCADE"),
            foreign_key(table, "label_id", "label"),
        ]
    op.create_table(
        "clean_set_copy",
        *columns,
        *references,
        sa.PrimaryKeyConstraint("clean_set_id", "cell_id", "label_id", name=f"pk_{table}_copy"),
        comment="Verdicts as they were when the clean set was materialised",
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    values = ", ".join(f"v.{name}" for name in own)
    if upgraded:
        op.execute(
            f"WITH named AS (SELECT DISTINCT clean_set_id, label_id, reason FROM {table}),"  # noqa: S608 names of this module
            f" chosen AS MATERIALIZED (SELECT named.*, ({DECIDING}) AS rule_id FROM named)"
            f" INSERT INTO clean_set_copy ({', '.join(own)}, rule_id)"
            f" SELECT {values}, chosen.rule_id FROM {table} AS v"
            " LEFT JOIN chosen ON chosen.clean_set_id = v.clean_set_id"
            " AND chosen.label_id = v.label_id"
            " AND coalesce(chosen.reason, '') = coalesce(v.reason, '')"
            " ORDER BY v.clean_set_id, v.cell_id, v.label_id"
        )
    else:
        op.execute(
            f"INSERT INTO clean_set_copy ({', '.join(own)}) SELECT {values} FROM {table} AS v"  # noqa: S608 names of this module
        )
    op.drop_table(table)
    op.rename_table("clean_set_copy", table)
    if is_postgresql():
        rename_constraints(table, "clean_set_copy", table)
        rename_constraints(table, f"pk_{table}_copy", f"pk_{table}")
    op.create_index(f"ix_{table}_cell_id", table, ["cell_id"])


def settings_have_measures() -> None:
    """Give each measure a version of its own.

    All have 1: version 2 of all together brought more measures, and changed none.
    """
    first, second = measures_of_versions()
    measures = f"CASE version WHEN 1 THEN '{first}' ELSE '{second}' END"
    if not is_postgresql():
        copy_settings("levels, measures", f"'257', {measures}", upgraded=True)
        return
    table = "measurement_settings"
    op.add_column(
        table,
        sa.Column("levels", TEXT, nullable=False, server_default=sa.text("'257'"), comment=LEVELS),
    )
    op.add_column(table, sa.Column("measures", TEXT, nullable=True, comment=VERSIONS))
    execute_as_it_is(f"UPDATE {table} SET measures = {measures}, checksum = NULL")  # noqa: S608 names of this module
    op.alter_column(table, "measures", nullable=False)
    op.drop_constraint(f"uq_{table}_background_percentile_version", table)
    op.drop_column(table, "version")
    unique = ["background_percentile", "levels", "measures"]
    op.create_unique_constraint(f"uq_{table}_{'_'.join(unique)}", table, unique)


def settings_have_version() -> None:
    first, _ = measures_of_versions()
    version = f"CASE WHEN measures = '{first}' THEN 1 ELSE 2 END"
    if not is_postgresql():
        copy_settings("version", version, upgraded=False)
        return
    table = "measurement_settings"
    op.add_column(
        table, sa.Column("version", sa.Integer(), nullable=True, comment="Version of the measures")
    )
    execute_as_it_is(f"UPDATE {table} SET version = {version}, checksum = NULL")  # noqa: S608 names of this module
    op.alter_column(table, "version", nullable=False)
    op.drop_constraint(f"uq_{table}_background_percentile_levels_measures", table)
    op.drop_column(table, "levels")
    op.drop_column(table, "measures")
    unique = ["background_percentile", "version"]
    op.create_unique_constraint(f"uq_{table}_{'_'.join(unique)}", table, unique)


def copy_settings(columns: str, values: str, *, upgraded: bool) -> None:
    """Copy the settings, whose unique constraint SQLite cannot change."""
    table = "measurement_settings"
    more: list[sa.Column[Any]] = [sa.Column("version", sa.Integer(), nullable=False)]
    if upgraded:
        more = [
            sa.Column("levels", TEXT, nullable=False, server_default=sa.text("'257'")),
            sa.Column("measures", TEXT, nullable=False),
        ]
    unique = ["background_percentile", *(column.name for column in more)]
    op.create_table(
        "settings_copy",
        sa.Column("id", BIGINT, nullable=False),
        sa.Column("background_percentile", REAL, nullable=False),
        *more,
        sa.Column("current", FLAG, nullable=False),
        sa.Column("checksum", BIGINT, nullable=True),
        sa.CheckConstraint(
            "background_percentile BETWEEN 0 AND 1", name=op.f(f"ck_{table}_background_percentile")
        ),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint(*unique, name=f"uq_{table}_{'_'.join(unique)}"),
        sqlite_strict=True,
    )
    execute_as_it_is(
        f"INSERT INTO settings_copy (id, background_percentile, {columns}, current)"  # noqa: S608 names of this module
        f" SELECT id, background_percentile, {values}, current FROM {table}"
    )
    op.drop_table(table)
    op.rename_table("settings_copy", table)
    op.create_index(
        f"uq_{table}_current", table, ["current"], unique=True, sqlite_where=sa.text("current")
    )


def execute_as_it_is(statement: str) -> None:
    """Execute a statement whose colons are no parameters."""
    op.get_bind().exec_driver_sql(statement)


def measures_of_versions() -> tuple[str, str]:
    """Write the measures that numbers of version 1 and of version 2 have, as settings hold them."""
    shape = [m[0] for m in SHAPE if m[0] not in ("image_id", "mask_id")]
    names = [*shape, *(m[0] for m in MEASURES)]
    first = [name for name in names if name not in OF_VERSION_2]
    return versions_text(first), versions_text(names)


def versions_text(names: list[str]) -> str:
    return json.dumps(dict.fromkeys(sorted(names), 1), separators=(",", ":"))


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


def foreign_key(
    table: str, column: str, target: str, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}"
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=ondelete)


def true() -> str:
    return "true" if is_postgresql() else "1"


def comment(table: str, column: str | None, what: str) -> None:
    """Say what a table or a column holds; SQLite has no comments."""
    if is_postgresql():
        target = f"TABLE {table}" if column is None else f"COLUMN {table}.{column}"
        quoted = what.replace("'", "''")
        op.get_bind().exec_driver_sql(f"COMMENT ON {target} IS '{quoted}'")


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
