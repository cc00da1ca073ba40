"""Choose the cells that a gallery shows: by label, verdict, reason or distance to a bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    CompoundSelect,
    Connection,
    FromClause,
    case,
    cast,
    func,
    literal,
    null,
    select,
)

from hpastore.schema.clean_rows import Side
from hpastore.schema.conditions import LIVE
from hpastore.schema.labelled_cells import LABELS, judged_cells, of_both
from hpastore.schema.measure_value import MeasureValues
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Cell, CleanSetCell, Image
from hpastore.schema.types import REAL
from hpastore.store.figures import RuleOfLabel
from hpastore.store.statements import batches


class SelectedCell(NamedTuple):
    """A cell that a figure may show, under one label of a clean set or under all of its image."""

    cell_id: int
    image_name: str
    mask_id: int
    label_id: int | None
    """None without a clean set."""
    labels: str
    """All labels of the image, ids joined by ``|``."""
    clean: bool | None
    reason: str | None
    lower: float | None = None
    upper: float | None = None
    """Bounds of the deciding rule, where they are those of the cell's image or group."""


class CellFilter(NamedTuple):
    """Which cells a figure is about.

    Parameters
    ----------
    set_id
        A clean set; None takes all current cells, and only `label` and `split` choose among them.
    label
        Only under this label.
    clean
        Only those with this verdict.
    reason
        Only those with this reason.
    side, outside
        Only cells whose value lies outside, or not outside, the bound on this side of the rule that
        their label is shown with; cells of a label without this bound are left out.
    rules
        The rules of the clean set, with their bounds.
    split
        Only cells of images in this split.
    """

    set_id: int | None = None
    label: int | None = None
    clean: bool | None = None
    reason: str | None = None
    side: Side | None = None
    outside: bool = True
    rules: tuple[RuleOfLabel, ...] = ()
    split: str | None = None


def count_by_image(connection: Connection, chosen: CellFilter) -> list[tuple[str, int]]:
    """Count the chosen cells of every image that has one, by name."""
    statement = _select_cells(chosen, Image.name, func.count())
    statement = statement.group_by(Image.name).order_by(Image.name)
    return [(name, n) for name, n in connection.execute(statement)]


def cells_of_images(
    connection: Connection, chosen: CellFilter, names: Sequence[str]
) -> list[SelectedCell]:
    """Read the chosen cells of some images, in the order of name, mask id and label."""
    statement = _select_cells(chosen, *_columns(chosen)).order_by(*_natural_order(chosen))
    return [
        SelectedCell(*row)
        for part in batches(sorted(names))
        for row in connection.execute(statement.where(Image.name.in_(part)))
    ]


def nearest_cells(connection: Connection, chosen: CellFilter, n: int) -> list[SelectedCell]:
    """Read the n chosen cells that are nearest to the bound on their side, the nearest first."""
    shown = _shown_value(chosen)
    distance = func.abs(shown.value - shown.bound)
    statement = _select_cells(chosen, *_columns(chosen), shown=shown)
    statement = statement.order_by(distance, *_natural_order(chosen)).limit(n)
    return [SelectedCell(*row) for row in connection.execute(statement)]


class _ShownValue(NamedTuple):
    """A cell's value by the rule that its label is shown with, and the bound of a filter."""

    tables: MeasureValues
    value: Any
    bound: Any


def _shown_value(chosen: CellFilter) -> _ShownValue:
    bounds = [
        (rule, rule.lower if chosen.side == "lower" else rule.upper)
        for rule in chosen.rules
        if rule.shown
    ]
    bounds = [(rule, bound) for rule, bound in bounds if bound is not None]
    tables = MeasureValues((rule.measure, rule.channel) for rule, _ in bounds)
    if not bounds:
        return _ShownValue(tables, literal(0.0, REAL), cast(null(), REAL))

    of_label = [CleanSetCell.label_id == rule.label_id for rule, _ in bounds]
    values = [tables.value(rule.measure, rule.channel) for rule, _ in bounds]
    numbers = [literal(bound, REAL) for _, bound in bounds]
    return _ShownValue(
        tables,
        case(*zip(of_label, values, strict=True)),
        case(*zip(of_label, numbers, strict=True)),
    )


def _select_cells(chosen: CellFilter, *columns: Any, shown: _ShownValue | None = None) -> AnySelect:
    """Select columns of the chosen cells."""
    where: list[Any] = [LIVE]
    if chosen.split is not None:
        where.append(Image.split == chosen.split)
    if chosen.set_id is None:
        tables: FromClause = Image.__table__.join(Cell, Cell.image_id == Image.id)
        if chosen.label is not None:
            where.append(Cell.id.in_(_cells_of_label(chosen.label)))
        return select(*columns).select_from(tables).where(*where)

    tables = judged_cells()
    where.append(CleanSetCell.clean_set_id == chosen.set_id)
    if chosen.label is not None:
        where.append(CleanSetCell.label_id == chosen.label)
    if chosen.clean is not None:
        where.append(CleanSetCell.clean if chosen.clean else ~CleanSetCell.clean)
    if chosen.reason is not None:
        where.append(CleanSetCell.reason == chosen.reason)
    if chosen.side is not None:
        shown = shown or _shown_value(chosen)
        tables = shown.tables.join_to(tables)
        where.append(_on_side(chosen, shown))
    return select(*columns).select_from(tables).where(*where)


def _cells_of_label(label: int) -> CompoundSelect[Any]:
    return of_both(
        lambda cells: select(Cell.id).select_from(cells.rows).where(cells.label_id == label)
    )


def _on_side(chosen: CellFilter, shown: _ShownValue) -> Any:
    """Whether a cell's value lies outside the bound, or not outside it."""
    if chosen.side == "lower":
        return shown.value < shown.bound if chosen.outside else shown.value >= shown.bound
    return shown.value > shown.bound if chosen.outside else shown.value <= shown.bound


def _columns(chosen: CellFilter) -> list[Any]:
    """Columns of `SelectedCell`."""
    cell = [Cell.id, Image.name, Cell.mask_id]
    if chosen.set_id is None:
        return [*cell, null(), LABELS, *(null() for _ in range(4))]
    verdict = (CleanSetCell.clean, CleanSetCell.reason, CleanSetCell.lower, CleanSetCell.upper)
    return [*cell, CleanSetCell.label_id, LABELS, *verdict]


def _natural_order(chosen: CellFilter) -> list[Any]:
    """Keys by which rows have the same order in every store of the same content."""
    order: list[Any] = [Image.name, Cell.mask_id]
    return order if chosen.set_id is None else [*order, CleanSetCell.label_id]
