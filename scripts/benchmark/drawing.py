"""Data sets to measure on: drawn images, and many names for few files.

Drawn images are those of ``hpastore sample``.  They need 2 to 5 bits a pixel as PNG and decode in 5
to 6 ns a pixel; the real images at hand need 0.8 to 3 bits and decode in 5 to 10 ns (3072²: 5).
Real images, where there are any, are the case that counts.
"""

from __future__ import annotations

import io
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from hpastore.runtime.executor import worker_count
from hpastore.runtime.pool import map_in_order
from hpastore.synthetic.fields import draw_field
from hpastore.vocabulary import CHANNELS

_ONE_FIELD: Final = 20
"""Cells of one drawn field, more or less; more are four fields side by side."""

_CELLS: Final = range(17, 25)
"""Cells of a field that is taken, drawn small: fields have from 3 to 60."""

_PREVIEW: Final = 256
"""Pixels a side of a field whose cells are counted; a larger one has a cell more or less."""


def draw(root: Path, n: int, *, size: int, cells: int, nuclei: bool = False) -> Path:
    """Draw a data set of images that have about 20 cells, or else `cells`, in the usual layout."""
    for folder in ("train", "hpa_cell_mask", *(["hpa_nuclei_mask"] if nuclei else [])):
        (root / folder).mkdir(parents=True)
    one = partial(_draw, root=root, size=size, cells=cells, nuclei=nuclei)
    names = list(map_in_order(one, range(n), min(worker_count(None), n)))
    table(root, names)
    return root


def table(root: Path, names: Iterable[str]) -> None:
    """Write a table that gives each image one label, a different one up to 19 images."""
    lines = [f"{name},{place % 19}" for place, name in enumerate(names)]
    (root / "train.csv").write_text("\n".join(["ID,Label", *lines]) + "\n")


def repeat(source: Path, root: Path, times: int) -> Path:
    """Give the files of a data set more names, `times` for each: 000-a, 000-b, 001-a, ..."""
    made = []
    for time in range(times):
        for name in names(source):
            made.append(f"{time:05}-{name}")
            link(source, name, root, made[-1])
    table(root, made)
    return root


def copy(source: Path, root: Path) -> Path:
    """Copy the images of a data set."""
    for name in names(source):
        for file in files(source, name):
            target = root / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    table(root, names(source))
    return root


def link(source: Path, name: str, root: Path, new_name: str) -> None:
    """Give an image's files another name in another data set."""
    for file in files(source, name):
        link_file(
            file, root / file.relative_to(source).with_name(file.name.replace(name, new_name))
        )


def link_file(file: Path, target: Path) -> None:
    """Give a file another name; copy it where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:  # on another disk, or too many names
        shutil.copyfile(file, target)


def names(root: Path) -> list[str]:
    """Names of a data set's images, sorted."""
    return sorted(path.stem for path in (root / "hpa_cell_mask").iterdir())


def files(root: Path, name: str) -> Iterator[Path]:
    """An image's four channels, its cell mask, and its nucleus mask if there is one."""
    yield from (root / "train" / f"{name}_{channel}.png" for channel in CHANNELS)
    yield root / "hpa_cell_mask" / f"{name}.npz"
    if (nuclei := root / "hpa_nuclei_mask" / f"{name}.npz").exists():
        yield nuclei


def decode(contents: Iterable[bytes]) -> list[npt.NDArray[Any]]:
    """Decode an image's files and do nothing with them: what everything is compared with."""
    return [
        np.load(io.BytesIO(data))["arr_0"]
        if data.startswith(b"PK")
        else np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
        for data in contents
    ]


def decode_image(root: Path, name: str) -> None:
    """Read and decode an image, and throw it away."""
    cv2.setNumThreads(1)
    decode(file.read_bytes() for file in files(root, name))


def _draw(index: int, root: Path, size: int, cells: int, nuclei: bool) -> str:
    name = f"drawn-{index:03}"
    *channels, mask, nucleus_mask = _field(index, size, cells)
    for channel, pixels in zip(CHANNELS, channels, strict=True):
        if not cv2.imwrite(str(root / "train" / f"{name}_{channel}.png"), pixels):
            raise OSError(f"{root}: cannot be written")
    np.savez_compressed(root / "hpa_cell_mask" / f"{name}.npz", mask)
    if nuclei:
        np.savez_compressed(root / "hpa_nuclei_mask" / f"{name}.npz", nucleus_mask)
    return name


def _field(index: int, size: int, cells: int) -> list[npt.NDArray[Any]]:
    """Channels and masks of one field, or of four; surplus cells are not in the masks."""
    if cells <= _ONE_FIELD:
        return _layers(index, size)
    quarters = [_layers(4 * index + quarter, size // 2) for quarter in range(4)]
    for quarter, (*_, mask, nuclei) in enumerate(quarters):
        for ids in (mask, nuclei):
            ids[ids > 0] += 1000 * quarter
    *channels, mask, nuclei = (
        np.block([[a, b], [c, d]]) for a, b, c, d in zip(*quarters, strict=True)
    )
    wanted = np.unique(mask)[1 : cells + 1]
    return [
        *channels,
        *(np.where(np.isin(ids, wanted), ids, 0).astype(np.uint16) for ids in (mask, nuclei)),
    ]


def _layers(index: int, size: int) -> list[npt.NDArray[Any]]:
    seed = next(seed for seed in itertools.count() if _cells(index, size, seed) in _CELLS)
    field = draw_field(index, size=size, seed=seed)
    return [*(field.channels[channel] for channel in CHANNELS), field.cell_mask, field.nucleus_mask]


def _cells(index: int, size: int, seed: int) -> int:
    return len(draw_field(index, size=min(size, _PREVIEW), seed=seed).faults)
