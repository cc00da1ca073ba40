"""Small drawn images that every kernel meets, and random ones for the properties."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hpastore.model import Decoded
from hpastore.vocabulary import CHANNELS

Mask = npt.NDArray[np.integer]
Pixels = npt.NDArray[np.uint8]

IDS: Final = {".": 0, **{str(i): i for i in range(1, 10)}, "A": 300, "Z": 4_000_000_000}
"""The mask id of each character of a drawing."""

many = settings(deadline=None, max_examples=200)
"""How often a property is tried; without a deadline, since machines differ."""


@dataclass(frozen=True)
class Picture:
    """One image; `nucleus_mask` may be None, channels are by the names of `CHANNELS`."""

    cell_mask: Mask
    channels: dict[str, Pixels]
    nucleus_mask: Mask | None = None

    @property
    def decoded(self) -> Decoded:
        return Decoded(self.channels, 8, self.cell_mask, self.nucleus_mask, ())

    def with_mask(self, cell_mask: Mask) -> Picture:
        return replace(self, cell_mask=cell_mask)


def drawn(text: str) -> Mask:
    """A mask from lines of characters, see `IDS`."""
    return np.array([[IDS[character] for character in line] for line in text.split()])


def painted(mask: Mask) -> dict[str, Pixels]:
    """Noise in red, a ramp in green, one level in blue; in yellow, cells at 255 on black."""
    height, width = mask.shape
    ramp = 31 * np.arange(height)[:, None] + 7 * np.arange(width)
    return {
        "red": np.random.default_rng(0).integers(0, 256, mask.shape).astype(np.uint8),
        "green": (ramp % 256).astype(np.uint8),
        "blue": np.full(mask.shape, 7, np.uint8),
        "yellow": np.where(mask > 0, 255, 0).astype(np.uint8),
    }


def spiral(side: int) -> Mask:
    """One cell, one pixel wide, that winds inwards with a gap of one pixel."""
    mask = np.zeros((side, side), np.int64)
    row = column = 0
    step_row, step_column = 0, 1
    lengths = [side - 1, *(n for n in range(side - 1, 0, -2) for _ in range(2))]
    mask[0, 0] = 1
    for length in lengths:
        for _ in range(length):
            row, column = row + step_row, column + step_column
            mask[row, column] = 1
        step_row, step_column = step_column, -step_row
    return mask


def comb(teeth: int, length: int) -> Mask:
    """One cell: horizontal teeth that only meet in the last column."""
    mask = np.zeros((2 * teeth - 1, length), np.int64)
    mask[::2] = 1
    mask[:, -1] = 1
    return mask


def checkerboard(height: int, width: int) -> Mask:
    """Cells 1 and 2 in turn: no pixel of background, and each run is one pixel long."""
    row, column = np.indices((height, width))
    return 1 + (row + column) % 2


def single_pixels(cells: int, shape: tuple[int, int]) -> Mask:
    """Cells 1, 2, ... of one pixel each, scattered over the image."""
    ids = np.zeros(shape[0] * shape[1], np.int64)
    ids[:cells] = np.arange(1, cells + 1)
    return np.random.default_rng(0).permutation(ids).reshape(shape)


_MASKS: Final = {
    "no cell": drawn("..... ..... ....."),
    "one pixel": drawn("..... ..3.. ....."),
    "a cell that is the image": drawn("1"),
    "the whole image": drawn("5555 5555 5555"),
    "no background": drawn("1122 1122 3322"),
    "touching each border": drawn("..1.. ..... 2...3 ..... ..4.."),
    "touching no border": drawn("..... .11.. .112. ....."),
    "labels with gaps": drawn("2.2..7 2.2..7 ...... AA..ZZ"),
    "a hole": drawn(".111. .1.1. .111."),
    "a cell within a cell": drawn("11111 1...1 1.2.1 1...1 11111"),
    "two pieces": drawn("11... 11... ...11 ...22"),
    "pieces that meet at a corner": drawn("1..2 .12. .21. 2..1"),
    "a run that wraps from column to column": drawn(".1. ... ... 1.."),
    "runs that wrap over whole columns": drawn(".1112 .1112 .1112 11122"),
    "only the last row and column of its box": drawn("..... ...1. .111. ....."),
    "an L": drawn("1... 1..2 1..2 1112"),
    "one row": drawn("11.122.21"),
    "one column": drawn("1 1 . 1 2 2 . 2 1"),
    "two columns": drawn("12 12 .2 1."),
    "every other column": drawn("1.1.1 1.1.1 .2.2. .2.2."),
    "spiral": spiral(11),
    "comb": comb(4, 9),
    "comb on end": comb(4, 9).T,
    "checkerboard": checkerboard(7, 8),
    "three hundred cells": single_pixels(300, (18, 20)),
}

_NUCLEI: Final = {
    "a cell within a cell": drawn("..... ..... ..2.. ..... ....."),
    "two pieces": drawn("1.... ..... ...99 ...2."),
    "no cell": drawn("..... ..3.. ....."),
    "labels with gaps": drawn("2....7 ...... ...... A....Z"),
}

GALLERY: Final = {
    name: Picture(mask, painted(mask), _NUCLEI.get(name)) for name, mask in _MASKS.items()
}

every_picture = pytest.mark.parametrize("picture", GALLERY.values(), ids=GALLERY.keys())

INTEGERS: Final = tuple(
    np.dtype(code) for code in ("i1", "u1", "i2", "u2", ">u2", "i4", "u4", ">i4", "i8", "u8")
)
"""Dtypes that a mask can have, both byte orders."""


@st.composite
def masks(draw: st.DrawFn, max_side: int = 12) -> Mask:
    """Masks of few ids, any integer dtype and either order in memory."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=max_side))
    ids = st.sampled_from((0, 1, 2, 5, 127))
    noise = arrays(draw(st.sampled_from(INTEGERS)), shape, elements=ids, fill=st.nothing())
    blobs = arrays(draw(st.sampled_from(INTEGERS)), shape, elements=ids)
    return np.asarray(draw(noise | blobs), order=draw(st.sampled_from("CF")))


@st.composite
def pictures(draw: st.DrawFn, max_side: int = 10) -> Picture:
    """Images with random channels, and nuclei in about half of them."""
    mask = draw(masks(max_side))
    levels = draw(arrays(np.uint8, (len(CHANNELS), *mask.shape)))
    nuclei = draw(
        st.none() | arrays(np.uint16, mask.shape, elements=st.sampled_from((0, 1, 5, 99)))
    )
    return Picture(mask, dict(zip(CHANNELS, levels, strict=True)), nuclei)
