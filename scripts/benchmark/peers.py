"""What others need for the measures and masks of an image; they inform, and promise nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco
from skimage.measure import regionprops_table

from hpastore.kernels.image import measure
from hpastore.kernels.label_image import label_image
from hpastore.kernels.rle import encode_cells
from hpastore.model import Decoded
from hpastore.vocabulary import CHANNELS
from scripts.benchmark import drawing
from scripts.benchmark.figure import Figure, in_turns, written
from scripts.benchmark.world import World

_Array = npt.NDArray[Any]
_INTENSITIES = (
    "intensity_min",
    "intensity_max",
    "intensity_mean",
    "intensity_std",
    "intensity_median",
)
_SHAPES = ("label", "area", "bbox")


def measures(world: World) -> Figure:
    """`skimage.measure.regionprops_table` with our measures of intensity ÷ our whole measuring."""
    return _compare(world, _regionprops, lambda decoded: measure(decoded, 0.99))


def rles(world: World) -> Figure:
    """`pycocotools.mask.encode` cell by cell ÷ our reading of the mask and its encoding."""
    return _compare(world, _encode, lambda decoded: encode_cells(label_image(decoded.cell_mask)))


def _compare(
    world: World, theirs: Callable[[Decoded], object], ours: Callable[[Decoded], object]
) -> Figure:
    numbers, turns = world.choose((20,), (20, 60)), world.choose(1, 5)
    roots = {f"2048², {cells} cells": world.drawn(2, size=2048, cells=cells) for cells in numbers}
    cases, images = {}, 0
    for case, root in world.with_real(roots).items():
        decoded = [_decoded(root, name) for name in drawing.names(root)]
        taken = [in_turns(turns, partial(theirs, image), partial(ours, image)) for image in decoded]
        images += len(taken)
        cases[case] = sum(pair[0] for pair in taken) / sum(pair[1] for pair in taken)
    return Figure(min(cases.values()), f"{images} images", written(cases, "times"))


def _decoded(root: Path, name: str) -> Decoded:
    *channels, mask = drawing.decode(file.read_bytes() for file in drawing.files(root, name))
    return Decoded(dict(zip(CHANNELS, channels, strict=True)), 8, mask, None, ())


def _regionprops(decoded: Decoded) -> dict[str, _Array]:
    intensities = np.dstack([decoded.channels[channel] for channel in CHANNELS])
    found = regionprops_table(  # type: ignore[no-untyped-call]
        decoded.cell_mask.astype(np.int32),
        intensities,
        properties=(*_SHAPES, *_INTENSITIES),
        extra_properties=(saturated, entropy, fraction),
    )
    return dict(found)


def saturated(cell: _Array, pixels: _Array) -> float:
    """Take the share of a cell's pixels at level 255."""
    return float((pixels[cell] == 255).mean())


def entropy(cell: _Array, pixels: _Array) -> float:
    """Take Shannon's entropy of a cell's pixels; skimage asks for its dtype with pixels of 0..1."""
    share = np.bincount(pixels[cell].astype(np.uint8), minlength=256) / np.count_nonzero(cell)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def fraction(cell: _Array, pixels: _Array) -> float:
    """Take the share of a cell's pixels above some level; which one costs nothing."""
    return float((pixels[cell] > 40).mean())


def _encode(decoded: Decoded) -> list[Any]:
    mask = decoded.cell_mask
    return [coco.encode(np.asfortranarray(mask == k).view(np.uint8)) for k in np.unique(mask) if k]
