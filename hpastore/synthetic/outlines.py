"""Outlines of cells and nuclei, and which pixel belongs to which cell.

Cells sit on a jittered grid; each claims the pixels that are nearer to it, in units of its own
ragged outline, than to any neighbour and than its reach.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpastore.runtime.opencv import cv2
from hpastore.vocabulary import LABEL_NAMES

_F32 = NDArray[np.float32]
_F64 = NDArray[np.float64]

_MITOTIC_SPINDLE: Final = LABEL_NAMES.index("Mitotic spindle")
_AGGRESOME: Final = LABEL_NAMES.index("Aggresome")

_CLEAR: Final = 1.29
"""Radii at least from the border to the centre of a cell within; long cells reach it."""

_ASTRAY: Final = 0.15
"""Share of the outer cells that lie across the border."""

_GIANT: Final = 0.12
"""Share of cells that doubled their chromosomes and did not divide."""

_COARSE: Final = 64
"""Places a side at which an outline is looked at to learn how much of it is beyond the border."""


@dataclass(frozen=True)
class Outline:
    """A ragged ellipse with one dent."""

    centre: _F64
    """(2,) x, y in pixels."""
    frame: _F64
    """(2, 2): rows are the long and the short half-axis in pixels."""
    waves: _F64
    """(K, 2) amplitude and phase of 2, 3, ... waves around the outline."""
    side: float
    """Angle of the dent; beside the nucleus's dent lie Golgi, centrosome and aggresome."""
    dent: float
    """Depth in radii."""

    @property
    def radius(self) -> float:
        """Radius in pixels of the circle of the same area."""
        return float(np.sqrt(np.linalg.det(self.frame)))

    def distance(self, x: _F32, y: _F32) -> _F32:
        """Distance from the centre, 1 on the outline, of (h, w) float32 coordinates."""
        to_unit = np.linalg.inv(self.frame).astype(np.float32)
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        radius, angle = cv2.cartToPolar(
            dx * to_unit[0, 0] + dy * to_unit[1, 0], dx * to_unit[0, 1] + dy * to_unit[1, 1]
        )
        bay = np.exp((np.cos(angle - np.float32(self.side)) - 1) / np.float32(0.12))
        reach = 1 - np.float32(self.dent) * bay
        for waves, (amplitude, phase) in enumerate(self.waves, start=2):
            reach += np.float32(amplitude) * np.cos(waves * angle + np.float32(phase))
        return np.asarray(radius / reach, np.float32)

    def box(self, size: int) -> tuple[slice, slice]:
        """Rows and columns of the image that the outline can reach."""
        half = 1.45 * np.hypot(*self.frame) + 2
        low = np.clip(self.centre - half, 0, size).astype(int)
        high = np.clip(self.centre + half, 0, size).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])

    def area_beyond(self, size: int) -> float:
        """Area outside of the image, in pixels, had no neighbour claimed it."""
        half = 1.45 * np.hypot(*self.frame) + 2
        if (self.centre >= half).all() and (self.centre <= size - half).all():
            return 0.0
        x, y = (
            np.linspace(c - h, c + h, _COARSE, dtype=np.float32)
            for c, h in zip(self.centre, half, strict=True)
        )
        columns, rows = np.meshgrid(x, y)
        outside = (columns < 0) | (columns > size) | (rows < 0) | (rows > size)
        pixel = float(np.prod(2 * half)) / (_COARSE - 1) ** 2
        return pixel * np.count_nonzero(outside & (self.distance(columns, rows) < 1))


@dataclass(frozen=True)
class Shape:
    """A cell before it is drawn."""

    outline: Outline
    nucleus: Outline
    spared: bool
    """The cell in the middle: it has no fault, and the border is too far away to cut it."""
    mitotic: bool


def settle(
    rng: np.random.Generator, size: int, labels: tuple[int, ...]
) -> tuple[list[Shape], NDArray[np.uint16]]:
    """Seat cells and give every pixel to the nearest that reaches it.

    Parameters
    ----------
    rng
        Source of all chance.
    size
        Width and height of the field in pixels.
    labels
        Ids of classes, of which two change outlines.

    Returns
    -------
    shapes
        Cells, without those of which little shows.
    owner
        (size, size) uint16, 0 is background, n the n-th of the shapes.
    """
    shapes = _shapes(rng, size, labels)
    x, y = _wrinkled(rng, size, shapes[0].outline.radius)
    nearest = np.ones((size, size), np.float32)
    owner = np.zeros((size, size), np.uint16)
    for number, shape in enumerate(shapes, start=1):
        box = shape.outline.box(size)
        distance = shape.outline.distance(x[box], y[box])
        won = distance < nearest[box]
        nearest[box][won] = distance[won]
        owner[box][won] = number
    areas = np.bincount(owner.ravel(), minlength=len(shapes) + 1)[1:]
    shows = areas > 0.2 * np.array([shape.outline.radius**2 for shape in shapes])
    renumber = np.concatenate(([0], shows * shows.cumsum())).astype(np.uint16)
    return list(compress(shapes, shows)), renumber[owner]


