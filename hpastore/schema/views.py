"""The views that people query, each written once for both databases."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    MetaData,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.sql.ddl import CreateView

from hpastore.schema.clean_views import clean_cell_view
from hpastore.schema.conditions import LIVE
from hpastore.schema.measure_value import CHANNEL_NAMES, SHAPE_NAMES
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import (
    Cell,
    CleanSet,
    CleanSetCell,
    Image,
    ImageLabel,
    Label,
    channel_column,
)
from hpastore.schema.threshold_view import label_threshold
from hpastore.schema.types import BIGINT, REAL, TEXT
from hpastore.vocabulary import CHANNELS

Column = ColumnElement[Any]


def _cell_stats() -> AnySelect:
    """One flat row per cell."""
    rows = Cell.__table__.join(Image).outerjoin(
        ImageLabel, and_(ImageLabel.image_id == Image.id, Image.label_count == 1)
    )
    columns = (
        Cell.id.label("cell_id"),
        Image.name.label("image_name"),
        Image.split,
        Cell.mask_id,
        Image.labels,
        ImageLabel.label_id,
        *(getattr(Cell, name) for name in SHAPE_NAMES),
        *(channel_column(measure, channel) for channel in CHANNELS for measure in CHANNEL_NAMES),
    )
    return select(*columns).select_from(rows).where(LIVE)


def _cell_channel() -> CompoundSelect[Any]:
    """One row per cell and channel that its image has."""
    return union_all(
        *(
            select(
                Cell.id.label("cell_id"),
                literal(channel, TEXT).label("channel"),
                *(channel_column(name, channel).label(name) for name in CHANNEL_NAMES),
            ).where(channel_column("intensity_max", channel).is_not(None))
            for channel in CHANNELS
        )
    )


def _cell_size() -> AnySelect:
    """One row per cell and label of its image: its area as a multiple of the label's median."""
    single = Cell.__table__.join(ImageLabel, ImageLabel.image_id == Cell.image_id)
    single = single.join(Image, and_(Image.id == Cell.image_id, Image.label_count == 1, LIVE))
    median = _median(single, ImageLabel.label_id, cast(Cell.area, REAL), "area_median")
    rows = (
        Cell.__table__.join(Image, Image.id == Cell.image_id)
        .join(ImageLabel, ImageLabel.image_id == Image.id)
        .outerjoin(median, median.c.key == ImageLabel.label_id)
    )
    columns = (
        Cell.id.label("cell_id"),
        Image.name.label("image_name"),
        Cell.mask_id,
        ImageLabel.label_id,
        Cell.area,
        median.c.area_median,
        (cast(Cell.area, REAL) / median.c.area_median).label("area_relative"),
    )
    return select(*columns).select_from(rows).where(LIVE)


def _share_clean(key: Any) -> FromClause:
    """Share of the newest clean set's verdicts that are clean, by a key: ``key, clean_share``."""
    newest = select(func.max(CleanSet.id)).scalar_subquery()
    clean = cast(func.count(case((CleanSetCell.clean, 1))), REAL)
    rows = CleanSetCell.__table__.join(Cell, Cell.id == CleanSetCell.cell_id)
    rows = rows.join(Image, and_(Image.id == Cell.image_id, LIVE))
    shares = select(key.label("key"), (clean / func.count()).label("clean_share")).select_from(rows)
    return shares.where(CleanSetCell.clean_set_id == newest).group_by(key).subquery("clean_share")


def _median(rows: FromClause, key: Any, value: Any, name: str, *where: Column) -> FromClause:
    """Median of a value by a key: ``key, {name}``; NULLs are left out."""
    values = select(key.label("key"), value.label("value")).select_from(rows)
    values = values.where(value.is_not(None), *where)
    half = {name: literal(0.5, REAL)}
    return percentiles(values.subquery(f"{name}_value"), ["key"], half).subquery(name)


