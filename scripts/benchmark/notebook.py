"""The way of the public notebooks, written afresh: the nine hours that hpastore replaces.

Two stages, each of which reads the images and masks for itself.  The first writes an RGB JPEG and,
cell by cell, a mask of the whole frame as run lengths, counted by ``itertools.groupby``.  The
second takes a background level per channel and the fraction of each cell above it.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from hpastore.vocabulary import CHANNELS

PERCENTILE: Final = 0.99

_Array = npt.NDArray[Any]


class Annotation(NamedTuple):
    """A cell as the first stage writes it; the box ends before its last row and column."""

    mask_id: int
    box: tuple[int, int, int, int]
    """x, y, x of the end, y of the end."""
    counts: list[int]
    """Run lengths, column by column, zeros first."""


def run(root: Path, out: Path, name: str) -> dict[str, dict[int, float]]:
    """Do both stages for one image, and give each cell's fraction by channel, or NaN."""
    annotations = annotate(root, name, out)
    return fractions(root, name, annotations)


def annotate(root: Path, name: str, out: Path) -> list[Annotation]:
    """First stage: a picture to train on, and each cell's box and mask."""
    channels, mask = _read(root, name)
    cv2.imwrite(
        str(out / f"{name}.jpg"), np.dstack([channels[c] for c in ("blue", "green", "red")])
    )
    annotations = []
    for mask_id in np.unique(mask[mask > 0]).tolist():
        cell = mask == mask_id
        rows, columns = np.where(cell)
        box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
        annotations.append(Annotation(mask_id, box, _run_lengths(cell)))
    return annotations


def fractions(root: Path, name: str, annotations: list[Annotation]) -> dict[str, dict[int, float]]:
    """Second stage: the share of each cell's pixels above the background level, by channel."""
    channels, mask = _read(root, name)
    return {channel: _fractions(pixels, mask, annotations) for channel, pixels in channels.items()}


def _read(root: Path, name: str) -> tuple[dict[str, _Array], _Array]:
    channels = {
        channel: np.asarray(
            cv2.imread(str(root / "train" / f"{name}_{channel}.png"), cv2.IMREAD_UNCHANGED)
        )
        for channel in CHANNELS
    }
    return channels, np.load(root / "hpa_cell_mask" / f"{name}.npz")["arr_0"]


def _run_lengths(cell: _Array) -> list[int]:
    counts = [0] if cell[0, 0] else []
    for _, pixels in groupby(cell.ravel(order="F")):
        counts.append(len(list(pixels)))
    return counts


def _fractions(pixels: _Array, mask: _Array, annotations: list[Annotation]) -> dict[int, float]:
    level = np.quantile(np.where(mask > 0, 0, pixels), PERCENTILE)
    found = {}
    for mask_id, (left, top, right, bottom), _ in annotations:
        crop = pixels[top:bottom, left:right]
        cell = crop[mask[top:bottom, left:right] == mask_id]
        found[mask_id] = float((cell > level).mean()) if cell.size else float("nan")
    return found
