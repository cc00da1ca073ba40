"""Real images beside the project, and folders in which ingest finds them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.reading.mask import decode_mask
from hpastore.vocabulary import CHANNELS
from scripts.benchmark.drawing import link_file
from scripts.benchmark.figure import Skip

ROOTS: Final = ("hpa", "public/hpa1728", "public/nf1")
"""Folders of images with all four channels."""

Mask = npt.NDArray[Any]
"""(H, W) ids of cells; 0 is background."""


class RealImage(NamedTuple):
    """An image with all four channels and a mask."""

    root: Path
    name: str
    labels: str
    """As the table has them: ids joined by ``|``."""

    @property
    def label(self) -> str:
        """The first of its labels."""
        return self.labels.partition("|")[0]

    def mask(self) -> Mask:
        """Read the cell mask."""
        path = self.root / "hpa_cell_mask" / f"{self.name}.npz"
        return decode_mask(path.read_bytes(), path).astype(np.int32)

    def channel(self, channel: str) -> Path:
        """Name the file of a channel."""
        return self.root / "train" / f"{self.name}_{channel}.png"


def data_folder(part: str = "") -> Path:
    """Find the folder of real data, or a part of it.

    Raises
    ------
    Skip
        Where it is absent.
    """
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("HPASTORE_DATA", default)) / part
    if not folder.is_dir():
        raise Skip(f"there is no {folder}; set HPASTORE_DATA")
    return folder


def images() -> list[RealImage]:
    """List the images of all roots that are there.

    Raises
    ------
    Skip
        Where there are none.
    """
    data = data_folder()
    found = [image for root in ROOTS if (data / root).is_dir() for image in _images(data / root)]
    if not found:
        raise Skip(f"{data} has none of {', '.join(ROOTS)}")
    return found


def lay_out(folder: Path, chosen: Iterable[RealImage], masks: Mapping[str, Mask]) -> Path:
    """Make a root of some images, each with its first label alone, and without nucleus masks.

    Parameters
    ----------
    folder
        To be made.
    chosen
    masks
        By the image's name, in place of its own.
    """
    (folder / "hpa_cell_mask").mkdir(parents=True)
    rows = [("ID", "Label")]
    for image in chosen:
        for channel in CHANNELS:
            link_file(image.channel(channel), folder / "train" / image.channel(channel).name)
        mask = masks[image.name] if image.name in masks else image.mask()
        np.savez_compressed(folder / "hpa_cell_mask" / f"{image.name}.npz", mask.astype(np.uint16))
        rows.append((image.name, image.label))
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def _images(root: Path) -> Iterator[RealImage]:
    with (root / "train.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield RealImage(root, row["ID"], row["Label"])
