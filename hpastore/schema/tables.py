"""The tables, as typed models; every column says its unit."""

from __future__ import annotations

from datetime import datetime
from itertools import product
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.row_info import DECLARED_VIEWS, RowInfo, table_of
from hpastore.schema.types import BIGINT, BLOB, REAL, TEXT, Flag, Instant, Key
from hpastore.vocabulary import CHANNELS, MAX_MASK_ID, ROLES

NOTHING_DECLARED: Final = RowInfo()

NOT_DUMPED: Final = {"dump": False}
NOT_COVERED: Final = {"checksum": False}
FOLLOWS_SETTINGS: Final = {"follows_settings": True}
IGNORED: Final = {**NOT_DUMPED, **NOT_COVERED}
"""What a column may declare, see `hpastore.schema.row_info`."""

_COMMENTS = {m.name: m.comment for m in (*SHAPE_MEASURES, *CHANNEL_MEASURES)}


class Base(DeclarativeBase):
    """What all tables share: names of constraints, types of columns, STRICT on SQLite."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 SQLAlchemy reads it from the class
        str: TEXT,
        float: REAL,
        bool: Flag(),
        bytes: BLOB,
        datetime: Instant(),
    }


def _table(
    *constraints: Any, comment: str, clustered: bool = False, rows: RowInfo = NOTHING_DECLARED
) -> tuple[Any, ...]:
    """Options of a table; a clustered one holds small rows in the order of their key."""
    options = {"sqlite_strict": True, "sqlite_with_rowid": not clustered}
    return (*constraints, {**options, "comment": comment, "info": {"rows": rows}})


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(map(repr, values))})", name=column)


def _child(target: str, comment: str, *, primary_key: bool = False, info: Any = None) -> Any:
    """Refer to a row; be deleted with it."""
    reference = ForeignKey(target, ondelete="CASCADE")
    return mapped_column(BIGINT, reference, primary_key=primary_key, comment=comment, info=info)


def _unchecked_reference(target: str, comment: str, kind: Any = BIGINT) -> Any:
    """Refer to a row by a part of the key, without a constraint; the doctor looks for orphans."""
    return mapped_column(kind, primary_key=True, comment=comment, info={"refers_to": target})


def _measure(name: str, info: Any = None) -> Any:
    return mapped_column(comment=_COMMENTS[name], info=info)


def _checksum() -> Any:
    comment = "Checksum of this row and of those that belong to it; NULL if it was never computed"
    return mapped_column(BIGINT, comment=comment, info=IGNORED)


def _key() -> Any:
    """Name a surrogate key, unknown before the row is written: no checksum covers it."""
    comment = "Key, counted up by the database"
    return mapped_column(BIGINT, primary_key=True, comment=comment, info=IGNORED)


class Label(Base):
    """A class that images or cells can be labelled with."""

    __tablename__ = "label"
    __table_args__ = _table(
        Index(
            "uq_label_negative",
            "negative",
            unique=True,
            sqlite_where=text("negative"),
            postgresql_where=text("negative"),
        ),
        comment="Classes; those of a new store are the 19 of the Human Protein Atlas in 2021",
        rows=RowInfo(natural_key=("id",), name="class {id}"),
    )

    id: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, comment="Number of the class, as labels name it"
    )
    name: Mapped[str] = mapped_column(unique=True, comment="Name of the class")
    negative: Mapped[bool] = mapped_column(
        server_default=false(),
        comment="Whether it is the class of cells that do not show the protein; one at most",
    )
    checksum: Mapped[int | None] = _checksum()


class StoredSettings(Base):
    """What numbers were computed with; one row is the store's current one."""

    __tablename__ = "measurement_settings"
    __table_args__ = _table(
        UniqueConstraint("background_percentile", "levels", "measures"),
        Index(
            "uq_measurement_settings_current",
            "current",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
        CheckConstraint("background_percentile BETWEEN 0 AND 1", name="background_percentile"),
        comment="What the numbers were computed with",
        rows=RowInfo(
            natural_key=("background_percentile", "levels", "measures"),
            dumped=False,
            name="measurement settings {id}",
        ),
    )

    id: Mapped[Key]
    background_percentile: Mapped[float] = mapped_column(
        comment="Share of the background's pixels at or below the background level [share 0..1]"
    )
    levels: Mapped[str] = mapped_column(
        server_default=text("'257'"),
        comment="How levels of 16 bit become 0..255: divided by 257, and rounded",
    )
    measures: Mapped[str] = mapped_column(
        comment="Version of each measure's formula, as a JSON object by name"
    )
    current: Mapped[bool] = mapped_column(
        comment="Whether new images are measured with it; numbers of others are stale"
    )
    checksum: Mapped[int | None] = _checksum()


class IngestRun(Base):
    """One run of ``ingest`` that had work to do."""

    __tablename__ = "ingest_run"
    __table_args__ = _table(
        comment="Runs of ingest that had work to do", rows=RowInfo(name="run {id}")
    )

    id: Mapped[Key]
    root: Mapped[str] = mapped_column(comment="Folder that was ingested")
    split: Mapped[str | None] = mapped_column(comment="Name given to the images, such as train")
    labels: Mapped[str | None] = mapped_column(
        comment="Table of labels that was read; NULL for images without labels"
    )
    version: Mapped[str] = mapped_column(comment="Version of hpastore")
    started_at: Mapped[datetime] = mapped_column(comment="When it started [UTC]")
    finished_at: Mapped[datetime | None] = mapped_column(
        comment="When it ended; NULL while it runs, or if it was killed [UTC]"
    )
    added: Mapped[int] = mapped_column(comment="Images stored for the first time")
    changed: Mapped[int] = mapped_column(comment="Images replaced, since a file differs")
    relabelled: Mapped[int] = mapped_column(comment="Images whose labels were replaced")
    rejected: Mapped[int] = mapped_column(comment="Images not taken, see failure")
    cells: Mapped[int] = mapped_column(comment="Cells stored")
    remeasured: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Images whose stale numbers were computed again"
    )
    gone: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Images that left the inputs: marked, or pruned"
    )
    returned: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Images that were gone and came back as they were"
    )
    moved: Mapped[int] = mapped_column(
        server_default=text("0"), comment="Images that were found in another root, unchanged"
    )
    resplit: Mapped[int] = mapped_column(
        server_default=text("0"),
        comment="Images that were given a split: their first one, or another",
    )


