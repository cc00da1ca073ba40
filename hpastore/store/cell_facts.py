"""Everything that the store holds about single cells: measures, overrides and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func, select

from hpastore.classes import Classes
from hpastore.schema.clean_rows import RuleRow
from hpastore.schema.image_medians import image_medians
from hpastore.schema.labelled_cells import LABELS
from hpastore.schema.measure_value import CHANNEL_NAMES, SHAPE_NAMES, MeasureKey
from hpastore.schema.tables import (
    Cell,
    CellMeasure,
    CellOverride,
    CleanSet,
    CleanSetCell,
    Image,
    Measure,
    channel_column,
)
from hpastore.store import decoding, label_thresholds
from hpastore.store.image_records import image_columns
from hpastore.vocabulary import CHANNELS

CellMeasures = Mapping[MeasureKey, float | None]
"""A cell's measures by name and channel; the channel of a measure of the whole cell is None."""


class OverrideRow(NamedTuple):
    """What somebody decided about a cell."""

    keep: bool
    comment: str | None

    @property
    def action(self) -> str:
        """``keep`` or ``drop``."""
        return "keep" if self.keep else "drop"


@dataclass(frozen=True)
class CellFacts:
    """One cell with all its measures and overrides."""

    cell_id: int
    image_id: int
    columns: Mapping[str, str]
    """What the label table says of its image, by column."""
    name: str
    """``NAME:ID``."""
    labels: tuple[int, ...]
    measures: CellMeasures
    overrides: Mapping[int | None, OverrideRow]
    """By label; None is every label."""

    def value(self, measure: str, channel: str | None) -> float | None:
        """Value of a measure; None where the cell has none."""
        value = self.measures.get((measure, channel))
        return None if value is None else float(value)

    def flag(self, name: str) -> bool:
        """Whether the cell has one of the flags that rules know."""
        if name == "no_nucleus":
            return self.value("nucleus_area", None) == 0
        return bool(self.value(name, None))

    def lacks_channel(self, channel: str | None) -> bool:
        """Whether the cell's image has no such channel."""
        return channel is not None and self.value("intensity_max", channel) is None

    def override(self, label: int) -> OverrideRow | None:
        """Give the override that is in force for a label."""
        return self.overrides.get(label, self.overrides.get(None))


class VerdictRow(NamedTuple):
    """A verdict on a cell, with the limits and the split of its clean set."""

    clean_set_id: int
    name: str
    version: int
    min_green: int
    min_cells: int
    split: str | None
    label_id: int
    clean: bool
    reason: str | None


def read_cell(
    connection: Connection, name: str, mask_id: int, classes: Classes
) -> CellFacts | None:
    """Read one cell; None if the store has no such cell."""
    statement = select(Cell.id, Cell.image_id, LABELS.label("labels")).join(Image)
    found = connection.execute(statement.where(Image.name == name, Cell.mask_id == mask_id))
    cell = found.one_or_none()
    if cell is None:
        return None

    o = CellOverride
    decided = select(o.label_id, o.keep, o.comment).where(o.cell_id == cell.id)
    return CellFacts(
        cell.id,
        cell.image_id,
        image_columns(connection, cell.image_id),
        f"{name}:{mask_id}",
        decoding.label_ids(name, cell.labels, classes),
        read_measures(connection, [cell.id])[cell.id],
        {label: OverrideRow(keep, comment) for label, keep, comment in connection.execute(decided)},
    )


def read_measures(connection: Connection, cells: Sequence[int]) -> dict[int, CellMeasures]:
    """Read all measures of some cells, by their keys."""
    found: dict[int, dict[MeasureKey, float | None]] = {key: {} for key in cells}

    columns: dict[MeasureKey, Any] = {(name, None): getattr(Cell, name) for name in SHAPE_NAMES}
    columns |= {
        (name, channel): channel_column(name, channel)
        for channel in CHANNELS
        for name in CHANNEL_NAMES
    }
    built_in = select(Cell.id, *columns.values()).where(Cell.id.in_(cells))
    for key, *values in connection.execute(built_in):
        found[key] |= dict(zip(columns, values, strict=True))

    customs = (
        select(CellMeasure.cell_id, Measure.name, CellMeasure.channel, CellMeasure.value)
        .join(Measure, Measure.id == CellMeasure.measure_id)
        .where(CellMeasure.cell_id.in_(cells))
    )
    for key, name, channel, value in connection.execute(customs):
        found[key][name, channel or None] = value
    return dict(found)


def verdicts_on_cell(connection: Connection, cell_id: int) -> list[VerdictRow]:
    """Read all verdicts on a cell, by clean set, version and label."""
    verdict = CleanSetCell
    statement = (
        select(
            *(verdict.clean_set_id, CleanSet.name, CleanSet.version),
            *(CleanSet.min_green, CleanSet.min_cells, CleanSet.split),
            *(verdict.label_id, verdict.clean, verdict.reason),
        )
        .join(CleanSet, CleanSet.id == verdict.clean_set_id)
        .where(verdict.cell_id == cell_id)
        .order_by(CleanSet.name, CleanSet.version, verdict.label_id)
    )
    return [VerdictRow(*row) for row in connection.execute(statement)]


def median_of_image(
    connection: Connection, image_id: int, measure: str, channel: str | None
) -> tuple[int, float | None]:
    """Count the cells of an image that have a value of a measure, and take the median of them."""
    found = image_medians((measure, channel), Cell.image_id == image_id).subquery("found")
    row = connection.execute(select(found.c.n, found.c.median)).one_or_none()
    return (0, None) if row is None else (row.n, row.median)


def rank_of_value(
    connection: Connection,
    rule: RuleRow,
    label: int,
    value: float,
    split: str | None = None,
) -> tuple[int, int]:
    """Rank a value among those of its label's current single-label cells, and count them.

    Parameters
    ----------
    connection
    rule
        Its measure, and the group of images that it is for.
    label
    value
    split
        Only cells of images in this split.
    """
    single = label_thresholds.label_values(
        rule.measure, rule.channel, split=split, label=label, rule=rule
    )
    values = single.subquery("single")
    below = func.count(case((values.c.value < value, 1)))
    rank, n = connection.execute(select(below + 1, func.count(values.c.value))).one()
    return rank, n
