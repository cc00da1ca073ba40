"""Where the files of an ingest are, and how they are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpastore.vocabulary import CHANNELS, BinaryMask, NucleusMatch

CHANNEL_ENDINGS: Final = tuple(f"_{channel}.png" for channel in CHANNELS)
CELL_MASK_ENDINGS: Final = (".npz", ".npy", "_cellmask.png")
NUCLEUS_MASK_ENDINGS: Final = (".npz", ".npy", "_nucleimask.png")

NONE: Final = "none"
"""Given instead of a table or a folder of nucleus masks: the images have none."""


@dataclass(frozen=True)
class Layout:
    """Where an ingest's files are.

    Parameters
    ----------
    root : Path
        The folder; uris in the store are relative to it.
    labels : Path or str, optional
        CSV or TSV of names and labels, or ``"none"`` for images without labels; by default
        ``ROOT/train.csv``.
    images : Path, optional
        Folder of ``{ID}_red.png`` and so on; by default ``ROOT/train``.
    masks : Path, optional
        Folder of cell masks; by default ``ROOT/hpa_cell_mask``.
    nuclei : Path or str, optional
        Folder of nucleus masks, or ``"none"`` for images without; by default
        ``ROOT/hpa_nuclei_mask`` if it exists.
    split : str, optional
        A name for new images and for images without a split, such as ``train``.
    limit : int, optional
        Only the first N images by name, as if the others did not exist.
    id_column, label_column : str
        Headings in the table.
    binary_mask : str, optional
        How a mask of one value is read: ``keep`` it as one cell, or take its ``components`` as
        cells.  By default as the image was read before; ``keep`` for a new image.
    match_nuclei : str, optional
        Which cell a nucleus belongs to: the cell with its ``id``, or by ``overlap`` the cell that
        holds most of it.  By default as the image was read before; ``id`` for a new image.
    keep_columns : sequence of str
        Headings of further columns of the table whose values are stored, such as ``plate``.
        Columns that are not named stay as they are stored.
    drop_columns : sequence of str
        Names of columns that the images of this run lose.
    """

    root: Path
    labels: Path | str | None = None
    images: Path | None = None
    masks: Path | None = None
    nuclei: Path | str | None = None
    split: str | None = None
    limit: int | None = None
    id_column: str = "ID"
    label_column: str = "Label"
    binary_mask: BinaryMask | None = None
    match_nuclei: NucleusMatch | None = None
    keep_columns: Sequence[str] = ()
    drop_columns: Sequence[str] = ()
