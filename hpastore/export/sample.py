"""A drawn data set in the layout that ``ingest`` reads."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpastore.arguments import expanded
from hpastore.errors import UsageError
from hpastore.export.output import whole_folder
from hpastore.runtime.executor import worker_count
from hpastore.runtime.opencv import cv2
from hpastore.runtime.pool import map_in_order
from hpastore.store.engine import Store
from hpastore.synthetic.fields import Field, draw_field
from hpastore.text import printable
from hpastore.vocabulary import CHANNELS, NAME_PATTERN, NAME_RULE

PREFIX: Final = "sample"
"""The default prefix of image names."""

_SIZES: Final = range(64, 4097)
_TABLES: Final = {
    "train.csv": ("ID", "Label", "cell_line"),
    "truth.csv": ("name", "mask_id", "fault", "cell"),
}
"""The tables of a sample, with their columns."""

_FOLDERS: Final = ("train", "hpa_cell_mask", "hpa_nuclei_mask")

_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold; a constant gives the same bytes each time."""


def make_sample(
    folder: Path | str,
    *,
    n: int = 12,
    size: int = 1024,
    seed: int = 0,
    bits: int = 8,
    prefix: str = PREFIX,
    jobs: int | None = None,
    force: bool = False,
    store: Store | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a data set with known truth: images, masks, ``train.csv`` and ``truth.csv``.

    ``train.csv`` says the cell line of each image in its column ``cell_line``, which ``ingest``
    keeps if it is told to.

    Parameters
    ----------
    folder : Path
        The folder to make.
    n : int
        Number of images; 19 or more contain every label.
    size : int
        Width and height, pixels.
    seed : int
        The same seed draws the same bytes.
    bits : int
        8 or 16.
    prefix : str
        Prefix of image names, such as ``sample`` in ``sample-0000``; two samples in one store need
        different prefixes.
    jobs : int, optional
        Worker processes; by default one per core.
    force : bool
        Whether an existing folder is replaced.  A folder that holds any file which is not part of a
        sample is never replaced.
    store : Store, optional
        A folder that holds this store or its inputs is never replaced.
    progress : callable, optional
        Called with (images done, images to do).

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        If a number is out of its range, or the prefix is not valid in an image's name.
    ExportError
        If the folder exists, holds other files, the store or its inputs, or cannot be written.
    """
    folder = expanded(folder)
    if n < 1 or size not in _SIZES or bits not in (8, 16) or seed < 0:
        raise UsageError(
            "a sample has 1 or more images of 64 to 4096 pixels, 8 or 16 bits, and a seed of 0 "
            "or more"
        )
    if not NAME_PATTERN.fullmatch(f"{prefix}-{n - 1:04d}"):
        raise UsageError(f"invalid prefix {printable(prefix)!r} of image names; {NAME_RULE}")
    with whole_folder(folder, force=force, listed=_listed_files, store=store) as temporary:
        for name in _FOLDERS:
            (temporary / name).mkdir()
        draw = partial(_draw, folder=temporary, size=size, seed=seed, bits=bits, prefix=prefix)
        labels = []
        truth = []
        drawn = map_in_order(draw, range(n), min(worker_count(jobs), n))
        for done, (label, faults) in enumerate(drawn, start=1):
            labels.append(label)
            truth += faults
            if progress:
                progress(done, n)
        for (name, header), rows in zip(_TABLES.items(), (labels, truth), strict=True):
            _table(temporary / name, header, rows)
    return folder


def _listed_files(folder: Path) -> set[str] | None:
    """List the files of a sample; None for any other folder.

    A sample has two tables, and images that are numbered from 0 with one prefix.  A real data set
    does not, so that it is never taken for a sample.
    """
    tables = [_read_table(folder / name, header) for name, header in _TABLES.items()]
    if None in tables or not tables[0]:
        return None
    prefix = tables[0][0].rpartition("-")[0]
    names = [f"{prefix}-{index:04d}" for index in range(len(tables[0]))]
    if tables[0] != names:
        return None
    channels = (f"train/{name}_{channel}.png" for name in names for channel in CHANNELS)
    masks = (f"{folder}/{name}.npz" for name in names for folder in _FOLDERS[1:])
    return {*_TABLES, *channels, *masks}


def _read_table(path: Path, header: Sequence[str]) -> list[str] | None:
    """Read the first column of a table of a sample; None for any other file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            return [row[0] for row in rows] if next(rows, []) == list(header) else None
    except (OSError, UnicodeDecodeError, csv.Error, IndexError):
        return None


def _draw(
    index: int, folder: Path, size: int, seed: int, bits: int, prefix: str
) -> tuple[Sequence[Any], list[Sequence[Any]]]:
    """Draw and write one image; return its row in the label table, and its cells' rows of truth."""
    field = draw_field(index, size=size, seed=seed, bits=bits)
    name = f"{prefix}-{index:04d}"
    for channel, pixels in field.channels.items():
        _, data = cv2.imencode(".png", pixels)
        (folder / "train" / f"{name}_{channel}.png").write_bytes(bytes(data))
    (folder / "hpa_cell_mask" / f"{name}.npz").write_bytes(_npz(field.cell_mask))
    (folder / "hpa_nuclei_mask" / f"{name}.npz").write_bytes(_npz(field.nucleus_mask))
    labels = "|".join(map(str, _in_published_order(field)))
    return (name, labels, field.cell_line), [
        (name, mask_id, fault, field.cells[mask_id])
        for mask_id, fault in sorted(field.faults.items())
    ]


def _in_published_order(field: Field) -> list[int]:
    """Order labels as the published table does, which is not ascending."""
    return list(field.labels[::-1])


def _npz(mask: npt.NDArray[np.uint16]) -> bytes:
    """Pack a mask as `numpy.savez_compressed` does, but with a constant time."""
    array = io.BytesIO()
    archive = io.BytesIO()
    np.save(array, mask)
    with zipfile.ZipFile(archive, "w") as file:
        member = zipfile.ZipInfo("arr_0.npy", _ZIP_TIME)
        file.writestr(member, array.getvalue(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