def _label_summary() -> AnySelect:
    """Counts, the median green fraction and the share of clean verdicts of every label."""
    is_single = Image.label_count == 1
    single_cells = func.sum(case((is_single, Image.cell_count), else_=0))
    counts = (
        select(
            ImageLabel.label_id,
            func.count().label("images"),
            func.count(case((is_single, 1))).label("single_images"),
            cast(func.sum(Image.cell_count), BIGINT).label("cells"),
            cast(single_cells, BIGINT).label("single_cells"),
        )
        .join(Image)
        .where(LIVE)
        .group_by(ImageLabel.label_id)
        .subquery("counts")
    )
    cells = Cell.__table__.join(ImageLabel, ImageLabel.image_id == Cell.image_id)
    cells = cells.join(Image, and_(Image.id == Cell.image_id, Image.label_count == 1, LIVE))
    fraction = channel_column("fraction", "green")
    median = _median(cells, ImageLabel.label_id, fraction, "green_fraction_median")
    share = _share_clean(CleanSetCell.label_id)

    rows = (
        Label.__table__.outerjoin(counts, counts.c.label_id == Label.id)
        .outerjoin(median, median.c.key == Label.id)
        .outerjoin(share, share.c.key == Label.id)
    )
    return select(
        Label.id.label("label_id"),
        Label.name.label("label"),
        *(
            func.coalesce(counts.c[n], 0).label(n)
            for n in ("images", "single_images", "cells", "single_cells")
        ),
        median.c.green_fraction_median,
        share.c.clean_share,
    ).select_from(rows)


def _image_summary() -> AnySelect:
    """Counts, medians and the share of clean verdicts of every image."""
    area = _median(Cell.__table__, Cell.image_id, cast(Cell.area, REAL), "area_median")
    of_cell = channel_column("fraction", "green")
    fraction = _median(Cell.__table__, Cell.image_id, of_cell, "green_fraction_median")
    share = _share_clean(Cell.image_id)

    rows: FromClause = Image.__table__
    for part in (area, fraction, share):
        rows = rows.outerjoin(part, part.c.key == Image.id)
    columns = (
        Image.id.label("image_id"),
        Image.name.label("image_name"),
        Image.split,
        Image.labels,
        Image.label_count,
        Image.width,
        Image.height,
        Image.cell_count.label("cells"),
        area.c.area_median,
        fraction.c.green_fraction_median,
        share.c.clean_share,
    )
    return select(*columns).select_from(rows).where(LIVE)


METADATA: Final = MetaData()
"""The views as tables, for queries; not in the tables' metadata, which migrations compare."""

CELL_STATS: Final = CreateView(_cell_stats(), "cell_stats", metadata=METADATA)
CELL_CHANNEL: Final = CreateView(_cell_channel(), "cell_channel", metadata=METADATA)
CELL_SIZE: Final = CreateView(_cell_size(), "cell_size", metadata=METADATA)
LABEL_THRESHOLD: Final = CreateView(label_threshold(), "label_threshold", metadata=METADATA)
CLEAN_CELL: Final = CreateView(
    clean_cell_view(LABEL_THRESHOLD.table, "sqlite"), "clean_cell", metadata=METADATA
)
LABEL_SUMMARY: Final = CreateView(_label_summary(), "label_summary", metadata=METADATA)
IMAGE_SUMMARY: Final = CreateView(_image_summary(), "image_summary", metadata=METADATA)

VIEWS: Final = (
    *(CELL_STATS, CELL_CHANNEL, CELL_SIZE),
    *(LABEL_THRESHOLD, CLEAN_CELL, LABEL_SUMMARY, IMAGE_SUMMARY),
)
"""In the order in which they are created; each uses only those before it."""


@cache
def views(dialect: str) -> tuple[CreateView, ...]:
    """Give `VIEWS` in the form that suits a database, ``sqlite`` or ``postgresql``."""
    if dialect == "sqlite":
        return VIEWS
    clean_cell = CreateView(clean_cell_view(LABEL_THRESHOLD.table, dialect), "clean_cell")
    return tuple(clean_cell if view is CLEAN_CELL else view for view in VIEWS)
