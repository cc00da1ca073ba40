"""Images, cells and verdicts that an export holds."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    exists,
    func,
    literal,
    null,
    or_,
    select,
)

from hpastore.classes import Classes
from hpastore.model import Annotation
from hpastore.schema.conditions import IN_SPLIT, LIVE
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import (
    Cell,
    CellLabel,
    CleanSet,
    CleanSetCell,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    Label,
    StoredMask,
    channel_column,
)
from hpastore.schema.views import CLEAN_CELL_LIVE
from hpastore.store import arrays, decoding, pixels
from hpastore.store.statements import stream
from hpastore.vocabulary import CHANNELS

_RLE: Final = 8
"""The index of the mask in a row of `annotated_cells`."""


class Selection(NamedTuple):
    """Which images and cells an export holds.

    With a clean set these are the images that it has verdicts on, under the labels it judged them
    by, and the images without a cell that were there when it was made.  Images that were ingested
    or relabelled later do not matter.
    """

    set_id: int | None = None
    """A clean set; None takes all current images, cells and labels."""
    labels: tuple[int, ...] = ()
    """Only these labels; all if empty."""
    single: bool = False
    """Whether images with several labels, current ones or in the clean set, are left out."""
    split: str | None = None
    """Only images in this split; all if None."""


def images(connection: Connection, selection: Selection) -> list[Any]:
    """Read the images of a selection by name: ``id, name, width, height, cell_count``."""
    columns = (Image.id, Image.name, Image.width, Image.height, Image.cell_count)
    return list(connection.execute(_images(selection, *columns)))


def image_channels(connection: Connection, chosen: Sequence[Any]) -> dict[int, tuple[str, ...]]:
    """Read which channels some images have, by the image's key; `chosen` are rows of `images`."""
    columns = (ImageChannel.image_id, ImageChannel.channel)
    of_images = ImageChannel.image_id.in_([image.id for image in chosen])
    found = set(connection.execute(select(*columns).where(of_images)))
    return {
        image.id: tuple(channel for channel in CHANNELS if (image.id, channel) in found)
        for image in chosen
    }


def channel_files(
    connection: Connection, selection: Selection, channels: Sequence[str]
) -> dict[str, list[pixels.StoredFile]]:
    """Read the files of channels of a selection's images, by the image's name."""
    statement = _images(selection, *pixels.COLUMNS)
    statement = statement.outerjoin(ImageFile, ImageFile.image_id == Image.id)
    return pixels.stored_files(connection, statement, channels)


def annotated_cells(
    connection: Connection, selection: Selection, chosen: Sequence[Any], classes: Classes
) -> dict[int, tuple[Annotation, ...]]:
    """Read the cells of some images; with a clean set, those that are clean for a label.

    Parameters
    ----------
    connection
    selection
    chosen
        Rows of `images`.
    classes
        Those of the store.

    Returns
    -------
    dict of tuple of Annotation
        By the image's key, in the order of mask id; an image without one is left out.

    Raises
    ------
    DamagedError
        If a mask is missing or does not fill its image, or a label is invalid.
    """
    of_key = {image.id: image for image in chosen}
    owner, labels = _labels_of(connection, selection, list(of_key))
    # No join: for that PostgreSQL would read the masks of all images, or start further processes.
    mask = select(StoredMask.rle).where(StoredMask.cell_id == Cell.id).scalar_subquery()
    shape = (Cell.x, Cell.y, Cell.width, Cell.height, Cell.area, mask)
    columns = (Cell.image_id, Cell.mask_id, owner, *shape, channel_column("fraction", "green"))
    statement = select(*columns).where(Cell.image_id.in_(of_key))
    # All rows at once, since SQLite gives single rows slowly; and from the driver, since
    # SQLAlchemy, which need not decode any of these columns, takes longer for its rows than the
    # check of all masks.
    rows = [row for row in connection.execute(statement).cursor.fetchall() if row[2] in labels]
    rows.sort()  # by image and mask id; PostgreSQL would sort the masks with them
    _check_masks(of_key, rows)
    _check_labels(of_key, rows, labels, classes)
    # With names and `_make` this takes half the time of `Annotation(..., *shape)`.
    return {
        image_id: tuple(
            [
                Annotation._make((mask_id, labels[key], x, y, width, height, area, rle, fraction))
                for _, mask_id, key, x, y, width, height, area, rle, fraction in cells
            ]
        )
        for image_id, cells in groupby(rows, key=itemgetter(0))
    }


