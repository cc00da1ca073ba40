"""Groups of images by a column of the label table, which the rules of clean sets may have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, and_, case, exists, func, or_
from sqlalchemy.orm import aliased

from hpastore.schema.literal_table import literal_table
from hpastore.schema.tables import Image, ImageColumn
from hpastore.schema.types import BIGINT, TEXT

NOTHING: Final = 0
"""The number of the group of all images of which the column says nothing."""

UNKNOWN: Final = -1
"""The number of a group for which there is no rule."""


def is_in_group(rule: Any) -> ColumnElement[bool]:
    """Whether a rule is for `Image`: for all, for this group, or for those in none.

    Parameters
    ----------
    rule
        `CleanRule`, or a table with its columns.
    """
    column = aliased(ImageColumn, name="column")
    of_image = and_(column.image_id == Image.id, column.name == rule.grouped_by)
    # Within another EXISTS, SQLAlchemy would take the image for a table of this one.
    in_this = exists().where(of_image, column.value == rule.group_value).correlate_except(column)
    in_one = exists().where(of_image).correlate_except(column)
    return or_(
        rule.grouped_by.is_(None),
        case((rule.group_value.is_not(None), in_this), else_=~in_one),
    )


class GroupOfImage:
    """The number of the group of each `Image` by one column: 1 for the first value, and so on.

    Parameters
    ----------
    column
    values
        What the column says of the images of each group.
    place
        Tells several columns of a statement apart.
    """

    def __init__(self, column: str, values: Collection[str], place: int) -> None:
        self._column = column
        self._numbers = {value: number for number, value in enumerate(sorted(values), start=1)}
        self._of_column = aliased(ImageColumn, name=f"column_{place}")
        self._known = literal_table(
            [{"value": value, "number": number} for value, number in self._numbers.items()],
            {"value": TEXT, "number": BIGINT},
            f"groups_{place}",
        )

    def join_to(self, rows: FromClause) -> FromClause:
        """Join the images' groups to rows of `Image`."""
        of_image = and_(self._of_column.image_id == Image.id, self._of_column.name == self._column)
        rows = rows.outerjoin(self._of_column, of_image)
        return rows.outerjoin(self._known, self._known.c.value == self._of_column.value)

    @property
    def number(self) -> ColumnElement[int]:
        """Number of the image's group, `NOTHING` or `UNKNOWN`."""
        of_value = func.coalesce(self._known.c.number, UNKNOWN)
        return case((self._of_column.value.is_(None), NOTHING), else_=of_value)

    def number_of(self, value: str | None) -> int:
        """Number of the group of a rule; None is that of the images without a value."""
        return NOTHING if value is None else self._numbers[value]
