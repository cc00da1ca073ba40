"""Clean sets by the shipped recipes, their verdicts, and tables of them in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pandas as pd
from sqlalchemy import select

import hpastore
from hpastore.schema.tables import Cell, CleanSet, CleanSetCell, Image
from hpastore.store.engine import Store
from hpastore.vocabulary import Scope

RECIPES: Final = ("notebook", "hpa")

_COLUMNS: Final = ("image", "mask_id", "label", "touches_border", "clean", "reason")


def judge(store: Store, scope: Scope) -> dict[str, pd.DataFrame]:
    """Make a clean set by each recipe, called ``RECIPE-SCOPE``, and read its verdicts."""
    found = {}
    for recipe in RECIPES:
        scoped = replace(hpastore.load_recipe(recipe), scope=scope, text=None)
        hpastore.create_clean_set(store, f"{recipe}-{scope}", scoped)
        found[recipe] = read_verdicts(store, f"{recipe}-{scope}")
    return found


def read_verdicts(store: Store, name: str) -> pd.DataFrame:
    """Read a set's verdicts, a row for each cell and label.

    Returns
    -------
    DataFrame
        ``image, mask_id, label, touches_border, clean, reason``; the reason is empty if clean.
    """
    statement = (
        select(
            Image.name,
            Cell.mask_id,
            CleanSetCell.label_id,
            Cell.touches_border,
            CleanSetCell.clean,
            CleanSetCell.reason,
        )
        .join_from(CleanSetCell, CleanSet, CleanSet.id == CleanSetCell.clean_set_id)
        .join(Cell, Cell.id == CleanSetCell.cell_id)
        .join(Image)
        .where(CleanSet.name == name)
        .order_by(Image.name, Cell.mask_id, CleanSetCell.label_id)
    )
    with store.reading() as connection:
        rows = [tuple(row) for row in connection.execute(statement)]
    found = pd.DataFrame(rows, columns=list(_COLUMNS)).fillna({"reason": ""})
    return found.astype({"touches_border": bool, "clean": bool})


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Write a table whose first line is its head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = ("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([head, rule, *body])


def percent(part: float, whole: float) -> str:
    """Write a share; nothing where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
