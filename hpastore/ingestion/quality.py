"""Recognise masks and grey levels that can be decoded but give wrong numbers.

Such images decode without an error and their numbers look right: nuclei that are numbered
independently of the cells, a binary mask, a label image whose ids were blended by a resize, levels
of a 12-bit camera in 16 bits.  If most of the numbers would be wrong, the image is rejected; if it
may be intended, the image is stored with a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.errors import RejectedError
from hpastore.kernels.components import has_one_id, label_components
from hpastore.kernels.nuclei import Placement, match_nuclei, place_nuclei
from hpastore.model import Cells, Decoded, MaskOptions, Note
from hpastore.reading.limits import MAX_CELLS
from hpastore.vocabulary import CELL_MASK, NUCLEUS_MASK

MIN_PIECES: Final = 4
"""Mean number of pieces per id from which ids are not those of cells.  It is 1 in 177 real masks;
at most 1.1 after label images of 2048² are halved with nearest neighbour, and 40 to 2,000 after
they are resized with interpolation."""

MIN_CELLS: Final = 3
"""Mean number of cells per nucleus from which ids are not those of nuclei; 1 in real masks."""

WHITE: Final = (2**8 - 1, 2**16 - 1)
"""Ids of the foreground of binary masks; a single cell of a label image has another id."""

FULL_RANGE: Final = 2**12
"""The levels of a 12-bit camera are below; a 16-bit image that uses its range reaches it."""

_IN_PIECES: Final = (
    "as after a resize that blends ids; "
    "resize label images with nearest neighbour, and give each cell its own id"
)

_Mask = npt.NDArray[np.integer]


class Prepared(NamedTuple):
    """An image whose masks are ready to be measured."""

    decoded: Decoded
    placement: Placement | None
    """Where its nuclei are, by the ids of the file; None without a nucleus mask."""
    matched: bool
    """Whether each nucleus got the id of the cell that holds most of it."""


def prepare_masks(decoded: Decoded, masks: MaskOptions, paths: Mapping[str, Path]) -> Prepared:
    """Split binary masks and match nuclei, according to the options.

    Parameters
    ----------
    decoded
    masks
    paths
        Files by role, for the errors.

    Raises
    ------
    RejectedError
        ``too_many_cells`` if a mask has too many pieces; ``nucleus_ids`` if the nuclei of several
        cells have the same id.
    """
    cells = decoded.cell_mask
    nuclei = decoded.nucleus_mask
    matched = masks.match_nuclei == "overlap"
    if masks.binary_mask == "components":
        if has_one_id(cells):
            cells = _split(cells, paths[CELL_MASK])
            matched = True  # the new ids agree with those of no other mask
        if nuclei is not None and has_one_id(nuclei):
            nuclei = _split(nuclei, paths[NUCLEUS_MASK])
            matched = True
    if nuclei is None:
        return Prepared(replace(decoded, cell_mask=cells), None, matched=False)

    placement = place_nuclei(cells, nuclei)
    _refuse_one_id(cells, nuclei, placement, paths[NUCLEUS_MASK])
    if matched:
        nuclei = match_nuclei(nuclei, placement)
    return Prepared(replace(decoded, cell_mask=cells, nucleus_mask=nuclei), placement, matched)


def quality_notes(prepared: Prepared, cells: Cells, paths: Mapping[str, Path]) -> tuple[Note, ...]:
    """Give the notes on an image's quality.

    Parameters
    ----------
    prepared
    cells
        The image's cells, measured.
    paths
        Files by role, for the errors.

    Returns
    -------
    tuple of Note
        Empty for an image without a fault.

    Raises
    ------
    RejectedError
        ``nucleus_ids`` if most nuclei are outside the cells with their ids.
    """
    notes = [*_cell_notes(cells), *_level_notes(prepared.decoded)]
    placement = prepared.placement
    if placement is not None:
        notes += _nucleus_notes(placement, cells)
        if prepared.matched:
            notes += _unmatched_notes(placement)
        else:
            notes += _stray_notes(placement, cells, paths[NUCLEUS_MASK])
    return tuple(notes)


def _split(mask: _Mask, path: Path) -> _Mask:
    pieces = label_components(mask)
    if pieces.max() > MAX_CELLS:
        reason = f"has more than {MAX_CELLS:,} pieces, the maximum; remove small specks"
        raise RejectedError("too_many_cells", path, reason)
    return pieces


def _refuse_one_id(cells: _Mask, nuclei: _Mask, placement: Placement, path: Path) -> None:
    """Refuse a binary mask of nuclei: all of them would belong to one cell."""
    if len(placement.ids) != 1 or placement.cells[0] < 2:
        return
    pieces = place_nuclei(cells, label_components(nuclei))
    number = len(set(pieces.home.tolist()) - {0})
    if number > 1:
        what = f"is binary: the nuclei of {number} cells have the same id, {placement.ids[0]}"
        remedy = "give each nucleus the id of its cell, or ingest with --binary-mask components"
        raise RejectedError("nucleus_ids", path, f"{what}; {remedy}")


def _cell_notes(cells: Cells) -> Iterator[Note]:
    number = len(cells.mask_ids)
    pieces = int(cells.shape["pieces"].sum())
    if not number:
        yield Note("empty_mask", "its mask is empty; stored without cells")
    elif cells.channels["green"].background_level is None:
        yield Note("no_background", "its cells cover the whole image; stored without fractions")

    if _is_binary(cells):
        what = (
            f"its cell mask has one id, {cells.mask_ids[0]}, in {pieces} pieces, stored as one cell"
        )
        remedy = "if the pieces are cells, ingest with --binary-mask components"
        yield Note("binary_mask", f"{what}; {remedy}")
    elif number == 1 and cells.mask_ids[0] in WHITE:
        what = f"its cell mask has one id, {cells.mask_ids[0]}, as binary masks have"
        what += ", stored as one cell"
        yield Note("binary_mask", f"{what}; if it shows several cells, give each its own id")
    elif number and pieces >= MIN_PIECES * number:
        what = f"the {number:,} ids of its cell mask are in {pieces:,} pieces"
        yield Note("mask_in_pieces", f"{what}, {_IN_PIECES}")


def _level_notes(decoded: Decoded) -> Iterator[Note]:
    largest = decoded.largest_level
    if decoded.bit_depth == 16 and 0 < largest < FULL_RANGE:
        what = (
            f"the highest level of its 16-bit channels is {largest} of 65535, so its cells are dark"
        )
        remedy = "save the channels with 8 bits" if largest < 256 else "scale the levels to 16 bits"
        yield Note("few_levels", f"{what}; {remedy}")


def _nucleus_notes(placement: Placement, cells: Cells) -> Iterator[Note]:
    number = len(placement.ids)
    if not number and len(cells.mask_ids):
        what = "its nucleus mask is empty; its cells are stored without nuclei"
        yield Note("empty_nucleus_mask", what)
    if number > 1 and placement.cells.sum() >= MIN_CELLS * number:
        most = placement.cells.max()
        what = f"the {number:,} ids of its nucleus mask are in up to {most:,} cells each"
        yield Note("mask_in_pieces", f"{what}, {_IN_PIECES}")


def _unmatched_notes(placement: Placement) -> Iterator[Note]:
    """Note the nuclei that were matched by overlap and are in no cell."""
    outside = int(np.count_nonzero(placement.home == 0))
    if outside:
        number = len(placement.ids)
        what = f"nuclei outside all cells: {outside} of {number}; they are left out"
        yield Note("nuclei_without_cell", what)


def _stray_notes(placement: Placement, cells: Cells, path: Path) -> Iterator[Note]:
    """Note the nuclei outside the cells with their ids; most of them reject the image."""
    # A nucleus outside all cells, whose id no cell has, belongs to a cell that was left out.
    counted = (placement.home != 0) | np.isin(placement.ids, cells.mask_ids)
    number = int(np.count_nonzero(counted))
    outside = int(np.count_nonzero(counted & ~placement.at_home))
    if not outside:
        return
    what = f"nuclei outside the cells with their ids: {outside} of {number}"
    remedy = "give each nucleus the id of its cell, or ingest with --match-nuclei overlap"
    if _is_binary(cells):
        what = f"{what}, since the cell mask has one id in {cells.shape['pieces'][0]} pieces"
        remedy = "ingest with --binary-mask components"
    if 2 * outside > number:
        raise RejectedError("nucleus_ids", path, f"{what}; {remedy}")
    yield Note("stray_nuclei", f"{what}; {remedy}")


def _is_binary(cells: Cells) -> bool:
    return len(cells.mask_ids) == 1 and bool(cells.shape["pieces"][0] > 1)
