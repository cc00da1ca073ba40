"""The file that may be meant, if a required file of an image is missing.

Context: a mask that existed as ``.tif`` was reported as missing, and people looked for a wrong
folder.  Decision: the names that other programs give to such files are made and looked up; the
folder's names are not compared.  Consequence: it takes as long in a folder of 100,000 names as in a
folder of five.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from typing import Final

from hpastore.vocabulary import CHANNELS

_RARE: Final = (
    ".ome.tif",
    ".ome.tiff",
    ".jpeg",
    ".bmp",
    ".PNG",
    ".TIF",
    ".TIFF",
    ".JPG",
    ".png.gz",
    ".tif.gz",
)
_IMAGE_SUFFIXES: Final = (".png", ".tif", ".tiff", ".jpg", *_RARE)
_MASK_SUFFIXES: Final = (".png", ".tif", ".tiff", ".npy", ".npz", ".jpg")
_MASK_INFIXES: Final = (
    *("_cell_mask", "_cellmask", "_cell_masks", "_mask", "_masks", "_label", "_labels"),
    *("_cp_masks", "_seg", "_nuclei_mask", "_nucleimask"),
)
"""Between an image's name and a mask's suffix; ``_cp_masks`` and ``_seg`` are from Cellpose."""

_MASK_ENDINGS: Final = (
    *(*_MASK_SUFFIXES, *_RARE, ".NPZ", ".NPY", ".mat"),
    *(infix + suffix for infix, suffix in product(_MASK_INFIXES, _MASK_SUFFIXES)),
)
_CHANNEL_ENDINGS: Final = {
    f"_{channel}.png": (
        *(f"_{channel}{suffix}" for suffix in _IMAGE_SUFFIXES),
        *(f"_{channel.capitalize()}{suffix}" for suffix in _IMAGE_SUFFIXES[:4]),
        *(f"_{channel.upper()}{suffix}" for suffix in _IMAGE_SUFFIXES[:4]),
    )
    for channel in CHANNELS
}


def nearest(expected: str, names: Collection[str]) -> str | None:
    """Find a file whose name is nearly that of a missing file.

    Parameters
    ----------
    expected
        Name of the missing file, without folders: ``{ID}_red.png`` or ``{ID}.npz``.
    names
        Of the files in its folder; a set, so that each look-up is fast.

    Returns
    -------
    str or None
        The same name with another ending or in another case; None if there is none.

    Examples
    --------
    >>> nearest("a_red.png", {"a_red.tif", "a_green.png"})
    'a_red.tif'
    >>> nearest("a.npz", {"a_mask.png"})
    'a_mask.png'
    """
    stem, endings = _split(expected)
    for ending in endings:
        name = stem + ending
        if name in names and name != expected:
            return name
    return None


def _split(expected: str) -> tuple[str, tuple[str, ...]]:
    """The image's name, and other endings of such a file."""
    for ending, others in _CHANNEL_ENDINGS.items():
        if expected.endswith(ending):
            return expected.removesuffix(ending), others
    return expected.rpartition(".")[0], _MASK_ENDINGS
