"""The nuclei of cells, as blue shows them: their sizes, and how far outlines cut through them.

Context: shape tells a merged or a cut cell in one case of ten, its nuclei in nine, and most images
have no nucleus mask.  Decision: nuclear light is found in the blue channel and cut along the cells'
outlines, into pieces that each lie in one cell.  It is never taken from a nucleus mask, so that the
measures mean the same in every store.  Consequence: where blue does not tell, they are NULL.

Everything is done on a reduced image, in which cells are `REDUCED_SIDE` pixels wide whatever the
image's size.  Lengths are shares of the side of a cell: the square root of the median area.  Memory
depends on the pixels of the reduced image, not on cells times nuclei.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.kernels.histogram import LEVELS, joint_histogram
from hpastore.kernels.label_image import transpose
from hpastore.runtime.opencv import cv2

MEASURES: Final = ("nucleus_size", "second_nucleus", "nucleus_cut")

REDUCED_SIDE: Final = 56
"""Pixels of a cell's side to which images are reduced: a nucleus is then some 30 across, and what
is left of 2048 x 2048 takes a few milliseconds."""

MIN_SIDE: Final = 12
"""Pixels; of smaller cells the nuclei are 6 across, and the blur joins them to their neighbours."""

BLUR: Final = 0.021
"""Standard deviation of the blur, in sides: it removes nucleoli and noise, and keeps the gaps."""

NEIGHBOURHOOD: Final = 1.6
"""Side of the window of the local mean, in sides: a cell with what is around it."""

DARK_SHARE: Final = 0.02
"""Share of the image's pixels that are darker than what counts as no light."""

BRIGHT_SHARE: Final = 0.997
"""Share of the cells' pixels up to the level that counts as full light: the rest are specks."""

DIM: Final = 0.5
"""Nuclear light is at least so much of Otsu's level, if it stands out from its neighbourhood:
nuclei of one image differ several times in brightness."""

STANDS_OUT: Final = 1.12
"""How much brighter than the local mean a dim nucleus must be."""

CERTAIN: Final = 1.56
"""Light of so many times Otsu's level is nuclear, whatever lies around it."""

SPECK: Final = 0.036
"""Radius of the disc that must fit into nuclear light, in sides."""

HOLE: Final = 0.12
"""Dark spots in nuclear light that are smaller are filled; in squared sides."""

CORE: Final = 0.65
"""Nuclei that touch are split at necks: what is deeper than this share of the depth is a core."""

REACH: Final = 0.06
"""How far apart the pieces of two cells may lie and still be one nucleus that was cut; in sides.
Masks leave gaps of some 10 pixels at 2048 x 2048."""

SEAM: Final = 0.6
"""Light between two pieces of one nucleus is at least this share of the piece's mean: between two
nuclei that only touch it is darker."""

WHOLE_CUT: Final = 0.6
"""Nuclei with a longer cut, in diameters, are not taken into the median."""

WHOLE_SIZE: Final = 0.02
"""Nor are pieces that are smaller, in squared sides."""

FRAGMENT: Final = 0.25
"""Nor those below this share of the median of the others."""

MIN_EXPLAINED: Final = 0.5
"""Share of blue's variance inside cells that nuclear light must explain.  White noise
reaches 0.04, blurred noise 0.66, real images are between 0.70 and 0.78."""

MAX_AT_OUTLINES: Final = 0.7
"""How often pixels at the outlines of cells may be nuclear light, ÷ how often those in cells are.
Noise of any blur is at 0.83 and above, since it does not know the cells; real images are up to
0.10, and up to 0.57 where every cell is cut in two."""

_UNIT: Final = 256
"""Blurred light has as many steps per grey level, so that dim images keep theirs."""

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Light = npt.NDArray[np.float32]
_Rows = npt.NDArray[np.unsignedinteger]


