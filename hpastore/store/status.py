"""What a store holds, at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpastore.model import Recipe
from hpastore.store import read, version
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Status:
    """What a store holds.

    Parameters
    ----------
    store
        The database.
    schema
        Revision of its tables.
    images, unlabelled, gone, stale, cells, clean_sets, failures, runs
        Numbers of rows; `unlabelled` images have no label, `gone` ones have left their inputs and
        are not among `images`, the numbers of `stale` ones are of another recipe.
    recipe
        What new images are measured with; None in a store without images.
    roots
        Per root and split: root, split, images.
    """

    store: str
    schema: str
    images: int
    unlabelled: int
    gone: int
    stale: int
    cells: int
    clean_sets: int
    failures: int
    runs: int
    recipe: Recipe | None
    roots: list[dict[str, Any]]


def status(store: Store) -> Status:
    """Count what a store holds."""
    with store.reading() as connection:
        counts = read.counts(connection)
        recipe = read.current_recipe(connection)
        roots = [dict(row) for row in read.roots(connection)]
    return Status(store=store.url, schema=version.head(), recipe=recipe, roots=roots, **counts)


def failures(store: Store) -> pd.DataFrame:
    """List the images that were rejected, by name.

    Returns
    -------
    DataFrame
        ``image_name, uri, code, message, first_seen, last_seen, run_id``.
    """
    import pandas as pd

    with store.reading() as connection:
        rows = read.failures(connection)
    columns = ["image_name", "uri", "code", "message", "first_seen", "last_seen", "run_id"]
    return pd.DataFrame([tuple(row.values()) for row in rows], columns=columns)
