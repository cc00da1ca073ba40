"""Draw fields of cells whose truth is known, in the manner of the Human Protein Atlas.

The picture is made as a microscope makes it.  Cells sit on a jittered grid; each claims the pixels
that are nearer to it, in units of its own ragged outline, than to any neighbour and than its reach.
Inside its claim a cell sheds light in four channels: microtubules (red), protein (green), chromatin
(blue) and endoplasmic reticulum (yellow).  Light is a number near 1 where a structure is bright.
Faults change a cell's light, or what the mask says of it.  The camera adds haze, uneven
illumination, blur, an offset and noise, and counts in grey levels.

Lengths are in radii of the cell, so that a field of 64 pixels shows what one of 4096 shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from hpastore.errors import UsageError
from hpastore.model import CHANNELS, LABEL_NAMES, NEGATIVE

_F32 = NDArray[np.float32]
_F64 = NDArray[np.float64]
_Box = tuple[slice, slice]

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

_MITOTIC_SPINDLE: Final = LABEL_NAMES.index("Mitotic spindle")
_AGGRESOME: Final = LABEL_NAMES.index("Aggresome")
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
    shapes, owner = _settle(rng, _shapes(rng, size, labels), size)
    planted = _plant(rng, index, shapes, labels)
    light = {channel: np.zeros((size, size), np.float32) for channel in CHANNELS}
    nuclei = np.zeros((size, size), bool)
    for number, shape in enumerate(shapes, start=1):
        fault = planted.get(number, "")
        box, cell = _cell(rng, shape, owner, number, has_nucleus=fault != "no_nucleus")
        nuclei[box] |= cell.inside & (cell.nuclear > 0.5)
        for channel, shed in _shed(cell, labels, fault).items():
            light[channel][box] += shed
    cell_mask, faults = _segment(rng, shapes, owner, planted)
    channels = {channel: _expose(rng, light[channel], _GREY_LEVELS[channel]) for channel in CHANNELS}
    return Field(
        name=f"sample-{index:04d}",
        labels=labels,
        channels=channels if bits == 8 else {k: _deepen(rng, v) for k, v in channels.items()},
        cell_mask=cell_mask,
        nucleus_mask=np.where(nuclei, cell_mask, 0).astype(np.uint16),
        faults=faults,
    )


def _labels(rng: np.random.Generator, index: int) -> tuple[int, ...]:
    first = index * _LABEL_STRIDE % len(LABEL_NAMES)
    further = rng.choice(4, p=(0.47, 0.36, 0.14, 0.03))
    if index == 0 or first == NEGATIVE:
        return (first,)
    others = [label for label in range(len(LABEL_NAMES)) if label not in (first, NEGATIVE)]
    return tuple(sorted((first, *rng.choice(others, further, replace=False).tolist())))


@dataclass(frozen=True)
class _Outline:
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
        """Distance of pixels from the centre; 1 on the outline."""
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

    def box(self, size: int) -> _Box:
        """Pixels of the image that the outline can reach."""
        half = 1.45 * np.hypot(*self.frame) + 2
        low = np.clip(self.centre - half, 0, size).astype(int)
        high = np.clip(self.centre + half, 0, size).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0])


@dataclass(frozen=True)
class _Shape:
    """A cell before it is drawn."""

    outline: _Outline
    nucleus: _Outline
    spared: bool
    """The cell in the middle: it has no fault, and the border is too far away to cut it."""
    mitotic: bool


def _shapes(rng: np.random.Generator, size: int, labels: tuple[int, ...]) -> list[_Shape]:
    """Shapes on most seats of a square grid, row by row."""
    seats = int(rng.integers(4, 6)) if size >= 512 else 3
    pitch = size / seats
    middle = (seats // 2) * (seats + 1)
    vacant = set(rng.choice(seats**2, rng.integers(seats**2 // 6 + 1), replace=False).tolist()) - {middle}
    # Cells of one line resemble each other.
    radius, stretch = pitch * rng.uniform(0.45, 0.6), rng.uniform(1.0, 1.7)
    shapes = []
    for seat in sorted(set(range(seats**2)) - vacant):
        spared = seat == middle
        row, column = divmod(seat, seats)
        centre = (np.array([column, row]) + 0.5 + (not spared) * rng.uniform(-0.25, 0.25, 2)) * pitch
        mitotic = _MITOTIC_SPINDLE in labels and (spared or rng.random() < 0.05)
        if mitotic:
            outline, nucleus = _dividing(rng, centre, radius)
        else:
            outline, nucleus = _resting(rng, centre, radius, stretch, 0.45 * (_AGGRESOME in labels))
        shapes.append(_Shape(outline, nucleus, spared, mitotic))
    return shapes


def _dividing(rng: np.random.Generator, centre: _F64, radius: float) -> tuple[_Outline, _Outline]:
    """Outlines of a round cell and of its chromosomes, which lie in a plate across the spindle."""
    angle = rng.uniform(0, np.pi)
    cell = _outline(rng, centre, 0.8 * radius, 1, angle, ripple=0.01)
    return cell, _outline(rng, centre, 0.28 * radius, 0.25, angle, ripple=0.01)


def _resting(
    rng: np.random.Generator, centre: _F64, radius: float, stretch: float, dent: float
) -> tuple[_Outline, _Outline]:
    """Outlines of a cell and of its nucleus, which ``dent`` radii of an aggresome may press in."""
    angle = rng.uniform(0, np.pi)
    radius *= rng.uniform(0.75, 1.1)
    stretch *= rng.uniform(0.9, 1.25)
    cell = _outline(rng, centre, radius, stretch, angle, ripple=0.04)
    off_centre = centre + radius * rng.uniform(-0.12, 0.12, 2)
    rounder = 1 + 0.7 * (stretch - 1)
    nucleus = _outline(rng, off_centre, radius * rng.uniform(0.38, 0.46), rounder, angle, ripple=0.018)
    return cell, replace(nucleus, dent=max(nucleus.dent, dent))


def _outline(
    rng: np.random.Generator, centre: _F64, radius: float, stretch: float, angle: float, *, ripple: float
) -> _Outline:
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    axes = radius * np.array([[np.sqrt(stretch)], [1 / np.sqrt(stretch)]])
    # The more waves, the lower they are: cells are bays and capes, not gear wheels.
    amplitudes = ripple * rng.normal(0, (2, 1.3, 1, 0.8)).clip(-2, 2)
    waves = np.column_stack((amplitudes, rng.uniform(0, 2 * np.pi, 4)))
    dent = min(4 * ripple * abs(rng.normal()), 0.4)
    return _Outline(centre, axes * turn, waves, rng.uniform(0, 2 * np.pi), dent)


def _settle(
    rng: np.random.Generator, shapes: list[_Shape], size: int
) -> tuple[list[_Shape], NDArray[np.uint16]]:
    """Give every pixel to the nearest cell that reaches it; leave out cells of which little shows."""
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
    numbers = np.where(shows, shows.cumsum(), 0)
    renumber = np.concatenate(([0], numbers)).astype(np.uint16)
    return [shape for shape, kept in zip(shapes, shows, strict=True) if kept], renumber[owner]


def _wrinkled(rng: np.random.Generator, size: int, radius: float) -> tuple[_F32, _F32]:
    """Pixel coordinates, displaced a little, so that outlines look grown and not computed."""
    y, x = np.indices((size, size), np.float32)
    for amplitude, grain in ((0.06, 0.5), (0.015, 0.12)):
        x += amplitude * radius * _cloud(rng, x.shape, grain * radius)
        y += amplitude * radius * _cloud(rng, x.shape, grain * radius)
    return x, y


def _plant(
    rng: np.random.Generator, index: int, shapes: list[_Shape], labels: tuple[int, ...]
) -> dict[int, str]:
    """Faults by number of the cell; successive images go through all of them in turn."""
    meaningless = {"border_cut"} | ({"not_expressing", "overexposed"} if NEGATIVE in labels else set())
    kinds = [fault for fault in FAULTS if fault not in meaningless]
    others = [number for number, shape in enumerate(shapes, start=1) if not shape.spared]
    chosen = rng.permutation(others)[: max(1, round(_FAULTY_SHARE * len(shapes)))].tolist()
    return {number: kinds[(3 * index + turn) % len(kinds)] for turn, number in enumerate(chosen)}


def _segment(
    rng: np.random.Generator, shapes: list[_Shape], owner: NDArray[np.uint16], planted: dict[int, str]
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


def _neighbour(shapes: list[_Shape], number: int, planted: dict[int, str]) -> int:
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


def _spoil(cell: _Cell, light: dict[str, _F32], fault: str) -> dict[str, _F32]:
    """Change the light of a cell as its fault wants."""
    if fault == "not_expressing":
        return light | {"green": np.zeros_like(light["green"])}
    if fault == "bleached":
        return {channel: 0.12 * shed for channel, shed in light.items()}
    if fault == "overexposed":
        return light | {"green": 6 * light["green"] + 3 * cell.body * np.exp(-((cell.core / 2) ** 2))}
    if fault == "defocused":
        return {channel: _blur(shed, 0.12 * cell.radius) * cell.inside for channel, shed in light.items()}
    return light


@dataclass(frozen=True)
class _Cell:
    """A cell in its box, ready to be drawn: (h, w) arrays."""

    rng: np.random.Generator
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
        return self.body * (1 - self.nuclear)

    @property
    def beside(self) -> _F32:
        """Distance from the place beside the nucleus, in radii."""
        x, y = self.centre + self.side @ self.frame
        rows, columns = np.indices(self.core.shape, np.float32)
        return _f32(np.hypot(rows - y, columns - x) / self.radius)


def _cell(
    rng: np.random.Generator, shape: _Shape, owner: NDArray[np.uint16], number: int, *, has_nucleus: bool
) -> tuple[_Box, _Cell]:
    box = _tight(shape.outline.box(len(owner)), owner, number)
    inside = owner[box] == number
    y, x = np.mgrid[box].astype(np.float32)
    core = shape.nucleus.distance(x, y)
    steep = np.hypot(*shape.nucleus.frame[1]) / 2  # the envelope is two pixels wide
    radius = shape.outline.radius
    nuclear = (0.5 + (1 - core) * steep).clip(0, 1) * inside * has_nucleus
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    direction = np.array([np.cos(shape.nucleus.side), np.sin(shape.nucleus.side)])
    centre = shape.nucleus.centre - (box[1].start, box[0].start)
    nucleoli = 0 if shape.mitotic else int(rng.integers(2, 6))
    interior = (core < 0.75) & (nuclear > 0)
    return box, _Cell(
        rng=rng,
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


def _tight(box: _Box, owner: NDArray[np.uint16], number: int) -> _Box:
    """Shrink a box to the pixels of one cell and a margin, which the border may cut."""
    left, top, width, height = cv2.boundingRect((owner[box] == number).astype(np.uint8))
    top, left = top + box[0].start, left + box[1].start
    rows = slice(max(top - 2, 0), min(top + height + 2, len(owner)))
    return rows, slice(max(left - 2, 0), min(left + width + 2, len(owner)))


def _shed(cell: _Cell, labels: tuple[int, ...], fault: str) -> dict[str, _F32]:
    """Light of one cell by channel."""
    red, green, blue, yellow = cell.rng.lognormal(0, 0.25, 4).clip(0.6, 1.6).astype(np.float32)
    # Every antibody stains a little where it should not, most where the cell is thick.
    stain = 0.0 if NEGATIVE in labels else cell.rng.uniform(0.06, 0.16)
    protein = _f32(stain * cell.body * np.exp(-cell.core / 2))
    for label in labels:
        protein = protein + _LOOKS[label](cell) / np.float32(np.sqrt(len(labels)))
    light = {
        "red": red * _microtubules(cell),
        "green": green * protein,
        "blue": blue * _chromatin(cell),
        "yellow": yellow * _reticulum(cell),
    }
    return _spoil(cell, light, fault)


def _chromatin(cell: _Cell) -> _F32:
    return _f32(cell.nuclear * (0.75 + 0.16 * _texture(cell, 0.05)) * (1 - 0.6 * cell.nucleoli))


def _nucleoplasm(cell: _Cell) -> _F32:
    return _f32(cell.nuclear * (0.6 + 0.16 * _texture(cell, 0.03)) * (1 - 0.7 * cell.nucleoli))


def _nuclear_membrane(cell: _Cell) -> _F32:
    thin = max(0.05, 3 / cell.radius)
    return _f32((np.exp(-(((cell.core - 1) / thin) ** 2)) + 0.15) * (cell.nuclear > 0))


def _nucleoli(cell: _Cell) -> _F32:
    return 1.1 * cell.nucleoli + 0.12 * cell.nuclear


def _fibrillar_center(cell: _Cell) -> _F32:
    return 1.5 * _dots(cell.rng, cell.nucleoli > 0.5, 14, 0.018 * cell.radius) + 0.08 * cell.nuclear


def _speckles(cell: _Cell) -> _F32:
    spots = (_texture(cell, 0.06) - 0.7).clip(0, 1)
    return _f32(cell.nuclear * (1.1 * spots + 0.12) * (1 - cell.nucleoli))


def _nuclear_bodies(cell: _Cell) -> _F32:
    count = int(cell.rng.integers(2, 9))
    return 1.3 * _dots(cell.rng, cell.nuclear > 0.9, count, 0.03 * cell.radius) + 0.08 * cell.nuclear


def _reticulum(cell: _Cell) -> _F32:
    net = 0.25 + 0.75 * np.exp(-((_texture(cell, 0.028) / 0.5) ** 2)) * (0.9 + 0.3 * _texture(cell, 0.2))
    near = 0.15 + np.exp(-1.3 * (cell.core - 1).clip(0, None))
    return _f32(net.clip(0, None) * near * cell.body * (1 - 0.85 * cell.nuclear))


def _golgi(cell: _Cell) -> _F32:
    starts = cell.side + cell.rng.normal(0, (0.1, 0.16), (24, 2))
    across = np.arctan2(*starts.mean(0)[::-1]) + np.pi / 2
    ribbon = _threads(cell, starts, cell.rng.normal(across, 0.7, 24), 0.25, curl=0.3, width=0.022)
    return 0.9 * ribbon * cell.cytoplasm


def _intermediate_filaments(cell: _Cell) -> _F32:
    starts, outward = _around(cell, 110, 0.3, 0.55)
    headings = outward + cell.rng.choice((-1.3, 1.3), 110)
    return 0.7 * _threads(cell, starts, headings, 0.9, curl=0.25, width=0.01) * cell.cytoplasm


def _actin(cell: _Cell) -> _F32:
    starts = cell.rng.uniform((-1.1, -0.9), (0.2, 0.9), (45, 2))
    bundles = _threads(cell, starts, cell.rng.normal(0, 0.12, 45), 1.2, curl=0.008, width=0.012)
    return _f32(0.9 * bundles + 0.5 * _plasma_membrane(cell)) * cell.body


def _microtubules(cell: _Cell) -> _F32:
    if cell.mitotic:
        return 0.1 * cell.body + _spindle(cell)
    starts, outward = _around(cell, 300, 0.25, 0.8)
    tubules = _threads(cell, starts, cell.rng.normal(outward, 1.2), 0.6, curl=0.18, width=0.008)
    uneven = (0.75 + 0.25 * _texture(cell, 0.3)).clip(0.2, None)
    return (uneven * tubules + 0.05) * cell.body * (1 - 0.92 * cell.nuclear)


def _spindle(cell: _Cell) -> _F32:
    """Two fans of fibres that meet in the middle, in a dividing cell; weak in all others."""
    if not cell.mitotic:
        return 0.1 * cell.cytoplasm
    poles = np.repeat(((-0.55, 0.0), (0.55, 0.0)), 60, axis=0)
    headings = np.repeat((0, np.pi), 60) + cell.rng.normal(0, 0.3, 120)
    return 0.5 * _threads(cell, poles, headings, 0.6, curl=0.03, width=0.01) * cell.body


def _centrosome(cell: _Cell) -> _F32:
    near = cell.inside & (cell.beside < 0.1)
    return 1.6 * _dots(cell.rng, near, int(cell.rng.integers(1, 3)), 0.028 * cell.radius)


def _plasma_membrane(cell: _Cell) -> _F32:
    thin = max(0.05, 2 / cell.radius)
    return _f32(np.exp(-((cell.rim / thin) ** 2)) * cell.inside * (0.8 + 0.2 * _texture(cell, 0.1)))


def _mitochondria(cell: _Cell) -> _F32:
    starts, outward = _around(cell, 180, 0.35, 0.8)
    headings = cell.rng.normal(outward, 1.0)
    return 0.8 * _threads(cell, starts, headings, 0.14, curl=0.2, width=0.018) * cell.cytoplasm


def _aggresome(cell: _Cell) -> _F32:
    return _f32(1.4 * np.exp(-((cell.beside / 0.13) ** 4)) + 0.15) * cell.cytoplasm


def _cytosol(cell: _Cell) -> _F32:
    return cell.cytoplasm * (0.5 + 0.06 * _texture(cell, 0.03) + 0.06 * _texture(cell, 0.25))


def _vesicles(cell: _Cell) -> _F32:
    count = int(cell.rng.integers(80, 180))
    return 1.2 * _dots(cell.rng, cell.cytoplasm > 0.3, count, 0.016 * cell.radius)


def _nothing(cell: _Cell) -> _F32:
    return np.zeros_like(cell.body)


_LOOKS: Final[tuple[Callable[[_Cell], _F32], ...]] = (
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
_THREAD_LAYERS: Final = 5
"""Strokes of one layer cannot add up, as they are 8-bit; the layers do."""


def _threads(cell: _Cell, starts: _F64, headings: _F64, length: float, *, curl: float, width: float) -> _F32:
    """Draw paths from (N, 2) places around the nucleus, in radii, which wander by ``curl`` radians a step."""
    turns = cell.rng.normal(0, curl, (len(starts), _THREAD_STEPS)).cumsum(1) + headings[:, None]
    steps = np.stack((np.cos(turns), np.sin(turns)), axis=2) * (length / _THREAD_STEPS)
    paths = (starts[:, None] + steps.cumsum(1)) @ cell.frame + cell.centre
    pixels = np.rint(paths * 2**_SUBPIXEL_BITS).astype(np.int32)
    light = np.zeros(cell.core.shape, np.float32)
    thickness = max(1, round(width * cell.radius))
    for layer, paths in enumerate(np.array_split(pixels, _THREAD_LAYERS), start=2):
        ink = np.zeros(light.shape, np.uint8)
        cv2.polylines(ink, list(paths), False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        light += ink * np.float32(layer / (_THREAD_LAYERS + 1) / 255)
    return _blur(light, 0.004 * cell.radius)


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
    return _blur(_f32(ink / 255), 0.3 * radius)


def _around(cell: _Cell, count: int, low: float, high: float) -> tuple[_F64, _F64]:
    """Places in a ring around the nucleus, (count, 2) in radii, and the directions outward."""
    outward = cell.rng.uniform(0, 2 * np.pi, count)
    distance = cell.rng.uniform(low, high, count)
    return np.column_stack((distance * np.cos(outward), distance * np.sin(outward))), outward


def _texture(cell: _Cell, grain: float) -> _F32:
    return _cloud(cell.rng, cell.core.shape, grain * cell.radius)


def _cloud(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> _F32:
    """Smooth noise of about unit variance whose lumps are ``grain`` pixels wide."""
    coarse = [int(length / max(grain, 1)) + 2 for length in shape]
    noise = rng.standard_normal(coarse, np.float32)
    return _f32(cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC))


def _blur(light: _F32, sigma: float) -> _F32:
    return _f32(cv2.GaussianBlur(light, (0, 0), max(sigma, 0.4)))


def _f32(array: NDArray[np.generic]) -> _F32:
    return np.asarray(array, np.float32)


def _expose(rng: np.random.Generator, light: _F32, gain: float) -> NDArray[np.uint8]:
    """Grey levels of one channel."""
    size = len(light)
    glow = cv2.resize(light.clip(0, 1.5), (MIN_SIZE, MIN_SIZE), interpolation=cv2.INTER_AREA)
    haze = cv2.resize(_blur(_f32(glow), 3), (size, size), interpolation=cv2.INTER_LINEAR)
    off_axis = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    falloff = 1 - 0.1 * (off_axis[:, None] + off_axis)
    signal = gain * rng.uniform(0.85, 1.15) * falloff * (_blur(light, size / 2500) + 0.12 * haze)
    noise = rng.standard_normal(light.shape, np.float32) * np.sqrt(1 + 0.25 * signal)
    grey: _F32 = np.rint(rng.uniform(1, 4) + signal + noise).clip(0, 255)
    return grey.astype(np.uint8)


def _deepen(rng: np.random.Generator, grey: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Spread 8 bits over 16 so that ``(v + 128) // 257`` leads back."""
    deep = grey * np.int32(257) + rng.integers(-128, 129, grey.shape, np.int32)
    return np.asarray(deep.clip(0, 65535), np.uint16)
