"""Outlines of cells and nuclei, and which pixel belongs to which cell.

Cells sit on a jittered grid that reaches beyond the image, and push each other away; each claims
the pixels that are nearer to it, in units of its own ragged outline, than to any neighbour and than
its reach.  Sizes and elongations are those of cells of the Human Protein Atlas
(``tests/synthetic/test_resemblance.py`` holds them).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpastore.runtime.opencv import cv2
from hpastore.vocabulary import LABEL_NAMES

_F32 = NDArray[np.float32]
_F64 = NDArray[np.float64]

_MITOTIC_SPINDLE: Final = LABEL_NAMES.index("Mitotic spindle")
_AGGRESOME: Final = LABEL_NAMES.index("Aggresome")


class Line(NamedTuple):
    """A cell line: how its cells differ from those of others."""

    name: str
    area: float
    """Median, in pixels of an image of 2048 x 2048."""
    stretch: float
    """Median of the length as a share of the width, less 1."""
    images: int
    """How many images show it, among those of all lines."""


LINES: Final = (
    Line("SH-SY5Y", 48e3, 0.85, 4),
    Line("HEK 293", 75e3, 0.70, 12),
    Line("RH-30", 82e3, 0.88, 4),
    Line("PC-3", 91e3, 0.69, 4),
    Line("U-251 MG", 102e3, 0.67, 14),
    Line("SK-MEL-30", 102e3, 1.01, 6),
    Line("A549", 135e3, 0.58, 8),
    Line("A-431", 156e3, 0.48, 42),
    Line("HeLa", 170e3, 1.23, 6),
    Line("U-2 OS", 187e3, 0.80, 56),
    Line("HaCaT", 214e3, 0.60, 6),
)
"""Lines of the public Human Protein Atlas, with the figures of 166 of its images."""

_MIN_RADIUS: Final = 7.0
"""Pixels; in smaller cells no nucleus would be seen."""

_UNCLAIMED: Final = 1.15
"""How much larger a cell would be, in radii, if no neighbour claimed a part of it."""

_SPREAD: Final = 0.18
"""Of the logarithm of the radius from cell to cell of an image."""

_SPREAD_OF_IMAGES: Final = 0.03
"""Of the logarithm of the radius from image to image of a line."""

_DENSITY: Final = (1.6, 2.25)
"""Radii from a seat to the next, in a crowded field and in a sparse one."""

_SEEDED: Final = 2.0
"""A cell of which the border leaves a share is there with that share to this power: of those that
lost their nucleus nearly all are in no mask."""

_PUSHES: Final = 6
"""Times that cells make way."""

_ELONGATION: Final = (1.7, 0.72)
"""Shape and scale of the gamma distribution of a cell's stretch, as a share of its line's."""

_TAILS: Final = (0.55, 0.3, 0.15)
"""Shares of cells with no process, one and two."""

_MITOTIC: Final = 0.015
"""Share of cells that divide."""

_TWO_NUCLEI: Final = 0.01
"""Share of cells that divided their chromosomes and not themselves; people keep them."""

_COARSE: Final = 48
"""Places a side at which an outline is looked at to learn how much of it is beyond the border."""

_DISPLACED: Final = 0.5
"""Radii by which coordinates are displaced at most, with few exceptions."""

_FINE: Final = 7
"""Directions from a cell per pixel of its radius, in which its reach is tabulated: about one for
each pixel of its outline."""


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
    tails: _F64
    """(K, 3) angle, length in radii and width of processes."""

    @cached_property
    def radius(self) -> float:
        """Radius in pixels of the circle of the same area."""
        return float(np.sqrt(np.linalg.det(self.frame)))

    @cached_property
    def half(self) -> _F64:
        """(2,) pixels in x and y from the centre that the outline can reach at most."""
        reach = 1.12 + np.abs(self.waves[:, 0]).sum() + self.tails[:, 1].max(initial=0)
        return np.asarray(reach * np.hypot(*self.frame) + _DISPLACED * self.radius + 2)

    def distance(self, x: _F32, y: _F32) -> _F32:
        """Distance from the centre, 1 on the outline, of (h, w) float32 coordinates."""
        to_unit = np.linalg.inv(self.frame).astype(np.float32)
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        radius, angle = cv2.cartToPolar(
            dx * to_unit[0, 0] + dy * to_unit[1, 0], dx * to_unit[0, 1] + dy * to_unit[1, 1]
        )
        return np.asarray(radius / self._reach(angle), np.float32)

    def box(self, size: int) -> tuple[slice, slice]:
        """Rows and columns of the image that the outline can reach."""
        low = np.clip(self.centre - self.half, 0, size).astype(int)
        high = np.clip(self.centre + self.half, 0, size).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])

    def meets(self, size: int) -> bool:
        """Whether it can reach the image."""
        return all(side.stop > side.start for side in self.box(size))

    def share_beyond(self, size: int) -> float:
        """Share of the area that lies outside of the image, had no neighbour claimed any."""
        half = self.half
        if (self.centre >= half).all() and (self.centre <= size - half).all():
            return 0.0
        x, y = (
            np.linspace(c - h, c + h, _COARSE, dtype=np.float32)
            for c, h in zip(self.centre, half, strict=True)
        )
        columns, rows = np.meshgrid(x, y)
        inside = self.distance(columns, rows) < 1
        last = size - 0.5  # the middle of a pixel is a whole number
        outside = (columns < -0.5) | (columns > last) | (rows < -0.5) | (rows > last)
        return float(np.mean(outside[inside]))

    def _reach(self, angle: _F32) -> _F32:
        """How far the outline reaches in each direction, read from a fine table."""
        steps = int(_FINE * self.radius) + 1
        around = np.linspace(0, 2 * np.pi, steps + 1)
        reach = 1 - self.dent * np.exp((np.cos(around - self.side) - 1) / 0.12)
        for waves, (amplitude, phase) in enumerate(self.waves, start=2):
            reach += amplitude * np.cos(waves * around + phase)
        for towards, length, width in self.tails:
            reach += length * np.exp((np.cos(around - towards) - 1) / width)
        place = np.asarray(angle * np.float32(steps / (2 * np.pi)), np.int32)
        return np.asarray(reach.astype(np.float32)[place], np.float32)


@dataclass(frozen=True)
class Shape:
    """A cell before it is drawn."""

    outline: Outline
    nucleus: Outline
    twin: Outline | None
    """The second nucleus of a cell that has two."""
    lost: float
    """Share of the cell that lies outside of the image."""
    spared: bool
    """The cell in the middle: it has no fault, and the border is too far away to cut it."""
    mitotic: bool


def settle(
    rng: np.random.Generator, size: int, labels: tuple[int, ...], line: Line
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
    line
        Of the cells.

    Returns
    -------
    shapes
        Cells, without those of which little shows.
    owner
        (size, size) uint16, 0 is background, n the n-th of the shapes.
    """
    radius = _radius(size, line) * rng.lognormal(0, _SPREAD_OF_IMAGES)
    shapes = _shapes(rng, size, labels, radius, line.stretch)
    x, y = _wrinkled(rng, size, radius)
    nearest = np.ones((size, size), np.float32)
    owner = np.zeros((size, size), np.uint16)
    for number, shape in enumerate(shapes, start=1):
        box = shape.outline.box(size)
        distance = shape.outline.distance(x[box], y[box])
        won = distance < nearest[box]
        nearest[box][won] = distance[won]
        owner[box][won] = number
    areas = np.bincount(owner.ravel(), minlength=len(shapes) + 1)[1:]
    shows = areas > 0.4 * np.array([shape.outline.radius**2 for shape in shapes])
    renumber = np.concatenate(([0], shows * shows.cumsum())).astype(np.uint16)
    shapes = [_follow(shape, x, y) for shape in compress(shapes, shows)]
    return shapes, renumber[owner]


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


