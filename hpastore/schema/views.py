"""The views, each written once for both databases."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    MetaData,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.ddl import CreateView

from hpastore.kernels.measures import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.model import CHANNELS, NEGATIVE
from hpastore.schema.columns import BIGINT, REAL, TEXT
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetThreshold,
    Image,
    ImageLabel,
    Label,
)

SHAPE_NAMES: Final = tuple(m.name for m in SHAPE_MEASURES)
CHANNEL_NAMES: Final = tuple(m.name for m in CHANNEL_MEASURES)

Column = ColumnElement[Any]

LIVE: Final = Image.gone_at.is_(None)
"""Whether an image is still in its inputs; all views leave out those that are gone."""


def measure_value(name: InstrumentedAttribute[str]) -> Column:
    """Value of the measure with a name, as a real number; of a channel where it is of one."""
    shape = {m.name: cast(getattr(Cell, m.name), REAL) for m in SHAPE_MEASURES if m.kind != "flag"}
    levels = {m: cast(getattr(CellChannel, m), REAL) for m in CHANNEL_NAMES}
    return case({**shape, **levels}, value=name)


def _cell_stats() -> AnySelect:
    """One flat row per cell."""
    channels = {name: aliased(CellChannel, name=name) for name in CHANNELS}
    rows = Cell.__table__.join(Image).outerjoin(
        ImageLabel, and_(ImageLabel.image_id == Image.id, Image.label_count == 1)
    )
    for name, stats in channels.items():
        rows = rows.join(stats, and_(stats.cell_id == Cell.id, stats.channel == name))
    columns = (
        Cell.id.label("cell_id"),
        Image.name.label("image_name"),
        Image.split,
        Cell.mask_id,
        Image.labels,
        ImageLabel.label_id,
        *(getattr(Cell, name) for name in SHAPE_NAMES),
        *(getattr(stats, m).label(f"{name}_{m}") for name, stats in channels.items() for m in CHANNEL_NAMES),
    )
    return select(*columns).select_from(rows).where(LIVE)


def _rule_value(*where: Column) -> AnySelect:
    """One row per rule, of those chosen, and cell of a single-label image that has a value for it."""
    value = measure_value(CleanRule.measure)
    rows = (
        CleanRule.__table__.join(ImageLabel, _rule_holds(ImageLabel.label_id))
        .join(Image, and_(Image.id == ImageLabel.image_id, Image.label_count == 1, LIVE))
        .join(Cell, Cell.image_id == Image.id)
        .outerjoin(CellChannel, _of_rule_channel())
    )
    return (
        select(
            CleanRule.id.label("rule_id"),
            CleanRule.lower_percentile,
            CleanRule.upper_percentile,
            ImageLabel.label_id,
            Cell.id.label("cell_id"),
            value.label("value"),
        )
        .select_from(rows)
        .where(value.is_not(None), *where)
    )


def _rule_holds(label_id: Any) -> Column:
    return or_(CleanRule.label_id.is_(None), CleanRule.label_id == label_id)


def _of_rule_channel() -> Column:
    return and_(CellChannel.cell_id == Cell.id, CellChannel.channel == CleanRule.channel)


def label_threshold(set_id: Any = None) -> AnySelect:
    """Bounds of every rule for every label, from the cells of now.

    Parameters
    ----------
    set_id
        Only of this clean set.  A condition on the view would not do: it takes percentiles for all
        rules first.

    Returns
    -------
    Select
        ``clean_set_id, rule_id, clean_set, version, label_id, label, measure, channel, n, lower, upper``.
    """
    where = [] if set_id is None else [CleanRule.clean_set_id == set_id]
    shares: dict[str, Column] = {
        n: literal_column(f"ranked.{n}_percentile", REAL) for n in ("lower", "upper")
    }
    values = _rule_value(*where).subquery("rule_value")
    found = percentiles(values, ("rule_id", "label_id"), shares).subquery("found")
    rows = (
        CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
        .join(Label, _rule_holds(Label.id))
        .outerjoin(found, and_(found.c.rule_id == CleanRule.id, found.c.label_id == Label.id))
    )
    columns = (
        CleanRule.clean_set_id,
        CleanRule.id.label("rule_id"),
        CleanSet.name.label("clean_set"),
        CleanSet.version,
        Label.id.label("label_id"),
        Label.name.label("label"),
        CleanRule.measure,
        CleanRule.channel,
        func.coalesce(found.c.n, 0).label("n"),
        func.coalesce(found.c.lower, CleanRule.lower_value).label("lower"),
        func.coalesce(found.c.upper, CleanRule.upper_value).label("upper"),
    )
    return select(*columns).select_from(rows).where(*where)


def verdict(thresholds: FromClause) -> AnySelect:
    """Judge every cell in the scope of every clean set.

    Parameters
    ----------
    thresholds
        Has the columns ``rule_id, label_id, n, lower, upper``: the live bounds or the kept ones.

    Returns
    -------
    Select
        ``clean_set_id, cell_id, label_id, value, lower, upper, clean, reason``; `reason` is the
        first that applies, NULL for a clean cell.

    Notes
    -----
    A clean set has one rule in this version, so that a cell has one row per label.
    """
    value = measure_value(CleanRule.measure)
    green = aliased(CellChannel, name="green")
    lower, upper = thresholds.c.lower, thresholds.c.upper
    unbounded = or_(
        and_(CleanRule.lower_percentile.is_not(None), lower.is_(None)),
        and_(CleanRule.upper_percentile.is_not(None), upper.is_(None)),
    )
    reason = case(
        (and_(value.is_(None), CleanRule.measure == "fraction"), "no_background"),
        (value.is_(None), "no_value"),
        (and_(green.intensity_max < CleanSet.min_green, Image.labels != str(NEGATIVE)), "dark"),
        (unbounded, "no_threshold"),
        (value < lower, "below_lower"),
        (value > upper, "above_upper"),
        else_=cast(null(), TEXT),
    )
    rows = (
        CleanSet.__table__.join(CleanRule, CleanRule.clean_set_id == CleanSet.id)
        .join(Image, and_(LIVE, or_(CleanSet.scope == "all", Image.label_count == 1)))
        .join(ImageLabel, and_(ImageLabel.image_id == Image.id, _rule_holds(ImageLabel.label_id)))
        .join(Cell, Cell.image_id == Image.id)
        .join(green, and_(green.cell_id == Cell.id, green.channel == "green"))
        .outerjoin(CellChannel, _of_rule_channel())
        .join(
            thresholds,
            and_(thresholds.c.rule_id == CleanRule.id, thresholds.c.label_id == ImageLabel.label_id),
        )
    )
    return select(
        CleanSet.id.label("clean_set_id"),
        CleanRule.id.label("rule_id"),
        Cell.id.label("cell_id"),
        ImageLabel.label_id,
        value.label("value"),
        lower,
        upper,
        reason.is_(None).label("clean"),
        reason.label("reason"),
    ).select_from(rows)


def clean_cell(thresholds: FromClause, set_id: Any = None) -> AnySelect:
    """One row per clean set, cell and label: the verdict as stored, the bounds, and the verdict of now.

    Parameters
    ----------
    thresholds
        `label_threshold` of the same.
    set_id
        Only this clean set.  A condition on the view would not do: it judges by all sets first.
    """
    mine = [] if set_id is None else [CleanSet.id == set_id]
    made = _rule_value(*([] if set_id is None else [CleanRule.clean_set_id == set_id])).subquery("made")
    rank = func.rank().over(partition_by=(made.c.rule_id, made.c.label_id), order_by=made.c.value)
    ranks = select(made.c.rule_id, made.c.label_id, made.c.cell_id, rank.label("rank")).subquery("ranks")
    now = verdict(thresholds).where(*mine).subquery("now")
    kept = CleanSetThreshold.__table__
    rows = (
        CleanSetCell.__table__.join(CleanSet)
        .join(CleanRule, CleanRule.clean_set_id == CleanSet.id)
        .join(Cell, Cell.id == CleanSetCell.cell_id)
        .join(Image, and_(Image.id == Cell.image_id, LIVE))
        .join(Label, Label.id == CleanSetCell.label_id)
        .outerjoin(CellChannel, _of_rule_channel())
        .outerjoin(kept, and_(kept.c.rule_id == CleanRule.id, kept.c.label_id == Label.id))
        .outerjoin(
            now,
            and_(now.c.rule_id == CleanRule.id, now.c.cell_id == Cell.id, now.c.label_id == Label.id),
        )
        .outerjoin(
            ranks,
            and_(ranks.c.rule_id == CleanRule.id, ranks.c.cell_id == Cell.id, ranks.c.label_id == Label.id),
        )
    )
    columns = (
        CleanSet.id.label("clean_set_id"),
        CleanSet.name.label("clean_set"),
        CleanSet.version,
        Cell.id.label("cell_id"),
        Image.name.label("image_name"),
        Cell.mask_id,
        Label.id.label("label_id"),
        Label.name.label("label"),
        CleanRule.measure,
        CleanRule.channel,
        measure_value(CleanRule.measure).label("value"),
        kept.c.lower,
        kept.c.upper,
        CleanSetCell.clean,
        CleanSetCell.reason,
        ranks.c.rank,
        now.c.clean.label("live"),
    )
    return select(*columns).select_from(rows).where(*mine)


def _share_clean(key: Any) -> FromClause:
    """Share of the verdicts of the newest clean set that are clean, by a key: ``key, clean_share``."""
    newest = select(func.max(CleanSet.id)).scalar_subquery()
    clean = cast(func.count(case((CleanSetCell.clean, 1))), REAL)
    rows = CleanSetCell.__table__.join(Cell, Cell.id == CleanSetCell.cell_id)
    rows = rows.join(Image, and_(Image.id == Cell.image_id, LIVE))
    shares = select(key.label("key"), (clean / func.count()).label("clean_share")).select_from(rows)
    return shares.where(CleanSetCell.clean_set_id == newest).group_by(key).subquery("clean_share")


def _median(rows: FromClause, key: Any, value: Any, name: str, *where: Column) -> FromClause:
    """Median of a value by a key: ``key, {name}``; NULLs are left out."""
    values = (
        select(key.label("key"), value.label("value")).select_from(rows).where(value.is_not(None), *where)
    )
    return percentiles(values.subquery(f"{name}_value"), ["key"], {name: literal(0.5, REAL)}).subquery(name)


def _with_green() -> FromClause:
    green = and_(CellChannel.cell_id == Cell.id, CellChannel.channel == "green")
    return Cell.__table__.join(CellChannel, green)


def _label_summary() -> AnySelect:
    """Counts, the median green fraction and the share clean of every label."""
    counts = (
        select(
            ImageLabel.label_id,
            func.count().label("images"),
            func.count(case((Image.label_count == 1, 1))).label("single_images"),
            cast(func.sum(Image.cell_count), BIGINT).label("cells"),
            cast(func.sum(case((Image.label_count == 1, Image.cell_count), else_=0)), BIGINT).label(
                "single_cells"
            ),
        )
        .join(Image)
        .where(LIVE)
        .group_by(ImageLabel.label_id)
        .subquery("counts")
    )
    cells = _with_green().join(ImageLabel, ImageLabel.image_id == Cell.image_id)
    cells = cells.join(Image, and_(Image.id == Cell.image_id, Image.label_count == 1, LIVE))
    median = _median(cells, ImageLabel.label_id, CellChannel.fraction, "green_fraction_median")
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
    """Counts, medians and the share clean of every image."""
    area = _median(Cell.__table__, Cell.image_id, cast(Cell.area, REAL), "area_median")
    fraction = _median(_with_green(), Cell.image_id, CellChannel.fraction, "green_fraction_median")
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
"""The views as tables, for queries; apart from the tables' metadata, which migrations compare."""

CELL_STATS: Final = CreateView(_cell_stats(), "cell_stats", metadata=METADATA)
LABEL_THRESHOLD: Final = CreateView(label_threshold(), "label_threshold", metadata=METADATA)
CLEAN_CELL: Final = CreateView(clean_cell(LABEL_THRESHOLD.table), "clean_cell", metadata=METADATA)
LABEL_SUMMARY: Final = CreateView(_label_summary(), "label_summary", metadata=METADATA)
IMAGE_SUMMARY: Final = CreateView(_image_summary(), "image_summary", metadata=METADATA)

VIEWS: Final = (CELL_STATS, LABEL_THRESHOLD, CLEAN_CELL, LABEL_SUMMARY, IMAGE_SUMMARY)
"""In the order of their making; each uses only those before it."""
