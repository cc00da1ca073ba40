"""What the folders hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

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
    Orphan,
    Source,
    printable,
)
from hpastore.reading.labels import read_labels

CHANNEL_ENDINGS: Final = tuple(f"_{channel}.png" for channel in CHANNELS)
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
    require_utf8(root)
    if not root.is_dir():
        raise InputError(
            root, "no such folder; give the folder that holds train.csv, train/ and hpa_cell_mask/"
        )
    folders = _folders(layout, root)
    labels, failures = _labels(layout, root, folders.images)
    names = sorted({*labels, *(failure.image_name for failure in failures)})[: layout.limit]
    every = [_source(name, labels.get(name, ()), folders) for name in names]
    first = set(names)
    used = {file.uri: source.name for source in every for file in source.files}
    complete = layout.limit is None
    orphans = _orphans(folders, used, first) if complete else ()
    return Found(
        root,
        tuple(source for source in every if source.name in labels),
        tuple(failure for failure in failures if failure.image_name in first),
        layout.split,
        complete,
        orphans,
        seen=_count(folders) if complete else len(used),
        refused={source.name: len(source.files) for source in every if source.name not in labels},
    )


@dataclass(frozen=True)
class _Folder:
    """A folder's entries by name, what stands before a name in a uri, and how its files may end."""

    prefix: str
    entries: Mapping[str, os.DirEntry[str]]
    endings: tuple[str, ...]

    def stamp(self, role: str, file: str) -> FileStamp | None:
        entry = self.entries.get(file)
        if entry is None:
            return None
        try:
            stat = entry.stat()
        except FileNotFoundError:
            return None  # a dangling link, or gone since the folder was listed
        except OSError:  # a loop of links, a disk that fails: the image is rejected when it is read
            return FileStamp(role, self.prefix + file, -1, 0)
        return FileStamp(role, self.prefix + file, stat.st_size, stat.st_mtime_ns)

    def images(self) -> Iterator[tuple[str, str]]:
        """Give the files that are an image's by their names: image, file."""
        for file in self.entries:
            for ending in self.endings:
                if file.endswith(ending):
                    yield file[: -len(ending)], file
                    break


class _Folders(NamedTuple):
    """Where channels, cell masks and nucleus masks are; perhaps one folder for several."""

    images: _Folder
    masks: _Folder
    nuclei: _Folder

    def apart(self) -> list[_Folder]:
        """Each folder once, with all endings that its files may have."""
        merged: dict[str, _Folder] = {}
        for folder in self:
            before = merged.get(folder.prefix)
            endings = (*(before.endings if before else ()), *folder.endings)
            merged[folder.prefix] = replace(folder, endings=endings)
        return list(merged.values())


def _folders(layout: Layout, root: Path) -> _Folders:
    return _Folders(
        _folder(layout.images or root / "train", root, "--images", CHANNEL_ENDINGS),
        _folder(layout.masks or root / "hpa_cell_mask", root, "--masks", CELL_MASK_ENDINGS),
        _nuclei(layout.nuclei, root),
    )


def _folder(path: Path, root: Path, option: str, endings: tuple[str, ...]) -> _Folder:
    path = _absolute(path)
    require_utf8(path)
    try:
        with os.scandir(path) as entries:
            listed = {entry.name: entry for entry in entries}
    except FileNotFoundError as error:
        raise InputError(path, f"no such folder; name it with {option}") from error
    except OSError as error:
        raise InputError(path, f"cannot be listed ({error.strerror}); name a folder with {option}") from error
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    prefix = "" if inside == Path() else f"{inside.as_posix()}/"
    return _Folder(prefix, listed, endings)


def _nuclei(given: Path | None, root: Path) -> _Folder:
    default = root / "hpa_nuclei_mask"
    if given is None and not default.is_dir():
        return _Folder("no nuclei", {}, ())
    return _folder(given or default, root, "--nuclei", NUCLEUS_MASK_ENDINGS)


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
    for name, file in images.images():
        if not file.endswith(CHANNEL_ENDINGS):
            continue  # a mask in the same folder
        if NAME_PATTERN.fullmatch(name):
            labels[name] = ()
        else:
            shown = printable(name)
            message = f"{shown}: {NAME_RULE}; rename the image's files"
            failures[name] = Failure(shown, images.prefix + printable(file), "name", message)
    return labels, tuple(failures.values())


def _source(name: str, labels: tuple[int, ...], folders: _Folders) -> Source:
    """Find an image's files, in the order of the roles."""
    images, masks, nuclei = folders
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


def require_utf8(path: Path) -> None:
    """Refuse a path that no store can name.

    Raises
    ------
    InputError
        If its bytes are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            printable(str(path), 4096), "is not UTF-8, so that no store can name it; rename it"
        ) from error


def _orphans(folders: _Folders, used: Mapping[str, str], names: Collection[str]) -> tuple[Orphan, ...]:
    """Count the files that no image of the table has, by the image that they would belong to."""
    spare, images, masks = Counter[str](), Counter[str](), Counter[str]()
    for folder in folders.apart():
        for name, file in folder.images():
            if folder.prefix + file not in used:
                kind = (
                    spare if printable(name) in names else images if file.endswith(CHANNEL_ENDINGS) else masks
                )
                kind[printable(name)] += 1
    for name in images.keys() & masks.keys():
        images[name] += masks.pop(name)
    kinds = {"image_without_label": images, "mask_without_image": masks, "spare_file": spare}
    return tuple(Orphan(kind, *entry) for kind, files in kinds.items() for entry in sorted(files.items()))


def _count(folders: _Folders) -> int:
    """Count the files that are an image's by their names."""
    return sum(1 for folder in folders.apart() for _ in folder.images())


def _absolute(path: Path | str) -> Path:
    """A path in one spelling, without ``..``; links are not followed, so that a moved link stays one."""
    return Path(os.path.normpath(Path(path).absolute()))
