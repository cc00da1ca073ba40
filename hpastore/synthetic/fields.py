"""Draw fields of cells whose truth is known, in the manner of the Human Protein Atlas.

The picture is made as a microscope makes it.  Cells settle on the field, each in its own outline
(`hpastore.synthetic.outlines`).  There a cell sheds light in four channels: microtubules (red),
protein (green), chromatin (blue) and endoplasmic reticulum (yellow)
(`hpastore.synthetic.appearance`).  Faults change a cell's light, or what the mask says of it.  The
camera adds haze, uneven illumination, blur, an offset and noise, and counts in grey levels.

Lengths are in radii of the cell, so that a field of 64 pixels shows what one of 4096 shows.

Context: rules of cleaning are judged by whether they find the faults.  Were a fault all or nothing,
as a cell without any green is, one look would find it, and the judgement would be worth nothing.
Decision: each fault has a severity, from a cell that nobody would miss to one that a person would
let pass, and good cells differ in brightness, expression, focus and size as those of a culture do;
a third touches the border, a few have two nuclei or divide, and a few have no nucleus in the mask
though the picture shows one.  A field shows cells of one line, and lines differ in size: figures
pooled over images say little of any one of them.
Consequence: no one measure tells a kind of fault from good cells (``scripts/bench --cleaning``
looks at each), and no rule finds all. Each kind is modelled on something that happens:

``not_expressing``
    Expression differs from cell to cell, and antibodies are weak: between none of the protein and
    nearly as much as the faintest good cell has.
``bleached``
    One cell has been under the light before, and has lost a share of its dyes.  Some dyes fade many
    times as fast as others.
``overexposed``
    The cell has far more of the protein, or its antibody clumps, than the exposure was set for; the
    detector saturates, and light scattered in the thick middle of the cell, now less, now more,
    covers the pattern.
``defocused``
    The cell is rounded up, or the stage has drifted: it lies above the focal plane.  The channels
    are exposed one after another, each at a focus of its own.  Good cells lie near the plane, not
    in it.
``border_cut``
    The field's edge takes more than half of the cell, or of its nucleus.  Those of which it takes
    less are good, as people who judge cells one by one keep them.
``no_nucleus``
    The nucleus lies out of the plane, or what was segmented is only cytoplasm: the nuclear light
    of blue is gone.  Some haze of chromatin is left, which the segmentation takes for a small
    nucleus in half of the cases.
``merged``
    The segmentation lost the seed of a cell and its watershed gave the pixels to a neighbour that
    touches it; small cells lose theirs first.  Each of the two has its nucleus.
``split``
    The segmentation found two seeds in one cell, and the watershed runs through it, seldom in the
    middle. The nucleus falls to one part or to both.

The mask lacks some cells of some images, as real masks do; their light is there.  Masks of
neighbours do not touch: the watershed leaves a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpastore.errors import UsageError
from hpastore.runtime.opencv import cv2
from hpastore.synthetic.appearance import Cell, blur, prepare, shed
from hpastore.synthetic.outlines import LINES, Line, Shape, settle
from hpastore.vocabulary import CHANNELS, LABEL_NAMES, NEGATIVE

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
_MILDEST: Final = 0.04
_SEVERITY: Final = (0.95, 0.37)
"""Of Kumaraswamy's distribution from the mildest fault to 1: one in eight is below 0.3."""

_GOLDEN: Final = 0.618034
"""Step from a fault to the next of its kind through the distribution of severities, which a hundred
thus fill evenly: samples are alike whatever their seed."""

_SHARP: Final = 0.004
"""Radii of blur below which none is seen, and none is computed: a third of the good cells."""

_DEFOCUS: Final = np.array([0.14, 0.14, 0.1, 0.14])
"""Radii of blur of each channel where it is worst; some of the thick nucleus is in focus."""

_CUT: Final = 0.5
"""Share of a cell, or of its nucleus, beyond the border from which it counts as cut."""

_CHROMATIN_LEFT: Final = 0.25
"""Share of the nuclear light that is left in the mildest cell without a nucleus."""

_COMPLETE: Final = 0.9
"""Share of the masks that lack no cell."""

_GAP: Final = 0.024
"""Half the gap between the masks of neighbours, in radii."""

_LABEL_STRIDE: Final = 7
"""No divisor of 19, so that 19 images show all classes, and few images already unlike ones."""

_GREY_LEVELS: Final = {"red": 145.0, "green": 160.0, "blue": 155.0, "yellow": 245.0}
"""What light 1 is worth."""

