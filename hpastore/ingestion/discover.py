"""What the folders hold."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from hpastore.arguments import expanded
from hpastore.errors import InputError, UsageError
from hpastore.ingestion.mismatch import explain_mismatch, nearly_meet, unmounted_below
from hpastore.ingestion.nearest import nearest
from hpastore.model import NO_FOREIGN_FILES, Failure, FileStamp, ForeignFiles, Inputs, Orphan, Source
from hpastore.reading.labels import LabelTable, read_labels
from hpastore.text import printable
from hpastore.vocabulary import CELL_MASK, CHANNELS, NAME_PATTERN, NAME_RULE, NUCLEUS_MASK

CHANNEL_ENDINGS: Final = tuple(f"_{channel}.png" for channel in CHANNELS)
CELL_MASK_ENDINGS: Final = (".npz", ".npy", "_cellmask.png")
NUCLEUS_MASK_ENDINGS: Final = (".npz", ".npy", "_nucleimask.png")

NONE: Final = "none"
"""Given as labels or nuclei: there are none."""

_OTHER_TABLES: Final = ("train.csv.gz", "train.tsv", "train.txt", "train.xlsx", "labels.csv")
"""What the table may be called where there is no ``train.csv``."""


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
    nuclei : Path or str, optional
        Folder of nucleus masks, or ``"none"`` for images without; by default ``ROOT/hpa_nuclei_mask`` where
        that is.
    split : str, optional
        A name to give to new images and to those without one, such as ``train``.
    limit : int, optional
        Only the first N images by name, as if the others were not there.
    id_column, label_column : str
        Headings in the table.
    binary_mask : str, optional
        How a mask of one value is read: ``keep`` it as one cell, or its ``components`` as cells.  By default
        as the image was read before, ``keep`` for a new one.
    match_nuclei : str, optional
        Which cell a nucleus belongs to: that of its ``id``, or by ``overlap`` the one that holds most of it.
        By default as the image was read before, ``id`` for a new one.
    """

    root: Path
    labels: Path | str | None = None
    images: Path | None = None
    masks: Path | None = None
    nuclei: Path | str | None = None
    split: str | None = None
    limit: int | None = None
    id_column: str = "ID"
    label_column: str = "Label"
    binary_mask: str | None = None
    match_nuclei: str | None = None


def discover(layout: Layout) -> Inputs:
    """List the images that the inputs hold; no file but the table is read.

    Parameters
    ----------
    layout : Layout

    Returns
    -------
    Inputs

    Raises
    ------
    InputError
        If the root, the table, or the folder of images or masks is not there or cannot be read, or if the
        table and the folders have no image in common.
    UsageError
        If `limit` is negative.
    """
    if layout.limit is not None and layout.limit < 0:
        raise UsageError("limit takes a number of images, 0 or more")
    place = _absolute(layout.root)
    require_utf8(place)
    if not _is(place, stat.S_ISDIR):
        raise InputError(
            place, "no such folder; give the folder that holds train.csv, train/ and hpa_cell_mask/"
        )
    root = Path(os.path.realpath(place))
    require_utf8(root)
    with ExitStack() as opened:
        folders = _folders(layout, place, opened)
        path = _table_path(layout, place)
        table = _unlabelled(folders.images) if path is None else _labels(layout, path)
        labels, failures = table.labels, table.failures
        names = sorted({*labels, *(failure.image_name for failure in failures)})[: layout.limit]
        places = folders.places()
        sources = tuple(_source(name, labels[name], places) for name in names if name in labels)
        failed = set(names) - set(labels)
        used = {file.uri for source in sources for file in source.files}
        seen, refused, orphans, others = _unused(folders, used, failed, labels)
        if not used and not any(refused.values()):
            _require_a_match(folders, path, [*labels, *(failure.image_name for failure in failures)])
        foreign = _foreign(others, path)
        near = _nearly_meet(sources, failures, refused, orphans)
    complete = layout.limit is None
    return Inputs(
        root,
        sources,
        tuple(failure for failure in failures if failure.image_name in failed),
        layout.split,
        complete,
        orphans if complete else (),
        seen=seen if complete else len(used) + sum(refused.values()),
        refused=refused,
        repeated=table.repeated,
        nuclei=layout.nuclei is not None or folders.nuclei is not _NO_FOLDER,
        foreign=foreign,
        near=near,
        table=path and Path(os.path.realpath(path)),
        remarks=tuple(remark for folder in folders.required() for remark in folder.remarks()),
    )


