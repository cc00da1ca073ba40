"""Failures that are found without reading a file, and which failures the store lists already."""

from __future__ import annotations

from collections.abc import Mapping

from hpastore.model import Failure, Source
from hpastore.reading.places import quoted
from hpastore.text import printable


def is_listed(failure: Failure, listed: Mapping[str, Failure]) -> bool:
    """Whether the store lists a rejected image already, with the same fault."""
    before = listed.get(failure.image_name)
    return before is not None and (before.code, before.uri, before.message) == (
        failure.code,
        failure.uri,
        failure.message,
    )


def missing_files(source: Source) -> Failure:
    """Say which required files of an image do not exist."""
    verb, what = ("are", "them") if len(source.missing) > 1 else ("is", "it")
    similar = ""
    if source.nearest:
        names = ", ".join(map(printable, source.nearest))
        similar = f" (found, but not read: {names})"
    message = (
        f"{source.name}: {' and '.join(source.missing)} {verb} missing{similar}; "
        f"add {what}, or remove the image's row from the table"
    )
    return Failure(source.name, source.missing[0], "missing_file", message)


def duplicate_name(source: Source, other: str) -> Failure:
    """Say that the store has an image whose name differs only in case."""
    message = (
        f"{source.name}: the store has {other}, which differs only in case; rename one of them"
    )
    return Failure(source.name, source.files[0].uri, "duplicate", message)


def conflict(source: Source, root: str) -> Failure:
    """Say that the store has another image with this name, from another root."""
    message = (
        f"{source.name}: the store has another image with this name, from {printable(root, None)}; "
        "rename one of the two.  If that root no longer exists: ingest with "
        f"--moved-from {quoted(root)} if it has moved here, else run hpastore forget {quoted(root)}"
    )
    return Failure(source.name, source.files[0].uri, "conflict", message, source.files)