class Image(Base):
    """One field of cells."""

    __tablename__ = "image"
    __table_args__ = _table(
        CheckConstraint("width > 0 AND height > 0", name="size"),
        CheckConstraint("bit_depth IN (8, 16)", name="bit_depth"),
        comment="One row per field of cells",
        rows=RowInfo(natural_key=("name",), name="image {name}"),
    )

    id: Mapped[int] = _key()
    name: Mapped[str] = mapped_column(
        unique=True,
        comment="The image's ID, unique in the store",
        info={"dump_as_reference": "image"},
    )
    split: Mapped[str | None] = mapped_column(comment="Such as train; given to ingest")
    root: Mapped[str] = mapped_column(
        comment="Folder that the files' uris are relative to", info=NOT_DUMPED
    )
    width: Mapped[int] = mapped_column(comment="Columns [px]")
    height: Mapped[int] = mapped_column(comment="Rows [px]")
    bit_depth: Mapped[int] = mapped_column(
        comment="Of the files; levels are stored as 0..255 [bit]"
    )
    labels: Mapped[str] = mapped_column(
        comment="Distinct label ids joined by |, ascending; empty without labels"
    )
    label_count: Mapped[int] = mapped_column(comment="Number of distinct labels")
    cell_count: Mapped[int] = mapped_column(comment="Number of cells")
    ingested_at: Mapped[datetime] = mapped_column(
        comment="When its cells were stored [UTC]", info=NOT_DUMPED
    )
    gone_at: Mapped[datetime | None] = mapped_column(
        comment="When it was found to have left the inputs; views and new clean sets leave it "
        "out [UTC]",
        info={"dump": "presence", "dump_as": "gone"},
    )
    settings_id: Mapped[int] = mapped_column(
        BIGINT, ForeignKey("measurement_settings.id"), comment="What its numbers were computed with"
    )
    relabelled_at: Mapped[datetime | None] = mapped_column(
        comment="When its labels last changed; NULL if they never did [UTC]", info=NOT_DUMPED
    )
    binary_mask: Mapped[str | None] = mapped_column(
        comment="components: a mask of one value was split into its connected components; "
        "NULL: taken as it is",
        info=NOT_DUMPED,
    )
    match_nuclei: Mapped[str | None] = mapped_column(
        comment="overlap: each nucleus was given to the cell that holds most of it; "
        "NULL: to the cell of its id",
        info=NOT_DUMPED,
    )
    checksum: Mapped[int | None] = _checksum()


