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

from hpastore.schema.clean_views import clean_cell, clean_cell_live
from hpastore.schema.conditions import LIVE
from hpastore.schema.image_columns import columns_json
from hpastore.schema.join_order import join_in_order
from hpastore.schema.labelled_cells import BY_CELL, LABELS, LabelledCells, of_both
from hpastore.schema.measure_value import CHANNEL_NAMES, SHAPE_NAMES
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.row_info import table_of
from hpastore.schema.tables import (
    Cell,
    CellLabel,
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
    own = select(CellLabel.label_id).where(CellLabel.cell_id == Cell.id, Cell.label_count == 1)
    label_id = case((Cell.label_count.is_(None), ImageLabel.label_id), else_=own.scalar_subquery())
    columns = (
        Cell.id.label("cell_id"),
        Image.name.label("image_name"),
        Image.split,
        Cell.mask_id,
        LABELS.label("labels"),
        label_id.label("label_id"),
        *(getattr(Cell, name) for name in SHAPE_NAMES),
        *(channel_column(measure, channel) for channel in CHANNELS for measure in CHANNEL_NAMES),
        columns_json().label("columns"),
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
    """One row per cell and label: its area as a multiple of the label's median."""
    median = _label_median(cast(Cell.area, REAL), "area_median")

    def sizes(cells: LabelledCells) -> AnySelect:
        columns = (Cell.mask_id, cells.label_id, Cell.area)
        of_cell = select(Cell.id.label("cell_id"), Image.name.label("image_name"), *columns)
        return of_cell.select_from(cells.rows).where(LIVE)

    sized = of_both(sizes).subquery("sized")
    relative = cast(sized.c.area, REAL) / median.c.area_median
    columns = (*sized.c, median.c.area_median, relative.label("area_relative"))
    return select(*columns).select_from(
        sized.outerjoin(median, median.c.label_id == sized.c.label_id)
    )


def _label_median(value: Column, name: str) -> FromClause:
    """Median of a value over the cells with one label, by it: ``label_id, {name}``."""

    def single(cells: LabelledCells) -> AnySelect:
        statement = select(cells.label_id, value.label("value")).select_from(cells.rows)
        return statement.where(cells.label_count == 1, LIVE, value.is_not(None))

    values = of_both(single).subquery(f"{name}_value")
    return percentiles(values, "label_id", {name: 0.5}).subquery(name)


def _newest_set() -> Column:
    return select(func.max(CleanSet.id)).scalar_subquery()


def _share_clean() -> Column:
    clean = cast(func.count(case((CleanSetCell.clean, 1))), REAL)
    return clean / func.nullif(func.count(), 0)


def _label_summary() -> AnySelect:
    """Counts, the median green fraction and the share of clean verdicts of every label."""
    counts, own = _image_counts(), _own_label_counts()
    median = _label_median(channel_column("fraction", "green"), "green_fraction_median")
    rows = CleanSetCell.__table__.join(Cell, Cell.id == CleanSetCell.cell_id)
    rows = rows.join(Image, and_(Image.id == Cell.image_id, LIVE))
    shares = select(CleanSetCell.label_id, _share_clean().label("clean_share")).select_from(rows)
    shares = shares.where(CleanSetCell.clean_set_id == _newest_set())
    share = shares.group_by(CleanSetCell.label_id).subquery("share")

    joined: FromClause = Label.__table__
    for part in (counts, own, median, share):
        joined = joined.outerjoin(part, part.c.label_id == Label.id)
    return select(
        Label.id.label("label_id"),
        Label.name.label("label"),
        *(func.coalesce(counts.c[n], 0).label(n) for n in ("images", "single_images")),
        *(
            (func.coalesce(counts.c[n], 0) + func.coalesce(own.c[n], 0)).label(n)
            for n in ("cells", "single_cells")
        ),
        median.c.green_fraction_median,
        share.c.clean_share,
    ).select_from(joined)


def _image_counts() -> FromClause:
    """Count images by label, and their cells but for those with labels of their own."""
    own = select(Cell.image_id, func.count().label("cells")).where(Cell.label_count.is_not(None))
    of_image = own.group_by(Cell.image_id).subquery("of_image")
    cells = Image.cell_count - func.coalesce(of_image.c.cells, 0)
    is_single = Image.label_count == 1
    return (
        select(
            ImageLabel.label_id,
            func.count().label("images"),
            func.count(case((is_single, 1))).label("single_images"),
            cast(func.sum(cells), BIGINT).label("cells"),
            cast(func.sum(case((is_single, cells), else_=0)), BIGINT).label("single_cells"),
        )
        .select_from(
            ImageLabel.__table__.join(Image).outerjoin(of_image, of_image.c.image_id == Image.id)
        )
        .where(LIVE)
        .group_by(ImageLabel.label_id)
        .subquery("counts")
    )


def _own_label_counts() -> FromClause:
    """Count the cells with labels of their own, by label."""
    single = func.count(case((Cell.label_count == 1, 1)))
    columns = (CellLabel.label_id, func.count().label("cells"), single.label("single_cells"))
    statement = select(*columns).select_from(BY_CELL.rows).where(LIVE)
    return statement.group_by(CellLabel.label_id).subquery("own")


def _image_summary() -> AnySelect:
    """Counts, medians and the share of clean verdicts of every image.

    Each is a subquery of its own image: who asks for one image waits for one.
    """
    of_cell = and_(CleanSetCell.cell_id == Cell.id, CleanSetCell.clean_set_id == _newest_set())
    verdicts = join_in_order(table_of(Cell), CleanSetCell, of_cell)
    shares = select(_share_clean()).select_from(verdicts).where(Cell.image_id == Image.id)
    columns = (
        Image.id.label("image_id"),
        Image.name.label("image_name"),
        Image.split,
        Image.labels,
        Image.label_count,
        Image.width,
        Image.height,
        Image.cell_count.label("cells"),
        _image_median(cast(Cell.area, REAL)).label("area_median"),
        _image_median(channel_column("fraction", "green")).label("green_fraction_median"),
        shares.correlate(Image).scalar_subquery().label("clean_share"),
    )
    return select(*columns).where(LIVE)


def _image_median(value: Column) -> Column:
    """Median of a value over an image's cells; NULLs are left out."""
    values = select(Cell.image_id, value.label("value"))
    values = values.where(Cell.image_id == Image.id, value.is_not(None)).correlate(Image)
    median = percentiles(values.subquery("of_image"), "image_id", {"median": 0.5})
    found = median.subquery("found")
    return select(found.c.median).scalar_subquery()


METADATA: Final = MetaData()
"""The views as tables, for queries; not in the tables' metadata, which migrations compare."""

CELL_STATS: Final = CreateView(_cell_stats(), "cell_stats", metadata=METADATA)
CELL_CHANNEL: Final = CreateView(_cell_channel(), "cell_channel", metadata=METADATA)
CELL_SIZE: Final = CreateView(_cell_size(), "cell_size", metadata=METADATA)
LABEL_THRESHOLD: Final = CreateView(label_threshold(), "label_threshold", metadata=METADATA)
CLEAN_CELL: Final = CreateView(clean_cell(), "clean_cell", metadata=METADATA)
CLEAN_CELL_LIVE: Final = CreateView(
    clean_cell_live(LABEL_THRESHOLD.table, "sqlite"), "clean_cell_live", metadata=METADATA
)
LABEL_SUMMARY: Final = CreateView(_label_summary(), "label_summary", metadata=METADATA)
IMAGE_SUMMARY: Final = CreateView(_image_summary(), "image_summary", metadata=METADATA)

VIEWS: Final = (
    *(CELL_STATS, CELL_CHANNEL, CELL_SIZE),
    *(LABEL_THRESHOLD, CLEAN_CELL, CLEAN_CELL_LIVE, LABEL_SUMMARY, IMAGE_SUMMARY),
)
"""In the order in which they are created; each uses only those before it."""


@cache
def views(dialect: str) -> tuple[CreateView, ...]:
    """Give `VIEWS` in the form that suits a database, ``sqlite`` or ``postgresql``."""
    if dialect == "sqlite":
        return VIEWS
    live = CreateView(clean_cell_live(LABEL_THRESHOLD.table, dialect), "clean_cell_live")
    return tuple(live if view is CLEAN_CELL_LIVE else view for view in VIEWS)