_SPECKS: Final = {"red": 3.0, "green": 5.0, "blue": 0.5, "yellow": 3.0}
"""Of dye in a field, on average."""


@dataclass(frozen=True)
class Field:
    """One drawn image and the truth about it.

    Parameters
    ----------
    labels
        Distinct label ids, ascending.
    cell_line
        Name of one of `hpastore.synthetic.outlines.LINES`.
    channels
        (H, W) uint8 or uint16 by the names of `hpastore.vocabulary.CHANNELS`.
    cell_mask
        (H, W) uint16, 0 is background.
    nucleus_mask
        (H, W) uint16, 0 is no nucleus; a nucleus has the id of its cell.
    faults
        One of `FAULTS`, or "" for a good cell, by mask id; every cell has an entry.
    cells
        The number of the drawn cell by mask id: a split cell has two masks.
    """

    labels: tuple[int, ...]
    cell_line: str
    channels: Mapping[str, NDArray[np.uint8 | np.uint16]]
    cell_mask: NDArray[np.uint16]
    nucleus_mask: NDArray[np.uint16]
    faults: Mapping[int, str]
    cells: Mapping[int, int]


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
    >>> field.labels, field.channels["green"].shape
    ((0,), (64, 64))
    """
    if size < MIN_SIZE or bits not in (8, 16):
        raise UsageError(f"a sample image has at least {MIN_SIZE} pixels a side and 8 or 16 bits")
    rng = np.random.default_rng([seed, index])
    labels = _labels(rng, index)
    line = _line(seed, index)
    shapes, owner = settle(rng, size, labels, line)
    numbered = dict(enumerate(shapes, start=1))
    cut = {k for k, shape in numbered.items() if _is_cut(shape, size)}
    overlooked = _overlooked(rng, shapes)
    unfit = cut | overlooked | {k for k, shape in numbered.items() if shape.spared}
    plantable = [k for k in numbered if k not in unfit]
    planted = _plant(rng, seed, index, plantable, labels)
    light = {channel: np.zeros((size, size), np.float32) for channel in CHANNELS}
    nuclei = np.zeros((size, size), bool)
    for number, shape in enumerate(shapes, start=1):
        fault, severity = planted.get(number, ("", 0.0))
        cell = prepare(rng, shape, owner, number, in_plane=_in_plane(fault, severity))
        nuclei[cell.box] |= _nucleus(cell, fault)
        for channel, seen in _spoil(cell, shed(cell, labels), fault, severity).items():
            light[channel][cell.box] += seen
    gap = round(_GAP * float(np.median([shape.outline.radius for shape in shapes])))
    told = dict.fromkeys(cut, "border_cut") | {k: fault for k, (fault, _) in planted.items()}
    cell_mask, faults, cells = _segment(rng, owner, told, plantable, overlooked, gap)
    _speckle(rng, light, gap)
    channels = {
        channel: _expose(rng, light[channel], _GREY_LEVELS[channel]) for channel in CHANNELS
    }
    return Field(
        labels=labels,
        cell_line=line.name,
        channels=channels if bits == 8 else {k: _deepen(rng, v) for k, v in channels.items()},
        cell_mask=cell_mask,
        nucleus_mask=cell_mask * nuclei,
        faults=faults,
        cells=cells,
    )


def _is_cut(shape: Shape, size: int) -> bool:
    """Whether the border has cut more than half of a cell, or of its nucleus."""
    return max(shape.lost, shape.nucleus.share_beyond(size)) > _CUT


def _labels(rng: np.random.Generator, index: int) -> tuple[int, ...]:
    first = index * _LABEL_STRIDE % len(LABEL_NAMES)
    further = rng.choice(4, p=(0.47, 0.36, 0.14, 0.03))
    if index == 0 or first == NEGATIVE:
        return (first,)
    others = [label for label in range(len(LABEL_NAMES)) if label not in (first, NEGATIVE)]
    return tuple(sorted((first, *rng.choice(others, further, replace=False).tolist())))


def _line(seed: int, index: int) -> Line:
    """Cell line of an image: successive images show each in its share, whatever the seed."""
    shares = np.cumsum([line.images for line in LINES])
    place = (np.random.default_rng([seed, len(LINES)]).random() + _GOLDEN * index) % 1
    return LINES[int(np.searchsorted(shares, place * shares[-1], side="right"))]


def _overlooked(rng: np.random.Generator, shapes: list[Shape]) -> set[int]:
    """Numbers of the cells that the segmentation overlooks."""
    share = 0.0 if rng.random() < _COMPLETE else rng.uniform(0.05, 0.3)
    missed = rng.random(len(shapes)) < share
    return {k for k, shape in enumerate(shapes, start=1) if missed[k - 1] and not shape.spared}


def _plant(
    rng: np.random.Generator,
    seed: int,
    index: int,
    plantable: list[int],
    labels: tuple[int, ...],
) -> dict[int, tuple[str, float]]:
    """Fault and severity by number of the cell; successive images go through all faults in turn."""
    meaningless = {"border_cut"} | (
        {"not_expressing", "overexposed"} if NEGATIVE in labels else set()
    )
    kinds = [fault for fault in FAULTS if fault not in meaningless]
    chosen = rng.permutation(plantable)[: max(1, round(_FAULTY_SHARE * len(plantable)))].tolist()
    start = np.random.default_rng(seed).random(len(kinds))
    planted = {}
    for place, number in enumerate(chosen, start=3 * index):
        time, kind = divmod(place, len(kinds))
        planted[number] = kinds[kind], _severity((start[kind] + _GOLDEN * time) % 1)
    return planted


def _severity(share: float) -> float:
    """Severity, from 0, a good cell, to 1, below which are a share of the faults of a kind."""
    a, b = _SEVERITY
    return float(_MILDEST + (1 - _MILDEST) * (1 - (1 - share) ** (1 / b)) ** (1 / a))


def _in_plane(fault: str, severity: float) -> float:
    """Share of the nucleus's light that reaches the picture."""
    return _CHROMATIN_LEFT * (1 - severity) if fault == "no_nucleus" else 1


