"""Errors of a segmentation, planted in masks: neighbours that become one cell, cells cut in two."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.runtime.opencv import cv2
from scripts.benchmark.real import Mask

MAX_GAP: Final = 25
"""Largest distance of two cells that are merged, in pixels."""

CUT_GAP: Final = 6
"""Pixels that every other cut leaves between its halves, in an image of 2048 rows."""

SHARES: Final = (0.3, 0.7)
"""Of a cell's pixels, on one side of a cut."""

MERGES: Final = 6
"""At most one merged pair for so many cells that show a nucleus."""

CUTS: Final = 4
"""One cut for so many cells that show a nucleus."""

NUCLEUS: Final = (0.5, 1.8)
"""Smallest and largest nucleus that counts as one, in the image's median nuclei."""

SECOND: Final = 0.33
"""Largest second piece of a cell that shows one nucleus, in the image's median nuclei."""

CONTRAST: Final = 1.5
"""How many times as bright in blue a nucleus is as the rest of its cell."""


class Cut(NamedTuple):
    """A cell that was cut."""

    halves: tuple[int, int]
    """Their ids."""
    has_gap: bool
    """Whether background lies between them."""


class Planted(NamedTuple):
    """A mask with errors."""

    mask: Mask
    merged: tuple[int, ...] = ()
    """Ids of cells that were two."""
    cuts: tuple[Cut, ...] = ()

    @property
    def touched(self) -> set[int]:
        """Ids of all cells that are not as they were."""
        return {*self.merged, *(half for cut in self.cuts for half in cut.halves)}


def plant(mask: Mask, candidates: Collection[int], rng: np.random.Generator) -> Planted:
    """Merge neighbours and cut cells at random; no cell suffers both.

    Parameters
    ----------
    mask
        Stays as it is.
    candidates
        Ids that may be merged or cut.
    rng
    """
    planted = mask.copy()
    free = set(candidates)
    merged: list[int] = []
    pairs = neighbours(mask, free)
    for place in rng.permutation(len(pairs)):
        one, other = pairs[place]
        if one in free and other in free and len(merged) < max(1, len(candidates) // MERGES):
            merge(planted, one, other)
            merged.append(one)
            free -= {one, other}

    cuts = []
    chosen = rng.permutation(sorted(free))[: max(1, len(candidates) // CUTS)]
    for number, cell in enumerate(chosen.tolist()):
        new = int(mask.max()) + 1 + number
        gap = CUT_GAP * mask.shape[0] / 2048 if number % 2 else 0.0
        cut(planted, cell, new, gap, rng)
        cuts.append(Cut((cell, new), has_gap=gap > 0))
    return Planted(planted, tuple(merged), tuple(cuts))


def with_one_nucleus(mask: Mask, blue: npt.NDArray[np.uint8]) -> set[int]:
    """Find the cells that show one nucleus, by a plain segmentation that is none of hpastore's.

    Blue is blurred, and Otsu's level of a cell's own pixels tells light from dark.  The largest
    connected piece of light is the nucleus: `CONTRAST` times as bright as the rest of the cell, and
    of a size within `NUCLEUS`, while no other piece exceeds `SECOND`.
    """
    ids, areas = np.unique(mask[mask > 0], return_counts=True)
    if not len(ids):
        return set()
    blurred: npt.NDArray[Any] = cv2.GaussianBlur(
        blue, (0, 0), 0.02 * float(np.median(areas)) ** 0.5
    )
    pieces = {int(cell): _pieces(mask == cell, blurred) for cell in ids}
    usual = np.median([sizes[0] for sizes, _ in pieces.values()])
    return {
        cell
        for cell, (sizes, contrast) in pieces.items()
        if NUCLEUS[0] * usual <= sizes[0] <= NUCLEUS[1] * usual
        and sizes[1] <= SECOND * usual
        and contrast >= CONTRAST
    }


def neighbours(mask: Mask, cells: Collection[int]) -> list[tuple[int, int]]:
    """Find the pairs of some cells that lie at most `MAX_GAP` apart, from pixel to pixel."""
    disc = _disc(MAX_GAP)
    found = set()
    for cell in cells:
        crop = mask[_box(mask == cell, MAX_GAP)]
        reached = cv2.dilate((crop == cell).astype(np.uint8), disc) > 0
        others = set(np.unique(crop[reached]).tolist()) & set(cells) - {cell}
        found |= {(min(cell, other), max(cell, other)) for other in others}
    return sorted(found)


def merge(mask: Mask, one: int, other: int) -> None:
    """Give two cells the id of the one, and the background between them too."""
    box = _box((mask == one) | (mask == other), MAX_GAP)
    crop = mask[box]
    both = ((crop == one) | (crop == other)).astype(np.uint8)
    # Closed with a border of its own: at the image's edge nothing is filled but gaps.
    padded = cv2.copyMakeBorder(both, *4 * (MAX_GAP,), cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(MAX_GAP))
    inner = closed[MAX_GAP:-MAX_GAP, MAX_GAP:-MAX_GAP] > 0
    crop[inner & ((crop == 0) | (crop == other))] = one


def cut(mask: Mask, cell: int, new: int, gap: float, rng: np.random.Generator) -> None:
    """Cut a cell along a straight line at a random angle; what lies beyond becomes a new cell."""
    rows, columns = np.nonzero(mask == cell)
    angle = rng.uniform(0, np.pi)
    distances = columns * np.cos(angle) + rows * np.sin(angle)
    line = np.quantile(distances, rng.uniform(*SHARES))
    beyond = distances > line
    mask[rows[beyond], columns[beyond]] = new
    between = np.abs(distances - line) < gap / 2
    mask[rows[between], columns[between]] = 0


def _pieces(cell: npt.NDArray[np.bool_], blue: npt.NDArray[Any]) -> tuple[list[int], float]:
    """Sizes of a cell's two largest pieces of light, and how bright the largest one is."""
    box = _box(cell, 0)
    inside, light = cell[box], blue[box]
    level, _ = cv2.threshold(light[inside].reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    bright = (inside & (light > level)).astype(np.uint8)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(bright)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    rest = inside & (bright == 0)
    if not len(sizes) or not rest.any():  # all of one level
        return [0, 0], 0.0
    nucleus = pieces == 1 + int(np.argmax(sizes))
    contrast = float(light[nucleus].mean()) / max(1.0, float(light[rest].mean()))
    return [*sorted(sizes.tolist(), reverse=True), 0][:2], contrast


def _box(cell: npt.NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    rows = np.flatnonzero(cell.any(axis=1))
    columns = np.flatnonzero(cell.any(axis=0))
    return (
        slice(max(0, rows[0] - margin), rows[-1] + margin + 1),
        slice(max(0, columns[0] - margin), columns[-1] + margin + 1),
    )


def _disc(radius: int) -> Any:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
