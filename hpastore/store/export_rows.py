"""Images, cells and verdicts that an export holds."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import chain
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
    CleanSet,
    CleanSetCell,
    Image,
    ImageFile,
    ImageLabel,
    Label,
    StoredMask,
    channel_column,
)
from hpastore.schema.views import CLEAN_CELL_LIVE
from hpastore.store import arrays, decoding, pixels
from hpastore.store.statements import stream

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


def channel_files(
    connection: Connection, selection: Selection, channels: Sequence[str]
) -> dict[str, list[pixels.StoredFile]]:
    """Read the files of channels of a selection's images, by the image's name."""
    statement = _images(selection, *pixels.COLUMNS)
    statement = statement.outerjoin(ImageFile, ImageFile.image_id == Image.id)
    return pixels.stored_files(connection, statement, channels)


def annotated_cells(
    connection: Connection, selection: Selection, chosen: Sequence[Any], classes: Classes
) -> dict[int, list[Annotation]]:
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
    dict of list of Annotation
        By the image's key, in the order of mask id; an image without one is left out.

    Raises
    ------
    DamagedError
        If a mask does not fill its image, or a label is invalid.
    """
    of_key = {image.id: image for image in chosen}
    owner, labels = _labels_of(connection, selection, list(of_key))
    shape = (Cell.x, Cell.y, Cell.width, Cell.height, Cell.area, StoredMask.rle)
    statement = (
        select(Cell.image_id, owner, Cell.mask_id, *shape, channel_column("fraction", "green"))
        .join(StoredMask, StoredMask.cell_id == Cell.id)
        .where(Cell.image_id.in_(of_key))
        .order_by(Cell.image_id, Cell.mask_id)
    )
    # All rows at once, since SQLite gives single rows slowly; and from the driver, since
    # SQLAlchemy, which need not decode any of these columns, takes longer for its rows than the
    # check of all masks.
    rows = [row for row in connection.execute(statement).cursor.fetchall() if row[1] in labels]
    _check_masks(of_key, rows)
    _check_labels(of_key, rows, labels, classes)
    found: dict[int, list[Annotation]] = {}
    for image_id, key, mask_id, *shape in rows:
        found.setdefault(image_id, []).append(Annotation(mask_id, labels[key], *shape))
    return found


def _check_masks(of_key: Mapping[int, Any], rows: Sequence[Any]) -> None:
    sizes = {key: image.width * image.height for key, image in of_key.items()}
    arrays.check_masks(
        [row[_RLE] for row in rows],
        [sizes[row[0]] for row in rows],
        lambda place: f"cell {of_key[rows[place][0]].name}:{rows[place][2]}",
    )


def _check_labels(
    of_key: Mapping[int, Any],
    rows: Sequence[Any],
    labels: Mapping[int, tuple[int, ...]],
    classes: Classes,
) -> None:
    if set(chain.from_iterable(labels.values())) <= classes.names.keys():
        return
    for image_id, key, *_ in rows:
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
        tables = tables.outerjoin(ImageLabel, ImageLabel.image_id == Image.id).outerjoin(Label)
        label_id: Any = ImageLabel.label_id
        verdict = _no_verdict()
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
    labelled = exists().where(ImageLabel.image_id == Image.id, *labels)
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
    owner: Any
    label_id: Any
    if selection.set_id is None:
        owner = Cell.image_id
        label_id = ImageLabel.label_id
        statement = select(ImageLabel.image_id, label_id).where(ImageLabel.image_id.in_(images))
    else:
        owner = Cell.id
        label_id = CleanSetCell.label_id
        in_set = and_(
            CleanSetCell.cell_id == Cell.id, CleanSetCell.clean_set_id == selection.set_id
        )
        # Outer, though verdicts are required: SQLite begins an inner join with all verdicts of the
        # set.
        statement = select(owner, label_id).outerjoin(
            CleanSetCell, and_(in_set, CleanSetCell.clean)
        )
        statement = statement.where(Cell.image_id.in_(images), label_id.is_not(None))
    found = connection.execute(statement.where(*_of_labels(label_id, selection)).order_by(label_id))
    labels: dict[int, tuple[int, ...]] = {}
    for key, label in found.all():
        labels[key] = (*labels.get(key, ()), label)
    return owner, labels


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
        return [*live, Image.label_count == 1]
    label_id = CleanSetCell.label_id
    several = _judged(selection.set_id).group_by(Cell.image_id)
    several = several.having(func.min(label_id) < func.max(label_id))
    return [*live, Image.label_count <= 1, Image.id.not_in(several)]


def _judged(set_id: int) -> AnySelect:
    """Select the images of a clean set's cells, for IN: SQLite repeats an EXISTS for each image."""
    statement = select(Cell.image_id).join(CleanSetCell, CleanSetCell.cell_id == Cell.id)
    return statement.where(CleanSetCell.clean_set_id == set_id).correlate(None)


def _no_verdict() -> list[Any]:
    """Columns of ``clean_cell`` without a clean set."""
    known = {
        "image_name": Image.name,
        "mask_id": Cell.mask_id,
        "label_id": ImageLabel.label_id,
        "label": Label.name,
        "measure": literal("fraction"),
        "channel": literal("green"),
        "value": channel_column("fraction", "green"),
    }
    names = (c.name for c in CLEAN_CELL_LIVE.table.c if c.name not in ("clean_set_id", "cell_id"))
    return [known.get(name, null()).label(name) for name in names]
