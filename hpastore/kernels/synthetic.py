"""Draw fields of cells whose truth is known, in the manner of the Human Protein Atlas.

The picture is made as a microscope makes it.  Cells settle on the field, each in its own outline
(`hpastore.kernels.outlines`).  There a cell sheds light in four channels: microtubules (red), protein
(green), chromatin (blue) and endoplasmic reticulum (yellow) (`hpastore.kernels.looks`).  Faults
change a cell's light, or what the mask says of it.  The camera adds haze, uneven illumination, blur,
an offset and noise, and counts in grey levels.

Lengths are in radii of the cell, so that a field of 64 pixels shows what one of 4096 shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpastore.errors import UsageError
from hpastore.kernels.looks import Cell, blur, prepare, shed
from hpastore.kernels.outlines import Shape, settle
from hpastore.model import CHANNELS, LABEL_NAMES, NEGATIVE

_F32 = NDArray[np.float32]

FAULTS: Final = (
    "not_expressing",
    "bleached",
    "overexposed",
    "defocused",
    "border_cut",
    "no_nucleus",
    "merged",
    "split",
)
"""What can be wrong with a cell.  Each has one fault at most: where the border cuts a cell that has
another fault, the other counts."""

MIN_SIZE: Final = 64
"""Pixels a side below which cells are too small to hold a nucleus."""

_FAULTY_SHARE: Final = 0.2
_LABEL_STRIDE: Final = 7
"""No divisor of 19, so that 19 images show all classes, and few images already unlike ones."""

_GREY_LEVELS: Final = {"red": 140.0, "green": 130.0, "blue": 115.0, "yellow": 115.0}
"""What light 1 is worth."""


@dataclass(frozen=True)
class Field:
    """One drawn image and the truth about it.

    Parameters
    ----------
    name
        Such as ``sample-0003``.
    labels
        Distinct label ids, ascending.
    channels
        (H, W) uint8 or uint16 by the names of `hpastore.model.CHANNELS`.
    cell_mask
        (H, W) uint16, 0 is background.
    nucleus_mask
        (H, W) uint16, 0 is no nucleus; a nucleus has the id of its cell.
    faults
        One of `FAULTS`, or "" for a good cell, by mask id; every cell has an entry.
    """

    name: str
    labels: tuple[int, ...]
    channels: Mapping[str, NDArray[np.uint8 | np.uint16]]
    cell_mask: NDArray[np.uint16]
    nucleus_mask: NDArray[np.uint16]
    faults: Mapping[int, str]


def draw_field(index: int, *, size: int = 1024, seed: int = 0, bits: int = 8) -> Field:
    """Draw the image number ``index`` of a sample; no other image has a part in it.

    Any 19 consecutive images show every class, and image 0 has one label and a good cell.

    Parameters
    ----------
    index
        Number of the image in its sample, from 0.
    size
        Width and height in pixels, at least 64.
    seed
        Number of the sample.
    bits
        8, or 16 for the same image whose grey levels round to those of 8 bits.

    Returns
    -------
    Field
        The image, its masks and its faults.

    Examples
    --------
    >>> field = draw_field(0, size=64)
    >>> field.name, field.labels, field.channels["green"].shape
    ('sample-0000', (0,), (64, 64))
    """
    if size < MIN_SIZE or bits not in (8, 16):
        raise UsageError(f"a sample image has at least {MIN_SIZE} pixels a side and 8 or 16 bits")
    rng = np.random.default_rng([seed, index])
    labels = _labels(rng, index)
    shapes, owner = settle(rng, size, labels)
    planted = _plant(rng, index, shapes, labels)
    light = {channel: np.zeros((size, size), np.float32) for channel in CHANNELS}
    nuclei = np.zeros((size, size), bool)
    for number, shape in enumerate(shapes, start=1):
        fault = planted.get(number, "")
        cell = prepare(rng, shape, owner, number, has_nucleus=fault != "no_nucleus")
        nuclei[cell.box] |= cell.nuclear > 0.5
        for channel, seen in _spoil(cell, shed(cell, labels), fault).items():
            light[channel][cell.box] += seen
    cell_mask, faults = _segment(rng, shapes, owner, planted)
    channels = {channel: _expose(rng, light[channel], _GREY_LEVELS[channel]) for channel in CHANNELS}
    return Field(
        name=f"sample-{index:04d}",
        labels=labels,
        channels=channels if bits == 8 else {k: _deepen(rng, v) for k, v in channels.items()},
        cell_mask=cell_mask,
        nucleus_mask=cell_mask * nuclei,
        faults=faults,
    )


def _labels(rng: np.random.Generator, index: int) -> tuple[int, ...]:
    first = index * _LABEL_STRIDE % len(LABEL_NAMES)
    further = rng.choice(4, p=(0.47, 0.36, 0.14, 0.03))
    if index == 0 or first == NEGATIVE:
        return (first,)
    others = [label for label in range(len(LABEL_NAMES)) if label not in (first, NEGATIVE)]
    return tuple(sorted((first, *rng.choice(others, further, replace=False).tolist())))


def _plant(
    rng: np.random.Generator, index: int, shapes: list[Shape], labels: tuple[int, ...]
) -> dict[int, str]:
    """Faults by number of the cell; successive images go through all of them in turn."""
    meaningless = {"border_cut"} | ({"not_expressing", "overexposed"} if NEGATIVE in labels else set())
    kinds = [fault for fault in FAULTS if fault not in meaningless]
    others = [number for number, shape in enumerate(shapes, start=1) if not shape.spared]
    chosen = rng.permutation(others)[: max(1, round(_FAULTY_SHARE * len(shapes)))].tolist()
    return {number: kinds[(3 * index + turn) % len(kinds)] for turn, number in enumerate(chosen)}


def _spoil(cell: Cell, light: dict[str, _F32], fault: str) -> dict[str, _F32]:
    """Change the light of a cell as its fault wants."""
    if fault == "not_expressing":
        return light | {"green": np.zeros_like(light["green"])}
    if fault == "bleached":
        return {channel: 0.12 * seen for channel, seen in light.items()}
    if fault == "overexposed":
        return light | {"green": 6 * light["green"] + 3 * cell.body * np.exp(-((cell.core / 2) ** 2))}
    if fault == "defocused":
        return {channel: blur(seen, 0.12 * cell.radius) * cell.inside for channel, seen in light.items()}
    return light


def _segment(
    rng: np.random.Generator, shapes: list[Shape], owner: NDArray[np.uint16], planted: dict[int, str]
) -> tuple[NDArray[np.uint16], dict[int, str]]:
    """Say what a segmentation would see, and what is wrong with each of its ids."""
    mask = owner.copy()
    faults = {number: planted.get(number, "") for number in range(1, len(shapes) + 1)}
    for number, fault in planted.items():
        if fault == "merged":
            neighbour = _neighbour(shapes, number, planted)
            mask[mask == neighbour] = number
            del faults[neighbour]
        elif fault == "split":
            half = max(faults) + 1
            rows, columns = _half(rng, mask == number)
            mask[rows, columns] = half
            faults[half] = "split"
    border = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    for number in set(border.tolist()) - {0}:
        faults[number] = faults[number] or "border_cut"
    return mask, faults


def _neighbour(shapes: list[Shape], number: int, planted: dict[int, str]) -> int:
    """Return the nearest cell without a fault of its own."""
    here = shapes[number - 1].outline.centre
    free = [k for k, shape in enumerate(shapes, start=1) if k not in planted and not shape.spared]
    return min(free, key=lambda k: float(np.hypot(*(shapes[k - 1].outline.centre - here))))


def _half(rng: np.random.Generator, region: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns on one side of a line through the middle of a region."""
    rows, columns = np.nonzero(region)
    angle = rng.uniform(0, np.pi)
    beyond = (rows - rows.mean()) * np.cos(angle) + (columns - columns.mean()) * np.sin(angle) > 0
    return rows[beyond], columns[beyond]


def _expose(rng: np.random.Generator, light: _F32, gain: float) -> NDArray[np.uint8]:
    """Grey levels of one channel."""
    size = len(light)
    glow = cv2.resize(light.clip(0, 1.5), (MIN_SIZE, MIN_SIZE), interpolation=cv2.INTER_AREA)
    haze = cv2.resize(blur(np.asarray(glow, np.float32), 3), (size, size), interpolation=cv2.INTER_LINEAR)
    off_axis = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    falloff = 1 - 0.1 * (off_axis[:, None] + off_axis)
    signal = gain * rng.uniform(0.85, 1.15) * falloff * (blur(light, size / 2500) + 0.12 * haze)
    noise = rng.standard_normal(light.shape, np.float32) * np.sqrt(1 + 0.25 * signal)
    grey: _F32 = np.rint(rng.uniform(1, 4) + signal + noise).clip(0, 255)
    return grey.astype(np.uint8)


def _deepen(rng: np.random.Generator, grey: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Spread 8 bits over 16 so that ``(v + 128) // 257`` leads back."""
    deep = grey * np.int32(257) + rng.integers(-128, 129, grey.shape, np.int32)
    return np.asarray(deep.clip(0, 65535), np.uint16)
