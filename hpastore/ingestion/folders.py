"""The folders of an ingest: their names, their files, and why one may be missing or empty."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from hpastore.arguments import expanded
from hpastore.errors import InputError
from hpastore.ingestion.layout import (
    CELL_MASK_ENDINGS,
    CHANNEL_ENDINGS,
    NONE,
    NUCLEUS_MASK_ENDINGS,
    Layout,
)
from hpastore.ingestion.mismatch import unmounted_below
from hpastore.model import FileStamp
from hpastore.text import printable
from hpastore.vocabulary import CELL_MASK, CHANNELS, NUCLEUS_MASK


@dataclass(frozen=True)
class Folder:
    """An open folder.

    Hidden files are left out: macOS writes one beside each file, with the same ending.

    Parameters
    ----------
    path
    prefix
        What precedes a file's name in its uri.
    handle
        Descriptor of the open folder.
    names
        Of all entries.
    endings
        Of an image's files in this folder.
    """

    path: Path
    prefix: str
    handle: int
    names: Collection[str]
    endings: tuple[str, ...]

    def stamp(self, role: str, file: str) -> FileStamp | None:
        """Look up a file; None if it does not exist."""
        if file not in self.names:
            return None
        try:
            status = os.stat(file, dir_fd=self.handle)
        except FileNotFoundError:
            return None  # a dangling link, or deleted since the folder was listed
        except OSError:  # a loop of links, a disk that fails: the image is rejected when it is read
            return FileStamp(role, self.prefix + file, -1, 0)
        return FileStamp(role, self.prefix + file, status.st_size, status.st_mtime_ns)

    def image_files(self) -> Iterator[tuple[str, str]]:
        """Give all files with an image's ending, each after the name of its image."""
        return ((name, file) for name, file in self.unused_files(()) if name is not None)

    def unused_files(self, used: Collection[str]) -> Iterator[tuple[str | None, str]]:
        """Give the entries whose uris are not used, each after the name of its image.

        The name is None if the entry has none of the endings.
        """
        for file in self.names:
            if self.prefix + file in used:
                continue
            for ending in self.endings:
                if file.endswith(ending):
                    yield file[: -len(ending)], file
                    break
            else:
                yield None, file

    def files_except(self, table: Path | None) -> Iterator[str]:
        """Give the names of all files of any kind, without the table."""
        path = table and absolute_path(table)
        return (name for name in self.names if self.is_file(name) and self.path / name != path)

    def is_file(self, name: str) -> bool:
        """Whether an entry is a file, and not a folder."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self.handle).st_mode)
        except OSError:
            return False

    def remarks(self) -> Iterator[str]:
        """Say why images may be missing in the folder."""
        if not self.names:
            mount = unmounted_below(self.path)
            yield f"{self.path} is empty" + (f", and {mount} is not mounted" if mount else "")


NO_FOLDER: Final = Folder(Path(), "no folder", -1, (), ())


class FilePattern(NamedTuple):
    """Where a file of an image may be, and how its name may end."""

    folder: Folder
    role: str
    endings: tuple[str, ...]


class Folders(NamedTuple):
    """Where channels, cell masks and nucleus masks are; one folder may hold several of them."""

    images: Folder
    masks: Folder
    nuclei: Folder

    def file_patterns(self) -> list[FilePattern]:
        """Where each file of an image may be, in the order of the roles."""
        channels = [FilePattern(self.images, channel, (f"_{channel}.png",)) for channel in CHANNELS]
        cells = FilePattern(self.masks, CELL_MASK, self.masks.endings)
        nuclei = FilePattern(self.nuclei, NUCLEUS_MASK, self.nuclei.endings)
        return [*channels, cells, nuclei]

    def required(self) -> list[Folder]:
        """The folders of images and of cell masks; one, if they are the same folder."""
        return (
            [self.images] if self.images.prefix == self.masks.prefix else [self.images, self.masks]
        )

    def distinct(self) -> list[Folder]:
        """Each folder once, with all endings that its files may have."""
        merged: dict[str, Folder] = {}
        for folder in self:
            before = merged.get(folder.prefix)
            endings = (*(before.endings if before else ()), *folder.endings)
            merged[folder.prefix] = replace(folder, endings=endings)
        return list(merged.values())


def open_folders(layout: Layout, root: Path, opened: ExitStack) -> Folders:
    """List the folders of a layout, and leave them open.

    Parameters
    ----------
    layout : Layout
    root : Path
        The layout's root, as `absolute_path` gives it.
    opened : ExitStack
        Closes the folders.

    Returns
    -------
    Folders

    Raises
    ------
    InputError
        If a folder does not exist, cannot be listed, or has a path that is not UTF-8.
    """
    images = _open_folder(
        layout.images or root / "train", root, "--images", CHANNEL_ENDINGS, opened
    )
    masks = _open_folder(
        layout.masks or root / "hpa_cell_mask", root, "--masks", CELL_MASK_ENDINGS, opened
    )
    nuclei = _open_nuclei(layout.nuclei, root, opened)
    if nuclei.prefix == masks.prefix:  # an array in a folder for both is the mask of the cells
        nuclei = replace(nuclei, endings=("_nucleimask.png",))
    return Folders(images, masks, nuclei)


def _open_nuclei(given: Path | str | None, root: Path, opened: ExitStack) -> Folder:
    default = root / "hpa_nuclei_mask"
    if str(given) == NONE or (given is None and not is_folder(default)):
        return NO_FOLDER
    return _open_folder(Path(given or default), root, "--nuclei", NUCLEUS_MASK_ENDINGS, opened)


def _open_folder(
    path: Path, root: Path, option: str, endings: tuple[str, ...], opened: ExitStack
) -> Folder:
    """List a folder, and leave it open: its files are looked up a third faster than by path.

    `os.scandir` looks up by path too, and each of its entries takes half a kilobyte.
    """
    path = absolute_path(path)
    require_utf8(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, handle)
        listed = os.listdir(handle)  # noqa: PTH208 pathlib takes no handle
    except FileNotFoundError as error:
        raise InputError(path, f"no such folder; {_why_missing(path, root, option)}") from error
    except OSError as error:
        reason = f"cannot be listed ({error.strerror}); name a folder with {option}"
        raise InputError(path, reason) from error

    names = frozenset(name for name in listed if not name.startswith("."))
    relative = _path_in_uris(path, root)
    prefix = "" if relative == Path() else f"{relative.as_posix()}/"
    return Folder(path, prefix, handle, names, endings)


def _why_missing(path: Path, root: Path, option: str) -> str:
    """Say why a folder may be missing, and what to do."""
    mount = unmounted_below(path)
    if mount:
        return f"{mount} is not mounted"
    with suppress(OSError):
        if not any(root.iterdir()):
            return f"its root {root} is empty; if it is on a disk, mount that"
    return f"name it with {option}"


def _path_in_uris(path: Path, root: Path) -> Path:
    """Give a folder's path for uris: relative to the root if it is in the root, else the real path.

    A link inside the root stays in the uri, so that its target may move.
    """
    if path.is_relative_to(root):
        return path.relative_to(root)
    real, real_root = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    require_utf8(real)
    return real.relative_to(real_root) if real.is_relative_to(real_root) else real


def absolute_path(path: Path | str) -> Path:
    """Write a path without ``..``; links are not followed, so that their targets may move."""
    return Path(os.path.normpath(expanded(path).absolute()))


def require_utf8(path: Path) -> None:
    """Refuse a path that cannot be stored as text.

    Raises
    ------
    InputError
        If its bytes are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        reason = "is not UTF-8, so it cannot be stored; rename it"
        raise InputError(printable(str(path), 4096), reason) from error


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder.

    Raises
    ------
    InputError
        If the operating system cannot tell.
    """
    return _is_kind(path, stat.S_ISDIR)


def is_file(path: Path) -> bool:
    """Whether a path leads to a file.

    Raises
    ------
    InputError
        If the operating system cannot tell.
    """
    return _is_kind(path, stat.S_ISREG)


def _is_kind(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        reason = f"cannot be accessed ({error.strerror}); check the path and its permissions"
        raise InputError(path, reason) from error
