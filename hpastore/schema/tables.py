"""The tables, as typed models; every column says its unit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, MetaData, UniqueConstraint, text, true
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.types import BIGINT, BLOB, REAL, TEXT, Flag, Instant, Key
from hpastore.vocabulary import CHANNELS, MAX_MASK_ID, ROLES

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


def _table(*constraints: Any, comment: str, clustered: bool = False) -> tuple[Any, ...]:
    """Options of a table; a clustered one holds small rows in the order of their key."""
    return (*constraints, {"sqlite_strict": True, "sqlite_with_rowid": not clustered, "comment": comment})


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(map(repr, values))})", name=column)


def _child(target: str, comment: str, *, primary_key: bool = False) -> Any:
    """Refer to a row; go when it goes."""
    reference = ForeignKey(target, ondelete="CASCADE")
    return mapped_column(BIGINT, reference, primary_key=primary_key, comment=comment)


def _measure(name: str) -> Any:
    return mapped_column(comment=_COMMENTS[name])


def _checksum(what: str) -> Any:
    return mapped_column(
        BIGINT, comment=f"Checksum of {what}, see store/integrity/checksums.py; NULL if it was never taken"
    )


class Label(Base):
    """A location class; the 19 rows come with the schema."""

    __tablename__ = "label"
    __table_args__ = _table(comment="Location classes of the Human Protein Atlas")

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="0..18")
    name: Mapped[str] = mapped_column(unique=True, comment="Name of the class")


class StoredSettings(Base):
    """What numbers were computed with; one row is the store's current one."""

    __tablename__ = "measurement_settings"
    __table_args__ = _table(
        UniqueConstraint("background_percentile", "version"),
        Index(
            "uq_measurement_settings_current",
            "current",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
        CheckConstraint("background_percentile BETWEEN 0 AND 1", name="background_percentile"),
        comment="What the numbers were computed with",
    )

    id: Mapped[Key]
    background_percentile: Mapped[float] = mapped_column(
        comment="Share of the background's pixels at or below the background level [share 0..1]"
    )
    version: Mapped[int] = mapped_column(comment="Version of the measures")
    current: Mapped[bool] = mapped_column(
        comment="Whether new images are measured with it; numbers of others are stale"
    )
    checksum: Mapped[int | None] = _checksum("this row")


class IngestRun(Base):
    """One run of ``ingest`` that had work to do."""

    __tablename__ = "ingest_run"
    __table_args__ = _table(comment="Runs of ingest that had work to do")

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
        server_default=text("0"), comment="Images that were given a split: their first one, or another"
    )
    checksum: Mapped[int | None] = _checksum("this row")


class Image(Base):
    """One field of cells."""

    __tablename__ = "image"
    __table_args__ = _table(
        CheckConstraint("width > 0 AND height > 0", name="size"),
        CheckConstraint("bit_depth IN (8, 16)", name="bit_depth"),
        comment="One row per field of cells",
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True, comment="The image's ID, unique in the store")
    split: Mapped[str | None] = mapped_column(comment="Such as train; given to ingest")
    root: Mapped[str] = mapped_column(comment="Folder that the files' uris are relative to")
    width: Mapped[int] = mapped_column(comment="Columns [px]")
    height: Mapped[int] = mapped_column(comment="Rows [px]")
    bit_depth: Mapped[int] = mapped_column(comment="Of the files; levels are stored as 0..255 [bit]")
    labels: Mapped[str] = mapped_column(
        comment="Distinct label ids joined by |, ascending; empty without labels"
    )
    label_count: Mapped[int] = mapped_column(comment="Number of distinct labels")
    cell_count: Mapped[int] = mapped_column(comment="Number of cells")
    ingested_at: Mapped[datetime] = mapped_column(comment="When its cells were stored [UTC]")
    settings_id: Mapped[int] = mapped_column(
        BIGINT, ForeignKey("measurement_settings.id"), comment="What its numbers were computed with"
    )
    gone_at: Mapped[datetime | None] = mapped_column(
        comment="When it was found to have left the inputs; views and new clean sets leave it out [UTC]"
    )
    relabelled_at: Mapped[datetime | None] = mapped_column(
        comment="When its labels last changed; NULL if they never did [UTC]"
    )
    binary_mask: Mapped[str | None] = mapped_column(
        comment="components: a mask of one value was split into its connected components; "
        "NULL: taken as it is"
    )
    match_nuclei: Mapped[str | None] = mapped_column(
        comment="overlap: each nucleus was given to the cell that holds most of it; "
        "NULL: to the cell of its id"
    )
    contents: Mapped[int | None] = _checksum("its rows of image_channel, cell, cell_channel and cell_measure")
    checksum: Mapped[int | None] = _checksum(
        "this row and its rows of image_file, image_label and image_measure"
    )


