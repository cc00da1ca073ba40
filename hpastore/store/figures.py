"""What figures show of a store: every statement of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, case, cast, func, literal, null, or_, select

from hpastore.errors import DamagedError, NotFoundError
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellMeasure,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    CleanSetThreshold,
    Image,
    ImageLabel,
    Measure,
)
from hpastore.schema.types import REAL
from hpastore.schema.views import CHANNEL_NAMES, LIVE, SHAPE_NAMES, label_threshold, shape_value
from hpastore.store import arrays
from hpastore.store.statements import batches, rows
from hpastore.store.stored_sets import find_clean_set

Values = Mapping[tuple[str, str | None], float | None]
"""A cell's measures by name and channel; the channel of a measure of the whole cell is None."""


_AT_ONCE: Final = 10_000
"""Rows that are held at once, where there may be millions."""


class FoundSet(NamedTuple):
    """A clean set as it was found."""

    key: int
    name: str
    """``NAME@VERSION``."""


class RuleOfLabel(NamedTuple):
    """A rule of a clean set under one label, with its bounds."""

    label_id: int
    measure: str
    channel: str | None
    reason: str | None
    """None is ``below_lower`` and ``above_upper``."""
    condition: str | None
    shown: bool
    lower: float | None
    upper: float | None


class Subject(NamedTuple):
    """A cell that a figure may show, under one label of a clean set or under all of its image."""

    cell_id: int
    image_name: str
    mask_id: int
    label_id: int | None
    """None without a clean set."""
    labels: str
    """All of the image, ids joined by ``|``."""
    clean: bool | None
    reason: str | None


class Wanted(NamedTuple):
    """Which cells a figure is about.

    Parameters
    ----------
    set_id
        A clean set; None takes all cells of now, and only `label` chooses among them.
    label
        Only under this label.
    clean
        Only those with this verdict.
    reason
        Only those with this reason.
    side, outside
        Only cells whose value lies outside, or not outside, the ``lower`` or the ``upper`` bound of the
        rule that their label is shown with; a cell of a label without this bound is not wanted.
    rules
        These rules.
    split
        Only cells of images of this split.
    """

    set_id: int | None = None
    label: int | None = None
    clean: bool | None = None
    reason: str | None = None
    side: str | None = None
    outside: bool = True
    rules: tuple[RuleOfLabel, ...] = ()
    split: str | None = None


class Place(NamedTuple):
    """Where a cell is: its box, half-open, in pixels of the image, and its mask."""

    mask_id: int
    x: int
    y: int
    width: int
    height: int
    rle: str
    image_width: int
    image_height: int


def clean_set_or_newest(
    connection: Connection, name: str | None, split: str | None = None
) -> FoundSet | None:
    """Find a clean set by name; without one the newest there is, or None.

    Parameters
    ----------
    connection
    name
    split
        The set must have judged images of this split.

    Raises
    ------
    NotFoundError
        If there is none of this name.
    UsageError
        If the one of this name is limited to another split.
    """
    if name is None:
        newest = select(CleanSet.name, CleanSet.version).order_by(CleanSet.id.desc()).limit(1)
        if split is not None:
            newest = newest.where(or_(CleanSet.split.is_(None), CleanSet.split == split))
        row = connection.execute(newest).one_or_none()
        if row is None:
            return None
        name = f"{row[0]}@{row[1]}"
    key, stem, version = find_clean_set(connection, name, split)
    return FoundSet(key, f"{stem}@{version}")


def clean_set_rules(connection: Connection, set_id: int) -> list[RuleOfLabel]:
    """Read the rules of a clean set for every label, in their order, with the bounds that it keeps."""
    return _rules(connection, CleanSetThreshold.__table__, set_id)


def live_rules(connection: Connection, set_id: int) -> list[RuleOfLabel]:
    """Read the same with the bounds of now."""
    return _rules(connection, label_threshold(set_id).subquery("now"), set_id)