class ImageFile(Base):
    """One file of an image, as it was read."""

    __tablename__ = "image_file"
    __table_args__ = _table(
        _one_of("role", ROLES),
        comment="Files that an image was read from",
        clustered=True,
        rows=RowInfo(natural_key=("image_id", "role"), covered_by="image"),
    )

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True, info=NOT_COVERED)
    role: Mapped[str] = mapped_column(
        primary_key=True, comment="red, green, blue, yellow, cell_mask or nucleus_mask"
    )
    uri: Mapped[str] = mapped_column(
        comment="Path relative to the image's root, with forward slashes"
    )
    size: Mapped[int] = mapped_column(BIGINT, comment="Size [byte]")
    mtime_ns: Mapped[int] = mapped_column(
        BIGINT, comment="Modification time [ns since 1970]", info=NOT_DUMPED
    )
    sha256: Mapped[str] = mapped_column(
        comment="SHA-256 of the bytes that were decoded, hexadecimal"
    )


class ImageLabel(Base):
    """A label of an image."""

    __tablename__ = "image_label"
    __table_args__ = _table(
        Index(None, "label_id"),
        comment="Labels of images; a label is a claim about the image, not about each cell",
        clustered=True,
        rows=RowInfo(natural_key=("image_id", "label_id"), covered_by="image"),
    )

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True, info=NOT_COVERED)
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label"
    )


class ImageColumn(Base):
    """What a column of the label table says of an image."""

    __tablename__ = "image_column"
    __table_args__ = _table(
        Index(None, "name"),
        comment="Further columns of the label table, such as the cell line or the plate",
        clustered=True,
        rows=RowInfo(natural_key=("image_id", "name"), covered_by="image"),
    )

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True, info=NOT_COVERED)
    name: Mapped[str] = mapped_column(primary_key=True, comment="Name of the column")
    value: Mapped[str] = mapped_column(comment="What it says, as it is written there")


class ImageChannel(Base):
    """One channel of an image."""

    __tablename__ = "image_channel"
    __table_args__ = _table(
        _one_of("channel", CHANNELS),
        comment="Channels of images",
        rows=RowInfo(
            natural_key=("image_id", "channel"),
            covered_by="image",
            hashed="columns",
            grouped_by=("channel",),
        ),
    )

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True, info=NOT_COVERED)
    channel: Mapped[str] = mapped_column(primary_key=True, comment="red, green, blue or yellow")
    background_level: Mapped[float | None] = mapped_column(
        comment="Background percentile of the pixels outside every cell; NULL without such a pixel "
        "[grey level 0..255]",
        info=FOLLOWS_SETTINGS,
    )
    histogram: Mapped[bytes] = mapped_column(
        comment="Joint histogram: zlib of the four byte planes, lowest first, of little-endian "
        "uint32 counts; (cells + 1) rows of 256 levels, first the background, then the cells by "
        "ascending mask id"
    )