class ImageFile(Base):
    """One file of an image, as it was read."""

    __tablename__ = "image_file"
    __table_args__ = _table(
        _one_of("role", ROLES), comment="Files that an image was read from", clustered=True
    )

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True)
    role: Mapped[str] = mapped_column(
        primary_key=True, comment="red, green, blue, yellow, cell_mask or nucleus_mask"
    )
    uri: Mapped[str] = mapped_column(comment="Path relative to the image's root, with forward slashes")
    size: Mapped[int] = mapped_column(BIGINT, comment="Size [byte]")
    mtime_ns: Mapped[int] = mapped_column(BIGINT, comment="Modification time [ns since 1970]")
    sha256: Mapped[str] = mapped_column(comment="SHA-256 of the bytes that were decoded, hexadecimal")


class ImageLabel(Base):
    """A label of an image."""

    __tablename__ = "image_label"
    __table_args__ = _table(
        Index(None, "label_id"),
        comment="Labels of images; a label is a claim about the image, not about each cell",
        clustered=True,
    )

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True)
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label, 0..18"
    )


class ImageChannel(Base):
    """One channel of an image."""

    __tablename__ = "image_channel"
    __table_args__ = _table(_one_of("channel", CHANNELS), comment="Channels of images")

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True, comment="red, green, blue or yellow")
    background_level: Mapped[float | None] = mapped_column(
        comment="Background percentile of the pixels outside every cell; NULL without such a pixel "
        "[grey level 0..255]"
    )
    histogram: Mapped[bytes] = mapped_column(
        comment="Joint histogram: zlib of the four byte planes, lowest first, of little-endian uint32 "
        "counts; (cells + 1) rows of 256 levels, first the background, then the cells by ascending mask id"
    )


class Cell(Base):
    """One cell of an image."""

    __tablename__ = "cell"
    __table_args__ = _table(
        UniqueConstraint("image_id", "mask_id"),
        CheckConstraint(f"mask_id BETWEEN 1 AND {MAX_MASK_ID}", name="mask_id"),
        CheckConstraint("area > 0 AND width > 0 AND height > 0 AND x >= 0 AND y >= 0", name="shape"),
        comment="Cells; one is named NAME:ID by its image and its mask id",
    )

    id: Mapped[Key]
    image_id: Mapped[int] = _child("image.id", "The image")
    mask_id: Mapped[int] = mapped_column(BIGINT, comment="The cell's value in the mask")
    x: Mapped[int] = _measure("x")
    y: Mapped[int] = _measure("y")
    width: Mapped[int] = _measure("width")
    height: Mapped[int] = _measure("height")
    area: Mapped[int] = _measure("area")
    touches_border: Mapped[bool] = _measure("touches_border")
    pieces: Mapped[int] = _measure("pieces")
    nucleus_area: Mapped[int | None] = _measure("nucleus_area")
    rle: Mapped[str] = mapped_column(
        comment="The mask as a compressed COCO counts string; its size is the image's height, width"
    )


