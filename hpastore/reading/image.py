"""Decode all files of one image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpastore.errors import RejectedError
from hpastore.model import Decoded, FileRecord, FileStamp, Source
from hpastore.reading.files import read_file
from hpastore.reading.mask import Mask, decode_mask
from hpastore.reading.png import decode_gray, to_uint8
from hpastore.vocabulary import CELL_MASK, CHANNELS, NUCLEUS_MASK, ROLES


def decode(source: Source, root: Path) -> Decoded:
    """Read each file of an image once, and check that they belong together.

    What has another size is never resized.  A transposed mask is refused where the image is not
    square; in a square image it cannot be noticed.

    Parameters
    ----------
    source
        The image; each file's path is ``root / uri``.
    root
        The folder of relative uris.

    Returns
    -------
    Decoded
        Grey levels 0..255 whatever the bit depth of the files.

    Raises
    ------
    RejectedError
        ``missing_file`` without all four channels and a cell mask; ``shape_mismatch`` or
        ``depth_mismatch`` between the files; ``memory``; or what is wrong with one file.
    """
    stamps = {stamp.role: stamp for stamp in source.files}
    missing = [role for role in (*CHANNELS, CELL_MASK) if role not in stamps]
    if missing:
        reason = f"has no {', '.join(missing)}; an image has four channels and a cell mask"
        raise RejectedError("missing_file", root / source.name, reason)
    try:
        return _decode([stamps[role] for role in ROLES if role in stamps], root)
    except MemoryError as error:
        reason = "needs more memory than there is; use fewer workers"
        raise RejectedError("memory", root / source.name, reason) from error


def read_channel(path: Path) -> npt.NDArray[np.uint8]:
    """Read one channel again as (H, W) uint8; raises the errors of `decode`."""
    data, _ = read_file(path, "", path.name)
    return to_uint8(decode_gray(data, path))


def _decode(stamps: list[FileStamp], root: Path) -> Decoded:
    channels: dict[str, npt.NDArray[np.uint8]] = {}
    masks: dict[str, Mask] = {}
    records: list[FileRecord] = []
    first = root / stamps[0].uri
    shape: tuple[int, ...] = ()
    depth = largest = 0
    for stamp in stamps:
        path = root / stamp.uri
        data, record = read_file(path, stamp.role, stamp.uri)
        records.append(record)
        if stamp.role in CHANNELS:
            channel = decode_gray(data, path)
            shape = shape or channel.shape
            depth = depth or channel.itemsize * 8
            _check_shape(channel.shape, path, shape, first)
            if channel.itemsize * 8 != depth:
                reason = f"has {channel.itemsize * 8} bits per pixel, but {first.name} has {depth}"
                raise RejectedError(
                    "depth_mismatch", path, f"{reason}; save all channels with the same"
                )
            largest = max(largest, int(channel.max()))
            channels[stamp.role] = to_uint8(channel)
        else:
            masks[stamp.role] = decode_mask(data, path)
            _check_shape(masks[stamp.role].shape, path, shape, first)
    nuclei = masks.get(NUCLEUS_MASK)
    return Decoded(channels, depth, masks[CELL_MASK], nuclei, tuple(records), largest)


def _check_shape(found: tuple[int, ...], path: Path, shape: tuple[int, ...], first: Path) -> None:
    if found != shape:
        reason = f"is {found[1]} x {found[0]} pixels, but {first.name} is {shape[1]} x {shape[0]}"
        raise RejectedError("shape_mismatch", path, f"{reason}; files of one image have one size")
