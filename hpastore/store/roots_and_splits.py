"""The roots that images were ingested from, and the splits that they are in."""

from __future__ import annotations

from sqlalchemy import Connection, case, func, select

from hpastore.errors import UsageError
from hpastore.schema.conditions import LIVE
from hpastore.schema.tables import Image, IngestRun
from hpastore.store.statements import Row, rows
from hpastore.text import printable


def images_per_root(connection: Connection) -> list[Row]:
    """Count each root's images: ``root, images, live``; `images` includes those that are gone."""
    live = func.count(case((LIVE, 1)))
    columns = (Image.root, func.count().label("images"), live.label("live"))
    return rows(connection, select(*columns).group_by(Image.root).order_by(Image.root))


def ingested_roots(connection: Connection) -> set[str]:
    """Read the roots of all runs."""
    return set(connection.execute(select(IngestRun.root).distinct()).scalars())


def require_split(connection: Connection, split: str | None) -> None:
    """Refuse a split that no live image is in; None stands for all images and is accepted.

    Raises
    ------
    UsageError
        With the splits of the store.
    """
    if split is None:
        return
    statement = (
        select(Image.split).where(LIVE, Image.split.is_not(None)).distinct().order_by(Image.split)
    )
    splits = [str(name) for name in connection.execute(statement).scalars()]
    shown = printable(repr(split))
    if not splits:
        raise UsageError(
            f"no split {shown}: no image has one; 'hpastore ingest ROOT --split NAME' gives one"
        )
    if split not in splits:
        choices = ", ".join(printable(name) for name in splits)
        raise UsageError(f"no split {shown} (choose from {choices})")