class CellChannel(Base):
    """One cell in one channel."""

    __tablename__ = "cell_channel"
    __table_args__ = _table(
        _one_of("channel", CHANNELS),
        comment="Measures of cells in a channel, on levels 0..255",
        clustered=True,
    )

    cell_id: Mapped[int] = _child("cell.id", "The cell", primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True, comment="red, green, blue or yellow")
    intensity_min: Mapped[int] = _measure("intensity_min")
    intensity_max: Mapped[int] = _measure("intensity_max")
    intensity_mean: Mapped[float] = _measure("intensity_mean")
    intensity_std: Mapped[float] = _measure("intensity_std")
    intensity_median: Mapped[float] = _measure("intensity_median")
    saturated: Mapped[float] = _measure("saturated")
    entropy: Mapped[float] = _measure("entropy")
    brenner: Mapped[float | None] = _measure("brenner")
    fraction: Mapped[float | None] = _measure("fraction")
    fraction_notebook: Mapped[float | None] = _measure("fraction_notebook")
    correlation: Mapped[float | None] = _measure("correlation")
    intensity_nucleus: Mapped[float | None] = _measure("intensity_nucleus")
    intensity_nucleus_rim: Mapped[float | None] = _measure("intensity_nucleus_rim")
    intensity_cytoplasm: Mapped[float | None] = _measure("intensity_cytoplasm")


class Failure(Base):
    """Why an image was not taken, the last time it was tried."""

    __tablename__ = "failure"
    __table_args__ = _table(comment="Images that were rejected; a row goes when its image is stored")

    image_name: Mapped[str] = mapped_column(primary_key=True, comment="The image's ID")
    uri: Mapped[str] = mapped_column(comment="The file at fault, relative to the root")
    code: Mapped[str] = mapped_column(comment="What kind of fault")
    message: Mapped[str] = mapped_column(comment="What happened and what to do")
    first_seen: Mapped[datetime] = mapped_column(comment="When this fault was first met [UTC]")
    last_seen: Mapped[datetime] = mapped_column(comment="When it was last met [UTC]")
    run_id: Mapped[int] = mapped_column(
        BIGINT, ForeignKey("ingest_run.id"), comment="The run that last met it"
    )
    checksum: Mapped[int | None] = _checksum("this row and its rows of failure_file")


class FailureFile(Base):
    """One file of a rejected image, as it was when it was tried."""

    __tablename__ = "failure_file"
    __table_args__ = _table(
        _one_of("role", ROLES),
        comment="Files of rejected images; while they stay as they are, they are not tried again",
        clustered=True,
    )

    image_name: Mapped[str] = mapped_column(
        ForeignKey("failure.image_name", ondelete="CASCADE"), primary_key=True, comment="The image's ID"
    )
    role: Mapped[str] = mapped_column(
        primary_key=True, comment="red, green, blue, yellow, cell_mask or nucleus_mask"
    )
    uri: Mapped[str] = mapped_column(comment="Path relative to the root, with forward slashes")
    size: Mapped[int] = mapped_column(BIGINT, comment="Size; -1 if it could not be looked at [byte]")
    mtime_ns: Mapped[int] = mapped_column(BIGINT, comment="Modification time [ns since 1970]")


