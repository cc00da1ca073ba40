"""Say why a table and a folder have nothing in common, or why a folder is empty."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from hpastore.text import printable
from hpastore.vocabulary import CHANNELS

_FILE_TYPE: Final = re.compile(r"\.(png|jpe?g|tiff?|bmp|npz|npy|gz)$", re.IGNORECASE)
_CHANNEL: Final = re.compile(rf"_({'|'.join(CHANNELS)})$", re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[-_. ]+")

_MOUNTS: Final = Path("/etc/fstab")


def explain_mismatch(rows: Collection[str], files: Collection[str], folder: Path) -> str:
    """Show an unmatched name of each side, and the likely cause.

    Parameters
    ----------
    rows : collection of str
        Names of images in the table.
    files : collection of str
        Names of the files in the folder of images.
    folder : Path

    Returns
    -------
    str
        A sentence about the table.
    """
    by_key = {_key(_stem(file)): file for file in sorted(files, reverse=True)}
    row = next((row for row in sorted(rows) if _key(row) in by_key), min(rows))
    file = by_key.get(_key(row), min(files))
    causes = list(_causes(row, file)) if _key(row) in by_key else []
    likely = " and ".join(causes) if causes else "compare the two, or name another folder with --images"
    return (
        f"no row is an image in {folder}: the table has {printable(row)!r}, the folder {printable(file)!r}; "
        f"{likely}"
    )


def nearly_meet(rows: Collection[str], files: Collection[str]) -> tuple[int, str, str, str] | None:
    """Find rows and files that nearly name the same images.

    Parameters
    ----------
    rows : collection of str
        Names in the table of which no image is there.
    files : collection of str
        Names of files of images that are not in the table.

    Returns
    -------
    number, row, file, cause : int, str, str, str
        How many rows, the first, its file, and what must be changed; None if there are none.
    """
    by_key = {_key(_stem(file)): file for file in sorted(files, reverse=True)}
    near = sorted(row for row in rows if _key(row) in by_key)
    if not near:
        return None
    file = by_key[_key(near[0])]
    return len(near), printable(near[0]), printable(file), " and ".join(_causes(near[0], file))


def _causes(row: str, file: str) -> Iterator[str]:
    """Say what must be changed, so that a row names the image that a file belongs to."""
    name, stem = row, _stem(file)
    if "/" in name or "\\" in name:
        yield "remove the folder from the IDs"
        name = _without_folder(name)
    if ending := _FILE_TYPE.search(name):
        yield f"remove the ending {ending[0]} from the IDs"
        name = name[: ending.start()]
    if channel := _CHANNEL.search(name):
        yield f"remove the channel {channel[0]} from the IDs"
        name = name[: channel.start()]
    if _number(name) == _number(stem) != "" and name != stem:
        yield "the numbers are written otherwise: write the IDs as the files are called, as text"
    elif _SEPARATORS.sub("_", name) != _SEPARATORS.sub("_", stem):
        if _SEPARATORS.sub("_", name).casefold() == _SEPARATORS.sub("_", stem).casefold():
            yield "the case differs: write the IDs as the files are called"
    elif name != stem:
        yield "the separators differ: write the IDs as the files are called"
    if not file.endswith(tuple(f"_{channel}.png" for channel in CHANNELS)):
        yield f"{printable(file)} is not read: an image's channels are grey PNG called ID_red.png and so on"


def _key(name: str) -> str:
    """What is left of a name without folder, ending, channel, case and separators."""
    name = _stem(_without_folder(name))
    return _number(name) or _SEPARATORS.sub("", name).casefold()


def _number(name: str) -> str:
    """A name that is a number as a spreadsheet writes it: 001 and 1.0 are 1; empty for any other name."""
    whole = name.removesuffix(".0")
    return whole.lstrip("0") or "0" if whole.isascii() and whole.isdigit() else ""


def _without_folder(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _stem(file: str) -> str:
    """The name of the image that a file belongs to, whatever its type."""
    while ending := _FILE_TYPE.search(file):
        file = file[: ending.start()]
    return _CHANNEL.sub("", file)


def unmounted_below(path: Path) -> Path | None:
    """Find the mount point above a folder whose file system is not mounted, as far as the system lists them.

    Parameters
    ----------
    path : Path
        Absolute.

    Returns
    -------
    Path or None
        None where each is mounted, or where there is no list.
    """
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    fields = (line.split() for line in lines if not line.lstrip().startswith("#"))
    written = (columns[1].replace("\\040", " ") for columns in fields if len(columns) > 1)
    points = {Path(point) for point in written if point.startswith("/")}
    real = Path(os.path.realpath(path))
    for folder in (real, *real.parents):
        if folder in points and not os.path.ismount(folder):
            return folder
    return None
