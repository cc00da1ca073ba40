"""Files in, arrays out: the only layer that opens an image, a mask or a table of labels.

Files come from many hands, so each reader is strict, bounded and hashed: it reads a file once,
checks its structure before it allocates what the file announces, and either returns exactly what
the file holds or raises `RejectedError` with a code and what to do.  There is no lenient mode.
Decoders that forgive (cv2 on a JPEG called ``.png``, Pillow on half an image, numpy on a pickle)
give numbers that look right; a failure row does not.

`decode` reads an image, `read_labels` the table of labels; the other functions are their parts.
Names are imported when they are first used: who asks for a folder or a table needs no image
library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpastore.reading.files import MAX_FILE_BYTES, read_file
    from hpastore.reading.image import decode, read_channel
    from hpastore.reading.labels import LabelTable, read_labels
    from hpastore.reading.limits import MAX_CELLS, MAX_PIXELS, MAX_SIDE
    from hpastore.reading.mask import decode_mask
    from hpastore.reading.png import decode_gray, to_uint8

_HOMES = {
    "decode": "image",
    "read_channel": "image",
    "read_file": "files",
    "decode_gray": "png",
    "to_uint8": "png",
    "decode_mask": "mask",
    "read_labels": "labels",
    "LabelTable": "labels",
    "MAX_FILE_BYTES": "files",
    "MAX_SIDE": "limits",
    "MAX_PIXELS": "limits",
    "MAX_CELLS": "limits",
}

__all__ = [
    "decode",
    "read_channel",
    "read_file",
    "decode_gray",
    "to_uint8",
    "decode_mask",
    "read_labels",
    "LabelTable",
    "MAX_FILE_BYTES",
    "MAX_SIDE",
    "MAX_PIXELS",
    "MAX_CELLS",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpastore.reading' has no attribute {name!r}")
    value = getattr(import_module(f"hpastore.reading.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
