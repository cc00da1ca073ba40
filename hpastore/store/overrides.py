"""Overrides: people's decisions about cells.

An override keeps the mask of its cell.  When the cell's image is replaced, the override is
detached, and attached to the new cell whose mask is nearly the same, if there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from hpastore.errors import NotFoundError
from hpastore.kernels.rle import overlaps
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.labelled_cells import LABELS
from hpastore.schema.tables import Cell, CellOverride, Image, StoredMask
from hpastore.store import statements
from hpastore.store.arrays import check_masks
from hpastore.store.integrity import checksums
from hpastore.store.statements import batches
from hpastore.text import short_list

logger = logging.getLogger(__name__)

SAME_CELL: Final = 0.7
"""Least intersection over union of masks of one cell; above a half, at most one reaches it."""

_MAX_NAMED: Final = 5
"""Number of unknown cells that a message names."""


class Decision(NamedTuple):
    """A decision about a cell, to be stored as an override."""

    image_name: str
    mask_id: int
    label_id: int | None
    """None stands for all labels."""
    keep: bool
    score: float | None
    author: str | None
    comment: str | None


_DELETE: Final = delete(CellOverride).where(
    CellOverride.cell_id == bindparam("cell"),
    CellOverride.label_id.is_not_distinct_from(bindparam("label")),
)


def write_overrides(
    connection: Connection, decisions: Sequence[Decision], now: Any, skip_unknown: bool = False
) -> int:
    """Store decisions; each replaces the one on the same cell and label.

    Parameters
    ----------
    connection
        In a writing transaction.
    decisions
    now
        The time of the decisions.
    skip_unknown
        Whether decisions about cells that the store does not have are left out, with a warning.

    Returns
    -------
    int
        Number of overrides written: of several decisions on one cell and label, the last counts.

    Raises
    ------
    NotFoundError
        If the store does not have one of the cells; nothing is written.
    """
    cells = _cells(connection, {d.image_name for d in decisions})
    unknown = dict.fromkeys(d[:2] for d in decisions if d[:2] not in cells)
    if unknown:
        named = ", ".join(f"{name}:{mask_id}" for name, mask_id in islice(unknown, _MAX_NAMED))
        more = f" and {len(unknown) - _MAX_NAMED:,} more" if len(unknown) > _MAX_NAMED else ""
        if not skip_unknown:
            raise NotFoundError(f"the store has no cell {named}{more}; nothing was written")
        logger.warning("the store has no cell %s%s; decisions about them are left out", named, more)

    _warn_of_idle(decisions, cells)
    rows = {}
    for d in decisions:
        cell = cells.get(d[:2])
        if cell is None:
            continue
        columns = {"width": cell.width, "height": cell.height, "rle": cell.rle, "created_at": now}
        row = {**d._asdict(), **columns, "cell_id": cell.id}
        rows[cell.id, d.label_id] = {**row, "checksum": checksums.row_number(CellOverride, row)}

    if rows:
        connection.execute(
            _DELETE, [{"cell": cell_id, "label": label_id} for cell_id, label_id in rows]
        )
        connection.execute(insert(CellOverride), list(rows.values()))
    failpoint("overrides.written")
    return len(rows)


def delete_overrides(
    connection: Connection,
    cells: Iterable[tuple[str, int]],
    label_id: int | None = None,
    *,
    every: bool = True,
    detached: bool = False,
) -> int:
    """Delete overrides of cells; a detached one only if no override of its name is attached.

    Parameters
    ----------
    connection
        In a writing transaction.
    cells
        Name of the image and mask id of each cell.
    label_id, every
        Overrides of all labels if `every`; else of this label, or those that hold for all labels if
        None.
    detached
        Only detached overrides.

    Returns
    -------
    int
        Number of overrides deleted.
    """
    is_attached = CellOverride.cell_id.is_not(None)
    deleted = 0
    for image_name, mask_id in cells:
        of_cell = [CellOverride.image_name == image_name, CellOverride.mask_id == mask_id]
        if not every:
            of_cell.append(CellOverride.label_id.is_not_distinct_from(label_id))

        deleted_attached = 0
        if not detached:
            statement = delete(CellOverride).where(*of_cell, is_attached)
            deleted_attached = connection.execute(statement).rowcount
        if deleted_attached:
            deleted += deleted_attached
        else:
            deleted += connection.execute(
                delete(CellOverride).where(*of_cell, ~is_attached)
            ).rowcount
    return deleted


def overrides(connection: Connection) -> list[statements.Row]:
    """Read all overrides by image, mask id and label; ``attached``: the store has the cell."""
    o = CellOverride
    columns = (
        o.image_name,
        o.mask_id,
        o.label_id,
        o.keep,
        o.score,
        o.author,
        o.comment,
        o.created_at,
    )
    statement = select(*columns, o.cell_id.is_not(None).label("attached"))
    order = (o.image_name, o.mask_id, func.coalesce(o.label_id, -1), o.id)
    return statements.rows(connection, statement.order_by(*order))


def warn_before_deleting(connection: Connection, names: Sequence[str]) -> None:
    """Warn of overrides that are detached when these images are deleted."""
    for part in batches(names):
        statement = select(CellOverride.image_name, func.count()).where(
            CellOverride.cell_id.is_not(None), CellOverride.image_name.in_(part)
        )
        for name, n in connection.execute(statement.group_by(CellOverride.image_name)):
            _warn_detached(name, n)


_DETACHED: Final = (
    select(
        *(CellOverride.id, CellOverride.label_id, CellOverride.mask_id),
        *(CellOverride.height, CellOverride.width, CellOverride.rle),
    )
    .where(CellOverride.image_name == bindparam("name"), CellOverride.cell_id.is_(None))
    .order_by(CellOverride.created_at.desc(), CellOverride.id.desc())
)
"""The newest first: of several that fit one cell and label, it counts."""


def match_detached(
    connection: Connection, name: str, image_id: int
) -> dict[int, Mapping[str, Any]]:
    """Match the detached overrides of an image with its new cells.

    Returns
    -------
    dict of dict
        By the key of each override that matches a cell by `SAME_CELL`: the values to change in it.
        The others stay detached, and a warning counts them.
    """
    detached = connection.execute(_DETACHED, {"name": name}).all()
    if not detached:
        return {}

    size = connection.execute(select(Image.height, Image.width).where(Image.id == image_id)).one()
    statement = select(Cell.id, Cell.mask_id, StoredMask.rle).join(StoredMask)
    cells = connection.execute(
        statement.where(Cell.image_id == image_id).order_by(Cell.mask_id)
    ).all()
    same_size = [o for o in detached if (o.height, o.width) == (size.height, size.width)]
    _check_masks(f"override of {name}", size.height * size.width, same_size)
    _check_masks(f"cell {name}", size.height * size.width, cells)
    overlap = overlaps([o.rle for o in same_size], [c.rle for c in cells])

    matches: dict[int, Mapping[str, Any]] = {}
    taken = set()
    for override, row in zip(same_size, overlap, strict=True):
        best = int(row.argmax()) if len(row) else 0
        if len(row) and row[best] >= SAME_CELL and (best, override.label_id) not in taken:
            taken.add((best, override.label_id))
            matches[override.id] = {"cell_id": cells[best].id, "mask_id": cells[best].mask_id}
    if len(matches) < len(detached):
        _warn_detached(name, len(detached) - len(matches))
    return matches


def _check_masks(what: str, pixels: int, rows: Sequence[Any]) -> None:
    counts = [row.rle for row in rows]
    check_masks(counts, [pixels] * len(rows), lambda index: f"{what}:{rows[index].mask_id}")


def _warn_detached(name: str, n: int) -> None:
    shown = "1 override is" if n == 1 else f"{n:,} overrides are"
    logger.warning(
        "%s: %s no longer attached to a cell; see 'hpastore clean overrides --lost'", name, shown
    )


def _warn_of_idle(decisions: Iterable[Decision], cells: Mapping[tuple[str, int], Any]) -> None:
    """Warn of decisions for a label that the cell does not have now: no verdict follows them."""
    idle = [
        f"{d.image_name}:{d.mask_id}"
        for d in decisions
        if d.label_id is not None
        and (cell := cells.get(d[:2])) is not None
        and str(d.label_id) not in cell.labels.split("|")
    ]
    if idle:
        named = short_list(idle)
        logger.warning("decided for a label that the cell does not have: %s", named)


def _cells(connection: Connection, names: set[str]) -> dict[tuple[str, int], Any]:
    """Read the cells of images, by image name and mask id."""
    size = (Image.width, Image.height)
    columns = (Image.name, Cell.mask_id, Cell.id, StoredMask.rle, LABELS.label("labels"), *size)
    statement = select(*columns).join(Cell, Cell.image_id == Image.id).join(StoredMask)
    return {
        (row.name, row.mask_id): row
        for part in batches(sorted(names))
        for row in connection.execute(statement.where(Image.name.in_(part)))
    }