class CleanSet(Base):
    """A named, versioned verdict over cells."""

    __tablename__ = "clean_set"
    __table_args__ = _table(
        UniqueConstraint("name", "version"),
        _one_of("scope", ("single", "all")),
        comment="Clean sets: which cells to train on, by which rules",
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(comment="Name; unique with the version")
    version: Mapped[int] = mapped_column(comment="1, 2, ... of this name")
    created_at: Mapped[datetime] = mapped_column(comment="When it was materialised [UTC]")
    scope: Mapped[str] = mapped_column(
        comment="single: cells of images with one label; all: each cell against each label of its image"
    )
    min_green: Mapped[int] = mapped_column(
        comment="Cells whose green intensity_max is below are dark, except in images of label 18 only "
        "[grey level 0..255]"
    )
    recipe_toml: Mapped[str] = mapped_column(comment="The set's rules as TOML")
    frozen: Mapped[bool] = mapped_column(comment="Whether its cells are kept as they were materialised")
    min_cells: Mapped[int] = mapped_column(
        server_default=text("1"),
        comment="Cells of a label below which its percentiles and medians bound nothing",
    )
    guard: Mapped[str] = mapped_column(
        server_default=text("'report'"),
        comment="What of an image that would lose all cells of a label: report, or keep its best cell",
    )
    background_percentile: Mapped[float | None] = mapped_column(
        comment="Of the measurement settings when it was made; NULL if not known [share 0..1]"
    )
    split: Mapped[str | None] = mapped_column(
        comment="Only cells of images of this split were judged, and made the thresholds; NULL is all"
    )
    verdicts: Mapped[int | None] = _checksum("its rows of clean_set_cell")
    checksum: Mapped[int | None] = _checksum(
        "this row and its rows of clean_rule, clean_set_threshold and clean_set_former"
    )


class CleanRule(Base):
    """One rule of a clean set."""

    __tablename__ = "clean_rule"
    __table_args__ = _table(Index(None, "clean_set_id"), comment="Rules of clean sets")

    id: Mapped[Key]
    clean_set_id: Mapped[int] = _child("clean_set.id", "The clean set")
    label_id: Mapped[int | None] = mapped_column(
        ForeignKey("label.id"), comment="The label it holds for; NULL is every label"
    )
    measure: Mapped[str] = mapped_column(comment="Name of a measure")
    channel: Mapped[str | None] = mapped_column(comment="The measure's channel; NULL for a measure of shape")
    lower_percentile: Mapped[float | None] = mapped_column(
        comment="Lower bound as a percentile of the label [share 0..1]"
    )
    lower_value: Mapped[float | None] = mapped_column(comment="Lower bound as a value, in the measure's unit")
    upper_percentile: Mapped[float | None] = mapped_column(
        comment="Upper bound as a percentile of the label [share 0..1]"
    )
    upper_value: Mapped[float | None] = mapped_column(comment="Upper bound as a value, in the measure's unit")
    position: Mapped[int] = mapped_column(
        server_default=text("1"),
        comment="Its place among the set's rules, 1, 2, ...; the first that fails gives the reason",
    )
    reason: Mapped[str | None] = mapped_column(
        comment="Reason of the cells that it drops; NULL is below_lower or above_upper"
    )
    condition: Mapped[str | None] = mapped_column(
        comment="Flag that a cell must have for the rule to be asked; NULL is always"
    )
    lower_median: Mapped[float | None] = mapped_column(
        comment="Lower bound as a multiple of the label's median"
    )
    upper_median: Mapped[float | None] = mapped_column(
        comment="Upper bound as a multiple of the label's median"
    )
    shown: Mapped[bool] = mapped_column(
        server_default=true(), comment="Whether a cell that no rule drops is shown with the value of this one"
    )


class CleanSetThreshold(Base):
    """The bounds that a clean set was materialised with."""

    __tablename__ = "clean_set_threshold"
    __table_args__ = _table(comment="Thresholds as they were when the clean set was materialised")

    clean_set_id: Mapped[int] = _child("clean_set.id", "The clean set", primary_key=True)
    rule_id: Mapped[int] = _child("clean_rule.id", "The rule", primary_key=True)
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label, 0..18"
    )
    n: Mapped[int] = mapped_column(BIGINT, comment="Cells of images with this one label that have a value")
    lower: Mapped[float | None] = mapped_column(comment="Lower bound, inclusive, in the measure's unit")
    upper: Mapped[float | None] = mapped_column(comment="Upper bound, inclusive, in the measure's unit")


class CleanSetCell(Base):
    """The verdict on one cell under one label."""

    __tablename__ = "clean_set_cell"
    __table_args__ = _table(
        Index(None, "cell_id"),
        comment="Verdicts as they were when the clean set was materialised",
        clustered=True,
    )

    clean_set_id: Mapped[int] = _child("clean_set.id", "The clean set", primary_key=True)
    cell_id: Mapped[int] = _child("cell.id", "The cell", primary_key=True)
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label, 0..18"
    )
    clean: Mapped[bool] = mapped_column(comment="Whether the cell is clean")
    reason: Mapped[str | None] = mapped_column(
        comment="Why it is not: no_background, dark, below_lower, ...; NULL if clean"
    )


