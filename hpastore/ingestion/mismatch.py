"""Say why a table and a folder have nothing in common, or why a folder is empty."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

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
    near = next((row for row in sorted(rows) if _key(row) in by_key), None)
    row = min(rows) if near is None else near
    file = min(files) if near is None else by_key[_key(row)]
    causes = [] if near is None else list(_causes(row, file))
    likely = " and ".join(causes) or "compare the two, or name another folder with --images"
    return (
        f"no row matches an image in {folder}: the table has {printable(row)!r}, the folder "
        f"{printable(file)!r}; {likely}"
    )


class NearNames(NamedTuple):
    """Rows that nearly name an existing image."""

    rows: int
    """How many."""
    row: str
    """The first of them."""
    file: str
    """A file of the image that the row may mean."""
    cause: str
    """What to change."""


def find_near_names(rows: Collection[str], files: Collection[str]) -> NearNames | None:
    """Find rows and files that nearly name the same images.

    Parameters
    ----------
    rows : collection of str
        Names in the table whose images do not exist.
    files : collection of str
        Names of files whose images are not in the table.

    Returns
    -------
    NearNames or None
        None if there are none.
    """
    by_key = {_key(_stem(file)): file for file in sorted(files, reverse=True)}
    near = sorted(row for row in rows if _key(row) in by_key)
    if not near:
        return None
    row = near[0]
    file = by_key[_key(row)]
    return NearNames(len(near), printable(row), printable(file), " and ".join(_causes(row, file)))


def _causes(row: str, file: str) -> Iterator[str]:
    """Say what to change, so that a row names the image of a file."""
    name = row
    stem = _stem(file)
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
        yield "the numbers are written differently: write the IDs as the files are named, as text"
    elif _SEPARATORS.sub("_", name) != _SEPARATORS.sub("_", stem):
        if _SEPARATORS.sub("_", name).casefold() == _SEPARATORS.sub("_", stem).casefold():
            yield "the case differs: write the IDs as the files are named"
    elif name != stem:
        yield "the separators differ: write the IDs as the files are named"
    if not file.endswith(tuple(f"_{channel}.png" for channel in CHANNELS)):
        name = printable(file)
        yield f"{name} is not read: channels are grey PNG files named ID_red.png and so on"


def _key(name: str) -> str:
    """A name without its folder, ending, channel, case and separators."""
    name = _stem(_without_folder(name))
    return _number(name) or _SEPARATORS.sub("", name).casefold()


def _number(name: str) -> str:
    """A name that is a number, as a spreadsheet writes it: 001 and 1.0 are 1; else empty."""
    whole = name.removesuffix(".0")
    return whole.lstrip("0") or "0" if whole.isascii() and whole.isdigit() else ""


def _without_folder(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _stem(file: str) -> str:
    """The name of a file's image, whatever the file's type."""
    while ending := _FILE_TYPE.search(file):
        file = file[: ending.start()]
    return _CHANNEL.sub("", file)


def unmounted_below(path: Path) -> Path | None:
    """Find the mount point above a folder that is listed in ``/etc/fstab`` and not mounted.

    Parameters
    ----------
    path : Path
        Absolute.

    Returns
    -------
    Path or None
        None if each is mounted, or if there is no list.
    """
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return None

    entries = [line.split() for line in lines if not line.lstrip().startswith("#")]
    names = [entry[1].replace("\\040", " ") for entry in entries if len(entry) > 1]
    points = {Path(name) for name in names if name.startswith("/")}
    real = Path(os.path.realpath(path))
    for folder in (real, *real.parents):
        if folder in points and not os.path.ismount(folder):
            return folder
    return None
