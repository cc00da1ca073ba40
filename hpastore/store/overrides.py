"""What people decided about cells: kept by the cell's mask, so that it outlives the cell's row."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from hpastore.errors import NotFoundError
from hpastore.kernels.rle import overlaps
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import Cell, CellOverride, Image
from hpastore.store import read
from hpastore.store.arrays import check_masks
from hpastore.store.integrity import checksums
from hpastore.store.read import parts

logger = logging.getLogger(__name__)

SAME_CELL: Final = 0.7
"""Intersection over union from which on two masks are of one cell; above a half, a cell has one such."""


_SAID: Final = 5
"""So many unknown cells are named."""


class Decision(NamedTuple):
    """An override to be written."""

    image_name: str
    mask_id: int
    label_id: int | None
    """None is every label."""
    keep: bool
    score: float | None
    author: str | None
    comment: str | None


_DELETE: Final = delete(CellOverride).where(
    CellOverride.cell_id == bindparam("cell"), CellOverride.label_id.is_not_distinct_from(bindparam("label"))
)


def write_overrides(
    connection: Connection, decisions: Sequence[Decision], now: Any, skip_unknown: bool = False
) -> int:
    """Record decisions, each in place of what was decided before about its cell and label.

    Parameters
    ----------
    connection
        In a writing transaction.
    decisions
    now
        When they were made.
    skip_unknown
        Whether those about cells that the store has not are left out, with a warning.

    Returns
    -------
    int
        Number of rows written: of two decisions on one cell and label, the last counts.

    Raises
    ------
    NotFoundError
        If the store has not all of these cells; nothing is written.
    """
    cells = _cells(connection, {d.image_name for d in decisions})
    unknown = dict.fromkeys(d[:2] for d in decisions if d[:2] not in cells)
    if unknown:
        some = ", ".join(f"{name}:{mask_id}" for name, mask_id in islice(unknown, _SAID))
        others = f" and {len(unknown) - _SAID:,} more" if len(unknown) > _SAID else ""
        if not skip_unknown:
            raise NotFoundError(f"the store has no cell {some}{others}; nothing was written")
        logger.warning("the store has no cell %s%s; what was decided about them is left out", some, others)
    rows = {}
    for d in decisions:
        cell = cells.get(d[:2])
        if cell is None:
            continue
        columns = {"width": cell.width, "height": cell.height, "rle": cell.rle, "created_at": now}
        row = {**d._asdict(), **columns, "cell_id": cell.id}
        rows[cell.id, d.label_id] = {**row, "checksum": checksums.row_number(CellOverride, row)}
    if rows:
        connection.execute(_DELETE, [{"cell": cell_id, "label": label_id} for cell_id, label_id in rows])
        connection.execute(insert(CellOverride), list(rows.values()))
    failpoint("overrides.written")
    return len(rows)


def delete_overrides(
    connection: Connection,
    cells: Iterable[tuple[str, int]],
    label_id: int | None = None,
    *,
    every: bool = True,
    lost: bool = False,
) -> int:
    """Forget what was decided about cells; about lost ones if nothing was about one that is there.

    Parameters
    ----------
    connection
        In a writing transaction.
    cells
        Image's name and mask id.
    label_id, every
        What was decided for this label, or for every label if None; all that was if `every`.
    lost
        Only what was decided about cells that are lost.

    Returns
    -------
    int
        Number of rows deleted.
    """
    deleted = 0
    for image_name, mask_id in cells:
        of_cell = [CellOverride.image_name == image_name, CellOverride.mask_id == mask_id]
        if not every:
            of_cell.append(CellOverride.label_id.is_not_distinct_from(label_id))
        attached = CellOverride.cell_id.is_not(None)
        of_name = 0 if lost else connection.execute(delete(CellOverride).where(*of_cell, attached)).rowcount
        deleted += of_name or connection.execute(delete(CellOverride).where(*of_cell, ~attached)).rowcount
    return deleted


def overrides(connection: Connection) -> list[read.Row]:
    """Read all overrides by image, mask id and label; ``attached`` is whether the store has the cell."""
    o = CellOverride
    columns = (o.image_name, o.mask_id, o.label_id, o.keep, o.score, o.author, o.comment, o.created_at)
    statement = select(*columns, o.cell_id.is_not(None).label("attached"))
    order = (o.image_name, o.mask_id, func.coalesce(o.label_id, -1), o.id)
    return read.rows(connection, statement.order_by(*order))


def count_lost(connection: Connection) -> int:
    """Count the overrides without a cell."""
    statement = select(func.count()).select_from(CellOverride).where(CellOverride.cell_id.is_(None))
    return int(connection.execute(statement).scalar_one())


def say_lost(connection: Connection, names: Sequence[str]) -> None:
    """Say which images, that are about to be deleted, have overrides."""
    for part in parts(names):
        statement = select(CellOverride.image_name, func.count()).where(
            CellOverride.cell_id.is_not(None), CellOverride.image_name.in_(part)
        )
        for name, n in connection.execute(statement.group_by(CellOverride.image_name)):
            _say(name, n)


_DETACHED: Final = (
    select(
        *(CellOverride.id, CellOverride.label_id, CellOverride.mask_id),
        *(CellOverride.height, CellOverride.width, CellOverride.rle),
    )
    .where(CellOverride.image_name == bindparam("name"), CellOverride.cell_id.is_(None))
    .order_by(CellOverride.created_at.desc(), CellOverride.id.desc())
)
"""The newest first: of two that would fit one cell and label, it is the one that counts."""


def attach_again(connection: Connection, name: str, image_id: int) -> dict[int, Mapping[str, Any]]:
    """Find the cells of an image, whose rows are new, that were decided about.

    Returns
    -------
    dict of dict
        What to change in each override that fits a cell by `SAME_CELL`, by its key.  The others stay,
        without a cell, and a warning counts them.
    """
    lost = connection.execute(_DETACHED, {"name": name}).all()
    if not lost:
        return {}
    size = connection.execute(select(Image.height, Image.width).where(Image.id == image_id)).one()
    columns = (Cell.id, Cell.mask_id, Cell.rle)
    cells = connection.execute(select(*columns).where(Cell.image_id == image_id).order_by(Cell.mask_id)).all()
    of_size = [override for override in lost if (override.height, override.width) == tuple(size)]
    for what, masks in (("override of", of_size), ("cell", cells)):
        _check_masks(f"{what} {name}", size.height * size.width, masks)
    shares = overlaps([o.rle for o in of_size], [c.rle for c in cells])
    found: dict[int, Mapping[str, Any]] = {}
    taken = set()
    for override, row in zip(of_size, shares, strict=True):
        best = int(row.argmax()) if len(row) else 0
        if len(row) and row[best] >= SAME_CELL and (best, override.label_id) not in taken:
            taken.add((best, override.label_id))
            found[override.id] = {"cell_id": cells[best].id, "mask_id": cells[best].mask_id}
    if len(found) < len(lost):
        _say(name, len(lost) - len(found))
    return found


def _check_masks(what: str, pixels: int, masks: Sequence[Any]) -> None:
    counts = [mask.rle for mask in masks]
    check_masks(counts, [pixels] * len(masks), lambda place: f"{what}:{masks[place].mask_id}")


def _say(name: str, n: int) -> None:
    logger.warning(
        "%s: %d override%s no cell any more; 'hpastore clean overrides --lost' lists them",
        name,
        n,
        " has" if n == 1 else "s have",
    )


def _cells(connection: Connection, names: set[str]) -> dict[tuple[str, int], Any]:
    columns = (Image.name, Cell.mask_id, Cell.id, Cell.rle, Image.width, Image.height)
    statement = select(*columns).join(Image, Image.id == Cell.image_id)
    return {
        (row.name, row.mask_id): row
        for part in parts(sorted(names))
        for row in connection.execute(statement.where(Image.name.in_(part)))
    }
