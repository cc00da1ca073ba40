"""What an export holds, beside it, so that it can be checked later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hpastore
from hpastore.errors import ExportError
from hpastore.export.choice import Chosen
from hpastore.model import Recipe, expanded

NAME = "manifest.json"


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
    form: str,
    options: Mapping[str, Any],
    chosen: Chosen,
    recipe: Recipe | None,
    counts: Mapping[str, int],
    files: Mapping[str, Path],
) -> bytes:
    """Compose a manifest.

    Parameters
    ----------
    form : str
        The export's format.
    options : mapping
        What it was asked for besides the choice.
    chosen : Chosen
    recipe : Recipe, optional
        What the store's numbers were computed with.
    counts : mapping
        Images, cells, annotations.
    files : mapping of name to Path
        Names as in the output, and where the files are now.

    Returns
    -------
    bytes
        JSON; the same for the same store and options: it holds no clock and no path.
    """
    content = {
        "hpastore": hpastore.__version__,
        "format": form,
        "clean_set": chosen.clean_set,
        "recipe": recipe and asdict(recipe),
        "options": {**_choice(chosen), **options},
        "counts": dict(counts),
        "files": {name: _fingerprint(path) for name, path in sorted(files.items())},
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def is_export(folder: Path) -> bool:
    """Tell whether a folder holds a manifest, hence was written by us."""
    try:
        return bool(_listed(folder / NAME))
    except ExportError:
        return False


def verify(path: Path) -> int:
    """Read an export again and compare it with its manifest.

    Parameters
    ----------
    path : Path
        The file or folder that was exported.

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
    if not path.exists():
        raise ExportError(path, "no such export")
    where = manifest_path(path)
    files = _listed(where)
    if path.is_file() and list(files) != [path.name]:
        raise ExportError(where, f"is the manifest of {', '.join(files)}; give the file its old name")
    folder = path if path.is_dir() else path.parent
    for name, fingerprint in files.items():
        if not (folder / name).is_file():
            raise ExportError(folder / name, "is in the manifest, but not there; export again")
        if _fingerprint(folder / name) != fingerprint:
            raise ExportError(folder / name, "differs from what was exported; export again")
    if path.is_dir():
        _refuse_strangers(path, files)
    return len(files)


def _listed(manifest: Path) -> dict[str, dict[str, Any]]:
    """Read the fingerprints of files by name."""
    try:
        files = json.loads(manifest.read_bytes())["files"]
    except FileNotFoundError as error:
        raise ExportError(manifest, "no manifest; was this written by hpastore export?") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(manifest, f"cannot be read as a manifest ({error})") from error
    if not (files and isinstance(files, dict) and all(isinstance(f, dict) for f in files.values())):
        raise ExportError(manifest, "cannot be read as a manifest (it lists no files)")
    return files


def _refuse_strangers(folder: Path, files: Iterable[str]) -> None:
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    strangers = sorted(there - set(files) - {NAME})
    if strangers:
        raise ExportError(folder / strangers[0], "is not in the manifest; it was put there after the export")


def _choice(chosen: Chosen) -> dict[str, Any]:
    choice = chosen.choice
    return {
        "split": chosen.selection.split,
        "labels": list(chosen.selection.labels),
        "multilabel": choice.multilabel,
        "drop_empty": choice.drop_empty,
    }


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}
