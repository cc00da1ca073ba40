"""The "middle format" of MMDetection 2.x: a pickled list of dictionaries."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from hpastore.arguments import expanded
from hpastore.errors import UsageError
from hpastore.export.files import file_name
from hpastore.export.manifest import Counts, Written
from hpastore.export.pipeline import ImageCounter, export_file
from hpastore.export.selection import ExportOptions, ResolvedOptions
from hpastore.model import AnnotatedImage, Annotation
from hpastore.store.engine import Store
from hpastore.store.pixels import warn_of_missing_channels
from hpastore.vocabulary import CHANNELS, ChannelFiles, ImageFormat

ENDINGS: Final = (".pkl", ".pickle")

_PROTOCOL: Final = 3
"""Every Python 3 reads it, and `_dump_list` does not work with newer ones."""


def export_mmdet(
    store: Store,
    out: Path | str,
    options: ExportOptions | None = None,
    *,
    channels: ChannelFiles = "composite",
    image_format: ImageFormat = "png",
    force: bool = False,
) -> Written:
    """Write annotations for MMDetection 2.x's ``CustomDataset``.

    A list with, for each image, ``filename, width, height`` and ``ann`` = ``bboxes`` (n, 4) float32
    x1, y1, x2, y2; ``labels`` (n,) int64, or (n, classes) for ``multihot``; ``masks``, n compressed
    RLEs.  MMDetection numbers classes from 0: a label is the position of its class among those of
    the store, by ascending id; with the default classes that is the id.  NumPy 1 and 2 read it.

    Parameters
    ----------
    store : Store
    out : Path
        A ``.pkl`` or ``.pickle`` file: MMDetection loads no other.
    options : ExportOptions, optional
        By default all cells.
    channels : str
        ``composite`` names one file per image, ``list`` its channel files, as
        ``LoadMultiChannelImageFromFiles`` expects them.
    image_format : str
        ``png`` or ``jpg``, of the composite.
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    Written

    Raises
    ------
    ExportError
        If there is nothing to export, or the file exists or cannot be written.
    UsageError, NotFoundError
        If an argument is invalid, or there is no such clean set.
    """
    out = expanded(out)
    options = options or ExportOptions()
    if out.suffix not in ENDINGS:
        raise UsageError(f"{out}: MMDetection reads only .pkl and .pickle; name the file so")
    format_options = {"channels": channels, "image_format": image_format}
    multihot = options.multilabel == "multihot"

    def write(
        file: BinaryIO, images: Iterable[AnnotatedImage], resolved: ResolvedOptions
    ) -> Counts:
        counter = ImageCounter(multihot=multihot)
        positions = {label: place for place, label in enumerate(resolved.classes.ids)}
        records = (
            _record(image, file_name(image, channels, image_format), positions, multihot)
            for image in counter.count(images)
        )
        _dump_list(file, records)
        if channels == "list":
            warn_of_missing_channels(counter.channels, CHANNELS, "whose file is not named")
        return counter.counts

    return export_file(store, out, "mmdet", options, format_options, write, force=force)


def _record(
    image: AnnotatedImage,
    filename: str | list[str],
    positions: Mapping[int, int],
    multihot: bool,
) -> dict[str, Any]:
    cells: Sequence[Annotation] = image.annotations
    if multihot:
        labels = _multihot(cells, positions)
    else:
        labels = np.array([positions[label] for cell in cells for label in cell.labels], np.int64)
        cells = [cell for cell in cells for _ in cell.labels]
    corners = [(c.x, c.y, c.x + c.width, c.y + c.height) for c in cells]
    size = [image.height, image.width]
    return {
        "filename": filename,
        "width": image.width,
        "height": image.height,
        "ann": {
            "bboxes": np.array(corners, np.float32).reshape(-1, 4),
            "labels": labels,
            "masks": [{"size": size, "counts": c.rle} for c in cells],
        },
    }


def _multihot(
    cells: Iterable[Annotation], positions: Mapping[int, int]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    rows = [[int(label in cell.labels) for label in positions] for cell in cells]
    return np.array(rows, np.int64).reshape(-1, len(positions))


def _dump_list(file: BinaryIO, items: Iterable[Any]) -> None:
    """Pickle a list item by item.

    `pickle.dump` of the whole list would hold every object until its end, 900 MB for 500,000 cells.
    Up to protocol 3, an object that occurs again is referred to by a number that the pickle itself
    stores, so that each item may start to count anew.
    """
    file.write(pickle.PROTO + bytes([_PROTOCOL]) + pickle.EMPTY_LIST)
    for item in items:
        piece = io.BytesIO()
        _Pickler(piece, _PROTOCOL).dump(item)
        file.write(piece.getvalue()[2:-1] + pickle.APPEND)  # without its own PROTO and STOP
    file.write(pickle.STOP)


class _Pickler(pickle.Pickler):
    """Write arrays so that NumPy 1 and 2 read them.

    NumPy 2 refers to ``numpy._core.multiarray``, which NumPy 1 does not have (numpy#28340).  An
    empty ``numpy.ndarray`` with the array's state refers to no other name.
    """

    def reducer_override(self, obj: object) -> Any:
        if type(obj) is np.ndarray:
            state = obj.__reduce__()[2]
            return np.ndarray, ((0,),), state
        return NotImplemented
