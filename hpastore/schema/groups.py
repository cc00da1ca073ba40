"""Groups of images by a column of the label table, which the rules of clean sets may have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, and_, case, exists, literal, or_
from sqlalchemy.orm import aliased

from hpastore.schema.tables import CleanRule, Image, ImageColumn
from hpastore.schema.types import BIGINT, TEXT

OTHERS: Final = 0
"""The number of the group of all images that are in no other one."""


def is_in_group(rule: Any) -> ColumnElement[bool]:
    """Whether a rule is for `Image`: for all, for this group, or for those in none of its groups.

    Parameters
    ----------
    rule
        `CleanRule`, or a table with its columns.
    """
    said = aliased(ImageColumn, name="said")
    of_image = and_(said.image_id == Image.id, said.name == rule.grouped_by)
    others = aliased(CleanRule, name="of_group")
    same_rule = and_(
        others.clean_set_id == rule.clean_set_id,
        others.position == rule.position,
        others.group_value == said.value,
    )
    in_this = exists().where(of_image, said.value == rule.group_value)
    in_one = exists().where(of_image, same_rule)
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
        self._said = aliased(ImageColumn, name=f"said_{place}")
        self._column = column
        self.numbers = {value: number for number, value in enumerate(sorted(values), start=1)}

    def join_to(self, rows: FromClause) -> FromClause:
        """Join what the column says to rows of `Image`."""
        of_image = and_(self._said.image_id == Image.id, self._said.name == self._column)
        return rows.outerjoin(self._said, of_image)

    @property
    def number(self) -> ColumnElement[int]:
        """Number of the image's group; `OTHERS` for an image that is in none."""
        if not self.numbers:
            return literal(OTHERS, BIGINT)
        numbers = {
            literal(value, TEXT): literal(number, BIGINT) for value, number in self.numbers.items()
        }
        whens = [(self._said.value == value, number) for value, number in numbers.items()]
        return case(*whens, else_=literal(OTHERS, BIGINT))

    def number_of(self, value: str | None) -> int:
        """Number of the group of a rule; None is the group of all others."""
        return OTHERS if value is None else self.numbers[value]
