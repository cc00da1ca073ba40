"""The views, each written once for both databases."""

from __future__ import annotations

from collections.abc import Mapping
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
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.ddl import CreateView

from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellMeasure,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetThreshold,
    Image,
    ImageLabel,
    Label,
    Measure,
)
from hpastore.schema.types import BIGINT, REAL
from hpastore.vocabulary import CHANNELS, NEGATIVE, REASONS

SHAPE_NAMES: Final = tuple(m.name for m in SHAPE_MEASURES)
CHANNEL_NAMES: Final = tuple(m.name for m in CHANNEL_MEASURES)

Column = ColumnElement[Any]

LIVE: Final = Image.gone_at.is_(None)
"""Whether an image is still in its inputs; all views leave out those that are gone."""

IN_SPLIT: Final = or_(CleanSet.split.is_(None), CleanSet.split == Image.split)
"""Whether an image is of the split that a clean set is limited to, if it is."""


def shape_value(measure: str) -> Column:
    """Value of a measure of a cell's mask, as a real number; 1 for a flag that is set."""
    column = getattr(Cell, measure)
    flag = next(m.kind == "flag" for m in SHAPE_MEASURES if m.name == measure)
    return cast(case((column, 1), else_=0) if flag else column, REAL)


def measure_value(name: InstrumentedAttribute[str], channel: InstrumentedAttribute[str | None]) -> Column:
    """Value of the measure with a name, as a real number; of a channel where it is of one."""
    shape = {m: shape_value(m) for m in SHAPE_NAMES}
    levels = {m: cast(getattr(CellChannel, m), REAL) for m in CHANNEL_NAMES}
    own = select(CellMeasure.value).join(Measure, Measure.id == CellMeasure.measure_id)
    own = own.where(
        CellMeasure.cell_id == Cell.id,
        Measure.name == name,
        CellMeasure.channel == func.coalesce(channel, ""),
    )
    own = own.correlate(Cell.__table__, CleanRule.__table__)
    return case({**shape, **levels}, value=name, else_=own.scalar_subquery())


def flag_value(flag: str) -> Column:
    """Whether a cell has one of the flags that rules know."""
    return Cell.nucleus_area == 0 if flag == "no_nucleus" else getattr(Cell, flag)


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


