"""What the folders hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpastore.errors import InputError, UsageError
from hpastore.model import (
    CELL_MASK,
    CHANNELS,
    NAME_PATTERN,
    NAME_RULE,
    NUCLEUS_MASK,
    Failure,
    FileStamp,
    Found,
    Source,
    printable,
)
from hpastore.reading.labels import read_labels

CELL_MASK_ENDINGS: Final = (".npz", ".npy", "_cellmask.png")
NUCLEUS_MASK_ENDINGS: Final = (".npz", ".npy", "_nucleimask.png")

NO_LABELS: Final = "none"


@dataclass(frozen=True)
class Layout:
    """Where an ingest's files are.

    Parameters
    ----------
    root : Path
        The folder; uris in the store are relative to it.
    labels : Path or str, optional
        CSV or TSV of names and labels, or ``"none"`` for images without labels; by default
        ``ROOT/train.csv``.
    images : Path, optional
        Folder of ``{ID}_red.png`` and so on; by default ``ROOT/train``.
    masks : Path, optional
        Folder of cell masks; by default ``ROOT/hpa_cell_mask``.
    nuclei : Path, optional
        Folder of nucleus masks; by default ``ROOT/hpa_nuclei_mask`` where that is.
    split : str, optional
        A name to give the images, such as ``train``.
    limit : int, optional
        Only the first N images by name, as if the others were not there.
    id_column, label_column : str
        Headings in the table.
    """

    root: Path
    labels: Path | str | None = None
    images: Path | None = None
    masks: Path | None = None
    nuclei: Path | None = None
    split: str | None = None
    limit: int | None = None
    id_column: str = "ID"
    label_column: str = "Label"


def discover(layout: Layout) -> Found:
    """List the images that the inputs hold; no file but the table is read.

    Parameters
    ----------
    layout : Layout

    Returns
    -------
    Found

    Raises
    ------
    InputError
        If the root, the table, or the folder of images or masks is not there or cannot be read.
    UsageError
        If `limit` is negative.
    """
    if layout.limit is not None and layout.limit < 0:
        raise UsageError("limit takes a number of images, 0 or more")
    root = _absolute(layout.root)
    if not root.is_dir():
        raise InputError(
            root, "no such folder; give the folder that holds train.csv, train/ and hpa_cell_mask/"
        )
    images = _folder(layout.images or root / "train", root, "--images")
    masks = _folder(layout.masks or root / "hpa_cell_mask", root, "--masks")
    nuclei = _nuclei(layout.nuclei, root)
    labels, failures = _labels(layout, root, images)
    names = sorted({*labels, *(failure.image_name for failure in failures)})[: layout.limit]
    taken = [name for name in names if name in labels]
    sources = tuple(_source(name, labels[name], images, masks, nuclei) for name in taken)
    first = set(names)
    kept = tuple(failure for failure in failures if failure.image_name in first)
    return Found(root, sources, kept, layout.split, complete=layout.limit is None)


@dataclass(frozen=True)
class _Folder:
    """A folder's entries by name, and what stands before a name in a uri."""

    prefix: str
    entries: Mapping[str, os.DirEntry[str]]

    def stamp(self, role: str, file: str) -> FileStamp | None:
        entry = self.entries.get(file)
        if entry is None:
            return None
        try:
            stat = entry.stat()
        except FileNotFoundError:
            return None  # a dangling link, or gone since the folder was listed
        except OSError as error:
            raise InputError(entry.path, f"cannot be looked at ({error.strerror})") from error
        return FileStamp(role, self.prefix + file, stat.st_size, stat.st_mtime_ns)


def _folder(path: Path, root: Path, option: str) -> _Folder:
    path = _absolute(path)
    try:
        with os.scandir(path) as entries:
            listed = {entry.name: entry for entry in entries}
    except FileNotFoundError as error:
        raise InputError(path, f"no such folder; name it with {option}") from error
    except OSError as error:
        raise InputError(path, f"cannot be listed ({error.strerror}); name a folder with {option}") from error
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    prefix = "" if inside == Path() else f"{inside.as_posix()}/"
    return _Folder(prefix, listed)


def _nuclei(given: Path | None, root: Path) -> _Folder:
    default = root / "hpa_nuclei_mask"
    if given is None and not default.is_dir():
        return _Folder("", {})
    return _folder(given or default, root, "--nuclei")


def _labels(
    layout: Layout, root: Path, images: _Folder
) -> tuple[Mapping[str, tuple[int, ...]], tuple[Failure, ...]]:
    if layout.labels == NO_LABELS:
        return _unlabelled(images)
    path = Path(layout.labels or root / "train.csv")
    if not path.is_file():
        raise InputError(path, "no such table; name it with --labels CSV, or say --labels none")
    table = read_labels(path, layout.id_column, layout.label_column)
    return table.labels, table.failures


def _unlabelled(images: _Folder) -> tuple[Mapping[str, tuple[int, ...]], tuple[Failure, ...]]:
    """Take every image that has a channel, without labels."""
    labels: dict[str, tuple[int, ...]] = {}
    failures: dict[str, Failure] = {}
    for file in images.entries:
        name, _, ending = file.rpartition("_")
        if ending.removesuffix(".png") not in CHANNELS or not ending.endswith(".png"):
            continue
        if NAME_PATTERN.fullmatch(name):
            labels[name] = ()
        else:
            shown = printable(name)
            message = f"{shown}: {NAME_RULE}; rename the image's files"
            failures[shown] = Failure(shown, images.prefix + printable(file), "name", message)
    return labels, tuple(failures.values())


def _source(name: str, labels: tuple[int, ...], images: _Folder, masks: _Folder, nuclei: _Folder) -> Source:
    """Find an image's files, in the order of the roles."""
    wanted: list[tuple[_Folder, str, tuple[str, ...]]]
    wanted = [(images, channel, (f"_{channel}.png",)) for channel in CHANNELS]
    wanted += [(masks, CELL_MASK, CELL_MASK_ENDINGS), (nuclei, NUCLEUS_MASK, NUCLEUS_MASK_ENDINGS)]
    files: list[FileStamp] = []
    missing: list[str] = []
    for folder, role, endings in wanted:
        for ending in endings:
            if stamp := folder.stamp(role, name + ending):
                files.append(stamp)
                break
        else:
            if role != NUCLEUS_MASK:
                missing.append(f"{folder.prefix}{name}{endings[0]}")
    return Source(name, labels, tuple(files), tuple(missing))


def _absolute(path: Path | str) -> Path:
    """A path in one spelling, without ``..``; links are not followed, so that a moved link stays one."""
    return Path(os.path.normpath(Path(path).absolute()))
