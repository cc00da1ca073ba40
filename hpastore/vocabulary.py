"""Channels, labels, names of images, stored codes and reasons, and words that users choose from."""

from __future__ import annotations

import re
from typing import Final, Literal

CHANNELS: Final = ("red", "green", "blue", "yellow")
"""Microtubules, the protein of interest, nucleus, endoplasmic reticulum."""

CELL_MASK: Final = "cell_mask"
NUCLEUS_MASK: Final = "nucleus_mask"
ROLES: Final = (*CHANNELS, CELL_MASK, NUCLEUS_MASK)
"""The roles of an image's files; ``nucleus_mask`` is optional."""

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
"""The 19 location labels of 2021, which a new store has by default; the index is the label's id."""

NEGATIVE: Final = 18
"""Of these 19, the label of cells that are dark by definition."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Valid names of images (``fullmatch``): no paths, no control characters."""

NAME_RULE: Final = "use 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first"
"""`NAME_PATTERN` in words."""

MAX_MASK_ID: Final = 2**32 - 1

FAILURE_CODES: Final = {
    "missing_file": "a channel or the cell mask is missing",
    "io": "the operating system could not read the file",
    "changed": "the file changed each time it was read",
    "too_large": "the file or the image exceeds a limit",
    "not_png": "the file is not a PNG, despite its name",
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
    "memory": "the image needs more memory than is available",
    "name": "the image's name contains a path or invalid characters",
    "label": "a label is missing, or is not the id of one of the store's classes",
    "column": "a kept column of the table holds more than 1,000 characters",
    "duplicate": "two rows differ in labels or kept columns, or two names differ only in case",
    "conflict": "another root has a different image of this name",
    "worker_crash": "the image crashed several worker processes",
    "timeout": "the image took longer than the time limit",
    "measure": "a custom measure fails on a cell",
    "error": "hpastore failed on the image because of a bug",
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
"""What users should know about an image that was stored nevertheless."""

BINARY_MASKS: Final = ("keep", "components")
NUCLEUS_MATCHES: Final = ("id", "overlap")

BinaryMask = Literal["keep", "components"]
"""How a mask of one value is read: as one cell, or each of its connected parts as a cell."""

NucleusMatch = Literal["id", "overlap"]
"""Which cell a nucleus belongs to: the cell with its id, or the cell that holds most of it."""

REASONS: Final = (
    "override_keep",
    "override_drop",
    "no_channel",
    "no_background",
    "no_value",
    "dark",
    "no_threshold",
    "below_lower",
    "above_upper",
    "kept_best",
)
"""Reasons of verdicts; further reasons are names of rules."""

ORPHANS: Final = {
    "mask_without_image": "a mask without an image",
    "image_without_label": "an image without a row in the table",
    "label_without_image": "a row of the table without a channel or a cell mask",
    "spare_file": "a second mask of its image, or a broken link",
}
"""Kinds of inputs that belong to no image; they are counted, not rejected."""


Channel = Literal["red", "green", "blue", "yellow"]
"""One of `CHANNELS`."""

Scope = Literal["single", "all"]
"""Whether only images with one label are judged, or each cell against each label of its image."""

Guard = Literal["report", "keep"]
"""What happens where an image would lose all its cells for a label."""

SmallLabels = Literal["nothing", "image", "all"]
"""What stands in for a label with too few cells to take a bound from."""

LabelSections = Literal["change", "replace"]
"""Whether the rules of a single label change those of all labels, or replace them."""

Multilabel = Literal["expand", "skip", "multihot"]
"""What becomes of a cell with several labels in an export."""

ChannelFiles = Literal["composite", "list"]
"""Whether annotations name one file per image, or its channel files."""

ImageFormat = Literal["png", "jpg"]
"""The format of composites."""

ChannelOrder = Literal["rgb", "bgr"]
"""The order of colours in composites."""

CsvLayout = Literal["clean_cell", "clean_cell_live", "notebook"]
"""The columns of an exported CSV."""

Which = Literal[
    "all", "kept", "dropped", "below", "above", "near-lower", "near-upper", "dropped-by"
]
"""Which cells a gallery shows."""