class Cell(Base):
    """One cell of an image."""

    __tablename__ = "cell"
    __table_args__ = _table(
        UniqueConstraint("image_id", "mask_id"),
        Index(
            "ix_cell_own_labels",
            "image_id",
            sqlite_where=text("label_count IS NOT NULL"),
            postgresql_where=text("label_count IS NOT NULL"),
        ),
        CheckConstraint(f"mask_id BETWEEN 1 AND {MAX_MASK_ID}", name="mask_id"),
        CheckConstraint(
            "area > 0 AND width > 0 AND height > 0 AND x >= 0 AND y >= 0", name="shape"
        ),
        comment="Cells and their measures; one is named NAME:ID by its image and its mask id",
        rows=RowInfo(
            natural_key=("image_id", "mask_id"),
            covered_by="image",
            hashed="columns",
            extended_by="cell_mask",
        ),
    )

    id: Mapped[int] = _key()
    image_id: Mapped[int] = _child("image.id", "The image", info=NOT_COVERED)
    mask_id: Mapped[int] = mapped_column(BIGINT, comment="The cell's value in the mask")
    x: Mapped[int] = _measure("x")
    y: Mapped[int] = _measure("y")
    width: Mapped[int] = _measure("width")
    height: Mapped[int] = _measure("height")
    area: Mapped[int] = _measure("area")
    touches_border: Mapped[bool] = _measure("touches_border")
    pieces: Mapped[int] = _measure("pieces")
    nucleus_area: Mapped[int | None] = _measure("nucleus_area")
    border_share: Mapped[float | None] = _measure("border_share")
    nucleus_size: Mapped[float | None] = _measure("nucleus_size")
    second_nucleus: Mapped[float | None] = _measure("second_nucleus")
    nucleus_cut: Mapped[float | None] = _measure("nucleus_cut")
    labels: Mapped[str | None] = mapped_column(
        comment="Distinct label ids of this cell, joined by |, ascending; "
        "NULL: the cell has those of its image"
    )
    label_count: Mapped[int | None] = mapped_column(
        comment="Number of distinct labels of this cell; NULL: the cell has those of its image"
    )


_TYPES: Final[dict[str, Any]] = {"integer": Integer(), "real": REAL}

for _channel, _m in product(CHANNELS, CHANNEL_MEASURES):
    # Dumped and covered in the long form, see CellChannel.
    setattr(
        Cell,
        f"{_channel}_{_m.name}",
        mapped_column(_TYPES[_m.kind], nullable=True, comment=_m.comment, info=IGNORED),
    )


def channel_column(measure: str, channel: str) -> ColumnElement[Any]:
    """Give the column of ``cell`` that holds a measure of a channel."""
    column: ColumnElement[Any] = getattr(Cell, f"{channel}_{measure}")
    return column


class StoredMask(Base):
    """The mask of one cell, apart from its measures: so that these are read without it."""

    __tablename__ = "cell_mask"
    __table_args__ = _table(comment="Masks of cells", rows=RowInfo(natural_key=("cell_id",)))

    cell_id: Mapped[int] = _child("cell.id", "The cell", primary_key=True, info=NOT_COVERED)
    rle: Mapped[str] = mapped_column(
        comment="The mask as a compressed COCO counts string; its size is the image's height, width"
    )


class CellLabel(Base):
    """A label of one cell, which takes the place of its image's labels."""

    __tablename__ = "cell_label"
    __table_args__ = _table(
        Index(None, "label_id"),
        comment="Labels of single cells; a cell with any has these instead of its image's",
        clustered=True,
        rows=RowInfo(natural_key=("cell_id", "label_id"), covered_by="image"),
    )

    cell_id: Mapped[int] = _child("cell.id", "The cell", primary_key=True, info=NOT_COVERED)
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label"
    )


