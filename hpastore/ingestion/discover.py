"""List what the folders and the table hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from hpastore.arguments import expanded
from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.errors import InputError, UsageError
from hpastore.ingestion.folders import (
    NO_FOLDER,
    FilePattern,
    Folder,
    Folders,
    absolute_path,
    is_file,
    is_folder,
    open_folders,
    require_utf8,
)
from hpastore.ingestion.layout import CHANNEL_ENDINGS, NONE, Layout
from hpastore.ingestion.mismatch import explain_mismatch, find_near_names
from hpastore.ingestion.nearest import nearest
from hpastore.model import (
    NO_FOREIGN_FILES,
    Failure,
    FileStamp,
    ForeignFiles,
    Inputs,
    Orphan,
    Source,
)
from hpastore.reading.labels import LabelTable, read_labels
from hpastore.text import count_text, printable
from hpastore.vocabulary import NAME_PATTERN, NAME_RULE, NUCLEUS_MASK

_OTHER_TABLES: Final = ("train.csv.gz", "train.tsv", "train.txt", "train.xlsx", "labels.csv")
"""Names of tables that the error suggests if there is no ``train.csv``."""


def discover(layout: Layout, classes: Classes = DEFAULT_CLASSES) -> Inputs:
    """List the images of the inputs; no file except the table is read.

    Parameters
    ----------
    layout : Layout
    classes : Classes
        Those of the store.

    Returns
    -------
    Inputs

    Raises
    ------
    InputError
        If the root, the table, or the folder of images or masks does not exist or cannot be read,
        or if the table and the folders have no image in common.
    UsageError
        If `limit` is negative, or if the table lacks a column to keep.
    """
    if layout.limit is not None and layout.limit < 0:
        raise UsageError("limit takes a number of images, 0 or more")
    root = absolute_path(layout.root)
    require_utf8(root)
    if not is_folder(root):
        reason = "no such folder; give the folder that holds train.csv, train/ and hpa_cell_mask/"
        raise InputError(root, reason)
    real_root = Path(os.path.realpath(root))
    require_utf8(real_root)

    with ExitStack() as opened:
        folders = open_folders(layout, root, opened)
        table_path = _table_path(layout, root)
        table = (
            _read_table(layout, table_path, classes)
            if table_path
            else _unlabelled_images(folders.images)
        )
        names = sorted({*table.labels, *(failure.image_name for failure in table.failures)})
        return _list_inputs(layout, real_root, folders, table_path, table, names[: layout.limit])


def _list_inputs(
    layout: Layout,
    root: Path,
    folders: Folders,
    table_path: Path | None,
    table: LabelTable,
    names: Sequence[str],
) -> Inputs:
    """List the images with these names, and all files of the folders."""
    patterns = folders.file_patterns()
    dropped = dict.fromkeys(layout.drop_columns, "")
    sources = tuple(
        _find_files(name, table.labels[name], patterns)._replace(
            columns=tuple(sorted({**table.columns.get(name, {}), **dropped}.items()))
        )
        for name in names
        if name in table.labels
    )
    used = {file.uri for source in sources for file in source.files}
    failed = set(names) - set(table.labels)
    unused = _count_unused(folders, used, failed, table.labels)
    if not used and not any(unused.refused.values()):
        rows = [*table.labels, *(failure.image_name for failure in table.failures)]
        _require_common_image(folders, table_path, rows)

    complete = layout.limit is None
    return Inputs(
        root,
        sources,
        tuple(failure for failure in table.failures if failure.image_name in failed),
        layout.split,
        complete,
        orphans=unused.orphans if complete else (),
        seen=len(used) + (unused.files if complete else sum(unused.refused.values())),
        refused=unused.refused,
        repeated=table.repeated,
        nuclei=layout.nuclei is not None or folders.nuclei is not NO_FOLDER,
        foreign=_count_foreign(unused.others, table_path),
        near=_describe_near_rows(sources, table.failures, unused),
        table=table_path and Path(os.path.realpath(table_path)),
        remarks=tuple(remark for folder in folders.required() for remark in folder.remarks()),
    )


def _table_path(layout: Layout, root: Path) -> Path | None:
    """Where the table of labels is; None for images without labels."""
    return None if layout.labels == NONE else expanded(layout.labels or root / "train.csv")


def _read_table(layout: Layout, path: Path, classes: Classes) -> LabelTable:
    require_utf8(path)
    if not is_file(path):
        others = [name for name in _OTHER_TABLES if is_file(path.with_name(name))]
        hint = f"; there is {others[0]}" if others else ""
        reason = f"no such table{hint}; name it with --labels FILE, or give --labels none"
        raise InputError(path, reason)
    return read_labels(path, layout.id_column, layout.label_column, layout.keep_columns, classes)


def _unlabelled_images(images: Folder) -> LabelTable:
    """Take every image that has a channel, without labels."""
    first_files = dict(sorted(images.image_files(), reverse=True))
    labels: dict[str, tuple[int, ...]] = {}
    failures: dict[str, Failure] = {}
    spellings: dict[str, str] = {}
    for name, file in sorted(first_files.items()):
        if not NAME_PATTERN.fullmatch(name):
            code, reason = "name", f"the name is not allowed; {NAME_RULE}"
        elif (other := spellings.setdefault(name.casefold(), name)) != name:
            code, reason = "duplicate", f"the name differs from {other} only in case"
        else:
            labels[name] = ()
            continue
        shown = printable(name)
        message = f"{shown}: {reason}; rename the image's files"
        failures[shown] = Failure(shown, images.prefix + printable(file), code, message)
    return LabelTable(labels, tuple(failures.values()), 0)


def _find_files(name: str, labels: tuple[int, ...], patterns: Iterable[FilePattern]) -> Source:
    """Find an image's files, in the order of the roles."""
    files: list[FileStamp] = []
    missing: list[str] = []
    similar: list[str] = []
    for folder, role, endings in patterns:
        for ending in endings:
            if stamp := folder.stamp(role, name + ending):
                files.append(stamp)
                break
        else:
            if role != NUCLEUS_MASK:
                expected = f"{name}{endings[0]}"
                missing.append(folder.prefix + expected)
                if other := nearest(expected, folder.names):
                    similar.append(other)
    return Source(name, labels, tuple(files), tuple(missing), tuple(similar))