def _nucleus(cell: Cell, fault: str) -> NDArray[np.bool_]:
    """Say where a segmentation sees the cell's nucleus, which it may miss or draw too small."""
    if fault == "no_nucleus":
        reach = cell.rng.choice((0, cell.rng.uniform(0.3, 1)))
    else:
        reach = cell.rng.choice((1, cell.rng.uniform(0.5, 1), 0), p=(0.93, 0.055, 0.015))
    return np.asarray(cell.inside & (cell.core < reach))


def _spoil(cell: Cell, light: dict[str, _F32], fault: str, severity: float) -> dict[str, _F32]:
    """Change the light of a cell by its fault, and blur it by its distance from the focal plane."""
    drift = np.full(len(CHANNELS), abs(cell.rng.normal(0, 0.008)))
    if fault == "not_expressing":
        light = light | {"green": np.float32((1 - severity) ** 4) * light["green"]}
    elif fault == "bleached":
        left = 0.19 ** (severity * cell.rng.uniform(0.1, 1.9, len(CHANNELS)))
        light = {name: np.float32(left[k]) * seen for k, (name, seen) in enumerate(light.items())}
    elif fault == "overexposed":
        gain, haze = 3.4 ** (severity * cell.rng.uniform(0.4, 1.6, 2)).astype(np.float32) - 1
        glow = cell.body * np.exp(-((cell.core / 2) ** 2))
        light = light | {"green": (1 + gain) * light["green"] + 0.5 * haze * glow}
    elif fault == "defocused":
        drift = severity * _DEFOCUS * cell.rng.uniform(0.3, 1.7, len(CHANNELS))
    return {
        name: blur(seen, drift[k] * cell.radius) * cell.inside if drift[k] >= _SHARP else seen
        for k, (name, seen) in enumerate(light.items())
    }


def _segment(
    rng: np.random.Generator,
    owner: NDArray[np.uint16],
    told: dict[int, str],
    plantable: list[int],
    overlooked: set[int],
    gap: int,
) -> tuple[NDArray[np.uint16], dict[int, str], dict[int, int]]:
    """Say what a segmentation would see, what is wrong with each of its ids, and whose they are."""
    numbers = range(int(owner.max()) + 1)
    mask = np.array([0 if k in overlooked else k for k in numbers], np.uint16)[owner]
    faults = {k: told.get(k, "") for k in numbers[1:] if k not in overlooked}
    others = set(plantable) - set(told)
    halves: dict[int, int] = {}
    for number, fault in told.items():
        if fault == "merged":
            near = _grown(mask == number, 4 * gap + 1)
            neighbour = _smallest(mask, near, others)
            if neighbour is None:
                faults[number] = ""
                continue
            between = near & _grown(mask == neighbour, 4 * gap + 1) & (mask == 0)
            mask[between | (mask == neighbour)] = number
            others.remove(neighbour)
            del faults[neighbour]
        elif fault == "split":
            half = max(faults) + 1
            rows, columns = _part(rng, mask == number)
            mask[rows, columns] = half
            faults[half] = "split"
            halves[half] = number
    mask = _apart(mask, gap)
    _keep_largest_pieces(mask, gap)
    seen = [int(number) for number in np.flatnonzero(np.bincount(mask.ravel())[1:]) + 1]
    # In no order: the highest id would always be half a cell.
    ids = np.zeros(max(faults) + 1, np.uint16)
    ids[seen] = 1 + rng.permutation(len(seen))
    told_of = {int(ids[number]): faults[number] for number in seen}
    return ids[mask], told_of, {int(ids[k]): halves.get(k, k) for k in seen}


