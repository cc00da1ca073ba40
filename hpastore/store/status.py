"""What a store holds, at a glance."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, func, select

from hpastore.model import MeasurementSettings
from hpastore.reading.places import exists, quoted
from hpastore.schema.conditions import LIVE
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import CleanSet, Failure, Image, IngestRun
from hpastore.store import version
from hpastore.store.engine import Store
from hpastore.store.measurement_settings import (
    count_stale,
    current_settings,
    unmeasured_images,
)
from hpastore.store.roots_and_splits import images_per_root
from hpastore.store.statements import rows
from hpastore.text import count_text, printable, short_list

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

RUN_COLUMNS: Final = (
    *(
        "id",
        "started_at",
        "finished_at",
        "root",
        "split",
        "new",
        "changed",
        "relabelled",
        "remeasured",
    ),
    *("gone", "returned", "moved", "resplit", "rejected", "cells", "version"),
)

FAILURE_COLUMNS: Final = (
    "image_name",
    "uri",
    "code",
    "message",
    "first_seen",
    "last_seen",
    "run_id",
)


@dataclass(frozen=True)
class Status:
    """What a store holds.

    Parameters
    ----------
    store
        The database.
    schema
        Revision of its tables.
    images, unlabelled, gone, stale, unmeasured, cells, clean_sets, failures, runs
        Numbers of rows.  `images`, `unmeasured` and `cells` do not count images that are gone;
        `unlabelled` images have no label; `stale` ones have another background percentile or
        version of a measure than they should, which `remeasure` computes from their histograms;
        `unmeasured` ones lack the current version of a measure that needs pixels.
    unmeasured_measures
        Names of the measures that `unmeasured` images lack.
    measurement_settings
        What new images are measured with; None in a store without images.
    roots
        A dict for each root and split: ``root, split, images``.
    missing_roots
        Live images of each root that does not exist on this machine, by its path.
    """

    store: str
    schema: str
    images: int
    unlabelled: int
    gone: int
    stale: int
    unmeasured: int
    cells: int
    clean_sets: int
    failures: int
    runs: int
    unmeasured_measures: tuple[str, ...]
    measurement_settings: MeasurementSettings | None
    roots: list[dict[str, Any]]
    missing_roots: dict[str, int]


def status(store: Store) -> Status:
    """Count what a store holds."""
    with store.reading() as connection:
        numbers = counts(connection)
        settings = current_settings(connection)
        stale = count_stale(connection)
        unmeasured = unmeasured_images(connection)
        roots = _images_per_root_and_split(connection)
    return Status(
        store=store.url,
        schema=version.head(),
        stale=stale,
        unmeasured=unmeasured.images,
        unmeasured_measures=unmeasured.measures,
        measurement_settings=settings,
        roots=roots,
        missing_roots=missing_roots(store),
        **numbers,
    )


def counts(connection: Connection) -> dict[str, int]:
    """Count rows of images, cells, clean sets, failures and runs, named as in `Status`."""
    live = select(func.count()).select_from(Image).where(LIVE)
    statements: dict[str, AnySelect] = {
        "images": live,
        "unlabelled": live.where(Image.label_count == 0),
        "gone": select(func.count()).select_from(Image).where(~LIVE),
        "cells": select(func.coalesce(func.sum(Image.cell_count), 0)).where(LIVE),
        "clean_sets": select(func.count()).select_from(CleanSet),
        "failures": select(func.count()).select_from(Failure),
        "runs": select(func.count()).select_from(IngestRun),
    }
    columns = [statement.scalar_subquery().label(name) for name, statement in statements.items()]
    row = connection.execute(select(*columns)).mappings().one()
    return {name: int(count) for name, count in row.items()}


def _images_per_root_and_split(connection: Connection) -> list[dict[str, Any]]:
    """Count the live images of each root and split."""
    statement = select(Image.root, Image.split, func.count().label("images")).where(LIVE)
    statement = statement.group_by(Image.root, Image.split).order_by(Image.root, Image.split)
    return [dict(row) for row in rows(connection, statement)]


def missing_roots(store: Store) -> dict[str, int]:
    """Count the live images of each root that does not exist on this machine, by its path."""
    with store.reading() as connection:
        live = {row["root"]: row["live"] for row in images_per_root(connection) if row["live"]}
    return {root: count for root, count in live.items() if not exists(root)}


def warn_of_missing_root(root: str, live: int, found: int = 0) -> None:
    """Warn that a root does not exist on this machine, and say what to do.

    Parameters
    ----------
    root : str
        Its path.
    live : int
        Number of its live images.
    found : int
        How many of them this run has found in another root, at least.
    """
    here = f" (at least {found:,} of them were found in this run)" if found else ""
    logger.warning(
        "the root %s, with %s%s, does not exist on this machine.  If its disk is not mounted, "
        "mount it.  If the root has moved, ingest it at its new place with --moved-from %s.  If "
        "it was deleted for good, hpastore forget %s marks its images as gone",
        printable(root, None),
        count_text(live, "image"),
        here,
        quoted(root),
        quoted(root),
    )


def warn_of_unmeasured(connection: Connection) -> None:
    """Warn of images that lack the current version of a measure that needs pixels."""
    images, measures = unmeasured_images(connection)
    if images:
        logger.warning(
            "%s the current version of %s; ingest their roots again",
            count_text(images, "image lacks", "images lack"),
            short_list(measures),
        )


def runs(store: Store) -> pd.DataFrame:
    """List the runs of ingest that changed something, the newest first.

    Returns
    -------
    DataFrame
        ``id, started_at, finished_at, root, split``, the numbers of images ``new, changed,
        relabelled, remeasured, gone, returned, moved, resplit, rejected``, ``cells`` stored, and
        hpastore's ``version``.  ``finished_at`` is missing while a run goes on, or if it was
        killed.
    """
    import pandas as pd

    columns = [
        IngestRun.added if name == "new" else getattr(IngestRun, name) for name in RUN_COLUMNS
    ]
    with store.reading() as connection:
        found = connection.execute(select(*columns).order_by(IngestRun.id.desc())).all()
    return pd.DataFrame([tuple(row) for row in found], columns=RUN_COLUMNS)


def failures(store: Store) -> pd.DataFrame:
    """List the images that were rejected, by name.

    Returns
    -------
    DataFrame
        ``image_name, uri, code, message, first_seen, last_seen, run_id``.
    """
    import pandas as pd

    columns = [getattr(Failure, name) for name in FAILURE_COLUMNS]
    with store.reading() as connection:
        found = connection.execute(select(*columns).order_by(Failure.image_name)).all()
    return pd.DataFrame([tuple(row) for row in found], columns=FAILURE_COLUMNS)