def _rule_value(*where: Column) -> AnySelect:
    """One row per rule, of those chosen, and cell of a single-label image that has a value for it.

    Of a clean set that is limited to a split, only cells of images of this split.
    """
    value = measure_value(CleanRule.measure, CleanRule.channel)
    single = and_(Image.id == ImageLabel.image_id, Image.label_count == 1, LIVE, IN_SPLIT)
    rows = (
        CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
        .join(ImageLabel, rule_holds(ImageLabel.label_id))
        .join(Image, single)
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


def rule_holds(label_id: Any) -> Column:
    """Whether a rule is one of a label's."""
    return or_(CleanRule.label_id.is_(None), CleanRule.label_id == label_id)


def _of_rule_channel() -> Column:
    return and_(CellChannel.cell_id == Cell.id, CellChannel.channel == CleanRule.channel)


def label_threshold(set_id: Any = None) -> AnySelect:
    """Bounds of every rule for every label, from the cells of now; of a frozen set those that it keeps.

    Parameters
    ----------
    set_id
        Only of this clean set.  A condition on the view would not do: it takes percentiles for all
        rules first.

    Returns
    -------
    Select
        ``clean_set_id, rule_id, clean_set, version, rule, label_id, label, measure, channel, n, lower,
        upper``; `rule` is the rule's place.
    """
    where = [] if set_id is None else [CleanRule.clean_set_id == set_id]
    shares: dict[str, Column] = {
        n: literal_column(f"ranked.{n}_percentile", REAL) for n in ("lower", "upper")
    }
    values = _rule_value(*where).subquery("rule_value")
    found = percentiles(values, ("rule_id", "label_id"), {**shares, "median": literal(0.5, REAL)})
    of_now = found.subquery("found")
    kept = aliased(CleanSetThreshold, name="kept")
    rows = (
        CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
        .join(Label, rule_holds(Label.id))
        .outerjoin(of_now, and_(of_now.c.rule_id == CleanRule.id, of_now.c.label_id == Label.id))
        .outerjoin(kept, and_(CleanSet.frozen, kept.rule_id == CleanRule.id, kept.label_id == Label.id))
    )
    columns = (
        CleanRule.clean_set_id,
        CleanRule.id.label("rule_id"),
        CleanSet.name.label("clean_set"),
        CleanSet.version,
        CleanRule.position.label("rule"),
        Label.id.label("label_id"),
        Label.name.label("label"),
        CleanRule.measure,
        CleanRule.channel,
        case((CleanSet.frozen, kept.n), else_=func.coalesce(of_now.c.n, 0)).label("n"),
        *(
            case((CleanSet.frozen, getattr(kept, side)), else_=_bound(of_now, side)).label(side)
            for side in ("lower", "upper")
        ),
    )
    return select(*columns).select_from(rows).where(*where)


def _bound(found: FromClause, side: str) -> Column:
    """One side of a rule's bounds; what is taken from a label's cells asks for enough of them."""
    taken = func.coalesce(found.c[side], getattr(CleanRule, f"{side}_median") * found.c.median)
    enough = case((found.c.n >= CleanSet.min_cells, taken))
    return func.coalesce(enough, getattr(CleanRule, f"{side}_value"))


def verdict(thresholds: FromClause, *where: Column) -> AnySelect:
    """Judge every cell in the scope of clean sets, rule by rule, for all sets in one statement.

    Parameters
    ----------
    thresholds
        Has the columns ``rule_id, label_id, n, lower, upper``: the live bounds or the kept ones.
    where
        Conditions on ``clean_set``.

    Returns
    -------
    Select
        ``clean_set_id, cell_id, label_id, clean, reason``; `reason` is the first that applies, NULL
        for a clean cell that no one had to keep.

    Notes
    -----
    `hpastore.schema.verdict` says the same of one set, whose rules it knows: in one pass over the
    cells.  This one is for the view ``clean_cell``.
    """
    asked = _asked(thresholds, *where).subquery("asked")
    named = aliased(CleanRule, name="named")
    green, of_label, of_all = (
        aliased(CellChannel, name="green"),
        aliased(CellOverride, name="of_label"),
        aliased(CellOverride, name="of_all"),
    )
    rows = (
        asked.join(CleanSet, CleanSet.id == asked.c.clean_set_id)
        .join(Cell, Cell.id == asked.c.cell_id)
        .join(Image, Image.id == Cell.image_id)
        .join(green, and_(green.cell_id == Cell.id, green.channel == "green"))
        .outerjoin(of_label, and_(of_label.cell_id == Cell.id, of_label.label_id == asked.c.label_id))
        .outerjoin(of_all, and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None)))
        .outerjoin(
            named,
            and_(
                named.clean_set_id == asked.c.clean_set_id,
                or_(named.label_id.is_(None), named.label_id == asked.c.label_id),
                or_(asked.c.failed == 2 * named.position, asked.c.failed == 2 * named.position + 1),
            ),
        )
    )
    by_rule = func.coalesce(
        named.reason, case((asked.c.failed == 2 * named.position, "below_lower"), else_="above_upper")
    )
    steps = first_steps(
        func.coalesce(of_label.keep, of_all.keep),
        {"no_background": asked.c.no_background == 1, "no_value": asked.c.no_value == 1},
        and_(green.intensity_max < CleanSet.min_green, Image.labels != str(NEGATIVE)),
        asked.c.unbounded == 1,
    )
    failed: list[Any] = [(asked.c.failed.is_not(None), by_rule)]
    judged = select(
        asked.c.clean_set_id,
        Cell.id.label("cell_id"),
        asked.c.label_id,
        Cell.image_id,
        Cell.area,
        Cell.mask_id,
        case(*((when, reason) for when, reason, _ in steps), *failed).label("reason"),
        case(*((when, place) for when, _, place in steps), else_=rule_place(asked.c.failed // 2)).label(
            "place"
        ),
        (CleanSet.guard == "keep").label("guarded"),
    ).select_from(rows)
    return guarded(judged.subquery("judged"), "clean_set_id")


_NEVER_KEPT: Final = -1
"""The place of a cell that no guard may keep."""


def first_steps(
    keep: Column, missing: Mapping[str, Column], dark: Column, unbounded: Column
) -> list[tuple[Column, str, int]]:
    """Order what is asked of a cell before its rules: condition, reason, and how far the cell came.

    Parameters
    ----------
    keep
        What somebody decided; NULL if nobody did.
    missing
        Conditions on the value that the first rule with a percentile asks for, by their reason.
    dark, unbounded
        Conditions.

    Notes
    -----
    `rule_place` says how far a cell came that one of its rules drops.
    """
    return [
        (keep, "override_keep", _NEVER_KEPT),
        (~keep, "override_drop", _NEVER_KEPT),
        *((condition, reason, _NEVER_KEPT) for reason, condition in missing.items()),
        (dark, "dark", 0),
        (unbounded, "no_threshold", 1),
    ]


def rule_place(position: Any) -> Any:
    """Say how far a cell came that the rule at a position drops, whichever bound it exceeds."""
    return position + 1


def guarded(judged: FromClause, *sets: str) -> AnySelect:
    """Let the guard keep the best cell of an image that would lose all for a label.

    Parameters
    ----------
    judged
        Has the columns ``cell_id, label_id, image_id, area, mask_id, reason, place, guarded``.
    sets
        The column that tells clean sets apart, if there are several.
    """
    kept = or_(judged.c.reason.is_(None), judged.c.reason == "override_keep")
    owner = [judged.c[name] for name in (*sets, "image_id", "label_id")]
    reached = case((kept, -2), else_=judged.c.place)
    best = (reached.desc(), judged.c.area.desc(), judged.c.mask_id)
    windows = select(
        *judged.c,
        kept.label("kept"),
        func.count(case((kept, 1))).over(partition_by=owner).label("clean_cells"),
        func.row_number().over(partition_by=owner, order_by=best).label("nth"),
    ).subquery("windows")
    w = windows.c
    saved = and_(w.guarded, w.clean_cells == 0, w.nth == 1, w.place >= 0)
    return select(
        *(w[name] for name in sets),
        w.cell_id,
        w.label_id,
        or_(w.kept, saved).label("clean"),
        case((saved, "kept_best"), else_=w.reason).label("reason"),
    )


def _asked(thresholds: FromClause, *where: Column) -> AnySelect:
    """One row per clean set, cell in its scope and label: what its rules say of it together."""
    value = measure_value(CleanRule.measure, CleanRule.channel)
    lower, upper = thresholds.c.lower, thresholds.c.upper
    by_percentile = or_(CleanRule.lower_percentile.is_not(None), CleanRule.upper_percentile.is_not(None))
    asked = case(
        *((CleanRule.condition == flag, flag_value(flag)) for flag in ("touches_border", "no_nucleus")),
        else_=literal_column("1") == 1,
    )
    failed = case(
        (and_(asked, value < lower), 2 * CleanRule.position),
        (and_(asked, value > upper), 2 * CleanRule.position + 1),
    )
    first_percentile = and_(CleanRule.shown, by_percentile, asked)
    missing = and_(first_percentile, value.is_(None))
    rows = (
        CleanSet.__table__.join(
            Image, and_(LIVE, IN_SPLIT, or_(CleanSet.scope == "all", Image.label_count == 1))
        )
        .join(ImageLabel, ImageLabel.image_id == Image.id)
        .join(Cell, Cell.image_id == Image.id)
        .outerjoin(CleanRule, and_(CleanRule.clean_set_id == CleanSet.id, rule_holds(ImageLabel.label_id)))
        .outerjoin(CellChannel, _of_rule_channel())
        .outerjoin(
            thresholds,
            and_(thresholds.c.rule_id == CleanRule.id, thresholds.c.label_id == ImageLabel.label_id),
        )
    )

    def any_rule(condition: Column) -> Column:
        return func.max(case((condition, 1), else_=0))

    return (
        select(
            CleanSet.id.label("clean_set_id"),
            Cell.id.label("cell_id"),
            ImageLabel.label_id,
            func.min(failed).label("failed"),
            any_rule(and_(missing, CleanRule.measure == "fraction")).label("no_background"),
            any_rule(and_(missing, CleanRule.measure != "fraction")).label("no_value"),
            any_rule(and_(first_percentile, thresholds.c.n == 0)).label("unbounded"),
        )
        .select_from(rows)
        .where(*where)
        .group_by(CleanSet.id, Cell.id, ImageLabel.label_id)
    )


def clean_cell(now: FromClause, ranks: FromClause, *where: Column, joined: bool = True) -> AnySelect:
    """One row per clean set, cell and label: the verdict as stored, the bounds, and the verdict of now.

    Parameters
    ----------
    now
        The verdicts of now: ``clean_set_id, cell_id, label_id, clean``.
    ranks
        ``rule_id, label_id, cell_id, rank``.
    where
        Conditions on ``clean_set``.
    joined
        Whether verdicts and ranks are joined, or looked up row by row.
    """
    kept = CleanSetThreshold.__table__
    rows = (
        CleanSetCell.__table__.join(CleanSet)
        .join(Cell, Cell.id == CleanSetCell.cell_id)
        .join(Image, and_(Image.id == Cell.image_id, LIVE))
        .join(Label, Label.id == CleanSetCell.label_id)
        .outerjoin(CleanRule, and_(CleanRule.clean_set_id == CleanSet.id, _told_by_rule()))
        .outerjoin(CellChannel, _of_rule_channel())
        .outerjoin(kept, and_(kept.c.rule_id == CleanRule.id, kept.c.label_id == Label.id))
    )
    of_now = and_(now.c.clean_set_id == CleanSet.id, now.c.cell_id == Cell.id, now.c.label_id == Label.id)
    of_rank = and_(ranks.c.rule_id == CleanRule.id, ranks.c.cell_id == Cell.id, ranks.c.label_id == Label.id)
    rank: Column = ranks.c.rank
    live: Column = now.c.clean
    if joined:
        rows = rows.outerjoin(now, of_now).outerjoin(ranks, of_rank)
    else:
        rank = select(rank).where(of_rank).correlate_except(ranks).scalar_subquery()
        live = select(live).where(of_now).correlate_except(now).scalar_subquery()
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
        measure_value(CleanRule.measure, CleanRule.channel).label("value"),
        kept.c.lower,
        kept.c.upper,
        CleanSetCell.clean,
        CleanSetCell.reason,
        rank.label("rank"),
        live.label("live"),
    )
    return select(*columns).select_from(rows).where(*where)


