"""Medians of a measure over all cells of each image, which bounds of clean sets may refer to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, true, union

from hpastore.schema.clean_rows import SIDES
from hpastore.schema.measure_value import MeasureKey, MeasureValues, named_value
from hpastore.schema.percentile import AnySelect, between, nearest, percentiles, ranked
from hpastore.schema.tables import Cell, CellLabel, CleanRule, CleanSet, Image, ImageLabel
from hpastore.schema.types import REAL

_MEDIAN: Final = 0.5


def image_medians(key: MeasureKey, *of_cells: ColumnElement[bool]) -> AnySelect:
    """Select the median of a measure in each image: ``image_id, n, median``.

    Parameters
    ----------
    key
    of_cells
        Conditions on `Cell` that all cells of an image meet, or none: `is_judged`, `has_label`.
    """
    tables = MeasureValues([key])
    value = tables.value(*key)
    values = select(Cell.image_id, value.label("value")).select_from(tables.join_to(Cell.__table__))
    values = values.where(value.is_not(None), *of_cells)
    return percentiles(values.subquery("of_images"), "image_id", {"median": _MEDIAN})


def is_judged(scope: str, split: str | None) -> ColumnElement[bool]:
    """Give a condition on `Cell`: that its image may have a cell that a clean set judges.

    A sort of fewer cells is what this is for: half of the images have one label.
    """
    images = select(Image.id)
    if split is not None:
        images = images.where(Image.split == split)
    if scope == "single":
        own = select(Cell.image_id).where(Cell.label_count.is_not(None))
        images = images.where(or_(Image.label_count == 1, Image.id.in_(own)))
    return Cell.image_id.in_(images)


def has_label(labels: Collection[int]) -> ColumnElement[bool]:
    """Give a condition on `Cell`: that its image, or a cell of it, has one of some labels."""
    of_image = select(ImageLabel.image_id).where(ImageLabel.label_id.in_(sorted(labels)))
    of_cell = select(Cell.image_id).join(CellLabel, CellLabel.cell_id == Cell.id)
    of_cell = of_cell.where(CellLabel.label_id.in_(sorted(labels)))
    return Cell.image_id.in_(union(of_image, of_cell))


def asked_medians() -> AnySelect:
    """Select the medians of images that any rule may ask for, of all clean sets together.

    Returns
    -------
    Select
        ``image_id, measure, channel, median``
    """
    asked = _asked()
    value = named_value(asked.c.measure, asked.c.channel)
    rows = asked.join(Cell, Cell.image_id == asked.c.image_id)
    values = select(*asked.c, value.label("value")).select_from(rows)
    of_images = values.where(value.is_not(None)).subquery("of_images")
    places = ranked(of_images, "number").subquery("places")
    names = [column.name for column in asked.c]
    found = nearest(places, names, {"median": literal(_MEDIAN, REAL)}).subquery("found")
    return select(
        *(found.c[name] for name in names if name != "number"),
        between(found, "median").label("median"),
    )


def _asked() -> Any:
    """Number the measures of rules that may be bounded by medians of images, and the images."""
    of_image, of_label = (
        or_(*(getattr(CleanRule, f"{side}_{kind}").is_not(None) for side in SIDES))
        for kind in ("image_median", "median")
    )
    by_image = or_(of_image, and_(CleanSet.small_labels == "image", of_label))
    rules = select(CleanRule.measure, CleanRule.channel).distinct()
    rules = rules.join(CleanSet, CleanSet.id == CleanRule.clean_set_id).where(by_image)
    r = rules.subquery("rules")
    number = func.row_number().over(order_by=(r.c.measure, r.c.channel, Image.id))
    statement = select(*r.c, Image.id.label("image_id"), number.label("number"))
    return statement.select_from(r.join(Image, true())).subquery("asked_of_images")
