"""A drawn data set in the layout that ``ingest`` reads."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpastore.errors import UsageError
from hpastore.export.output import whole_folder
from hpastore.ingest.pool import in_order, workers
from hpastore.kernels.synthetic import Field, draw_field
from hpastore.model import CHANNELS, expanded
from hpastore.opencv import cv2
from hpastore.store.engine import Store

_SIZES: Final = range(64, 4097)
_SAMPLE_TABLES: Final = ("train.csv", "truth.csv")
_SAMPLE_FILE: Final = re.compile(
    rf"train/sample-\d+_({'|'.join(CHANNELS)})\.png|hpa_(cell|nuclei)_mask/sample-\d+\.npz", re.ASCII
)
"""What a sample holds besides."""

_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The first that a zip can hold; the same bytes each time."""


def make_sample(
    folder: Path | str,
    *,
    n: int = 12,
    size: int = 1024,
    seed: int = 0,
    bits: int = 8,
    jobs: int | None = None,
    force: bool = False,
    store: Store | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a data set with known truth: images, masks, ``train.csv`` and ``truth.csv``.

    Parameters
    ----------
    folder : Path
        Is made.
    n : int
        Number of images; 19 or more hold every label.
    size : int
        Width and height, pixels.
    seed : int
        The same seed draws the same bytes.
    bits : int
        8 or 16.
    jobs : int, optional
        Worker processes; by default one per core.
    force : bool
        Whether an existing folder is replaced; one that holds another file than a sample's never is.
    store : Store, optional
        A folder that holds it, or its inputs, is never replaced.
    progress : callable, optional
        Called with (images done, images to do).

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        If a number makes no sense.
    ExportError
        If the folder exists, holds other files, the store or its inputs, or cannot be written.
    """
    folder = expanded(folder)
    if n < 1 or size not in _SIZES or bits not in (8, 16) or seed < 0:
        raise UsageError(
            "a sample has 1 or more images of 64 to 4096 pixels, 8 or 16 bits, and a seed of 0 or more"
        )
    with whole_folder(folder, force=force, listed=_listed_files, store=store) as temporary:
        for name in ("train", "hpa_cell_mask", "hpa_nuclei_mask"):
            (temporary / name).mkdir()
        draw = partial(_draw, folder=temporary, size=size, seed=seed, bits=bits)
        labels, truth = [], []
        for done, (label, faults) in enumerate(in_order(draw, range(n), min(workers(jobs), n)), 1):
            labels.append(label)
            truth += faults
            if progress:
                progress(done, n)
        _table(temporary / "train.csv", ("ID", "Label"), labels)
        _table(temporary / "truth.csv", ("name", "mask_id", "fault"), truth)
    return folder


def _listed_files(folder: Path) -> set[str] | None:
    """Name the files of a sample; None of a folder that is none."""
    if not all((folder / name).is_file() for name in _SAMPLE_TABLES):
        return None
    files = {file.relative_to(folder).as_posix() for file in folder.glob("*/*")}
    return {*_SAMPLE_TABLES, *filter(_SAMPLE_FILE.fullmatch, files)}


def _draw(
    index: int, folder: Path, size: int, seed: int, bits: int
) -> tuple[Sequence[Any], list[Sequence[Any]]]:
    """Draw and write one image; return its row of labels and its cells' rows of truth."""
    field = draw_field(index, size=size, seed=seed, bits=bits)
    for channel, pixels in field.channels.items():
        _, data = cv2.imencode(".png", pixels)
        (folder / "train" / f"{field.name}_{channel}.png").write_bytes(bytes(data))
    (folder / "hpa_cell_mask" / f"{field.name}.npz").write_bytes(_npz(field.cell_mask))
    (folder / "hpa_nuclei_mask" / f"{field.name}.npz").write_bytes(_npz(field.nucleus_mask))
    labels = "|".join(map(str, _as_published(field)))
    return (field.name, labels), [
        (field.name, mask_id, fault) for mask_id, fault in sorted(field.faults.items())
    ]


def _as_published(field: Field) -> list[int]:
    """Order labels as the real table does: not sorted."""
    return list(field.labels[::-1])


def _npz(mask: npt.NDArray[np.uint16]) -> bytes:
    """Pack a mask as `numpy.savez_compressed` does, but for the clock."""
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, mask)
    with zipfile.ZipFile(archive, "w") as file:
        member = zipfile.ZipInfo("arr_0.npy", _ZIP_TIME)
        file.writestr(member, array.getvalue(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