@dataclass(frozen=True)
class _Folder:
    """An open folder, the names in it, what stands before them in a uri, and how an image's files end.

    Hidden files are left out: macOS writes one beside each file, with the same ending.
    """

    path: Path
    prefix: str
    handle: int
    names: Collection[str]
    endings: tuple[str, ...]

    def stamp(self, role: str, file: str) -> FileStamp | None:
        if file not in self.names:
            return None
        try:
            status = os.stat(file, dir_fd=self.handle)
        except FileNotFoundError:
            return None  # a dangling link, or gone since the folder was listed
        except OSError:  # a loop of links, a disk that fails: the image is rejected when it is read
            return FileStamp(role, self.prefix + file, -1, 0)
        return FileStamp(role, self.prefix + file, status.st_size, status.st_mtime_ns)

    def images(self) -> Iterator[tuple[str, str]]:
        """Give the files that are an image's by their names: image, file."""
        return ((name, file) for name, file in self.unused(()) if name is not None)

    def unused(self, used: Collection[str]) -> Iterator[tuple[str | None, str]]:
        """Give the names whose uris are not used, each after its image; None where it is no image's."""
        for file in self.names:
            if self.prefix + file in used:
                continue
            for ending in self.endings:
                if file.endswith(ending):
                    yield file[: -len(ending)], file
                    break
            else:
                yield None, file

    def files(self, but: Path | None) -> Iterator[str]:
        """Give the names of all files, whatever they are, but for that of the table."""
        table = but and _absolute(but)
        return (name for name in self.names if self.is_file(name) and self.path / name != table)

    def is_file(self, name: str) -> bool:
        """Whether a name is that of a file."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self.handle).st_mode)
        except OSError:
            return False

    def remarks(self) -> Iterator[str]:
        """Say what is odd about the folder, and may be why images are missing in it."""
        if not self.names:
            mount = unmounted_below(self.path)
            yield f"{self.path} is empty" + (f", and {mount} is not mounted" if mount else "")


_NO_FOLDER: Final = _Folder(Path(), "no folder", -1, (), ())


class _Place(NamedTuple):
    """Where a file of an image may be, and how it may end."""

    folder: _Folder
    role: str
    endings: tuple[str, ...]


class _Folders(NamedTuple):
    """Where channels, cell masks and nucleus masks are; perhaps one folder for several."""

    images: _Folder
    masks: _Folder
    nuclei: _Folder

    def places(self) -> list[_Place]:
        """Where each file of an image may be, in the order of the roles."""
        channels = [_Place(self.images, channel, (f"_{channel}.png",)) for channel in CHANNELS]
        masks = _Place(self.masks, CELL_MASK, self.masks.endings)
        return [*channels, masks, _Place(self.nuclei, NUCLEUS_MASK, self.nuclei.endings)]

    def required(self) -> list[_Folder]:
        """The folders of images and of cell masks, once if they are one."""
        return [self.images] if self.images.prefix == self.masks.prefix else [self.images, self.masks]

    def apart(self) -> list[_Folder]:
        """Each folder once, with all endings that its files may have."""
        merged: dict[str, _Folder] = {}
        for folder in self:
            before = merged.get(folder.prefix)
            endings = (*(before.endings if before else ()), *folder.endings)
            merged[folder.prefix] = replace(folder, endings=endings)
        return list(merged.values())


def _folders(layout: Layout, root: Path, opened: ExitStack) -> _Folders:
    images = _folder(layout.images or root / "train", root, "--images", CHANNEL_ENDINGS, opened)
    masks = _folder(layout.masks or root / "hpa_cell_mask", root, "--masks", CELL_MASK_ENDINGS, opened)
    nuclei = _nuclei(layout.nuclei, root, opened)
    if nuclei.prefix == masks.prefix:  # an array in one folder for both is the mask of the cells
        nuclei = replace(nuclei, endings=("_nucleimask.png",))
    return _Folders(images, masks, nuclei)


def _folder(path: Path, root: Path, option: str, endings: tuple[str, ...], opened: ExitStack) -> _Folder:
    """List a folder, and leave it open: its files are then looked up in it, a third faster than by path.

    Entries of `os.scandir` look by path too, and each keeps half a kilobyte.
    """
    path = _absolute(path)
    require_utf8(path)
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, folder)
        listed = os.listdir(folder)  # noqa: PTH208 pathlib takes no handle
    except FileNotFoundError as error:
        raise InputError(path, f"no such folder; {_why_missing(path, root, option)}") from error
    except OSError as error:
        raise InputError(path, f"cannot be listed ({error.strerror}); name a folder with {option}") from error
    names = frozenset(name for name in listed if not name.startswith("."))
    inside = _inside(path, root)
    prefix = "" if inside == Path() else f"{inside.as_posix()}/"
    return _Folder(path, prefix, folder, names, endings)


def _why_missing(path: Path, root: Path, option: str) -> str:
    """Say why a folder may be missing, and what to do."""
    mount = unmounted_below(path)
    if mount:
        return f"{mount} is not mounted"
    with suppress(OSError):
        if not any(root.iterdir()):
            return f"its root {root} is empty; if it is on a disk, mount that"
    return f"name it with {option}"


def _inside(path: Path, root: Path) -> Path:
    """A folder as its files' uris name it: relative to the root where it lies in it, else its real path.

    A link inside the root stays in the uri, so that what it leads to may move.
    """
    if path.is_relative_to(root):
        return path.relative_to(root)
    real, real_root = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    require_utf8(real)
    return real.relative_to(real_root) if real.is_relative_to(real_root) else real


def _nuclei(given: Path | str | None, root: Path, opened: ExitStack) -> _Folder:
    default = root / "hpa_nuclei_mask"
    if str(given) == NONE or (given is None and not _is(default, stat.S_ISDIR)):
        return _NO_FOLDER
    return _folder(Path(given or default), root, "--nuclei", NUCLEUS_MASK_ENDINGS, opened)


def _table_path(layout: Layout, root: Path) -> Path | None:
    """Where the table of labels is; None for images without labels."""
    return None if layout.labels == NONE else expanded(layout.labels or root / "train.csv")


def _labels(layout: Layout, path: Path) -> LabelTable:
    require_utf8(path)
    if not _is(path, stat.S_ISREG):
        beside = [path.with_name(name) for name in _OTHER_TABLES if _is(path.with_name(name), stat.S_ISREG)]
        there = f"; there is {beside[0].name}" if beside else ""
        raise InputError(path, f"no such table{there}; name it with --labels FILE, or say --labels none")
    return read_labels(path, layout.id_column, layout.label_column)


def _require_a_match(folders: _Folders, table: Path | None, rows: Collection[str]) -> None:
    """Refuse inputs that have no image in common, though there are rows and files.

    Raises
    ------
    InputError
        With an unmatched name of each side, and the likely cause.
    """
    named = {printable(name) for folder in folders.apart() for name, _ in folder.images()}
    files = sorted(folders.images.files(but=table))
    if table is not None and files and rows and not named.intersection(rows):
        raise InputError(table, explain_mismatch(rows, files, folders.images.path))
    if table is None and files and not any(folders.images.images()):
        reason = (
            f"no file is named like an image's channel (ID_red.png, ID_green.png, ID_blue.png, "
            f"ID_yellow.png); there are {len(files)} files such as {printable(files[0])}"
        )
        raise InputError(folders.images.path, reason)


def _nearly_meet(
    sources: Sequence[Source],
    failures: Sequence[Failure],
    refused: Mapping[str, int],
    orphans: Sequence[Orphan],
) -> str | None:
    """Say which rows nearly name an image that is there."""
    rows = [source.name for source in sources if not source.files]
    rows += [failure.image_name for failure in failures if not refused.get(failure.image_name)]
    files = [
        f"{orphan.name}{CHANNEL_ENDINGS[0]}" for orphan in orphans if orphan.kind == "image_without_label"
    ]
    if not rows or not files or not (found := nearly_meet(rows, files)):
        return None
    count, row, file, cause = found
    return f"{count} rows nearly name an image that is there, such as {row!r} for {file!r}; {cause}"


def _foreign(others: Iterable[tuple[_Folder, str]], table: Path | None) -> ForeignFiles:
    """Count the files that are no image's; neither folders nor the table are among them."""
    path = table and _absolute(table)
    names = [name for folder, name in others if folder.path / name != path and folder.is_file(name)]
    return ForeignFiles(len(names), printable(min(names))) if names else NO_FOREIGN_FILES