class _Unused(NamedTuple):
    """What the folders hold besides the files of the images that were found."""

    files: int
    """Number of files with an image's ending."""
    refused: Mapping[str, int]
    """Number of these files by image, of images with a failure."""
    orphans: tuple[Orphan, ...]
    others: list[tuple[Folder, str]]
    """Entries that have no image's ending."""


def _count_unused(
    folders: Folders, used: Collection[str], failed: Collection[str], names: Collection[str]
) -> _Unused:
    """Count the files that are not used, by what they lack."""
    files = 0
    refused = dict.fromkeys(failed, 0)
    spare = Counter[str]()
    images = Counter[str]()
    masks = Counter[str]()
    others: list[tuple[Folder, str]] = []
    for folder in folders.distinct():
        for name, file in folder.unused_files(used):
            if name is None:
                others.append((folder, file))
                continue
            files += 1
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
    orphans = [
        Orphan(kind, name, count)
        for kind, counts in kinds.items()
        for name, count in sorted(counts.items())
    ]
    return _Unused(files, refused, tuple(orphans), others)


def _require_common_image(folders: Folders, table: Path | None, rows: Collection[str]) -> None:
    """Refuse inputs that have no image in common, although there are rows and files.

    Raises
    ------
    InputError
        With an unmatched name of each side, and the likely cause.
    """
    named = {printable(name) for folder in folders.distinct() for name, _ in folder.image_files()}
    files = sorted(folders.images.files_except(table))
    if table is not None and files and rows and not named.intersection(rows):
        raise InputError(table, explain_mismatch(rows, files, folders.images.path))
    if table is None and files and not any(folders.images.image_files()):
        expected = ", ".join(f"ID{ending}" for ending in CHANNEL_ENDINGS)
        reason = (
            f"no files match the expected names {expected}; "
            f"the folder holds {count_text(len(files), 'file')}, such as {printable(files[0])}"
        )
        raise InputError(folders.images.path, reason)


def _describe_near_rows(
    sources: Sequence[Source], failures: Sequence[Failure], unused: _Unused
) -> str | None:
    """Say which rows nearly name an existing image."""
    rows = [source.name for source in sources if not source.files]
    rows += [
        failure.image_name for failure in failures if not unused.refused.get(failure.image_name)
    ]
    files = [
        f"{orphan.name}{CHANNEL_ENDINGS[0]}"
        for orphan in unused.orphans
        if orphan.kind == "image_without_label"
    ]
    near = find_near_names(rows, files) if rows and files else None
    if near is None:
        return None
    verb = "names" if near.rows == 1 else "name"
    return (
        f"{count_text(near.rows, 'row')} nearly {verb} an existing image, "
        f"such as {near.row!r} for {near.file!r}; {near.cause}"
    )


def _count_foreign(others: Iterable[tuple[Folder, str]], table: Path | None) -> ForeignFiles:
    """Count the files without an image's ending; neither folders nor the table are among them."""
    path = table and absolute_path(table)
    names = [name for folder, name in others if folder.path / name != path and folder.is_file(name)]
    return ForeignFiles(len(names), printable(min(names))) if names else NO_FOREIGN_FILES