def cloud(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> _F32:
    """Smooth noise of about unit variance whose lumps are ``grain`` pixels wide.

    Parameters
    ----------
    rng
        Source of the noise.
    shape
        (h, w).
    grain
        Pixels; less than 1 counts as 1.

    Returns
    -------
    (h, w) float32
    """
    coarse = [int(length / max(grain, 1)) + 2 for length in shape]
    noise = rng.standard_normal(coarse, np.float32)
    return np.asarray(cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _shapes(rng: np.random.Generator, size: int, labels: tuple[int, ...]) -> list[Shape]:
    """Shapes on most seats of a square grid, row by row."""
    seats = int(rng.integers(4, 6)) if size >= 384 else 3
    pitch = size / seats
    middle = (seats // 2) * (seats + 1)
    vacant = set(rng.choice(seats**2, rng.integers(seats**2 // 6 + 1), replace=False).tolist()) - {
        middle
    }
    # Cells of one line resemble each other; the magnification is that of all fields.
    radius, stretch = (
        (size / 4.7 if seats > 3 else pitch) * rng.uniform(0.47, 0.57),
        rng.uniform(1.0, 1.7),
    )
    shapes = []
    for seat in sorted(set(range(seats**2)) - vacant):
        spared = seat == middle
        row, column = divmod(seat, seats)
        centre = (
            np.array([column, row]) + 0.5 + (not spared) * rng.uniform(-0.25, 0.25, 2)
        ) * pitch
        if {row, column} & {0, seats - 1}:
            centre = _at_border(rng, centre, size, radius)
        mitotic = _MITOTIC_SPINDLE in labels and (spared or rng.random() < 0.05)
        if mitotic:
            outline, nucleus = _dividing(rng, centre, radius)
        else:
            outline, nucleus = _resting(rng, centre, radius, stretch, 0.45 * (_AGGRESOME in labels))
        shapes.append(Shape(outline, nucleus, spared, mitotic))
    return shapes


def _at_border(rng: np.random.Generator, centre: _F64, size: int, radius: float) -> _F64:
    """Move an outer cell so far inside that the border grazes it at most, or, seldom, across it."""
    inside = centre.clip(_CLEAR * radius, size - _CLEAR * radius)
    if rng.random() < _ASTRAY:
        depth = (0.4 - 0.65 * rng.beta(2, 1)) * radius
        to_border = np.concatenate((centre, size - centre))
        side = int(to_border.argmin())
        inside[side % 2] = depth if side < 2 else size - depth
    return inside


def _dividing(rng: np.random.Generator, centre: _F64, radius: float) -> tuple[Outline, Outline]:
    """Outlines of a round cell and of its chromosomes, which lie in a plate across the spindle."""
    angle = rng.uniform(0, np.pi)
    cell = _outline(rng, centre, 0.8 * radius, 1, angle, ripple=0.01)
    return cell, _outline(rng, centre, 0.28 * radius, 0.25, angle, ripple=0.01)


def _resting(
    rng: np.random.Generator, centre: _F64, radius: float, stretch: float, dent: float
) -> tuple[Outline, Outline]:
    """Outlines of a cell and of its nucleus, which ``dent`` radii of an aggresome may press in."""
    angle = rng.uniform(0, np.pi)
    radius *= rng.uniform(1.1, 1.42) if rng.random() < _GIANT else rng.uniform(0.78, 1.1)
    stretch *= rng.uniform(0.9, 1.25)
    cell = _outline(rng, centre, radius, stretch, angle, ripple=0.04)
    off_centre = centre + radius * rng.uniform(-0.12, 0.12, 2)
    rounder = 1 + 0.7 * (stretch - 1)
    nucleus = _outline(
        rng, off_centre, radius * rng.uniform(0.38, 0.46), rounder, angle, ripple=0.018
    )
    return cell, replace(nucleus, dent=max(nucleus.dent, dent))


def _outline(
    rng: np.random.Generator,
    centre: _F64,
    radius: float,
    stretch: float,
    angle: float,
    *,
    ripple: float,
) -> Outline:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    axes = radius * np.array([[np.sqrt(stretch)], [1 / np.sqrt(stretch)]])
    # The more waves, the lower they are: cells are bays and capes, not gear wheels.
    amplitudes = ripple * rng.normal(0, (2, 1.3, 1, 0.8)).clip(-2, 2)
    waves = np.column_stack((amplitudes, rng.uniform(0, 2 * np.pi, 4)))
    dent = min(4 * ripple * abs(rng.normal()), 0.4)
    return Outline(centre, axes * turn, waves, rng.uniform(0, 2 * np.pi), dent)


def _wrinkled(rng: np.random.Generator, size: int, radius: float) -> tuple[_F32, _F32]:
    """Pixel coordinates, displaced a little, so that outlines look grown and not computed."""
    y, x = np.indices((size, size), np.float32)
    for amplitude, grain in ((0.06, 0.5), (0.015, 0.12)):
        x += amplitude * radius * cloud(rng, x.shape, grain * radius)
        y += amplitude * radius * cloud(rng, x.shape, grain * radius)
    return x, y