def _clean_cell(dialect: str) -> AnySelect:
    """Make the view, in which verdicts of now and ranks cost nothing where a query does not ask for them.

    SQLite runs the subquery of a column that is asked for, once, and gives it an index.  PostgreSQL would
    run it for each row, but leaves out a join that it knows to find one row at most.
    """
    now, ranks = verdict(LABEL_THRESHOLD.table).subquery("now"), _ranks().subquery("ranks")
    if dialect == "sqlite":
        return clean_cell(now, ranks, joined=False)
    one_now = [now.c.clean_set_id, now.c.cell_id, now.c.label_id]
    one_rank = [ranks.c.rule_id, ranks.c.cell_id, ranks.c.label_id]
    return clean_cell(
        select(*one_now, (func.max(case((now.c.clean, 1), else_=0)) == 1).label("clean"))
        .group_by(*one_now)
        .subquery("one_now"),
        select(*one_rank, func.max(ranks.c.rank).label("rank")).group_by(*one_rank).subquery("one_rank"),
    )


def _ranks() -> AnySelect:
    """Place of the value of every cell of a single-label image, by rule and label."""
    made = _rule_value().subquery("made")
    rank = func.rank().over(partition_by=(made.c.rule_id, made.c.label_id), order_by=made.c.value)
    return select(made.c.rule_id, made.c.label_id, made.c.cell_id, rank.label("rank"))