def _check_masks(of_key: Mapping[int, Any], rows: Sequence[Any]) -> None:
    sizes = {key: image.width * image.height for key, image in of_key.items()}
    arrays.check_masks(
        [row[_RLE] for row in rows],
        [sizes[row[0]] for row in rows],
        lambda place: f"cell {of_key[rows[place][0]].name}:{rows[place][1]}",
    )


def _check_labels(
    of_key: Mapping[int, Any],
    rows: Sequence[Any],
    labels: Mapping[int, tuple[int, ...]],
    classes: Classes,
) -> None:
    if set(chain.from_iterable(labels.values())) <= classes.names.keys():
        return
    for image_id, _, key, *_ in rows:
        for label in labels[key]:
            decoding.label_name(label, f"image {of_key[image_id].name}", classes)


def stream_cells(
    connection: Connection,
    selection: Selection,
    classes: Classes,
    view: FromClause | None = None,
) -> Generator[Any]:
    """Stream rows like those of ``clean_cell`` with the cells' boxes and notebook fractions.

    Parameters
    ----------
    connection
    selection
    classes
        Those of the store.
    view
        The rows of the selection's clean set; without one, these are all cells with all their
        labels, the green fraction and no verdict.

    Raises
    ------
    DamagedError
        While they are read, if a label is invalid.
    """
    tables = Image.__table__.join(Cell, Cell.image_id == Image.id)
    if view is None:
        of_image = and_(ImageLabel.image_id == Image.id, Cell.label_count.is_(None))
        tables = tables.outerjoin(ImageLabel, of_image)
        tables = tables.outerjoin(CellLabel, CellLabel.cell_id == Cell.id)
        label_id: Any = func.coalesce(CellLabel.label_id, ImageLabel.label_id)
        tables = tables.outerjoin(Label, Label.id == label_id)
        verdict = _no_verdict(label_id)
    else:
        tables = tables.join(view, view.c.cell_id == Cell.id)
        label_id = view.c.label_id
        verdict = [c for c in view.c if c.name not in ("clean_set_id", "cell_id")]
    notebook = channel_column("fraction_notebook", "green").label("fraction_notebook")
    box = (Cell.x, Cell.y, Cell.width, Cell.height, notebook)
    statement = select(*verdict, *box).select_from(tables)
    statement = statement.where(*_of_labels(label_id, selection), *_live(selection))
    rows = stream(connection, statement.order_by(Image.name, Cell.mask_id, label_id))
    return _with_labels(rows, classes)


def _with_labels(rows: Generator[Any], classes: Classes) -> Generator[Any]:
    """Pass on rows whose labels are valid."""
    with closing(rows):
        for row in rows:
            if row.label_id is not None and row.label_id not in classes.names:
                decoding.label_name(row.label_id, f"image {row.image_name}", classes)
            yield row


def _images(selection: Selection, *columns: Any) -> AnySelect:
    """Select columns of a selection's images, by name."""
    labels = _of_labels(ImageLabel.label_id, selection)
    labelled: Any = exists().where(ImageLabel.image_id == Image.id, *labels)
    if labels:
        of_cell = _of_labels(CellLabel.label_id, selection)
        own = select(Cell.image_id).join(CellLabel, CellLabel.cell_id == Cell.id).where(*of_cell)
        labelled = or_(labelled, Image.id.in_(own))
    statement = select(*columns).where(*_live(selection)).order_by(Image.name)
    if selection.set_id is None:
        return statement.where(labelled) if labels else statement
    judged = _judged(selection.set_id).where(*_of_labels(CleanSetCell.label_id, selection))
    was_there = exists().where(
        CleanSet.id == selection.set_id,
        CleanSet.created_at >= Image.ingested_at,
        or_(CleanSet.scope == "all", Image.label_count == 1),
        IN_SPLIT,
    )
    return statement.where(
        or_(Image.id.in_(judged), and_(Image.cell_count == 0, labelled, was_there))
    )