def _apart(mask: NDArray[np.uint16], gap: int) -> NDArray[np.uint16]:
    """Take from each cell what is at most ``gap`` pixels from another."""
    if gap == 0:
        return mask
    window = np.ones((2 * gap + 1, 2 * gap + 1), np.uint8)
    highest = cv2.dilate(mask, window)
    lowest = cv2.erode(np.where(mask > 0, mask, np.uint16(65535)), window)
    return np.asarray(mask * (highest == lowest), np.uint16)


def _keep_largest_pieces(mask: NDArray[np.uint16], gap: int) -> None:
    """Remove from a mask the smaller pieces of cells, of which a segmentation keeps none."""
    separate = [mask > 0] if gap else [mask == number for number in np.unique(mask) if number]
    for region in separate:
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(region.view(np.uint8))
        seen = set()
        for piece in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable"):
            left, top, width, height, _ = stats[piece]
            box = np.s_[top : top + height, left : left + width]
            pixels = pieces[box] == piece
            number = int(mask[box][pixels][0])
            if number in seen:
                mask[box][pixels] = 0
            seen.add(number)


def _smallest(mask: NDArray[np.uint16], near: NDArray[np.bool_], others: set[int]) -> int | None:
    """Return the smallest of the cells that are near on much of their outline, if any is."""
    found, pixels = np.unique(mask[near], return_counts=True)
    shared = {int(k): int(n) for k, n in zip(found, pixels, strict=True) if k in others}
    enough = [k for k, n in shared.items() if n > 0.5 * max(shared.values())]
    return min(enough, key=lambda k: int(np.count_nonzero(mask == k)), default=None)


def _grown(region: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(region.view(np.uint8), window) > 0)


def _part(
    rng: np.random.Generator, region: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns on one side of a line through a region, not always through its middle."""
    rows, columns = np.nonzero(region)
    angle = rng.uniform(0, np.pi)
    across = (rows - rows.mean()) * np.cos(angle) + (columns - columns.mean()) * np.sin(angle)
    beyond = across > rng.uniform(-0.7, 0.7) * across.std()
    return rows[beyond], columns[beyond]


def _speckle(rng: np.random.Generator, light: dict[str, _F32], gap: int) -> None:
    """Add specks of dye, which saturate a few pixels anywhere."""
    for channel, number in _SPECKS.items():
        size = len(light[channel])
        for x, y in rng.integers(0, size, (rng.poisson(number), 2)).tolist():
            radius = int(rng.integers(0, gap // 2 + 1))
            cv2.circle(light[channel], (x, y), radius, float(rng.uniform(0.5, 4)), cv2.FILLED)


def _expose(rng: np.random.Generator, light: _F32, gain: float) -> NDArray[np.uint8]:
    """Grey levels of one channel."""
    size = len(light)
    light = light.clip(0, None)  # a dark speck of a texture, over-exposed, is no light
    glow = cv2.resize(light.clip(None, 1.5), (MIN_SIZE, MIN_SIZE), interpolation=cv2.INTER_AREA)
    haze = cv2.resize(
        blur(np.asarray(glow, np.float32), 3), (size, size), interpolation=cv2.INTER_LINEAR
    )
    off_axis = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    falloff = 1 - 0.1 * (off_axis[:, None] + off_axis)
    signal = blur(light, size / 2500 * rng.uniform(0.7, 1.6)) + 0.08 * haze
    signal *= gain * max(rng.lognormal(0, 0.3), 0.75) * falloff
    noise = rng.standard_normal(light.shape, np.float32) * np.sqrt(1 + 0.25 * signal)
    grey: _F32 = np.rint(rng.uniform(-2, 1.5) + signal + noise).clip(0, 255)
    return grey.astype(np.uint8)


def _deepen(rng: np.random.Generator, grey: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Spread 8 bits over 16 so that ``(v + 128) // 257`` leads back."""
    deep = grey * np.int32(257) + rng.integers(-128, 129, grey.shape, np.int32)
    return np.asarray(deep.clip(0, 65535), np.uint16)