def _told_by_rule() -> Column:
    """Whether a rule is the one that a verdict's reason names, or else the one that is shown."""
    sides = ("below_lower", "above_upper")
    others = [reason for reason in REASONS if reason not in sides]
    reason = CleanSetCell.reason
    return and_(
        rule_holds(CleanSetCell.label_id),
        or_(
            CleanRule.reason == reason,
            and_(CleanRule.reason.is_(None), reason.in_(sides)),
            and_(CleanRule.shown, or_(reason.is_(None), reason.in_(others))),
        ),
    )


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
CELL_SIZE: Final = CreateView(_cell_size(), "cell_size", metadata=METADATA)
LABEL_THRESHOLD: Final = CreateView(label_threshold(), "label_threshold", metadata=METADATA)
CLEAN_CELL: Final = CreateView(_clean_cell("sqlite"), "clean_cell", metadata=METADATA)
LABEL_SUMMARY: Final = CreateView(_label_summary(), "label_summary", metadata=METADATA)
IMAGE_SUMMARY: Final = CreateView(_image_summary(), "image_summary", metadata=METADATA)

VIEWS: Final = (CELL_STATS, CELL_SIZE, LABEL_THRESHOLD, CLEAN_CELL, LABEL_SUMMARY, IMAGE_SUMMARY)
"""In the order of their making; each uses only those before it."""


def views(dialect: str) -> tuple[CreateView, ...]:
    """Give `VIEWS` as a database, ``sqlite`` or ``postgresql``, does them best."""
    if dialect == "sqlite":
        return VIEWS
    mine = CreateView(_clean_cell(dialect), "clean_cell")
    return tuple(mine if view is CLEAN_CELL else view for view in VIEWS)