def _rules(connection: Connection, bounds: Any, set_id: int) -> list[RuleOfLabel]:
    rule = (CleanRule.measure, CleanRule.channel, CleanRule.reason, CleanRule.condition, CleanRule.shown)
    statement = (
        select(bounds.c.label_id, *rule, bounds.c.lower, bounds.c.upper)
        .select_from(CleanRule.__table__.join(bounds, bounds.c.rule_id == CleanRule.id))
        .where(CleanRule.clean_set_id == set_id)
        .order_by(bounds.c.label_id, CleanRule.position, CleanRule.id)
    )
    return [RuleOfLabel(*row) for row in connection.execute(statement)]


def versions(connection: Connection, name: str) -> list[tuple[int, int]]:
    """Read the versions of a clean set, ascending: ``id, version``."""
    statement = select(CleanSet.id, CleanSet.version).where(CleanSet.name == name).order_by(CleanSet.version)
    return [(key, version) for key, version in connection.execute(statement)]


def counts_by_label(connection: Connection, set_id: int) -> dict[int, tuple[int, int]]:
    """Count a clean set's verdicts by label, on cells that are no more too, and those that are clean."""
    counts: dict[int, tuple[int, int]] = {}
    tables: tuple[Any, ...] = (CleanSetCell, CleanSetFormer)
    for table in tables:
        statement = select(table.label_id, func.count(), func.count().filter(table.clean))
        statement = statement.where(table.clean_set_id == set_id).group_by(table.label_id)
        for label, cells, clean in connection.execute(statement):
            before = counts.get(label, (0, 0))
            counts[label] = (before[0] + cells, before[1] + clean)
    return counts


def own_units(connection: Connection, measure: str) -> dict[str | None, str]:
    """Read a user's measure's unit by channel, None for the cell as a whole; of another measure nothing."""
    statement = select(CellMeasure.channel, Measure.unit).join(Measure, Measure.id == CellMeasure.measure_id)
    found = connection.execute(statement.where(Measure.name == measure).distinct())
    return {channel or None: unit for channel, unit in found}


def values_by_label(
    connection: Connection,
    measure: str,
    channel: str | None,
    label: int | None,
    set_id: int | None,
    split: str | None = None,
) -> npt.NDArray[Any]:
    """Read a measure of many cells.

    Of a clean set these are the cells that it judged, under the label that it judged them by; without
    one all cells of images with a single label, of which none is clean.  Only of images of a split, if one
    is given.

    Returns
    -------
    (N,) of int64 ``label``, float64 ``value``, NaN where it is NULL, and bool ``clean``
    """
    value = _value(measure, channel)
    if set_id is None:
        single = and_(Image.id == ImageLabel.image_id, Image.label_count == 1, LIVE)
        tables = ImageLabel.__table__.join(Image, single).join(Cell, Cell.image_id == Image.id)
        label_id: Any = ImageLabel.label_id
        statement: AnySelect = select(label_id, value, null()).select_from(tables)
    else:
        label_id = CleanSetCell.label_id
        statement = select(label_id, value, CleanSetCell.clean).select_from(_judged())
        statement = statement.where(CleanSetCell.clean_set_id == set_id, LIVE)
    if label is not None:
        statement = statement.where(label_id == label)
    if split is not None:
        statement = statement.where(Image.split == split)
    with connection.execute(statement, execution_options={"yield_per": _AT_ONCE}) as result:
        read = (row for part in result.partitions() for row in part)
        plain = ((of, np.nan if value is None else value, bool(clean)) for of, value, clean in read)
        return np.fromiter(plain, [("label", np.int64), ("value", np.float64), ("clean", np.bool_)])


def count_by_image(connection: Connection, wanted: Wanted) -> list[tuple[str, int]]:
    """Count the cells that are wanted in every image that has one, by name."""
    statement = _of(wanted, Image.name, func.count()).group_by(Image.name).order_by(Image.name)
    return [(name, n) for name, n in connection.execute(statement)]


