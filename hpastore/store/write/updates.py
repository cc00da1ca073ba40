"""Changes of stored images that need no pixel: labels, columns, file times, root, split, gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, update

from hpastore.model import FileRecord, Source
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import (
    Failure,
    Image,
    ImageColumn,
    ImageFile,
    ImageLabel,
    IngestRun,
)
from hpastore.store import image_records
from hpastore.store.bulk import change, replace_children
from hpastore.store.statements import batches
from hpastore.store.write.failures import clear_failures
from hpastore.store.write.image_rows import column_rows, file_rows, label_columns, label_rows


def relabel_image(connection: Connection, source: Source, root: str, split: str | None) -> None:
    """Replace the labels and columns of a stored image, whose files are now in `root`."""
    named = select(Image.id, Image.labels).where(Image.name == source.name)
    image_id, labels = connection.execute(named).one()
    if labels != label_columns(source)["labels"]:
        values = {**label_columns(source), "relabelled_at": datetime.now(UTC)}
        replace_children(connection, Image, image_id, ImageLabel, label_rows(source), values)
    before = image_records.image_columns(connection, image_id)
    after = source.columns_after(before)
    if after != before:
        replace_children(connection, Image, image_id, ImageColumn, column_rows(after))
    failpoint("image.relabelled")
    move_images(connection, [source.name], root, split)
    clear_failures(connection, [source.name])


def touch_image(
    connection: Connection,
    source: Source,
    files: Iterable[FileRecord],
    root: str,
    split: str | None,
) -> bool:
    """Record other times of a stored image's files, whose bytes are the same.

    Returns
    -------
    bool
        Whether its labels or its columns were replaced too.
    """
    named = select(Image.id, Image.labels).where(Image.name == source.name)
    image_id, labels = connection.execute(named).one()
    replace_children(connection, Image, image_id, ImageFile, file_rows(files))
    failpoint("image.touched")
    columns = image_records.image_columns(connection, image_id)
    has_other_labels = labels != label_columns(source)["labels"]
    if has_other_labels or source.columns_after(columns) != columns:
        relabel_image(connection, source, root, split)
        return True
    move_images(connection, [source.name], root, split)
    clear_failures(connection, [source.name])
    return False


def move_images(connection: Connection, names: Sequence[str], root: str, split: str | None) -> None:
    """Record that stored images are in a root, not gone, and in a split if one is given."""
    values: dict[str, Any] = {"root": root, "gone_at": None}
    if split is not None:
        values["split"] = split
    for part in batches(names):
        change(connection, Image, Image.name.in_(part), values)
        failpoint("images.moved")


def move_root(connection: Connection, before: str, root: str, run_id: int) -> None:
    """Record that a root, with all its images and rejected ones, is now at another path.

    Runs keep the path that they were given.
    """
    change(connection, Image, Image.root == before, {"root": root})
    runs_there = select(IngestRun.id).where(IngestRun.root == before)
    connection.execute(update(Failure).where(Failure.run_id.in_(runs_there)).values(run_id=run_id))
    failpoint("root.moved")


def split_images(connection: Connection, names: Sequence[str], split: str | None) -> None:
    """Give stored images a split."""
    for part in batches(names):
        change(connection, Image, Image.name.in_(part), {"split": split})
        failpoint("images.split")


def mark_gone(connection: Connection, names: Sequence[str], now: datetime) -> None:
    """Record that stored images have left their inputs."""
    for part in batches(names):
        change(connection, Image, Image.name.in_(part), {"gone_at": now})
        failpoint("images.gone")