class CellChannel(Base):
    """One cell in one channel: the measures of ``cell`` in the long form, as a view."""

    __tablename__ = "cell_channel"
    __table_args__ = _table(
        comment="Measures of cells in a channel, on levels 0..255",
        rows=RowInfo(
            natural_key=("cell_id", "channel"),
            covered_by="image",
            hashed="columns",
            grouped_by=("channel",),
        ),
    )
    metadata = MetaData()  # of its own: no migration makes it

    cell_id: Mapped[int] = mapped_column(
        BIGINT, ForeignKey(Cell.id), primary_key=True, comment="The cell", info=NOT_COVERED
    )
    channel: Mapped[str] = mapped_column(primary_key=True, comment="red, green, blue or yellow")
    intensity_min: Mapped[int] = _measure("intensity_min")
    intensity_max: Mapped[int] = _measure("intensity_max")
    intensity_mean: Mapped[float] = _measure("intensity_mean")
    intensity_std: Mapped[float] = _measure("intensity_std")
    intensity_median: Mapped[float] = _measure("intensity_median")
    intensity_p99: Mapped[float | None] = _measure("intensity_p99")
    intensity_p999: Mapped[float | None] = _measure("intensity_p999")
    saturated: Mapped[float] = _measure("saturated")
    entropy: Mapped[float] = _measure("entropy")
    brenner: Mapped[float | None] = _measure("brenner")
    fraction: Mapped[float | None] = _measure("fraction", info=FOLLOWS_SETTINGS)
    fraction_notebook: Mapped[float | None] = _measure("fraction_notebook")
    correlation: Mapped[float | None] = _measure("correlation")
    intensity_nucleus: Mapped[float | None] = _measure("intensity_nucleus")
    intensity_nucleus_rim: Mapped[float | None] = _measure("intensity_nucleus_rim")
    intensity_cytoplasm: Mapped[float | None] = _measure("intensity_cytoplasm")


Base.metadata.info[DECLARED_VIEWS] = (table_of(CellChannel),)


class Failure(Base):
    """Why an image was not taken, the last time it was tried."""

    __tablename__ = "failure"
    __table_args__ = _table(
        comment="Rejected images; the row is deleted when the image is stored",
        rows=RowInfo(natural_key=("image_name",), name="failure of {image_name}"),
    )

    image_name: Mapped[str] = mapped_column(primary_key=True, comment="The image's ID")
    uri: Mapped[str] = mapped_column(comment="The file at fault, relative to the root")
    code: Mapped[str] = mapped_column(comment="What kind of fault")
    message: Mapped[str] = mapped_column(comment="What happened and what to do", info=NOT_DUMPED)
    first_seen: Mapped[datetime] = mapped_column(
        comment="When this fault was first met [UTC]", info=NOT_DUMPED
    )
    last_seen: Mapped[datetime] = mapped_column(
        comment="When it was last met [UTC]", info=NOT_DUMPED
    )
    run_id: Mapped[int] = mapped_column(
        BIGINT, ForeignKey("ingest_run.id"), comment="The run that last met it", info=NOT_DUMPED
    )


class FailureFile(Base):
    """One file of a rejected image, as it was when it was tried."""

    __tablename__ = "failure_file"
    __table_args__ = _table(
        _one_of("role", ROLES),
        comment="Files of rejected images; while they stay as they are, they are not tried again",
        clustered=True,
        rows=RowInfo(natural_key=("image_name", "role")),
    )

    image_name: Mapped[str] = mapped_column(
        ForeignKey("failure.image_name", ondelete="CASCADE"),
        primary_key=True,
        comment="The image's ID",
    )
    role: Mapped[str] = mapped_column(
        primary_key=True, comment="red, green, blue, yellow, cell_mask or nucleus_mask"
    )
    uri: Mapped[str] = mapped_column(comment="Path relative to the root, with forward slashes")
    size: Mapped[int] = mapped_column(
        BIGINT, comment="Size; -1 if it could not be looked at [byte]"
    )
    mtime_ns: Mapped[int] = mapped_column(
        BIGINT, comment="Modification time [ns since 1970]", info=NOT_DUMPED
    )


