"""What is checked of a cell before its rules, and the guard: shared by both ways to judge.

`hpastore.schema.verdict` judges the cells by one clean set, `hpastore.schema.clean_views` by all of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, and_, case, func, or_, select

from hpastore.schema.percentile import AnySelect

Column = ColumnElement[Any]

_NEVER_KEPT: Final = -1
"""The progress of a cell that no guard may keep."""


def steps_before_rules(
    keep: Column, missing: Mapping[str, Column], dark: Column, no_threshold: Column
) -> list[tuple[Column, str, int]]:
    """Order the checks before a cell's rules: condition, reason, and the cell's progress.

    Parameters
    ----------
    keep
        The override of the cell; NULL if there is none.
    missing
        By reason, whether the cell lacks the value that the first rule with a percentile needs.
    dark
        Whether the cell is dark.
    no_threshold
        Whether the first rule with a percentile has no cell to take it from.

    Notes
    -----
    `rule_progress` gives the progress of a cell that one of its rules drops.
    """
    return [
        (keep, "override_keep", _NEVER_KEPT),
        (~keep, "override_drop", _NEVER_KEPT),
        *((condition, reason, _NEVER_KEPT) for reason, condition in missing.items()),
        (dark, "dark", 0),
        (no_threshold, "no_threshold", 1),
    ]


def rule_progress(position: Any) -> Any:
    """Give the progress of a cell that the rule at a position drops, whichever bound it exceeds."""
    return position + 1


def apply_guard(judged: FromClause, *sets: str, more: Iterable[str] = ()) -> AnySelect:
    """Let the guard keep the best cell of an image that would lose all for a label.

    Parameters
    ----------
    judged
        Has the columns ``cell_id, label_id, image_id, area, mask_id, reason, place, guarded``;
        `place` is the cell's progress through the checks, `guarded` whether its clean set has the
        guard.
    sets
        The column that tells clean sets apart, if there are several.
    more
        Further columns to pass on.

    Returns
    -------
    Select
        `sets`, ``cell_id, label_id, clean, reason`` and `more`.
    """
    kept = or_(judged.c.reason.is_(None), judged.c.reason == "override_keep")
    owner = [judged.c[name] for name in (*sets, "image_id", "label_id")]
    progress = case((kept, -2), else_=judged.c.place)
    best = (progress.desc(), judged.c.area.desc(), judged.c.mask_id)
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
        *(w[name] for name in more),
    )