def _unlabelled(images: _Folder) -> LabelTable:
    """Take every image that has a channel, without labels."""
    files = dict(sorted(images.images(), reverse=True))  # each image with its first file
    labels: dict[str, tuple[int, ...]] = {}
    failures: dict[str, Failure] = {}
    first: dict[str, str] = {}
    for name, file in sorted(files.items()):
        if not NAME_PATTERN.fullmatch(name):
            code, reason = "name", f"the name is not allowed; {NAME_RULE}"
        elif (known := first.setdefault(name.casefold(), name)) != name:
            code, reason = "duplicate", f"the name equals {known} but for case"
        else:
            labels[name] = ()
            continue
        shown = printable(name)
        message = f"{shown}: {reason}; rename the image's files"
        failures[shown] = Failure(shown, images.prefix + printable(file), code, message)
    return LabelTable(labels, tuple(failures.values()), 0)


def _source(name: str, labels: tuple[int, ...], places: Iterable[_Place]) -> Source:
    """Find an image's files, in the order of the roles."""
    files: list[FileStamp] = []
    missing: list[str] = []
    near: list[str | None] = []
    for folder, role, endings in places:
        for ending in endings:
            if stamp := folder.stamp(role, name + ending):
                files.append(stamp)
                break
        else:
            if role != NUCLEUS_MASK:
                missing.append(f"{folder.prefix}{name}{endings[0]}")
                near += [nearest(f"{name}{endings[0]}", folder.names)]
    return Source(name, labels, tuple(files), tuple(missing), tuple(filter(None, near)))


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


