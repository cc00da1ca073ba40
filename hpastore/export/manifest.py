"""The manifest of an export: what it holds, and the hash of every file, to be verified later."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import hpastore
from hpastore.arguments import expanded
from hpastore.errors import ExportError, RejectedError
from hpastore.export.selection import ResolvedOptions
from hpastore.model import MeasurementSettings
from hpastore.reading import read_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

NAME = "manifest.json"


class Counts(NamedTuple):
    """What an export holds; a cell with several labels has an annotation for each."""

    images: int = 0
    cells: int = 0
    annotations: int = 0


@dataclass(frozen=True)
class Written:
    """What an export wrote.

    Parameters
    ----------
    path : Path
        The file or folder.
    manifest : Path
    images, cells, annotations : int
        A cell with several labels has an annotation for each.
    files : int
    """

    path: Path
    manifest: Path
    images: int
    cells: int
    annotations: int
    files: int


class Fingerprint(NamedTuple):
    """What a manifest says of a file."""

    sha256: str
    size: int
    """Bytes."""


class FingerprintedFile(io.BufferedWriter):
    """A new file that hashes what is written, so that it need not be read again.

    Parameters
    ----------
    path : Path

    Notes
    -----
    It is written from its beginning to its end, without `seek`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: Buffer) -> int:
        """Write and hash bytes."""
        self._hash.update(data)
        written = super().write(data)
        self._size += written
        return written

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of what was written."""
        return Fingerprint(self._hash.hexdigest(), self._size)


def file_fingerprint(path: Path) -> Fingerprint:
    """Read the fingerprint of a file."""
    with path.open("rb") as file:
        return Fingerprint(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def manifest_path(path: Path) -> Path:
    """Return the path of an output's manifest: inside a folder, beside a file."""
    return path / NAME if path.is_dir() else path.with_name(f"{path.name}.{NAME}")


def document(
    format_name: str,
    format_options: Mapping[str, Any],
    resolved: ResolvedOptions,
    settings: MeasurementSettings | None,
    counts: Counts,
    files: Mapping[str, Fingerprint],
) -> bytes:
    """Compose a manifest.

    Parameters
    ----------
    format_name : str
    format_options : mapping
        The options of this format alone.
    resolved : ResolvedOptions
    settings : MeasurementSettings, optional
        What the store's numbers were computed with.
    counts : Counts
    files : mapping of name to Fingerprint
        By their names in the output.

    Returns
    -------
    bytes
        JSON; the same for the same store and options, since it holds no time and no path.
    """
    content = {
        "hpastore": hpastore.__version__,
        "format": format_name,
        "clean_set": resolved.clean_set,
        "measurement_settings": settings and asdict(settings),
        "classes": {str(label): name for label, name in resolved.classes.names.items()},
        "options": {**_shared_options(resolved), **format_options},
        "counts": counts._asdict(),
        "files": {name: files[name]._asdict() for name in sorted(files)},
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def is_manifest(path: Path) -> bool:
    """Tell whether a file is a manifest that an export wrote."""
    try:
        return bool(_listed(path))
    except ExportError:
        return False


def listed_files(folder: Path) -> set[str] | None:
    """List the files of an exported folder, with its manifest; None for any other folder."""
    try:
        return {NAME, *_listed(folder / NAME)}
    except ExportError:
        return None


def verify(path: Path) -> int:
    """Compare an export with its manifest.

    Parameters
    ----------
    path : Path
        The file or folder that was exported.  Nothing outside of it is read, even if a manifest
        names it.

    Returns
    -------
    int
        Number of files that agree.

    Raises
    ------
    ExportError
        If the manifest is missing or unreadable, or a file is missing, differs, or is not listed.
    """
    path = expanded(path)
    with _named_errors(path):
        return _verify(path)


def _verify(path: Path) -> int:
    if not path.exists():
        raise ExportError(path, "no such export")
    where = manifest_path(path)
    files = _listed(where)
    if not path.is_dir() and list(files) != [path.name]:
        raise ExportError(where, f"is the manifest of {', '.join(files)}; rename the file back")
    folder = path if path.is_dir() else path.parent
    for name, fingerprint in files.items():
        file = folder / name
        if path.is_dir() and not _lies_in(file, folder):
            raise ExportError(file, "is a link out of its folder; export again")
        if not file.is_file():
            raise ExportError(file, "is in the manifest, but missing; export again")
        if file_fingerprint(file)._asdict() != fingerprint:
            raise ExportError(file, "has changed since it was exported; export again")
    if path.is_dir():
        _refuse_unlisted(path, files)
    return len(files)


def _listed(manifest: Path) -> dict[str, dict[str, Any]]:
    """Read the fingerprints of all listed files, by name."""
    with _named_errors(manifest):
        is_there = manifest.exists()
    if not is_there:
        raise ExportError(manifest, "does not exist; only exports of hpastore have a manifest")
    try:
        data, _ = read_file(manifest, "manifest", manifest.name)
        content = json.loads(data)
    except RejectedError as error:
        raise ExportError(manifest, error.reason) from error
    except (ValueError, RecursionError) as error:
        raise ExportError(manifest, f"is not a manifest of hpastore ({error})") from error
    if not (
        isinstance(content, dict) and all(isinstance(content.get(k), t) for k, t in _KEYS.items())
    ):
        raise ExportError(manifest, "is not a manifest of hpastore")
    files: dict[str, Any] = content["files"]
    if not files or not all(
        isinstance(f, dict) and f.keys() == _FINGERPRINT for f in files.values()
    ):
        raise ExportError(manifest, "is not a manifest of hpastore (it lists no files)")
    for name in files:
        if "\0" in name or PurePath(name).is_absolute() or {"", ".", ".."} & set(name.split("/")):
            raise ExportError(
                manifest, f"lists {name!r}, which is not inside its folder; export again"
            )
    return files


_KEYS: Final = {"hpastore": str, "format": str, "options": dict, "counts": dict, "files": dict}
"""Keys of every manifest, and the types of their values."""

_FINGERPRINT: Final = set(Fingerprint._fields)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors, such as that a name is too long, into errors that name the file."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); check the name and the permissions"
        raise ExportError(error.filename or path, reason) from error


def _lies_in(file: Path, folder: Path) -> bool:
    """Tell whether a file is in a folder, after following links."""
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _refuse_unlisted(folder: Path, files: Iterable[str]) -> None:
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    unlisted = sorted(found - set(files) - {NAME})
    if unlisted:
        raise ExportError(
            folder / unlisted[0], "is not in the manifest; it was added after the export"
        )


def _shared_options(resolved: ResolvedOptions) -> dict[str, Any]:
    options = resolved.options
    return {
        "split": resolved.selection.split,
        "labels": list(resolved.selection.labels),
        "multilabel": options.multilabel,
        "drop_empty": options.drop_empty,
    }
