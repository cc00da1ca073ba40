"""What a cell looks like: the light of its structures, and of a protein in each of 19 places.

Light is a number near 1 where a structure is bright; lengths are in radii of the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpastore.runtime.opencv import cv2
from hpastore.synthetic.outlines import Shape, cloud
from hpastore.vocabulary import NEGATIVE

_F32 = NDArray[np.float32]
_F64 = NDArray[np.float64]


_SPREAD: Final = (0.22, 0.35, 0.3, 0.22)
"""Of the logarithms of a channel's light from cell to cell; that of the protein differs most."""


@dataclass(frozen=True)
class Cell:
    """A cell in its box, ready to be drawn: (h, w) arrays, float32 or bool."""

    rng: np.random.Generator
    box: tuple[slice, slice]
    """Rows and columns of the field."""
    radius: float
    """Pixels."""
    frame: _F64
    """(2, 2): from lengths in radii to pixels, along the long and the short axis."""
    centre: _F64
    """(2,) x, y of the nucleus in the box."""
    side: _F64
    """(2,) place beside the nucleus, in radii from its centre."""
    inside: NDArray[np.bool_]
    body: _F32
    """1 in the cell, falling to 0 at its rim."""
    rim: _F32
    """Distance from the rim, in radii; 0 outside."""
    core: _F32
    """Distance from the centre of the nucleus; 1 on its envelope."""
    nuclear: _F32
    """1 in the nucleus, 0 elsewhere."""
    nucleoli: _F32
    """1 in nucleoli, 0 elsewhere."""
    mitotic: bool

    @property
    def cytoplasm(self) -> _F32:
        """1 in the cell around its nucleus, falling to 0 at the rim."""
        return self.body * (1 - self.nuclear)

    @property
    def beside(self) -> _F32:
        """Distance from the place beside the nucleus, in radii."""
        x, y = self.centre + self.side @ self.frame
        rows, columns = np.indices(self.core.shape, np.float32)
        return _f32(np.hypot(rows - y, columns - x) / self.radius)


def prepare(
    rng: np.random.Generator,
    shape: Shape,
    owner: NDArray[np.uint16],
    number: int,
    *,
    in_plane: float,
) -> Cell:
    """Measure out a cell before it is drawn.

    Parameters
    ----------
    rng
        Source of all chance in the cell's look.
    shape
        Outlines of the cell and its nucleus.
    owner
        (H, W) uint16, ``number`` where the cell is.
    number
        Of the cell in the field, from 1.
    in_plane
        Share 0..1 of the nucleus that lies in the focal plane.

    Returns
    -------
    Cell
        Its arrays cover the cell and a margin of two pixels.
    """
    box = _box(shape.outline.box(len(owner)), owner, number)
    inside = owner[box] == number
    y, x = np.mgrid[box].astype(np.float32)
    core = shape.nucleus.distance(x, y)
    if shape.twin is not None:
        core = np.minimum(core, shape.twin.distance(x, y))
    steep = np.hypot(*shape.nucleus.frame[1]) / 2  # the envelope is two pixels wide
    radius = shape.outline.radius
    nuclear = (0.5 + (1 - core) * steep).clip(0, 1) * inside * in_plane
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    direction = np.array([np.cos(shape.nucleus.side), np.sin(shape.nucleus.side)])
    centre = shape.nucleus.centre - (box[1].start, box[0].start)
    nucleoli = 0 if shape.mitotic else int(rng.integers(2, 6))
    interior = (core < 0.75) & (nuclear > 0)
    return Cell(
        rng=rng,
        box=box,
        radius=radius,
        frame=shape.outline.frame,
        centre=centre,
        side=1.15 * direction @ shape.nucleus.frame @ np.linalg.inv(shape.outline.frame),
        inside=inside,
        body=_f32((depth / (0.12 * radius)).clip(0, 1)),
        rim=_f32(depth / radius),
        core=core,
        nuclear=_f32(nuclear),
        nucleoli=_dots(rng, interior, nucleoli, 0.07 * radius),
        mitotic=shape.mitotic,
    )


def shed(cell: Cell, labels: tuple[int, ...]) -> dict[str, _F32]:
    """Light of a faultless cell, (h, w) float32 by channel; its protein is where labels say."""
    red, green, blue, yellow = cell.rng.lognormal(0, _SPREAD).clip(0.65, 1.9).astype(np.float32)
    # Every antibody stains a little where it should not, most where the cell is thick.
    stain = 0.0 if NEGATIVE in labels else cell.rng.uniform(0.06, 0.16)
    protein = _f32(stain * cell.body * np.exp(-cell.core / 2))
    for label in labels:
        protein = protein + _LOOKS[label](cell) / np.float32(np.sqrt(len(labels)))
    return {
        "red": red * _microtubules(cell),
        "green": green * protein,
        "blue": blue * _chromatin(cell),
        "yellow": yellow * _reticulum(cell),
    }


def blur(light: _F32, sigma: float) -> _F32:
    """Blur (h, w) float32 light by ``sigma`` pixels, at least 0.4, into a new array of its kind."""
    return _f32(cv2.GaussianBlur(light, (0, 0), max(sigma, 0.4)))


