"""Read the pixels of stored images again, from the files that were ingested."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, exists, select

from hpastore.errors import DamagedError, MissingFileError, RejectedError
from hpastore.model import FileRecord
from hpastore.reading import read_file
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Image, ImageChannel, ImageFile
from hpastore.store import decoding
from hpastore.text import count_text, short_list

logger = logging.getLogger(__name__)


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
    """Read the files of channels that a figure shows, by the image's name.

    Warns of images that lack one.
    """
    statement = select(*COLUMNS).outerjoin(ImageFile, ImageFile.image_id == Image.id)
    found = stored_files(connection, statement.where(Image.name.in_(names)), channels)
    present = {name: [file.role for file in files] for name, files in found.items()}
    warn_of_missing_channels(present, channels, "which is drawn black")
    return found


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
        By the image's name, in the order of the roles; without those of channels that an image
        does not have.

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
    if any(len(files) < len(channels) for files in found.values()):
        _refuse_unrecorded(connection, found, channels)
    return found


def _refuse_unrecorded(
    connection: Connection, names: Collection[str], channels: Sequence[str]
) -> None:
    """Refuse an image that has one of these channels without its file."""
    of_channel = and_(ImageFile.image_id == Image.id, ImageFile.role == ImageChannel.channel)
    statement = select(Image.name, ImageChannel.channel).join(ImageChannel)
    statement = statement.where(ImageChannel.channel.in_(channels), ~exists().where(of_channel))
    for name, channel in connection.execute(statement.order_by(Image.name, ImageChannel.channel)):
        if name in names:
            raise DamagedError(
                f"image {name}", f"the file of its channel {channel} is not recorded"
            )


def warn_of_missing_channels(
    present: Mapping[str, Collection[str]], channels: Sequence[str], consequence: str
) -> None:
    """Warn of images that lack a channel.

    Parameters
    ----------
    present
        The channels that each image has, by its name.
    channels
        Those that are looked for.
    consequence
        What becomes of such a channel, such as: which is drawn black.
    """
    lacking = []
    for name, found in present.items():
        if missing := [channel for channel in channels if channel not in found]:
            lacking.append(f"{name} ({', '.join(missing)})")
    if lacking:
        images = count_text(len(lacking), "image lacks", "images lack")
        logger.warning("%s a channel, %s: %s", images, consequence, short_list(lacking))


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