class CleanSetFormer(Base):
    """A verdict on a cell that the store has no more."""

    __tablename__ = "clean_set_former"
    __table_args__ = _table(
        comment="Verdicts on cells whose image was replaced or pruned since", clustered=True
    )

    clean_set_id: Mapped[int] = _child("clean_set.id", "The clean set", primary_key=True)
    image_name: Mapped[str] = mapped_column(primary_key=True, comment="The image's ID")
    mask_id: Mapped[int] = mapped_column(
        BIGINT, primary_key=True, comment="The cell's value in the mask of then"
    )
    label_id: Mapped[int] = mapped_column(
        ForeignKey("label.id"), primary_key=True, comment="The label, 0..18"
    )
    clean: Mapped[bool] = mapped_column(comment="Whether the cell was clean")
    reason: Mapped[str | None] = mapped_column(comment="As in clean_set_cell")


class CellOverride(Base):
    """What somebody decided about a cell, which is known again by its mask."""

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
    )

    id: Mapped[Key]
    cell_id: Mapped[int | None] = mapped_column(
        BIGINT,
        ForeignKey("cell.id", ondelete="SET NULL"),
        comment="The cell; NULL while the store has none like it",
    )
    label_id: Mapped[int | None] = mapped_column(
        ForeignKey("label.id"), comment="The label it holds for; NULL is every label"
    )
    keep: Mapped[bool] = mapped_column(comment="Whether the cell is clean, whatever the rules say")
    score: Mapped[float | None] = mapped_column(comment="How sure its author is, or how good it looks [0..1]")
    author: Mapped[str | None] = mapped_column(comment="Who decided")
    comment: Mapped[str | None] = mapped_column(comment="Why")
    created_at: Mapped[datetime] = mapped_column(comment="When it was decided [UTC]")
    image_name: Mapped[str] = mapped_column(comment="The image's ID")
    mask_id: Mapped[int] = mapped_column(
        BIGINT, comment="The cell's value in the mask that it was last found in"
    )
    width: Mapped[int] = mapped_column(comment="Columns of the image [px]")
    height: Mapped[int] = mapped_column(comment="Rows of the image [px]")
    rle: Mapped[str] = mapped_column(
        comment="The cell's mask as it was decided about, a compressed COCO counts string"
    )
    checksum: Mapped[int | None] = _checksum("this row")


class Measure(Base):
    """A measure that a user added."""

    __tablename__ = "measure"
    __table_args__ = _table(
        _one_of("kind", ("histogram", "crops")),
        comment="Measures that users added, as they were last computed",
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True, comment="Name of the measure")
    version: Mapped[int] = mapped_column(comment="Version of its formula; an image may have an older one")
    kind: Mapped[str] = mapped_column(comment="histogram or crops: what it is a function of")
    unit: Mapped[str] = mapped_column(comment="Unit; empty for a number without one")
    comment: Mapped[str] = mapped_column(comment="What it is")
    checksum: Mapped[int | None] = _checksum("this row")


class ImageMeasure(Base):
    """A measure that an image's cells have."""

    __tablename__ = "image_measure"
    __table_args__ = _table(comment="Which images have which of the users' measures", clustered=True)

    image_id: Mapped[int] = _child("image.id", "The image", primary_key=True)
    measure: Mapped[str] = mapped_column(primary_key=True, comment="The measure that its cells have")
    version: Mapped[int] = mapped_column(comment="Version of the formula that they have it by")


class CellMeasure(Base):
    """One cell's value of a measure that a user added."""

    __tablename__ = "cell_measure"
    __table_args__ = _table(comment="Measures that users added, of cells", clustered=True)

    cell_id: Mapped[int] = _child("cell.id", "The cell", primary_key=True)
    measure_id: Mapped[int] = _child("measure.id", "The measure", primary_key=True)
    channel: Mapped[str] = mapped_column(
        primary_key=True, comment="The channel; empty for the cell as a whole"
    )
    value: Mapped[float | None] = mapped_column(comment="Its value, in the measure's unit")