def _unused(
    folders: _Folders, used: Collection[str], failed: Collection[str], names: Collection[str]
) -> tuple[int, Mapping[str, int], tuple[Orphan, ...], list[tuple[_Folder, str]]]:
    """Count all files of images, and those that no image has, by what they lack; list the other names."""
    seen, refused = len(used), dict.fromkeys(failed, 0)
    spare, images, masks = Counter[str](), Counter[str](), Counter[str]()
    others: list[tuple[_Folder, str]] = []
    for folder in folders.apart():
        for name, file in folder.unused(used):
            if name is None:
                others.append((folder, file))
                continue
            seen += 1
            shown = printable(name)
            if shown in failed:
                refused[shown] += 1
            elif shown in names:
                spare[shown] += 1
            elif file.endswith(CHANNEL_ENDINGS):
                images[shown] += 1
            else:
                masks[shown] += 1
    for name in images.keys() & masks.keys():
        images[name] += masks.pop(name)
    kinds = {"image_without_label": images, "mask_without_image": masks, "spare_file": spare}
    orphans = (Orphan(kind, *entry) for kind, files in kinds.items() for entry in sorted(files.items()))
    return seen, refused, tuple(orphans), others


def _absolute(path: Path | str) -> Path:
    """A path in one spelling, without ``..``; links are not followed, so that a moved link stays one."""
    return Path(os.path.normpath(expanded(path).absolute()))


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether a path leads to a file of a kind."""
    try:
        return kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        reason = f"cannot be looked at ({error.strerror}); check the path and its permissions"
        raise InputError(path, reason) from error