class CleanSet(Base):
    """A named, versioned verdict over cells."""

    __tablename__ = "clean_set"
    __table_args__ = _table(
        UniqueConstraint("name", "version"),
        _one_of("scope", ("single", "all")),
        comment="Clean sets: which cells to train on, by which rules",
        rows=RowInfo(natural_key=("name", "version"), name="clean set {name}@{version}"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(
        comment="Name; unique with the version", info={"dump_as": "clean_set"}
    )
    version: Mapped[int] = mapped_column(comment="1, 2, ... of this name")
    created_at: Mapped[datetime] = mapped_column(
        comment="When it was materialised [UTC]", info=NOT_DUMPED
    )
    scope: Mapped[str] = mapped_column(
        comment="single: cells of images with one label; all: each cell against each label of "
        "its image"
    )
    split: Mapped[str | None] = mapped_column(
        comment="Split whose cells were judged and gave the thresholds; NULL is all images"
    )
    min_green: Mapped[int] = mapped_column(
        comment="Cells whose green intensity_max is below are dark, except those of the negative "
        "class alone [grey level 0..255]"
    )
    recipe_toml: Mapped[str] = mapped_column(comment="The set's rules as TOML")
    frozen: Mapped[bool] = mapped_column(
        comment="Whether its cells are kept as they were materialised"
    )
    min_cells: Mapped[int] = mapped_column(
        server_default=text("1"),
        comment="Number of cells that a label must have for its percentiles and medians to set "
        "a bound",
    )
    guard: Mapped[str] = mapped_column(
        server_default=text("'report'"),
        comment="If an image would lose all cells of a label: report it, or keep its best cell",
    )
    recipe_version: Mapped[int | None] = mapped_column(
        comment="Version of the language of recipe_toml: 2; NULL is 1, in which the section of a "
        "label lists all its rules"
    )
    small_labels: Mapped[str | None] = mapped_column(
        comment="What stands in for a label with fewer cells than min_cells: image, the median of "
        "the cell's own image; all, the cells of all labels; NULL is nothing"
    )
    background_percentile: Mapped[float | None] = mapped_column(
        comment="Of the measurement settings when it was made; NULL if not known [share 0..1]"
    )
    checksum: Mapped[int | None] = _checksum()


class CleanRule(Base):
    """One rule of a clean set."""

    __tablename__ = "clean_rule"
    __table_args__ = _table(
        Index(None, "clean_set_id"),
        comment="Rules of clean sets",
        rows=RowInfo(
            natural_key=("clean_set_id", "position", "label_id", "group_value"),
            covered_by="clean_set",
        ),
    )

    id: Mapped[Key]
    clean_set_id: Mapped[int] = _child("clean_set.id", "The clean set")
    position: Mapped[int] = mapped_column(
        server_default=text("1"),
        comment="Its place among the set's rules, 1, 2, ...; the first that fails gives the reason",
        info={"dump_as": "rule"},
    )
    label_id: Mapped[int | None] = mapped_column(
        ForeignKey("label.id"), comment="The label it holds for; NULL is every label"
    )
    grouped_by: Mapped[str | None] = mapped_column(
        comment="Column of the label table by which the images are grouped; NULL: they are not"
    )
    group_value: Mapped[str | None] = mapped_column(
        comment="What that column says of the images that the rule is for; NULL: it says nothing "
        "of them"
    )
    measure: Mapped[str] = mapped_column(comment="Name of a measure")
    channel: Mapped[str | None] = mapped_column(
        comment="The measure's channel; NULL for a measure of shape"
    )
    reason: Mapped[str | None] = mapped_column(
        comment="Reason of the cells that it drops; NULL is below_lower or above_upper"
    )
    condition: Mapped[str | None] = mapped_column(
        comment="Flag that a cell must have for the rule to apply; NULL: it always applies"
    )
    shown: Mapped[bool] = mapped_column(
        server_default=true(),
        comment="Whether a cell that no rule drops is shown with the value of this one",
    )
    lower_percentile: Mapped[float | None] = mapped_column(
        comment="Lower bound as a percentile of the label [share 0..1]"
    )
    lower_value: Mapped[float | None] = mapped_column(
        comment="Lower bound as a value, in the measure's unit"
    )
    lower_median: Mapped[float | None] = mapped_column(
        comment="Lower bound as a multiple of the label's median"
    )
    lower_image_median: Mapped[float | None] = mapped_column(
        comment="Lower bound as a multiple of the median of all cells of the cell's image"
    )
    upper_percentile: Mapped[float | None] = mapped_column(
        comment="Upper bound as a percentile of the label [share 0..1]"
    )
    upper_value: Mapped[float | None] = mapped_column(
        comment="Upper bound as a value, in the measure's unit"
    )
    upper_median: Mapped[float | None] = mapped_column(
        comment="Upper bound as a multiple of the label's median"
    )
    upper_image_median: Mapped[float | None] = mapped_column(
        comment="Upper bound as a multiple of the median of all cells of the cell's image"
    )


class CleanSetThreshold(Base):
    """The bounds that a clean set was materialised with."""

    __tablename__ = "clean_set_threshold"
    __table_args__ = _table(
        comment="Thresholds as they were when the clean set was materialised",
        rows=RowInfo(natural_key=("clean_set_id", "rule_id", "label_id"), covered_by="clean_set"),
    )

    clean_set_id: Mapped[int] = _child("clean_set.id", "The clean set", primary_key=True)
    rule_id: Mapped[int] = _child("clean_rule.id", "The rule", primary_key=True)
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label"
    )
    n: Mapped[int] = mapped_column(
        BIGINT, comment="Cells of images with this one label that have a value"
    )
    lower: Mapped[float | None] = mapped_column(
        comment="Lower bound, inclusive, in the measure's unit"
    )
    upper: Mapped[float | None] = mapped_column(
        comment="Upper bound, inclusive, in the measure's unit"
    )
    stand_in: Mapped[str | None] = mapped_column(
        comment="What the bounds were taken from in place of a label with few cells: all, the "
        "cells of all labels; image, the median of each cell's image, which is no bound of the "
        "label; NULL is the label itself"
    )


class CleanSetCell(Base):
    """The verdict on one cell under one label.

    It has no foreign keys: PostgreSQL would look up each for each row, which takes three quarters
    of the time of ``clean create``.  Whoever deletes cells or clean sets deletes their verdicts,
    see `hpastore.store.clean_sets.verdict_rows`.
    """

    __tablename__ = "clean_set_cell"
    __table_args__ = _table(
        Index(None, "cell_id"),
        comment="Verdicts as they were when the clean set was materialised",
        clustered=True,
        rows=RowInfo(
            natural_key=("clean_set_id", "cell_id", "label_id"),
            covered_by="clean_set",
            hashed="verdicts",
        ),
    )

    clean_set_id: Mapped[int] = _unchecked_reference("clean_set.id", "The clean set")
    cell_id: Mapped[int] = _unchecked_reference("cell.id", "The cell")
    label_id: Mapped[int] = _unchecked_reference("label.id", "The label", Integer())
    clean: Mapped[bool] = mapped_column(comment="Whether the cell is clean")
    reason: Mapped[str | None] = mapped_column(
        comment="Why it is not: no_background, dark, below_lower, ...; NULL if clean"
    )
    rule_id: Mapped[int | None] = mapped_column(
        BIGINT,
        comment="The rule that dropped it; of others, the one whose value is shown; NULL without "
        "a rule",
        info={**IGNORED, "refers_to": "clean_rule.id"},
    )
    value: Mapped[float | None] = mapped_column(
        comment="The cell's value by this rule when it was judged, in the measure's unit; NULL "
        "also where the set is older than the column"
    )
    lower: Mapped[float | None] = mapped_column(
        comment="Lower bound of this rule when the cell was judged, if it is that of the cell's "
        "image or group of images; NULL otherwise: clean_set_threshold has it"
    )
    upper: Mapped[float | None] = mapped_column(comment="Upper bound, as lower")


class CleanSetFormer(Base):
    """A verdict on a cell that was deleted since."""

    __tablename__ = "clean_set_former"
    __table_args__ = _table(
        comment="Verdicts on cells whose image was replaced or deleted since",
        clustered=True,
        rows=RowInfo(
            natural_key=("clean_set_id", "image_name", "mask_id", "label_id"),
            covered_by="clean_set",
        ),
    )

    clean_set_id: Mapped[int] = _child("clean_set.id", "The clean set", primary_key=True)
    image_name: Mapped[str] = mapped_column(primary_key=True, comment="The image's ID")
    mask_id: Mapped[int] = mapped_column(
        BIGINT, primary_key=True, comment="The cell's value in the mask that was judged"
    )
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label"
    )
    clean: Mapped[bool] = mapped_column(comment="Whether the cell was clean")
    reason: Mapped[str | None] = mapped_column(comment="As in clean_set_cell")


