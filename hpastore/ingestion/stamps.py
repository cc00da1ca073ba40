"""Compare the files of an image by what the folder shows: uri, size and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpastore.model import Change, FileStamp, StoredImage


def sizes(files: Iterable[FileStamp]) -> dict[str, int]:
    """Give the sizes of files by their roles."""
    return {file.role: file.size for file in files}


def differing_roles(found: Sequence[FileStamp], stored: Sequence[FileStamp]) -> tuple[str, ...]:
    """Give the roles of the files that differ, were added or were removed."""
    differing = {file.role for file in set(found) ^ set(stored)}
    return tuple(dict.fromkeys(file.role for file in (*found, *stored) if file.role in differing))


def files_to_compare(change: Change, stored: StoredImage) -> tuple[FileStamp, ...]:
    """Give the changed files with unchanged sizes: only their bytes tell whether they differ."""
    sizes_before = sizes(stored.files)
    return tuple(
        file
        for file in change.source.files
        if file.role in change.roles and sizes_before.get(file.role) == file.size
    )
