"""The images that the annotations name, as trainers read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.arguments import expanded, require_choice
from hpastore.errors import RejectedError
from hpastore.export.files import file_name
from hpastore.export.manifest import Counts, Written
from hpastore.export.pipeline import ImageCounter, Problem, Snapshot, export_folder
from hpastore.export.selection import ExportOptions, annotated_images
from hpastore.render.channels import rgb
from hpastore.runtime.opencv import cv2
from hpastore.store import export_rows
from hpastore.store.engine import Store
from hpastore.store.pixels import StoredFile, read_pixels, warn_of_missing_channels
from hpastore.vocabulary import ChannelOrder, ImageFormat

_CHANNELS: Final = ("red", "green", "blue")
"""What a picture shows; the other channels are not read, and their files may be missing."""

_JPEG_QUALITY: Final = 95


class _Task(NamedTuple):
    """One image to write: its target's name, its size, and its channels."""

    file_name: str
    height: int
    width: int
    files: tuple[StoredFile, ...]


def export_images(
    store: Store,
    out: Path | str,
    options: ExportOptions | None = None,
    *,
    image_format: ImageFormat = "png",
    channel_order: ChannelOrder = "rgb",
    jobs: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write each image of an export as one RGB picture: microtubules, protein and nucleus.

    A channel that an image does not have is black, and a warning names the image.

    Parameters
    ----------
    store : Store
    out : Path
        A folder.
    options : ExportOptions, optional
        Use those of the annotations to write exactly the images that they name; by default all
        images.
    image_format : str
        ``png`` or ``jpg``.
    channel_order : str
        ``rgb``, or ``bgr``: red and blue swapped, as in the notebook's files.
    jobs : int, optional
        Worker processes; by default one per core.
    force : bool
        Whether an existing folder is replaced.  A folder that holds a file which its manifest
        does not list is never replaced.
    progress : callable, optional
        Called with (images done, images to do).

    Returns
    -------
    Written

    Raises
    ------
    ExportError
        If a channel's file is missing or has changed since it was ingested, there is nothing to
        export, or the folder exists or cannot be written.
    UsageError, NotFoundError
        If an argument is invalid, or there is no such clean set.
    """
    require_choice(channel_order, ChannelOrder, "channel_order")
    require_choice(image_format, ImageFormat, "image_format")

    def plan(state: Snapshot) -> tuple[list[_Task], Counts]:
        files = export_rows.channel_files(state.connection, state.resolved.selection, _CHANNELS)
        counter = ImageCounter(multihot=state.resolved.options.multilabel == "multihot")
        tasks = [
            _Task(
                str(file_name(image, "composite", image_format)),
                image.height,
                image.width,
                tuple(files[image.name]),
            )
            for image in counter.count(annotated_images(state.connection, state.resolved))
        ]
        warn_of_missing_channels(counter.channels, _CHANNELS, "which is drawn black")
        return tasks, counter.counts

    return export_folder(
        store,
        expanded(out),
        "images",
        options or ExportOptions(),
        {"image_format": image_format, "channel_order": channel_order},
        plan,
        partial(_write, channel_order=channel_order),
        jobs=jobs,
        force=force,
        progress=progress,
    )


def _write(task: _Task, folder: Path, channel_order: ChannelOrder) -> Problem | None:
    """Write one picture; return what is wrong with which file, if something is."""
    try:
        picture = rgb(read_pixels(task.files), (task.height, task.width))
    except RejectedError as error:
        return Problem(error.path, error.reason)
    if channel_order == "rgb":
        picture = picture[:, :, ::-1]  # OpenCV writes blue first
    path = folder / task.file_name
    path.write_bytes(_encode(path, picture))
    return None


def _encode(path: Path, picture: npt.NDArray[Any]) -> bytes:
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(picture), parameters)
    return bytes(data)
