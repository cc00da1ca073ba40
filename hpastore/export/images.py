"""The images that the annotations name, as trainers read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.arguments import expanded
from hpastore.errors import ExportError, RejectedError, UsageError
from hpastore.export.files import check_way, file_name
from hpastore.export.manifest import NAME, Written, document, listed_files
from hpastore.export.output import whole_folder
from hpastore.export.selection import Choice, annotated_images, look_up
from hpastore.render.channels import rgb
from hpastore.runtime.executor import worker_count
from hpastore.runtime.opencv import cv2
from hpastore.runtime.pool import map_in_order
from hpastore.store import export_rows, measurement_settings
from hpastore.store.engine import Store
from hpastore.store.pixels import StoredFile, read_pixels

CHANNEL_ORDERS: Final = ("rgb", "bgr")

_CHANNELS: Final = ("red", "green", "blue")
"""What a picture shows; whether the others are still there does not matter."""

_JPEG_QUALITY: Final = 95


class _Task(NamedTuple):
    """One image to write: its target's name, and its channels."""

    file_name: str
    files: tuple[StoredFile, ...]


def export_images(
    store: Store,
    out: Path | str,
    choice: Choice | None = None,
    *,
    image_format: str = "png",
    channel_order: str = "rgb",
    jobs: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write each image of a choice as one picture: microtubules, protein and nucleus as red, green, blue.

    Parameters
    ----------
    store : Store
    out : Path
        A folder.
    choice : Choice, optional
        The same as for the annotations gives the images that they name.
    image_format : str
        ``png`` or ``jpg``.
    channel_order : str
        ``rgb``, or ``bgr``: red and blue swapped, as in the notebook's files.
    jobs : int, optional
        Worker processes; by default one per core.
    force : bool
        Whether an existing folder is replaced; one that holds a file which its manifest does not list never
        is.
    progress : callable, optional
        Called with (images done, images to do).

    Returns
    -------
    Written

    Raises
    ------
    ExportError
        If a channel is not there or has changed since it was ingested, nothing is to export, or the
        folder exists or cannot be written.
    UsageError, NotFoundError
        If an argument makes no sense, or there is no such clean set.
    """
    out, choice = expanded(out), choice or Choice()
    if channel_order not in CHANNEL_ORDERS:
        raise UsageError(f"no channel order {channel_order!r}; there are {' and '.join(CHANNEL_ORDERS)}")
    check_way("composite", image_format)
    with store.reading() as connection:
        chosen = look_up(connection, choice)
        settings = measurement_settings.current_settings(connection)
        files = export_rows.channel_files(connection, chosen.selection, _CHANNELS)
        names, annotations, cells = [], 0, 0
        for image in annotated_images(connection, chosen):
            names.append(image.name)
            annotations += len(image.annotations)
            cells += len({annotation.mask_id for annotation in image.annotations})
    if not names:
        raise ExportError(out, "no image to export; ingest some, or choose otherwise")
    tasks = [_Task(str(file_name(name, "composite", image_format)), tuple(files[name])) for name in names]
    with whole_folder(out, force=force, listed=listed_files, store=store) as temporary:
        write = partial(_write, folder=temporary, channel_order=channel_order)
        for done, problem in enumerate(map_in_order(write, tasks, min(worker_count(jobs), len(tasks))), 1):
            if problem:
                raise ExportError(*problem)
            if progress:
                progress(done, len(tasks))
        counts = {"images": len(names), "cells": cells, "annotations": annotations}
        options = {"image_format": image_format, "channel_order": channel_order}
        written = {task.file_name: temporary / task.file_name for task in tasks}
        (temporary / NAME).write_bytes(document("images", options, chosen, settings, counts, written))
    return Written(out, out / NAME, **counts, files=len(tasks))


def _write(task: _Task, folder: Path, channel_order: str) -> tuple[Path, str] | None:
    """Write one picture; return what is wrong, and with which file, if something is."""
    try:
        picture = rgb(read_pixels(task.files))
    except RejectedError as error:
        return error.path, error.reason
    if channel_order == "rgb":
        picture = picture[:, :, ::-1]  # OpenCV writes blue first
    encoded = _encode(folder / task.file_name, picture)
    (folder / task.file_name).write_bytes(encoded)
    return None


def _encode(path: Path, picture: npt.NDArray[Any]) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(picture), options)
    return bytes(data)