class Reduced(NamedTuple):
    """A reduced image of (h, w) pixels."""

    rows: _Rows
    """(h, w); 0 is background, ``k + 1`` is the k-th cell."""
    blue: _Bytes
    """(h, w) grey levels, means of blocks."""
    side: float
    """Side of a cell in pixels of the reduced image."""


class Pieces(NamedTuple):
    """Pieces of nuclear light; P of them, each in one cell."""

    image: npt.NDArray[np.int32]
    """(h, w); 0 is none, ``p + 1`` is the p-th piece."""
    cell: _Ints
    """(P,) index of the cell."""
    area: _Ints
    """(P,) pixels."""


def nuclear_measures(rows: _Rows, blue: _Bytes | None, areas: _Ints) -> dict[str, _Floats]:
    """Measure the nuclei of all cells by their light.

    Parameters
    ----------
    rows : (H, W) unsigned
        0 is background, ``k + 1`` is the k-th cell.
    blue : (H, W) uint8, or None
        The channel of the nuclei.
    areas : (K,) int64
        Pixels of each cell, at least 1.

    Returns
    -------
    (K,) float64 arrays by the names of `MEASURES`
        All NaN where blue cannot tell: without the channel, where it is flat, where the cells are
        smaller than `MIN_SIDE`, where nuclear light explains too little of blue or lies at the
        outlines of cells as it does in them, or where no nucleus is whole.
    """
    unknown = {name: np.full(len(areas), np.nan) for name in MEASURES}
    if blue is None or not len(areas) or np.median(areas) < MIN_SIDE**2:
        return unknown
    reduced = reduce_image(rows, blue, float(np.sqrt(np.median(areas))))
    light = blurred_light(reduced)
    nuclear = nuclear_light(reduced, light)
    if explained_variance(reduced, nuclear) < MIN_EXPLAINED:
        return unknown
    if at_outlines(reduced, nuclear) > MAX_AT_OUTLINES:
        return unknown
    pieces = split_light(reduced, nuclear)
    cut = cut_lengths(pieces, nuclear, light, reduced.side)
    median = median_nucleus(pieces, cut, reduced.side)
    if np.isnan(median):
        return unknown
    largest, second = two_largest(pieces, len(areas))
    sizes = np.append(pieces.area, 0)
    return {
        "nucleus_size": sizes[largest] / median,
        "second_nucleus": sizes[second] / median,
        "nucleus_cut": np.append(cut, 0.0)[largest],
    }


