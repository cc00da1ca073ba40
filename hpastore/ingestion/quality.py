"""What can be read and is wrong all the same: masks and levels that are not what they seem.

Each of these is an image that decodes without a fault and whose numbers look right: nuclei that are
numbered apart from the cells, a binary mask, a label image whose ids were blended by a resize, levels of a
12-bit camera in 16 bits.  Where most of the numbers would be wrong, the image is rejected; where people
may have meant it so, it is stored with a note.
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
"""Pieces an id, on average, from which on ids are not those of cells.  In 177 real masks it is 1; where
label images of 2048² are halved with nearest neighbour, at most 1.1, and where they were resized with
interpolation, 40 to 2,000."""

MIN_CELLS: Final = 3
"""Cells that a nucleus lies in, on average, from which on ids are not those of nuclei; of real ones 1."""

WHITE: Final = (2**8 - 1, 2**16 - 1)
"""Ids that nobody gives to an only cell, but to the foreground of a binary mask: of a dense culture, that is
one piece."""

FULL_RANGE: Final = 2**12
"""The largest level of a 16-bit image that uses its range: a 12-bit camera's levels lie below."""

_IN_PIECES: Final = (
    "as where a resize blends ids; resize label images with nearest neighbour, and give each cell an id"
)

_Mask = npt.NDArray[np.integer]


class Prepared(NamedTuple):
    """An image whose masks are as they will be measured."""

    decoded: Decoded
    placement: Placement | None
    """Where its nuclei lie, by the ids that they had; None without a nucleus mask."""
    matched: bool
    """Whether its nuclei have the ids of the cells that hold most of them."""


def prepare_masks(decoded: Decoded, masks: MaskOptions, paths: Mapping[str, Path]) -> Prepared:
    """Split binary masks and match nuclei, as far as the options say.

    Parameters
    ----------
    decoded
    masks
    paths
        Files by role, for the errors.

    Raises
    ------
    RejectedError
        ``too_many_cells`` where a mask has too many pieces; ``nucleus_ids`` where one id is that of the
        nuclei of several cells.
    """
    cells, nuclei = decoded.cell_mask, decoded.nucleus_mask
    matched = masks.match_nuclei == "overlap"
    if masks.binary_mask == "components":
        split = {
            role: _split(mask, paths[role])
            for role, mask in ((CELL_MASK, cells), (NUCLEUS_MASK, nuclei))
            if mask is not None and has_one_id(mask)
        }
        cells, nuclei = split.get(CELL_MASK, cells), split.get(NUCLEUS_MASK, nuclei)
        matched |= bool(split)  # ids that were given here agree with no others
    if nuclei is None:
        return Prepared(replace(decoded, cell_mask=cells), None, matched=False)
    placement = place_nuclei(cells, nuclei)
    _refuse_one_id(cells, nuclei, placement, paths[NUCLEUS_MASK])
    if matched:
        nuclei = match_nuclei(nuclei, placement)
    return Prepared(replace(decoded, cell_mask=cells, nucleus_mask=nuclei), placement, matched)


def quality_notes(prepared: Prepared, cells: Cells, paths: Mapping[str, Path]) -> tuple[Note, ...]:
    """Say what people should know of an image.

    Parameters
    ----------
    prepared
    cells
        As they were measured.
    paths
        Files by role, for the errors.

    Returns
    -------
    tuple of Note
        None of a sound image.

    Raises
    ------
    RejectedError
        ``nucleus_ids`` where most nuclei lie outside of the cells whose ids they have.
    """
    notes = [*_judge_cells(cells), *_judge_levels(prepared.decoded)]
    if prepared.placement is not None:
        notes += _judge_nuclei(prepared.placement, prepared.matched, cells, paths[NUCLEUS_MASK])
    return tuple(notes)


def _split(mask: _Mask, path: Path) -> _Mask:
    pieces = label_components(mask)
    if pieces.max() > MAX_CELLS:
        reason = f"falls into more than {MAX_CELLS} pieces, which is the most; remove its specks"
        raise RejectedError("too_many_cells", path, reason)
    return pieces


