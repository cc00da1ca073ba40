"""The words of the trade: channels, labels, names of images, and the codes and reasons that are stored."""

from __future__ import annotations

import re
from typing import Final, Literal

from hpastore.errors import UsageError

CHANNELS: Final = ("red", "green", "blue", "yellow")
"""Microtubules, the protein of interest, nucleus, endoplasmic reticulum."""

CELL_MASK: Final = "cell_mask"
NUCLEUS_MASK: Final = "nucleus_mask"
ROLES: Final = (*CHANNELS, CELL_MASK, NUCLEUS_MASK)
"""What a file can be to an image; ``nucleus_mask`` is optional."""

LABEL_NAMES: Final = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Intermediate filaments",
    "Actin filaments",
    "Microtubules",
    "Mitotic spindle",
    "Centrosome",
    "Plasma membrane",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Vesicles and punctate cytosolic patterns",
    "Negative",
)
"""The 19 location labels; the index is the label's id."""

NEGATIVE: Final = 18
"""The label whose cells are meant to be dark."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What an image may be called (``fullmatch``): no path, no control character."""

NAME_RULE: Final = "use 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first"
"""`NAME_PATTERN` in words."""

MAX_MASK_ID: Final = 2**32 - 1

FAILURE_CODES: Final = {
    "missing_file": "a channel or the cell mask is not there",
    "io": "the operating system could not read the file",
    "changed": "the file changed each time that it was read",
    "too_large": "the file or the image exceeds a limit",
    "not_png": "the file is not a PNG, whatever its name says",
    "png": "the PNG is damaged or cut short",
    "animated": "the PNG is animated",
    "bit_depth": "the PNG has neither 8 nor 16 bits per pixel",
    "not_gray": "the PNG has colours, a palette of colours, or transparent pixels",
    "not_mask": "the mask file is damaged or not a mask",
    "pickle": "the mask file holds Python objects",
    "dtype": "the mask does not hold integers",
    "label_range": "a mask id is negative or above 4294967295",
    "too_many_cells": "the mask holds more than 65535 cells",
    "nucleus_ids": "most nuclei lie outside of the cells whose ids they have",
    "shape_mismatch": "the files of one image differ in width and height",
    "depth_mismatch": "the channels of one image differ in bit depth",
    "memory": "the image needs more memory than there is",
    "name": "the image's name holds a path or odd characters",
    "label": "a label is missing or outside 0..18",
    "duplicate": "the image has two rows with different labels, or its name equals another but for case",
    "conflict": "another root has another image of this name",
    "worker_crash": "worker processes died on the image again and again",
    "timeout": "the image took longer than a worker may take",
    "measure": "a measure that a user added fails on a cell",
    "error": "hpastore failed on the image in a way that nobody expected",
}
"""Why an image can be rejected."""

NOTE_CODES: Final = {
    "empty_mask": "the cell mask is empty",
    "empty_nucleus_mask": "the nucleus mask is empty, and the cell mask is not",
    "no_background": "the cells cover the whole image",
    "binary_mask": "the cell mask has one id in several pieces, or is 0 and 255",
    "mask_in_pieces": "the ids of a mask lie in many pieces, as after a resize that blends them",
    "few_levels": "the channels have 16 bits and use less than a sixteenth of the levels",
    "stray_nuclei": "a few nuclei lie outside of the cells whose ids they have",
    "nuclei_without_cell": "nuclei that were matched by overlap lie in no cell",
}
"""What people should know of an image that was stored all the same."""

BINARY_MASKS: Final = ("keep", "components")
NUCLEUS_MATCHES: Final = ("id", "overlap")

BinaryMask = Literal["keep", "components"]
"""How a mask of one value is read: as one cell, or each of its connected parts as a cell."""

NucleusMatch = Literal["id", "overlap"]
"""Which cell a nucleus belongs to: the cell with its id, or the cell that holds most of it."""

REASONS: Final = (
    "override_keep",
    "override_drop",
    "no_background",
    "no_value",
    "dark",
    "no_threshold",
    "below_lower",
    "above_upper",
    "kept_best",
)
"""Why a verdict is as it is; others are names of rules."""

ORPHANS: Final = {
    "mask_without_image": "a mask without an image",
    "image_without_label": "an image without a row in the table",
    "label_without_image": "a row of the table without a channel or a cell mask",
    "spare_file": "a second mask of its image, or a link to nothing",
}
"""What inputs can be that belong to no image; they are counted, not rejected."""


def require_label(label: int) -> None:
    """Refuse an id that is no label's.

    Raises
    ------
    UsageError
    """
    if not 0 <= label < len(LABEL_NAMES):
        raise UsageError(f"no label {label}; ids go from 0 to {len(LABEL_NAMES) - 1}")