def _box(reach: tuple[slice, slice], owner: NDArray[np.uint16], number: int) -> tuple[slice, slice]:
    """Rows and columns of one cell and a margin, which the border may cut."""
    left, top, width, height = cv2.boundingRect((owner[reach] == number).astype(np.uint8))
    top, left = top + reach[0].start, left + reach[1].start
    rows = slice(max(top - 2, 0), min(top + height + 2, len(owner)))
    return rows, slice(max(left - 2, 0), min(left + width + 2, len(owner)))


def _chromatin(cell: Cell) -> _F32:
    level = 1.3 if cell.mitotic else 0.72
    texture = level + 0.2 * _texture(cell, 0.05)
    return _f32(cell.nuclear * texture * (1 - 0.6 * cell.nucleoli))


def _nucleoplasm(cell: Cell) -> _F32:
    return _f32(cell.nuclear * (0.6 + 0.16 * _texture(cell, 0.03)) * (1 - 0.7 * cell.nucleoli))


def _nuclear_membrane(cell: Cell) -> _F32:
    thin = max(0.05, 3 / cell.radius)
    return _f32((np.exp(-(((cell.core - 1) / thin) ** 2)) + 0.15) * (cell.nuclear > 0))


def _nucleoli(cell: Cell) -> _F32:
    return 1.1 * cell.nucleoli + 0.12 * cell.nuclear


def _fibrillar_center(cell: Cell) -> _F32:
    return 1.5 * _dots(cell.rng, cell.nucleoli > 0.5, 14, 0.018 * cell.radius) + 0.08 * cell.nuclear


def _speckles(cell: Cell) -> _F32:
    spots = (_texture(cell, 0.06) - 0.7).clip(0, 1)
    return _f32(cell.nuclear * (1.1 * spots + 0.12) * (1 - cell.nucleoli))


def _nuclear_bodies(cell: Cell) -> _F32:
    count = int(cell.rng.integers(2, 9))
    return (
        1.3 * _dots(cell.rng, cell.nuclear > 0.9, count, 0.03 * cell.radius) + 0.14 * cell.nuclear
    )


def _reticulum(cell: Cell) -> _F32:
    net = 0.25 + 0.75 * np.exp(-((_texture(cell, 0.028) / 0.5) ** 2)) * (
        0.9 + 0.3 * _texture(cell, 0.2)
    )
    near = 0.15 + np.exp(-1.3 * (cell.core - 1).clip(0, None))
    return _bundled(net.clip(0, None) * near) * cell.body * (1 - 0.85 * cell.nuclear)


def _golgi(cell: Cell) -> _F32:
    starts = cell.side + cell.rng.normal(0, (0.1, 0.16), (24, 2))
    across = np.arctan2(*starts.mean(0)[::-1]) + np.pi / 2
    ribbon = _threads(cell, starts, cell.rng.normal(across, 0.7, 24), 0.25, curl=0.3, width=0.022)
    return 0.9 * ribbon * cell.cytoplasm


def _intermediate_filaments(cell: Cell) -> _F32:
    starts, outward = _around(cell, 110, 0.3, 0.55)
    headings = outward + cell.rng.choice((-1.3, 1.3), 110)
    return 0.7 * _threads(cell, starts, headings, 0.9, curl=0.25, width=0.01) * cell.cytoplasm


def _actin(cell: Cell) -> _F32:
    starts = cell.rng.uniform((-1.1, -0.9), (0.2, 0.9), (45, 2))
    bundles = _threads(cell, starts, cell.rng.normal(0, 0.12, 45), 1.2, curl=0.008, width=0.012)
    return _f32(0.9 * bundles + 0.5 * _plasma_membrane(cell)) * cell.body


def _microtubules(cell: Cell) -> _F32:
    if cell.mitotic:
        return 0.1 * cell.body + _spindle(cell)
    starts, outward = _around(cell, 300, 0.25, 0.8)
    tubules = _threads(cell, starts, cell.rng.normal(outward, 1.2), 0.6, curl=0.18, width=0.008)
    uneven = (0.75 + 0.25 * _texture(cell, 0.3)).clip(0.2, None)
    return _bundled(uneven * tubules + 0.1) * cell.body * (1 - 0.92 * cell.nuclear)


def _bundled(light: _F32) -> _F32:
    """Make bright strands brighter and faint ones fainter."""
    return _f32(light * np.sqrt(light))


def _spindle(cell: Cell) -> _F32:
    """Two fans of fibres that meet in the middle of a dividing cell; nothing in others."""
    if not cell.mitotic:
        return _f32(0.6 * cell.body * (1 - 0.4 * cell.nuclear))
    poles = np.repeat(((-0.55, 0.0), (0.55, 0.0)), 60, axis=0)
    headings = np.repeat((0, np.pi), 60) + cell.rng.normal(0, 0.3, 120)
    return 0.5 * _threads(cell, poles, headings, 0.6, curl=0.03, width=0.01) * cell.body