class CellOverride(Base):
    """What somebody decided about a cell, which is recognised by its mask."""

    __tablename__ = "cell_override"
    __table_args__ = _table(
        UniqueConstraint("cell_id", "label_id"),
        Index(None, "image_name"),
        Index(
            "uq_cell_override_every_label",
            "cell_id",
            unique=True,
            sqlite_where=text("label_id IS NULL"),
            postgresql_where=text("label_id IS NULL"),
        ),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        comment="What people decided about cells; it beats the rules",
        rows=RowInfo(
            natural_key=("image_name", "mask_id", "label_id", "rle"),
            name="override of {image_name}:{mask_id}",
        ),
    )

    id: Mapped[int] = _key()
    image_name: Mapped[str] = mapped_column(comment="The image's ID")
    mask_id: Mapped[int] = mapped_column(
        BIGINT, comment="The cell's value in the mask that it was last found in"
    )
    label_id: Mapped[int | None] = mapped_column(
        ForeignKey("label.id"), comment="The label it holds for; NULL is every label"
    )
    rle: Mapped[str] = mapped_column(
        comment="The cell's mask as it was decided about, a compressed COCO counts string"
    )
    keep: Mapped[bool] = mapped_column(comment="Whether the cell is clean, whatever the rules say")
    score: Mapped[float | None] = mapped_column(
        comment="How sure its author is, or how good it looks [0..1]"
    )
    author: Mapped[str | None] = mapped_column(comment="Who decided")
    comment: Mapped[str | None] = mapped_column(comment="Why")
    cell_id: Mapped[int | None] = mapped_column(
        BIGINT,
        ForeignKey("cell.id", ondelete="SET NULL"),
        comment="The cell; NULL while the store has no such cell",
        info={"dump": "presence", "dump_as": "attached", "checksum": False},
    )
    created_at: Mapped[datetime] = mapped_column(
        comment="When it was decided [UTC]", info=NOT_DUMPED
    )
    width: Mapped[int] = mapped_column(comment="Columns of the image [px]", info=NOT_DUMPED)
    height: Mapped[int] = mapped_column(comment="Rows of the image [px]", info=NOT_DUMPED)
    checksum: Mapped[int | None] = _checksum()


