"""Conditions on rows that several statements share."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, cast, func, or_, select

from hpastore.schema.tables import CleanRule, CleanSet, Image, Label
from hpastore.schema.types import TEXT

LIVE: Final = Image.gone_at.is_(None)
"""Whether an image is still in its inputs; all views leave out those that are gone."""

IN_SPLIT: Final = or_(CleanSet.split.is_(None), CleanSet.split == Image.split)
"""Whether an image is in the split that a clean set is limited to, if it is limited to one."""

NEGATIVE_ONLY: Final = func.coalesce(
    select(cast(Label.id, TEXT)).where(Label.negative).scalar_subquery(), "-"
)
"""The labels of a cell whose only class is the negative one, as ``image.labels`` has them; of a
store without such a class, what no cell has."""


def rule_applies(label_id: Any) -> ColumnElement[bool]:
    """Whether a rule of a clean set is for a label: for this one, or for every label."""
    return or_(CleanRule.label_id.is_(None), CleanRule.label_id == label_id)