def _refuse_one_id(cells: _Mask, nuclei: _Mask, placement: Placement, path: Path) -> None:
    """Refuse a binary mask of nuclei, all of which would be those of one cell."""
    if len(placement.ids) != 1 or placement.cells[0] < 2:
        return
    pieces = place_nuclei(cells, label_components(nuclei))
    homes = len(set(pieces.home.tolist()) - {0})
    if homes > 1:
        reason = f"is binary: one id, {placement.ids[0]}, is that of the nuclei of {homes} cells"
        remedy = "give each nucleus the id of its cell, or ingest with --binary-mask components"
        raise RejectedError("nucleus_ids", path, f"{reason}; {remedy}")


def _judge_cells(cells: Cells) -> Iterator[Note]:
    number, pieces = len(cells.mask_ids), int(cells.shape["pieces"].sum())
    if not number:
        yield Note("empty_mask", "its mask is empty; stored without cells")
    elif cells.channels["green"].background_level is None:
        yield Note("no_background", "its cells cover the whole image; stored without fractions")
    if _is_binary(cells):
        text = f"its cell mask has one id, {cells.mask_ids[0]}, in {pieces} pieces, stored as one cell"
        yield Note("binary_mask", f"{text}; if they are cells, ingest with --binary-mask components")
    elif number == 1 and cells.mask_ids[0] in WHITE:
        text = f"its cell mask has one id, {cells.mask_ids[0]}, as binary masks have, stored as one cell"
        yield Note("binary_mask", f"{text}; if it is several, give each an id of its own")
    elif number and pieces >= MIN_PIECES * number:
        text = f"the {number:,} ids of its cell mask lie in {pieces:,} pieces"
        yield Note("mask_in_pieces", f"{text}, {_IN_PIECES}")


def _judge_levels(decoded: Decoded) -> Iterator[Note]:
    largest = decoded.largest_level
    if decoded.bit_depth == 16 and 0 < largest < FULL_RANGE:
        remedy = "save the channels with 8 bits" if largest < 256 else "scale the levels to 16 bits"
        text = f"the largest level of its 16-bit channels is {largest} of 65535, so that its cells are dark"
        yield Note("few_levels", f"{text}; {remedy}")


def _judge_nuclei(placement: Placement, matched: bool, cells: Cells, path: Path) -> Iterator[Note]:
    number = len(placement.ids)
    if not number and len(cells.mask_ids):
        yield Note("empty_nucleus_mask", "its nucleus mask is empty; its cells are stored without nuclei")
    if number > 1 and placement.cells.sum() >= MIN_CELLS * number:
        text = f"the {number:,} ids of its nucleus mask lie in {placement.cells.max():,} cells at most"
        yield Note("mask_in_pieces", f"{text}, {_IN_PIECES}")
    if matched:
        lost = int(np.count_nonzero(placement.home == 0))
        if lost:
            text = f"nuclei that lie in no cell: {lost} of {number}; they are left out"
            yield Note("nuclei_without_cell", text)
        return
    # A nucleus without a cell of its id, and outside of all cells, is that of a cell that was left out.
    counted = (placement.home != 0) | np.isin(placement.ids, cells.mask_ids)
    number = int(np.count_nonzero(counted))
    outside = int(np.count_nonzero(counted & ~placement.at_home))
    if not outside:
        return
    found = f"nuclei outside of the cells whose ids they have: {outside} of {number}"
    remedy = "give each nucleus the id of its cell, or ingest with --match-nuclei overlap"
    if _is_binary(cells):
        found = f"{found}, since the cell mask has one id in {cells.shape['pieces'][0]} pieces"
        remedy = "ingest with --binary-mask components"
    if 2 * outside > number:
        raise RejectedError("nucleus_ids", path, f"{found}; {remedy}")
    yield Note("stray_nuclei", f"{found}; {remedy}")


def _is_binary(cells: Cells) -> bool:
    return len(cells.mask_ids) == 1 and bool(cells.shape["pieces"][0] > 1)