def reduce_image(rows: _Rows, blue: _Bytes, side: float) -> Reduced:
    """Reduce an image by a whole factor, so that cells are about `REDUCED_SIDE` wide.

    Parameters
    ----------
    rows : (H, W) unsigned
        Of cells; each block of pixels gets the cell in its middle.
    blue : (H, W) uint8
        Each block gets its mean.
    side : float
        Of a cell, in pixels.

    Returns
    -------
    Reduced
        What does not fill a block at the last rows and columns is left out.
    """
    height, width = rows.shape
    factor = min(max(round(side / REDUCED_SIDE), 1), height, width)
    height, width = height // factor, width // factor
    middle = np.s_[factor // 2 :: factor]
    small_rows = np.ascontiguousarray(rows[middle, middle][:height, :width])
    small_blue: npt.NDArray[Any] = blue[: height * factor, : width * factor]
    if factor > 1:
        small_blue = np.asarray(
            cv2.resize(small_blue, (width, height), interpolation=cv2.INTER_AREA)
        )
    return Reduced(small_rows, small_blue, side / factor)


def blurred_light(reduced: Reduced) -> _Light:
    """Blue without noise and above what is dark in the image.

    Returns
    -------
    (h, w) float32
        Whole numbers, in 1 / 256 of a grey level.
    """
    fine = reduced.blue.astype(np.uint16) * np.uint16(_UNIT)
    blurred = cv2.GaussianBlur(fine, (0, 0), BLUR * reduced.side, borderType=cv2.BORDER_REFLECT)
    light = np.asarray(blurred, np.uint16)
    dark = np.uint16(_level_at(light.ravel(), DARK_SHARE))
    return np.asarray(np.maximum(light, dark) - dark, np.float32)


def nuclear_light(reduced: Reduced, light: _Light) -> _Bytes:
    """Find the pixels of nuclei, inside cells and outside.

    Parameters
    ----------
    reduced : Reduced
    light : (h, w) float32
        From `blurred_light`.

    Returns
    -------
    (h, w) uint8
        1 in nuclei, else 0; all 0 for a flat image.

    Notes
    -----
    The level is that of Otsu 1979, IEEE Trans. Syst. Man Cybern. 9, 62-66, of the square roots of
    the light in cells.  Nuclei are what is above it, or near it and brighter than what is around.
    """
    inside = light[reduced.rows > 0].astype(np.uint16)
    full = _level_at(inside, BRIGHT_SHARE) if len(inside) else 0
    if full == 0:
        return np.zeros(light.shape, np.uint8)
    roots = np.sqrt(np.minimum(light, full) * (255.0**2 / full)).astype(np.uint8)
    level, _ = cv2.threshold(roots[reduced.rows > 0].reshape(1, -1), 0, 255, cv2.THRESH_OTSU)
    window = int(NEIGHBOURHOOD * reduced.side) | 1
    around = cv2.boxFilter(light, -1, (window, window), borderType=cv2.BORDER_REFLECT)
    dim = (roots > level * np.sqrt(DIM)) & (light > STANDS_OUT * around)
    nuclear = (dim | (roots > level * np.sqrt(CERTAIN))).view(np.uint8)
    radius = round(SPECK * reduced.side)
    opened = np.asarray(cv2.morphologyEx(nuclear, cv2.MORPH_OPEN, _disc(radius)), np.uint8)
    return _without_holes(opened, HOLE * reduced.side**2)


def explained_variance(reduced: Reduced, nuclear: _Bytes) -> float:
    """Share of blue's variance inside cells that lies between nuclear light and other light.

    Returns
    -------
    float
        0..1, the correlation ratio of Fisher 1925; 0 where blue is of one level, or where all or
        nothing is nuclear.

    Notes
    -----
    Blue is taken before it is blurred: a level divides even noise into bright and dark, and
    explains 0.64 of it where it is blurred, but less than 0.04 where it is not.
    """
    kind = (reduced.rows > 0).view(np.uint8)
    kind += kind & nuclear  # 0 outside, 1 other light, 2 nuclear light
    counts = joint_histogram(kind, reduced.blue, 3)[1:]
    n, total = counts.sum(axis=1), counts @ np.arange(LEVELS)
    square = counts.sum(axis=0) @ np.arange(LEVELS) ** 2
    whole = square - total.sum() ** 2 / max(n.sum(), 1)
    if not n.all() or whole == 0:
        return 0.0
    between = n[0] * n[1] / n.sum() * (total[1] / n[1] - total[0] / n[0]) ** 2
    return float(between / whole)


def at_outlines(reduced: Reduced, nuclear: _Bytes) -> float:
    """How often pixels at the outlines of cells are nuclear light, ÷ how often all in cells are.

    Parameters
    ----------
    reduced : Reduced
    nuclear : (h, w) uint8
        From `nuclear_light`.

    Returns
    -------
    float
        0 where no light is in cells, or where no cell meets another or the background.

    Notes
    -----
    Nuclei lie within cells, and what looks like nuclei in noise lies anywhere.
    """
    inside = reduced.rows > 0
    outline = _beside_other(reduced.rows, cells_only=False)
    in_cells = np.count_nonzero(nuclear[inside])
    if not in_cells or not outline.any():
        return 0.0
    return float(nuclear[outline].mean() / (in_cells / np.count_nonzero(inside)))


def split_light(reduced: Reduced, nuclear: _Bytes) -> Pieces:
    """Split nuclear light into pieces: at the outlines of cells, and at necks.

    Parameters
    ----------
    reduced : Reduced
    nuclear : (h, w) uint8
        From `nuclear_light`.

    Returns
    -------
    Pieces
        Where two cells touch, one pixel on either side is in no piece.
    """
    touches = _beside_other(reduced.rows, cells_only=True)
    part = nuclear * ((reduced.rows > 0) & ~touches).view(np.uint8)
    parts = _components(part, connectivity=4)
    core = _components(_cores(part, parts), connectivity=8)
    count = int(core.max()) + 1
    where = np.flatnonzero(core)
    first = np.zeros(count, np.int64)
    first[core.ravel()[where[::-1]]] = where[::-1]
    part_of = parts.ravel()[first]
    part_of[0] = 0
    nearest = _nearest_core(core)
    image = np.where(part > 0, nearest, 0).astype(np.int32)
    # Across a narrow gap the core of another part can be nearer than any of this one.
    stray = np.flatnonzero(part_of[image].ravel() != parts.ravel())
    first_core = np.zeros(parts.max() + 1, np.int32)
    first_core[part_of[:0:-1]] = np.arange(count - 1, 0, -1)
    image.ravel()[stray] = first_core[parts.ravel()[stray]]
    area = np.bincount(image[image > 0], minlength=count)[1:]
    cell = reduced.rows.ravel()[first[1:]].astype(np.int64) - 1
    return Pieces(image, cell, area)


def cut_lengths(pieces: Pieces, nuclear: _Bytes, light: _Light, side: float) -> _Floats:
    """How long each piece runs along a piece of another cell, in diameters of a disc of its area.

    Parameters
    ----------
    pieces : Pieces
    nuclear, light : (h, w)
        From `nuclear_light` and `blurred_light`.
    side : float
        Of a cell, in pixels of the reduced image.

    Returns
    -------
    (P,) float64

    Notes
    -----
    Two pieces face each other in a row or column of pixels where they are at most `REACH` apart,
    and all that lies between is nuclear light of at least `SEAM` of a piece's mean.  With r rows
    and c columns the length is ``sqrt(r² + c²)``, that of a straight cut.
    """
    count = len(pieces.area)
    flat = pieces.image.ravel()
    total = np.bincount(flat[flat > 0], light.ravel()[flat > 0], count + 1)[1:]
    needed = SEAM * total / pieces.area
    reach = max(round(REACH * side), 3)  # 3: one pixel on either side is in no piece
    rows = _facing(pieces, pieces.image, nuclear, light, needed, reach)
    columns = _facing(
        pieces, transpose(pieces.image), transpose(nuclear), transpose(light), needed, reach
    )
    return np.asarray(np.hypot(rows, columns) / (2 * np.sqrt(pieces.area / np.pi)))


def median_nucleus(pieces: Pieces, cut: _Floats, side: float) -> float:
    """Median area of the nuclei that are whole.

    Parameters
    ----------
    pieces : Pieces
    cut : (P,) float64
        From `cut_lengths`.
    side : float
        Of a cell, in pixels of the reduced image.

    Returns
    -------
    float
        Pixels of the reduced image; NaN if there is none.
    """
    image = pieces.image
    whole = (cut < WHOLE_CUT) & (pieces.area > WHOLE_SIZE * side**2)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        whole[edge[edge > 0] - 1] = False
    sizes = pieces.area[whole]
    if not len(sizes):
        return float("nan")
    return float(np.median(sizes[sizes > FRAGMENT * np.median(sizes)]))


def two_largest(pieces: Pieces, cells: int) -> tuple[_Ints, _Ints]:
    """Index of the largest and the second largest piece of each cell.

    Parameters
    ----------
    pieces : Pieces
    cells : int
        K.

    Returns
    -------
    largest, second
        (K,) int64; P where a cell has no such piece.
    """
    largest = np.full(cells, len(pieces.area))
    second = largest.copy()
    order = np.lexsort((-pieces.area, pieces.cell))
    cell = pieces.cell[order]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    largest[cell[first]] = order[first]
    after = first[first + 1 < len(cell)] + 1
    after = after[cell[after] == cell[after - 1]]
    second[cell[after]] = order[after]
    return largest, second


def _level_at(values: npt.NDArray[np.uint16], share: float) -> int:
    """The value below which lies a share of the values.

    Numbers of 16 bits are sorted in a tenth of the time that a partition takes.
    """
    return int(np.sort(values, kind="stable")[int(share * (len(values) - 1))])


def _disc(radius: int) -> _Bytes:
    """1 in a disc, else 0; OpenCV's own is another one where it is turned."""
    distance = np.arange(-radius, radius + 1) ** 2
    return (distance[:, None] + distance <= radius**2 + radius).view(np.uint8)


def _without_holes(nuclear: _Bytes, size: float) -> _Bytes:
    """Fill what is dark and has fewer pixels than `size`."""
    _, found, stats, _ = cv2.connectedComponentsWithStats(1 - nuclear, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < size
    small[0] = False  # the nuclei
    return np.asarray(nuclear | small[np.asarray(found)].view(np.uint8))


def _components(image: _Bytes, connectivity: int) -> npt.NDArray[np.int32]:
    """Number the pieces of what is 1, from 1 on."""
    _, found = cv2.connectedComponents(image, connectivity=connectivity, ltype=cv2.CV_32S)
    return np.asarray(found, np.int32)


def _beside_other(rows: _Rows, *, cells_only: bool) -> npt.NDArray[np.bool_]:
    """Whether a pixel of a cell has beside it one of another cell, or of the background too."""
    beside = np.zeros(rows.shape, np.bool_)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = rows[here] != rows[there]
        if cells_only:
            differ &= (rows[here] > 0) & (rows[there] > 0)
        beside[here] |= differ
        beside[there] |= differ
    return beside & (rows > 0)


def _cores(part: _Bytes, parts: npt.NDArray[np.int32]) -> _Bytes:
    """1 where a part is deeper than `CORE` of its own depth; the image's edge has no depth."""
    padded = cv2.copyMakeBorder(part, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5))[1:-1, 1:-1]
    inside = np.flatnonzero(parts)
    of_part, depths = parts.ravel()[inside], depth.ravel()[inside]
    deepest = np.zeros(parts.max() + 1, np.float32)
    np.maximum.at(deepest, of_part, depths)
    cores = np.zeros(part.shape, np.uint8)
    cores.ravel()[inside] = depths > np.float32(CORE) * deepest[of_part]
    return cores


def _nearest_core(core: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Number of the core that is nearest to each pixel."""
    _, nearest = cv2.distanceTransformWithLabels(
        (core == 0).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    number = np.zeros(nearest.max() + 1, np.int32)  # OpenCV numbers the cores anew
    number[nearest[core > 0]] = core[core > 0]
    return np.asarray(number[nearest])


def _facing(
    pieces: Pieces,
    image: npt.NDArray[np.int32],
    nuclear: _Bytes,
    light: _Light,
    needed: _Floats,
    reach: int,
) -> _Ints:
    """Count the places in rows of pixels where each piece faces one of another cell, (P,)."""
    width = image.shape[1]
    flat, lit = image.ravel(), light.ravel()
    where = np.flatnonzero(flat)
    near = np.flatnonzero((np.diff(where) > 1) & (np.diff(where) <= reach))
    left, right = where[near], where[near + 1]
    a, b = flat[left] - 1, flat[right] - 1
    apart = (left // width == right // width) & (pieces.cell[a] != pieces.cell[b])
    left, right, a, b = left[apart], right[apart], a[apart], b[apart]
    path = np.minimum(left[:, None] + np.arange(reach + 1), right[:, None])
    joined = (nuclear.ravel()[path] > 0).all(axis=1)
    darkest = lit[path].min(axis=1)
    count = len(pieces.area)
    return np.bincount(a[joined & (darkest >= needed[a])], minlength=count) + np.bincount(
        b[joined & (darkest >= needed[b])], minlength=count
    )