def _follow(shape: Shape, x: _F32, y: _F32) -> Shape:
    """Move nuclei to where the displaced coordinates have their place."""
    column, row = np.rint(shape.nucleus.centre).clip(0, len(x) - 1).astype(int)
    moved = np.array([column - x[row, column], row - y[row, column]], np.float64)

    def there(nucleus: Outline) -> Outline:
        return replace(nucleus, centre=nucleus.centre + moved)

    twin = None if shape.twin is None else there(shape.twin)
    return replace(shape, nucleus=there(shape.nucleus), twin=twin)


def _radius(size: int, line: Line) -> float:
    """Radius of a line's cells in pixels."""
    return max(_UNCLAIMED * size / 2048 * float(np.sqrt(line.area / np.pi)), _MIN_RADIUS)


def _shapes(
    rng: np.random.Generator, size: int, labels: tuple[int, ...], radius: float, stretch: float
) -> list[Shape]:
    """Shapes on most seats, row by row."""
    centres, spared = _seats(rng, size, radius)
    radii = radius * np.exp(_SPREAD * rng.standard_normal(len(centres)).clip(-1.8, 2))
    radii[spared] = radius * rng.uniform(0.8, 1.2)
    centres = _pushed_apart(centres, radii, spared)
    # Neighbours lie alike, more in one field than in another.
    direction, disorder = rng.uniform(0, np.pi), rng.uniform(0.2, 2)
    shapes = []
    for seat, centre in enumerate(centres):
        angle = direction + disorder * rng.standard_normal()
        mitotic = rng.random() < _MITOTIC
        if _MITOTIC_SPINDLE in labels:
            mitotic = seat == spared or rng.random() < 0.05
        if mitotic:
            outline, nucleus = _dividing(rng, centre, radius, angle)
            twin = None
        else:
            dent = 0.45 * (_AGGRESOME in labels)
            outline, nucleus = _resting(rng, centre, radii[seat], radius, stretch, angle, dent)
            nucleus, twin = _twins(nucleus) if rng.random() < _TWO_NUCLEI else (nucleus, None)
        if not outline.meets(size):
            continue
        lost = outline.share_beyond(size)
        if rng.random() < (1 - lost) ** _SEEDED:
            shapes.append(Shape(outline, nucleus, twin, lost, seat == spared, mitotic))
    return shapes