class Measure(Base):
    """A custom measure."""

    __tablename__ = "measure"
    __table_args__ = _table(
        _one_of("kind", ("histogram", "crops", "imported")),
        comment="Custom measures, as they were last computed",
        rows=RowInfo(natural_key=("name",)),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True, comment="Name of the measure")
    version: Mapped[int] = mapped_column(
        comment="Version of its formula; an image may have an older one", info=NOT_DUMPED
    )
    kind: Mapped[str] = mapped_column(
        comment="histogram or crops: what it is a function of; imported: its values come from a "
        "file"
    )
    unit: Mapped[str] = mapped_column(comment="Unit; empty for a number without one")
    comment: Mapped[str] = mapped_column(comment="What it is")


class ImageMeasure(Base):
    """A measure that an image's cells have."""

    __tablename__ = "image_measure"
    __table_args__ = _table(
        comment="Which images have which custom measures",
        clustered=True,
        rows=RowInfo(natural_key=("image_id", "measure"), covered_by="image"),
    )

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True, info=NOT_COVERED)
    measure: Mapped[str] = mapped_column(
        primary_key=True, comment="The measure that its cells have"
    )
    version: Mapped[int] = mapped_column(comment="Version of the formula that they have it by")


class CellMeasure(Base):
    """One cell's value of a custom measure."""

    __tablename__ = "cell_measure"
    __table_args__ = _table(
        comment="Custom measures of cells",
        clustered=True,
        rows=RowInfo(
            natural_key=("cell_id", "measure_id", "channel"),
            covered_by="image",
            hashed="columns",
            grouped_by=("name", "channel"),
        ),
    )

    cell_id: Mapped[int] = _child("cell.id", "The cell", primary_key=True, info=NOT_COVERED)
    measure_id: Mapped[int] = _child(
        "measure.id", "The measure", primary_key=True, info=NOT_COVERED
    )
    channel: Mapped[str] = mapped_column(
        primary_key=True, comment="The channel; empty for the cell as a whole"
    )
    value: Mapped[float | None] = mapped_column(comment="Its value, in the measure's unit")