def subjects(connection: Connection, wanted: Wanted, names: Sequence[str]) -> list[Subject]:
    """Read the cells that are wanted of some images, in the order of name, mask id and label."""
    statement = _of(wanted, *_subject(wanted)).order_by(*_natural(wanted))
    return [
        Subject(*row)
        for part in batches(sorted(names))
        for row in connection.execute(statement.where(Image.name.in_(part)))
    ]


def nearest(connection: Connection, wanted: Wanted, n: int) -> list[Subject]:
    """Read the N wanted cells whose values are nearest to the bound on `Wanted.side`, the nearest first."""
    value, bound = _shown(wanted)
    statement = _of(wanted, *_subject(wanted)).order_by(func.abs(value - bound), *_natural(wanted)).limit(n)
    return [Subject(*row) for row in connection.execute(statement)]


def places(connection: Connection, cells: Sequence[int]) -> dict[int, Place]:
    """Read where cells are, by their keys.

    Raises
    ------
    DamagedError
        If a mask does not fill its image, or has another box than is stored.
    """
    columns: tuple[Any, ...] = (Cell.mask_id, Cell.x, Cell.y, Cell.width, Cell.height, Cell.rle)
    columns += (Image.width.label("image_width"), Image.height.label("image_height"))
    statement = select(Cell.id, *columns).join(Image, Image.id == Cell.image_id).where(Cell.id.in_(cells))
    found = connection.execute(statement.add_columns(Image.name)).all()
    _check_places(found)
    return {row[0]: Place(*row[1:-1]) for row in found}


def _check_places(found: Sequence[Any]) -> None:
    def where(place: int) -> str:
        return f"cell {found[place].name}:{found[place].mask_id}"

    counts = [row.rle for row in found]
    arrays.check_masks(counts, [row.image_width * row.image_height for row in found], where)
    for place, row in enumerate(found):
        if not arrays.has_box(row.rle, row.image_height, row.image_width, row[2:6]):
            raise DamagedError(where(place), "its box is not that of its mask")


def measures_of(connection: Connection, cells: Sequence[int]) -> dict[int, Values]:
    """Read all measures of some cells, by their keys."""
    found: dict[int, dict[tuple[str, str | None], float | None]] = {key: {} for key in cells}
    for row in rows(connection, select(Cell.__table__).where(Cell.id.in_(cells))):
        found[row["id"]].update({(name, None): row[name] for name in SHAPE_NAMES})
    for row in rows(connection, select(CellChannel.__table__).where(CellChannel.cell_id.in_(cells))):
        found[row["cell_id"]].update({(name, row["channel"]): row[name] for name in CHANNEL_NAMES})
    own = select(CellMeasure.cell_id, Measure.name, CellMeasure.channel, CellMeasure.value)
    own = own.join(Measure, Measure.id == CellMeasure.measure_id).where(CellMeasure.cell_id.in_(cells))
    for key, name, channel, value in connection.execute(own):
        found[key][name, channel or None] = value
    return dict(found)


def image_cells(connection: Connection, name: str) -> tuple[int, int, str, dict[int, Place]]:
    """Read an image's width, height and labels, and where its cells are, by their keys.

    Raises
    ------
    NotFoundError
        If the store has no such image.
    """
    columns = (Image.id, Image.width, Image.height, Image.labels)
    image = connection.execute(select(*columns).where(Image.name == name)).one_or_none()
    if image is None:
        raise NotFoundError(
            f"no image {name}; the table image of 'hpastore sql' has the names of those there are"
        )
    cells = select(Cell.id).where(Cell.image_id == image.id)
    return image.width, image.height, image.labels, places(connection, list(connection.scalars(cells)))