def _seats(rng: np.random.Generator, size: int, radius: float) -> tuple[_F64, int]:
    """Places of cells, (K, 2) x, y, in the field and around it, and which is in the middle."""
    pitch = radius * rng.uniform(*_DENSITY)
    around = int(np.ceil((size / 2 + radius) / pitch))
    steps = np.mgrid[-around : around + 1, -around : around + 1].reshape(2, -1).T[:, ::-1]
    places = steps + rng.uniform(-0.3, 0.3, steps.shape)
    spared = len(steps) // 2
    places[spared] = 0
    free = rng.random(len(steps)) < rng.beta(1.2, 5)
    free |= (np.abs(places) > (size / 2 + 1.5 * radius) / pitch).any(1)
    free[spared] = False
    return size / 2 + pitch * places[~free], int(np.count_nonzero(~free[:spared]))


def _pushed_apart(centres: _F64, radii: _F64, spared: int) -> _F64:
    """Move cells away from neighbours whose nuclei they would cover."""
    wanted = 0.85 * (radii[:, None] + radii)
    np.fill_diagonal(wanted, 0)
    for _ in range(_PUSHES):
        apart = centres[:, None] - centres
        distance = np.sqrt((apart**2).sum(2))
        push = (wanted - distance).clip(0, None) / (distance + 1)
        moved = 0.3 * (push[:, :, None] * apart).sum(1)
        moved[spared] = 0
        centres = centres + moved
    return centres


def _dividing(
    rng: np.random.Generator, centre: _F64, radius: float, angle: float
) -> tuple[Outline, Outline]:
    """Outlines of a round cell and of its chromosomes, which lie in a plate across the spindle."""
    cell = _outline(rng, centre, 0.75 * radius, 1, angle, ripple=0.01)
    return cell, _outline(rng, centre, 0.22 * radius, 0.25, angle, ripple=0.01)


def _resting(
    rng: np.random.Generator,
    centre: _F64,
    radius: float,
    usual: float,
    stretch: float,
    angle: float,
    dent: float,
) -> tuple[Outline, Outline]:
    """Outlines of a cell and of its nucleus, which ``dent`` radii of an aggresome may press in.

    Nuclei differ less in size than their cells do.
    """
    elongation = 1 + min(stretch * rng.gamma(*_ELONGATION), 4)
    cell = _outline(rng, centre, radius, elongation, angle, ripple=0.045)
    cell = replace(cell, tails=_tails(rng))
    rounder = 1 + 0.45 * min(elongation - 1, 2.5)
    size = usual * rng.uniform(0.37, 0.46) * (radius / usual) ** 0.6
    off_centre = centre + rng.normal(0, 0.13, 2).clip(-0.3, 0.3) @ cell.frame
    lobed = 0.018 * min(rng.lognormal(0, 0.6), 3)
    nucleus = _outline(rng, off_centre, size, rounder, angle, ripple=lobed)
    return cell, replace(nucleus, dent=max(nucleus.dent, dent))


def _twins(nucleus: Outline) -> tuple[Outline, Outline]:
    """Two smaller nuclei side by side in place of one."""
    small, apart = 0.75 * nucleus.frame, 0.85 * nucleus.frame[0]
    one, other = (
        replace(nucleus, frame=small, centre=nucleus.centre + side * apart) for side in (-1, 1)
    )
    return one, other


def _tails(rng: np.random.Generator) -> _F64:
    """Processes of a cell, most of them at its ends."""
    count = int(rng.choice(3, p=_TAILS))
    towards = np.array([0, np.pi])[:count] + rng.integers(2) * np.pi + rng.normal(0, 0.35, count)
    return np.column_stack((towards, rng.uniform(0.2, 0.8, count), rng.uniform(0.03, 0.12, count)))


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
    amplitudes = ripple * rng.normal(0, (2, 1.3, 1, 0.8)).clip(-1.8, 2)
    waves = np.column_stack((amplitudes, rng.uniform(0, 2 * np.pi, 4)))
    dent = min(4 * ripple * abs(rng.normal()), 0.4)
    return Outline(centre, axes * turn, waves, rng.uniform(0, 2 * np.pi), dent, np.empty((0, 3)))


def _wrinkled(rng: np.random.Generator, size: int, radius: float) -> tuple[_F32, _F32]:
    """Pixel coordinates, displaced a little, so that outlines look grown and not computed."""
    y, x = np.indices((size, size), np.float32)
    for amplitude, grain in ((0.2, 1.6), (0.05, 0.5), (0.015, 0.12)):
        x += amplitude * radius * cloud(rng, x.shape, grain * radius)
        y += amplitude * radius * cloud(rng, x.shape, grain * radius)
    return x, y