def _centrosome(cell: Cell) -> _F32:
    near = cell.inside & (cell.beside < 0.1)
    return 1.6 * _dots(cell.rng, near, int(cell.rng.integers(1, 3)), 0.028 * cell.radius)


def _plasma_membrane(cell: Cell) -> _F32:
    thin = max(0.05, 2 / cell.radius)
    return _f32(np.exp(-((cell.rim / thin) ** 2)) * cell.inside * (0.8 + 0.2 * _texture(cell, 0.1)))


def _mitochondria(cell: Cell) -> _F32:
    starts, outward = _around(cell, 180, 0.35, 0.8)
    headings = cell.rng.normal(outward, 1.0)
    return 0.8 * _threads(cell, starts, headings, 0.14, curl=0.2, width=0.018) * cell.cytoplasm


def _aggresome(cell: Cell) -> _F32:
    return _f32(1.4 * np.exp(-((cell.beside / 0.13) ** 4)) + 0.15) * cell.cytoplasm


def _cytosol(cell: Cell) -> _F32:
    return cell.cytoplasm * (0.55 + 0.06 * _texture(cell, 0.03) + 0.06 * _texture(cell, 0.25))


def _vesicles(cell: Cell) -> _F32:
    count = int(cell.rng.integers(80, 180))
    return 1.2 * _dots(cell.rng, cell.cytoplasm > 0.3, count, 0.016 * cell.radius)


def _nothing(cell: Cell) -> _F32:
    return np.zeros_like(cell.body)


_LOOKS: Final[tuple[Callable[[Cell], _F32], ...]] = (
    _nucleoplasm,
    _nuclear_membrane,
    _nucleoli,
    _fibrillar_center,
    _speckles,
    _nuclear_bodies,
    _reticulum,
    _golgi,
    _intermediate_filaments,
    _actin,
    _microtubules,
    _spindle,
    _centrosome,
    _plasma_membrane,
    _mitochondria,
    _aggresome,
    _cytosol,
    _vesicles,
    _nothing,
)
"""Where the protein shines, by label."""


_SUBPIXEL_BITS: Final = 4
_THREAD_STEPS: Final = 24
"""Of a thread; of a small cell's there are fewer, about one in a pixel or two."""

_THREAD_LAYERS: Final = 5
"""Strokes of one layer cannot add up, as they are 8-bit; the layers do."""


def _threads(
    cell: Cell, starts: _F64, headings: _F64, length: float, *, curl: float, width: float
) -> _F32:
    """Draw paths from (N, 2) places around the nucleus, in radii; each 24th turns by ``curl``."""
    count = min(max(int(cell.radius / 3), 6), _THREAD_STEPS)
    curl *= np.sqrt(_THREAD_STEPS / count)
    turns = cell.rng.normal(0, curl, (len(starts), count)).cumsum(1) + headings[:, None]
    steps = np.stack((np.cos(turns), np.sin(turns)), axis=2) * (length / count)
    paths = (starts[:, None] + steps.cumsum(1)) @ cell.frame + cell.centre
    pixels = np.rint(paths * 2**_SUBPIXEL_BITS).astype(np.int32)
    light = np.zeros(cell.core.shape, np.float32)
    thickness = max(1, round(width * cell.radius))
    thin = np.float32(min(1, width * cell.radius) ** 0.4)  # no stroke is finer than a pixel
    for layer, paths in enumerate(np.array_split(pixels, _THREAD_LAYERS), start=2):
        ink = np.zeros(light.shape, np.uint8)
        cv2.polylines(ink, list(paths), False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        light += ink * (thin * np.float32(layer / (_THREAD_LAYERS + 1) / 255))
    return blur(light, 0.004 * cell.radius)


def _dots(rng: np.random.Generator, region: NDArray[np.bool_], count: int, radius: float) -> _F32:
    """Draw round dots at random places of a region; none where it is empty."""
    ink = np.zeros(region.shape, np.uint8)
    places = np.flatnonzero(region)
    for place in rng.choice(places, count) if len(places) else ():
        row, column = divmod(int(place), region.shape[1])
        cv2.circle(
            ink,
            (column << _SUBPIXEL_BITS, row << _SUBPIXEL_BITS),
            round(max(radius, 1) * rng.uniform(0.7, 1.3) * 2**_SUBPIXEL_BITS),
            int(rng.integers(150, 256)),
            cv2.FILLED,
            cv2.LINE_AA,
            _SUBPIXEL_BITS,
        )
    return blur(_f32(ink / 255), 0.3 * radius)


def _around(cell: Cell, count: int, low: float, high: float) -> tuple[_F64, _F64]:
    """Places in a ring around the nucleus, (count, 2) in radii, and the directions outward."""
    outward = cell.rng.uniform(0, 2 * np.pi, count)
    distance = cell.rng.uniform(low, high, count)
    return np.column_stack((distance * np.cos(outward), distance * np.sin(outward))), outward


def _texture(cell: Cell, grain: float) -> _F32:
    return cloud(cell.rng, cell.core.shape, grain * cell.radius)


def _f32(array: NDArray[np.generic]) -> _F32:
    return np.asarray(array, np.float32)
