"""What a store holds, at a glance."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from hpastore.model import MeasurementSettings
from hpastore.reading.places import exists, quoted
from hpastore.store import read, version
from hpastore.store.engine import Store
from hpastore.text import count_text, printable

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


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
    missing_roots
        Live images of each root that does not exist on this machine, by its path.
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
    recipe: MeasurementSettings | None
    roots: list[dict[str, Any]]
    missing_roots: dict[str, int]


def status(store: Store) -> Status:
    """Count what a store holds."""
    with store.reading() as connection:
        counts = read.counts(connection)
        recipe = read.current_settings(connection)
        roots = [dict(row) for row in read.roots(connection)]
    missing = missing_roots(store)
    head = version.head()
    return Status(store=store.url, schema=head, recipe=recipe, roots=roots, missing_roots=missing, **counts)


def missing_roots(store: Store) -> dict[str, int]:
    """Count the live images of each root that does not exist on this machine, by its path."""
    with store.reading() as connection:
        live = {row["root"]: row["live"] for row in read.image_roots(connection) if row["live"]}
    return {root: count for root, count in live.items() if not exists(root)}


def warn_of_missing_root(root: str, live: int, met: int = 0) -> None:
    """Say that live images are of a root that does not exist on this machine, and what to do."""
    here = f" ({met} or more of them were found here)" if met else ""
    logger.warning(
        "%d images%s are in the root %s, which does not exist on this machine.  If its disk is not mounted, "
        "mount it; if the root has moved, ingest it at its new place with --moved-from %s; only if it is "
        "gone for good, hpastore forget %s marks its images as gone",
        *(live, here, printable(root, None), quoted(root), quoted(root)),
    )


def warn_of_other_version(connection: Connection) -> None:
    """Warn if images were measured by another version of hpastore, which only their pixels can change."""
    if outdated := read.outdated(connection):
        logger.warning(
            "%s %s measured by another version of hpastore; ingest their roots again",
            count_text(outdated, "image"),
            "was" if outdated == 1 else "were",
        )


RUN_COLUMNS: Final = (
    *("id", "started_at", "finished_at", "root", "split", "new", "changed", "relabelled", "remeasured"),
    *("gone", "returned", "moved", "resplit", "rejected", "cells", "version"),
)


def runs(store: Store) -> pd.DataFrame:
    """List the runs of ingest that had work to do, the newest first: what came and went in each.

    Returns
    -------
    DataFrame
        ``id, started_at, finished_at, root, split``, the numbers of images ``new, changed, relabelled,
        remeasured, gone, returned, moved, resplit, rejected``, ``cells`` stored, and hpastore's ``version``.
        ``finished_at`` is missing while a run goes on, or if it was killed.
    """
    import pandas as pd

    with store.reading() as connection:
        rows = read.runs(connection)
    named = [{**row, "new": row["added"]} for row in rows]
    return pd.DataFrame([tuple(row[name] for name in RUN_COLUMNS) for row in named], columns=RUN_COLUMNS)


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