def _labels_of(
    connection: Connection, selection: Selection, images: Sequence[int]
) -> tuple[Any, dict[int, tuple[int, ...]]]:
    """Read the labels of a selection's cells, ascending: of their image, or by verdicts.

    Returns
    -------
    column of cell, labels by its values
    """
    if selection.set_id is None:
        return _labels_without_set(connection, selection, images)

    label_id = CleanSetCell.label_id
    in_set = and_(CleanSetCell.cell_id == Cell.id, CleanSetCell.clean_set_id == selection.set_id)
    # Outer, though verdicts are required: SQLite begins an inner join with all verdicts of the set.
    statement = select(Cell.id, label_id).outerjoin(CleanSetCell, and_(in_set, CleanSetCell.clean))
    statement = statement.where(Cell.image_id.in_(images), label_id.is_not(None))
    return Cell.id, _collected(connection, statement, label_id, selection)


def _labels_without_set(
    connection: Connection, selection: Selection, images: Sequence[int]
) -> tuple[Any, dict[int, tuple[int, ...]]]:
    """Read the labels of images, and of cells where one has labels of its own."""
    label_id = ImageLabel.label_id
    statement = select(ImageLabel.image_id, label_id).where(ImageLabel.image_id.in_(images))
    of_image = _collected(connection, statement, label_id, selection)
    has_own = and_(Cell.image_id.in_(images), Cell.label_count.is_not(None))
    if connection.execute(select(Cell.id).where(has_own).limit(1)).first() is None:
        return Cell.image_id, of_image

    of_cells = select(Cell.id, Cell.image_id).where(Cell.image_id.in_(images))
    of_cells = of_cells.where(Cell.label_count.is_(None))
    labels = {
        key: of_image[image_id]
        for key, image_id in connection.execute(of_cells)
        if image_id in of_image
    }
    own = select(Cell.id, CellLabel.label_id).join(CellLabel, CellLabel.cell_id == Cell.id)
    return Cell.id, labels | _collected(
        connection, own.where(has_own), CellLabel.label_id, selection
    )


def _collected(
    connection: Connection, statement: AnySelect, label_id: Any, selection: Selection
) -> dict[int, tuple[int, ...]]:
    """Collect the labels of a selection by the keys that a statement gives."""
    found = connection.execute(statement.where(*_of_labels(label_id, selection)).order_by(label_id))
    labels: dict[int, tuple[int, ...]] = {}
    for key, label in found.all():
        labels[key] = (*labels.get(key, ()), label)
    return labels


def _of_labels(label_id: Any, selection: Selection) -> list[ColumnElement[bool]]:
    return [label_id.in_(selection.labels)] if selection.labels else []


def _live(selection: Selection) -> list[ColumnElement[bool]]:
    """Choose live images, in the split and with the single label that a selection requires."""
    live: list[ColumnElement[bool]] = [LIVE]
    if selection.split is not None:
        live.append(Image.split == selection.split)
    if not selection.single:
        return live
    if selection.set_id is None:
        return [*live, ~_has_several(), or_(Image.label_count == 1, Image.cell_count > 0)]
    label_id = CleanSetCell.label_id
    several = _judged(selection.set_id).group_by(Cell.image_id, Cell.id)
    several = several.having(func.min(label_id) < func.max(label_id))
    return [*live, ~_has_several(), Image.id.not_in(several)]


def _has_several() -> ColumnElement[bool]:
    """Whether a cell of an image has several labels, or it has no cell and several itself."""
    labels = func.coalesce(Cell.label_count, Image.label_count)
    several = select(Cell.image_id).join(Image).where(labels > 1).correlate(None)
    return or_(and_(Image.cell_count == 0, Image.label_count > 1), Image.id.in_(several))


def _judged(set_id: int) -> AnySelect:
    """Select the images of a clean set's cells, for IN: SQLite repeats an EXISTS for each image."""
    statement = select(Cell.image_id).join(CleanSetCell, CleanSetCell.cell_id == Cell.id)
    return statement.where(CleanSetCell.clean_set_id == set_id).correlate(None)


def _no_verdict(label_id: Any) -> list[Any]:
    """Columns of ``clean_cell`` without a clean set."""
    known = {
        "image_name": Image.name,
        "mask_id": Cell.mask_id,
        "label_id": label_id,
        "label": Label.name,
        "measure": literal("fraction"),
        "channel": literal("green"),
        "value": channel_column("fraction", "green"),
    }
    names = (c.name for c in CLEAN_CELL_LIVE.table.c if c.name not in ("clean_set_id", "cell_id"))
    return [known.get(name, null()).label(name) for name in names]