def image_verdicts(connection: Connection, name: str, set_id: int) -> list[tuple[int, int, bool, str | None]]:
    """Read a clean set's verdicts on an image's cells: ``mask_id, label_id, clean, reason``, by label."""
    columns = (Cell.mask_id, CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason)
    statement = select(*columns).select_from(_judged())
    statement = statement.where(CleanSetCell.clean_set_id == set_id, Image.name == name)
    found = connection.execute(statement.order_by(CleanSetCell.label_id, Cell.mask_id))
    return [(mask_id, label, clean, reason) for mask_id, label, clean, reason in found]


def _of(wanted: Wanted, *columns: Any) -> AnySelect:
    """Select columns of the cells that are wanted."""
    if wanted.set_id is None:
        tables = Image.__table__.join(Cell, Cell.image_id == Image.id)
        live = [LIVE, *_of_split(wanted)]
        if wanted.label is None:
            return select(*columns).select_from(tables).where(*live)
        tables = tables.join(ImageLabel, ImageLabel.image_id == Image.id)
        return select(*columns).select_from(tables).where(*live, ImageLabel.label_id == wanted.label)
    where: list[Any] = [LIVE, *_of_split(wanted), CleanSetCell.clean_set_id == wanted.set_id]
    if wanted.label is not None:
        where.append(CleanSetCell.label_id == wanted.label)
    if wanted.clean is not None:
        where.append(CleanSetCell.clean if wanted.clean else ~CleanSetCell.clean)
    if wanted.reason is not None:
        where.append(CleanSetCell.reason == wanted.reason)
    if wanted.side is not None:
        where.append(_beyond(wanted))
    return select(*columns).select_from(_judged()).where(*where)


def _of_split(wanted: Wanted) -> list[Any]:
    return [] if wanted.split is None else [Image.split == wanted.split]


def _judged() -> Any:
    tables = CleanSetCell.__table__.join(Cell, Cell.id == CleanSetCell.cell_id)
    return tables.join(Image, Image.id == Cell.image_id)


def _beyond(wanted: Wanted) -> Any:
    value, bound = _shown(wanted)
    if wanted.side == "lower":
        return value < bound if wanted.outside else value >= bound
    return value > bound if wanted.outside else value <= bound


def _shown(wanted: Wanted) -> tuple[Any, Any]:
    """A cell's value by the rule that its label is shown with, and the bound on `Wanted.side`."""
    values, bounds = [], []
    for rule in wanted.rules:
        bound = rule.lower if wanted.side == "lower" else rule.upper
        if rule.shown and bound is not None:
            mine = CleanSetCell.label_id == rule.label_id
            values.append((mine, _value(rule.measure, rule.channel)))
            bounds.append((mine, literal(bound, REAL)))
    if not values:
        return literal(0.0, REAL), cast(null(), REAL)
    return case(*values), case(*bounds)


def _value(measure: str, channel: str | None) -> Any:
    """Value of a measure of `Cell`, as a real number."""
    if measure in SHAPE_NAMES:
        return shape_value(measure)
    if measure in CHANNEL_NAMES:
        mine = and_(CellChannel.cell_id == Cell.id, CellChannel.channel == channel)
        return select(cast(getattr(CellChannel, measure), REAL)).where(mine).scalar_subquery()
    own = select(CellMeasure.value).join(Measure, Measure.id == CellMeasure.measure_id)
    own = own.where(CellMeasure.cell_id == Cell.id, Measure.name == measure)
    return own.where(CellMeasure.channel == (channel or "")).scalar_subquery()


def _subject(wanted: Wanted) -> list[Any]:
    verdict = [CleanSetCell.label_id, Image.labels, CleanSetCell.clean, CleanSetCell.reason]
    return [Cell.id, Image.name, Cell.mask_id, *(verdict if wanted.set_id else _no_verdict())]


def _no_verdict() -> list[Any]:
    return [null(), Image.labels, null(), null()]


def _natural(wanted: Wanted) -> list[Any]:
    """Keys by which rows have the same order in every store of the same content."""
    return [Image.name, Cell.mask_id, *([CleanSetCell.label_id] if wanted.set_id else [])]
