"""What an export holds, beside it, so that it can be checked later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple

import hpastore
from hpastore.arguments import expanded
from hpastore.errors import ExportError, RejectedError
from hpastore.export.selection import ResolvedOptions
from hpastore.model import MeasurementSettings
from hpastore.reading import read_file

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


def manifest_path(path: Path) -> Path:
    """Name an output's manifest: inside a folder, beside a file."""
    return path / NAME if path.is_dir() else path.with_name(f"{path.name}.{NAME}")


def document(
    format_name: str,
    format_options: Mapping[str, Any],
    resolved: ResolvedOptions,
    settings: MeasurementSettings | None,
    counts: Counts,
    files: Mapping[str, Path],
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
    files : mapping of name to Path
        By their names in the output, where the files are while they are written.

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
        "options": {**_shared_options(resolved), **format_options},
        "counts": counts._asdict(),
        "files": {name: _fingerprint(path) for name, path in sorted(files.items())},
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def is_manifest(path: Path) -> bool:
    """Tell whether a file is a manifest that an export wrote."""
    try:
        return bool(_listed(path))
    except ExportError:
        return False


def listed_files(folder: Path) -> set[str] | None:
    """Name the files of an exported folder, its manifest among them; None of a folder that is none."""
    try:
        return {NAME, *_listed(folder / NAME)}
    except ExportError:
        return None


def verify(path: Path) -> int:
    """Read an export again and compare it with its manifest.

    Parameters
    ----------
    path : Path
        The file or folder that was exported.  Nothing outside of it is read, whatever its manifest says.

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
        raise ExportError(where, f"is the manifest of {', '.join(files)}; give the file its old name")
    folder = path if path.is_dir() else path.parent
    for name, fingerprint in files.items():
        file = folder / name
        if path.is_dir() and not _lies_in(file, folder):
            raise ExportError(file, "leads out of its folder; export again")
        if not file.is_file():
            raise ExportError(file, "is in the manifest, but not there; export again")
        if _fingerprint(file) != fingerprint:
            raise ExportError(file, "differs from what was exported; export again")
    if path.is_dir():
        _refuse_unlisted(path, files)
    return len(files)


def _listed(manifest: Path) -> dict[str, dict[str, Any]]:
    """Read the fingerprints of files by name."""
    with _named_errors(manifest):
        is_there = manifest.exists()
    if not is_there:
        raise ExportError(manifest, "no manifest; was this written by hpastore export?")
    try:
        data, _ = read_file(manifest, "manifest", manifest.name)
        content = json.loads(data)
    except RejectedError as error:
        raise ExportError(manifest, error.reason) from error
    except (ValueError, RecursionError) as error:
        raise ExportError(manifest, f"cannot be read as a manifest ({error})") from error
    if not (isinstance(content, dict) and all(isinstance(content.get(k), t) for k, t in _KEYS.items())):
        raise ExportError(manifest, "cannot be read as a manifest (it is not one that hpastore wrote)")
    files: dict[str, Any] = content["files"]
    if not files or not all(isinstance(f, dict) and f.keys() == _FINGERPRINT for f in files.values()):
        raise ExportError(manifest, "cannot be read as a manifest (it lists no files)")
    for name in files:
        if "\0" in name or PurePath(name).is_absolute() or {"", ".", ".."} & set(name.split("/")):
            raise ExportError(manifest, f"lists {name!r}, which leads out of its folder; export again")
    return files


_KEYS: Final = {"hpastore": str, "format": str, "options": dict, "counts": dict, "files": dict}
"""What every manifest holds, and of which type."""

_FINGERPRINT: Final = {"sha256", "size"}


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Name the file that the system refuses to look at, such as one whose name is too long."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); check the name and the permissions"
        raise ExportError(error.filename or path, reason) from error


def _lies_in(file: Path, folder: Path) -> bool:
    """Whether a file is in a folder, links followed."""
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _refuse_unlisted(folder: Path, files: Iterable[str]) -> None:
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    unlisted = sorted(there - set(files) - {NAME})
    if unlisted:
        raise ExportError(folder / unlisted[0], "is not in the manifest; it was put there after the export")


def _shared_options(resolved: ResolvedOptions) -> dict[str, Any]:
    options = resolved.options
    return {
        "split": resolved.selection.split,
        "labels": list(resolved.selection.labels),
        "multilabel": options.multilabel,
        "drop_empty": options.drop_empty,
    }


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}
