"""Read the pixels of stored images again, from the files that were ingested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from hpastore.errors import DamagedError, MissingFileError, RejectedError
from hpastore.model import FileRecord
from hpastore.reading import read_file
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Image, ImageFile
from hpastore.store import decoding


class StoredFile(NamedTuple):
    """The file of one channel of a stored image, as it was ingested."""

    image: str
    role: str
    path: Path
    uri: str
    sha256: str
    height: int
    width: int


COLUMNS: tuple[Any, ...] = (
    *(Image.name, Image.root, Image.height, Image.width),
    *(ImageFile.role, ImageFile.uri, ImageFile.sha256),
)
"""What `stored_files` reads of ``image`` and ``image_file``."""


def channel_files(
    connection: Connection, names: Sequence[str], channels: Sequence[str]
) -> dict[str, list[StoredFile]]:
    """Read the files of some images' channels, by the image's name."""
    statement = select(*COLUMNS).outerjoin(ImageFile, ImageFile.image_id == Image.id)
    return stored_files(connection, statement.where(Image.name.in_(names)), channels)


def stored_files(
    connection: Connection, statement: AnySelect, channels: Sequence[str]
) -> dict[str, list[StoredFile]]:
    """Read the files of images' channels.

    Parameters
    ----------
    connection
    statement
        Selects `COLUMNS`, with a row for an image without any file too.
    channels

    Returns
    -------
    dict of list of StoredFile
        By the image's name, in the order of the roles.

    Raises
    ------
    DamagedError
        If the file of a channel is not recorded, or its path is damaged.
    """
    found: dict[str, list[StoredFile]] = {}
    for row in connection.execute(statement.order_by(ImageFile.role)):
        files = found.setdefault(row.name, [])
        if row.role in channels:
            path = decoding.file_path(row.name, row.root, row.uri)
            files.append(
                StoredFile(row.name, row.role, path, row.uri, row.sha256, row.height, row.width)
            )
    for name, files in found.items():
        if missing := set(channels) - {file.role for file in files}:
            raise DamagedError(
                f"image {name}", f"the file of its channel {min(missing)} is not recorded"
            )
    return found


def read_pixels(files: Iterable[StoredFile]) -> dict[str, npt.NDArray[np.uint8]]:
    """Read channels, (H, W) uint8 each, if the files are those that were ingested.

    Raises
    ------
    RejectedError
        If a file is missing, cannot be read, has changed, or has another size than the image.

    Notes
    -----
    A store may come from another lab, and its paths may lead anywhere: data are spread over several
    disks.  Paths need not be restricted, since a file is decoded only if its bytes have the stored
    hash, so that the author of the store knew them.  Nothing of any other file is shown.
    """
    from hpastore.reading import decode_gray, to_uint8  # here, since stored_files needs no OpenCV

    channels = {}
    for file in files:
        data, record = _read(file)
        if record.sha256 != file.sha256:
            reason = "has changed since it was ingested; run 'hpastore ingest' first"
            raise RejectedError("changed", file.path, reason)
        pixels = to_uint8(decode_gray(data, file.path))
        if pixels.shape != (file.height, file.width):
            reason = (
                f"does not have the stored size {file.width} x {file.height}; run 'hpastore doctor'"
            )
            raise RejectedError("shape_mismatch", file.path, reason)
        channels[file.role] = pixels
    return channels


def _read(file: StoredFile) -> tuple[bytes, FileRecord]:
    try:
        return read_file(file.path, file.role, file.uri)
    except RejectedError as error:
        if error.code != "missing_file":
            raise
        raise MissingFileError(file.image, file.path) from None
