"""Make clean sets, and look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from hpastore.clean.rules import CleanRecipe, Rule, check_name
from hpastore.errors import UsageError
from hpastore.model import require_label
from hpastore.store import read, write
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd


_SHOWN: Final = ("label_id", "label", "n", "lower", "upper", "cells", "clean")


@dataclass(frozen=True)
class CleanSetSummary:
    """A clean set as it was made.

    Parameters
    ----------
    name, version
        As in ``NAME@VERSION``.
    cells, clean
        Number of verdicts, and of those that are clean; a cell has one for each label it is judged
        against.
    """

    name: str
    version: int
    cells: int
    clean: int


def thresholds(store: Store, rule: Rule | None = None, *, label: int | None = None) -> pd.DataFrame:
    """Take two percentiles of a measure for every label.

    Parameters
    ----------
    store : Store
    rule : Rule, optional
        Which measure and percentiles; by default the notebook's.
    label : int, optional
        Only this label.

    Returns
    -------
    DataFrame
        ``label_id, label, n, lower, upper``: n cells that have a value, dark ones too, of images
        whose only label it is.  Labels without such a cell are left out.

    Raises
    ------
    UsageError
        If there is no such measure, channel or label, or a percentile is not a share.

    Notes
    -----
    Equal to ``numpy.quantile(values, q)`` to the last bit, on both databases.
    """
    rule = (rule or Rule()).checked()
    if label is not None:
        require_label(label)
    with store.reading() as connection:
        rows = read.thresholds(connection, rule.measure, rule.channel, rule.lower, rule.upper, label)
    return _frame(rows, ["label_id", "label", "n", "lower", "upper"])


def create_clean_set(store: Store, name: str, recipe: CleanRecipe | None = None) -> CleanSetSummary:
    """Judge all cells by a recipe, and keep the verdicts under a name.

    Parameters
    ----------
    store : Store
    name : str
        A name that exists gets its next version; older ones are kept.
    recipe : CleanRecipe, optional
        By default the notebook's.

    Returns
    -------
    CleanSetSummary

    Raises
    ------
    UsageError
        If the name or the recipe makes no sense, or the store has no labelled cell to judge.
    """
    check_name(name)
    recipe = (recipe or CleanRecipe()).checked()
    columns: dict[str, Any] = {
        "name": name,
        "scope": recipe.scope,
        "min_green": recipe.min_green,
        "recipe_toml": recipe.toml(),
        "frozen": False,
    }

    def create(connection: Connection) -> tuple[int, list[read.Row]]:
        # The moment is taken by who may write: an image that was stored before it belongs to the set.
        columns["created_at"] = datetime.now(UTC)
        set_id, version = write.write_clean_set(connection, columns, [_rule_row(recipe.rule)])
        rows = read.clean_set_labels(connection, set_id)
        if not rows:
            raise UsageError("no cell to judge; ingest images with labels first, or use --scope all")
        return version, rows

    version, rows = store.write(create)
    return CleanSetSummary(name, version, sum(r["cells"] for r in rows), sum(r["clean"] for r in rows))


def clean_sets(store: Store) -> pd.DataFrame:
    """List the clean sets, one row per version, with the numbers of their verdicts."""
    with store.reading() as connection:
        rows = read.clean_sets(connection)
    columns = [
        *("name", "version", "created_at", "scope", "min_green", "measure", "channel"),
        *("lower_percentile", "upper_percentile", "cells", "clean"),
    ]
    return _frame(rows, columns)


def clean_set(store: Store, name: str) -> pd.DataFrame:
    """Show a clean set: per label its thresholds, and its verdicts counted by reason.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.

    Returns
    -------
    DataFrame
        ``label_id, label, n, lower, upper, cells, clean`` and a count for each reason.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_id, _, _ = read.find_clean_set(connection, name)
        rows = read.clean_set_labels(connection, set_id)
    return _frame(rows, [*_SHOWN, *read.REASONS])


def _rule_row(rule: Rule) -> dict[str, Any]:
    return {
        "label_id": None,
        "measure": rule.measure,
        "channel": rule.channel,
        "lower_percentile": rule.lower,
        "lower_value": None,
        "upper_percentile": rule.upper,
        "upper_value": None,
    }


def _frame(rows: list[read.Row], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([tuple(row.values()) for row in rows], columns=columns)
