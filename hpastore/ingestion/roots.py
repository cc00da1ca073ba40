"""Roots are places, and not texts: which of the roots that are stored is the one that was given.

Two paths are one root if they lead to the same folder now.  What identifies a folder to the operating system
(device and inode) is never stored: it repeats across disks and hosts.  A root whose folder does not exist any
more has moved to where its images are met again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hpastore.errors import UsageError
from hpastore.model import FileStamp, Inputs, Source, StoredImage
from hpastore.reading.places import exists, find_root, is_same_folder, quoted
from hpastore.vocabulary import CHANNELS

logger = logging.getLogger(__name__)

MOVED_SHARE: Final = (4, 5)
"""Of the live images of a root that does not exist any more: as many must be met elsewhere."""

Hashes = Callable[[Sequence[str]], Mapping[str, Mapping[str, str]]]
"""Gives the SHA-256 of stored files by the names of images and the role."""

Same = Callable[[Source, Mapping[str, str], Path], bool]
"""Says whether files that are found have the bytes with these hashes, by their roles."""


@dataclass(frozen=True)
class MovedRoot:
    """A root that is stored and was met at another place.

    Parameters
    ----------
    root
        Its path as it is stored.
    live
        Number of its images that are not gone.
    met
        How many of them were met with the same channels.
    """

    root: str
    live: int
    met: int


@dataclass(frozen=True)
class Roots:
    """What the root that was given is to the roots that are stored.

    Parameters
    ----------
    spellings
        Other stored paths of the same folder.
    moved
        Roots that have moved here, with all their images.
    strays
        Roots that do not exist any more, and some of whose images are here; too few to say that they have
        moved.
    missing
        Number of live images of each other root that does not exist any more.
    kept
        Names of images that are found here, and whose files are still there in the root that the store has
        them from: they stay in it.
    """

    spellings: tuple[str, ...] = ()
    moved: tuple[MovedRoot, ...] = ()
    strays: tuple[MovedRoot, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    @property
    def here(self) -> tuple[str, ...]:
        """All stored paths of what is now the root that was given."""
        return (*self.spellings, *(one.root for one in self.moved))


def recognise_roots(
    found: Inputs,
    known: Mapping[str, StoredImage],
    others: Collection[str],
    moved_from: Sequence[str | Path],
    hashes: Hashes,
    same: Same,
) -> Roots:
    """Tell which stored roots are the one that was given.

    Parameters
    ----------
    found : Inputs
    known : mapping of name to StoredImage
        What the store holds.
    others : collection of str
        Roots that the store knows besides, such as those of rejected images.
    moved_from : sequence of str or Path
        Roots that somebody says have moved here.
    hashes, same
        How bytes are compared, where sizes and times do not tell.

    Returns
    -------
    Roots

    Raises
    ------
    NotFoundError
        If the store has none of `moved_from`.
    UsageError
        If one of them has not moved here: it still exists, or none of its images is here.
    """
    live: dict[str, list[str]] = {root: [] for root in others}
    for name, stored in known.items():
        mine = live.setdefault(stored.root, [])
        if not stored.gone:
            mine.append(name)
    here = str(found.root)
    candidates = {root: names for root, names in live.items() if root != here}
    spellings = tuple(root for root in candidates if is_same_folder(root, here))
    told = {find_root(root, [here, *candidates]) for root in moved_from}
    sources = {source.name: source for source in found.sources}
    moved, strays, missing = [], [], {}
    for root, names in candidates.items():
        if root in spellings:
            continue
        if root in told and exists(root):
            raise UsageError(f"{root} still exists, so that it has not moved to {here}")
        if not exists(root) and (names or root in told):
            met = _met(names, known, sources, found.root, hashes, same)
            one = MovedRoot(root, len(names), met)
            if root in told and names and not met:
                raise UsageError(
                    f"{root} has not moved to {here}: none of its {len(names)} images is there with the same "
                    f"channels; hpastore forget {quoted(root)} marks them as gone"
                )
            if root in told or _enough(one):
                moved.append(one)
            else:
                missing[root] = len(names)
                if met:
                    strays.append(one)
    ours = {here, *spellings, *(one.root for one in moved)}
    kept = {name for name in sources if name in known and _stays(known[name], ours)}
    return Roots(spellings, tuple(moved), tuple(strays), missing, frozenset(kept))


def _stays(stored: StoredImage, ours: Collection[str]) -> bool:
    """Whether an image is still there in another root that it is stored from."""
    return stored.root not in ours and not stored.gone and exists(str(Path(stored.root, stored.files[0].uri)))


def _met(
    names: Sequence[str],
    known: Mapping[str, StoredImage],
    sources: Mapping[str, Source],
    root: Path,
    hashes: Hashes,
    same: Same,
) -> int:
    """Count the images of a root that are found with the same channels, as far as is needed."""
    met, doubtful = 0, []
    for name in names:
        source = sources.get(name)
        if source is None:
            continue
        files, stored = _channels(source.files), _channels(known[name].files)
        if files == stored:
            met += 1
        elif _sizes(files) == _sizes(stored):
            doubtful.append(name)
    if not doubtful or _enough(MovedRoot("", len(names), met)):
        return met
    if not _enough(MovedRoot("", len(names), met + len(doubtful))):
        doubtful = doubtful[:1]  # too few to have moved; whether there is one is worth a word
    logger.info("comparing channels of %d images with those of a root that is no longer there", len(doubtful))
    stored_hashes = hashes(doubtful)
    for name in doubtful:
        met += same(sources[name], stored_hashes[name], root)
        if _enough(MovedRoot("", len(names), met)):
            break
    return met


def _enough(root: MovedRoot) -> bool:
    part, whole = MOVED_SHARE
    return root.live > 0 and whole * root.met >= part * root.live


def _channels(files: Sequence[FileStamp]) -> tuple[FileStamp, ...]:
    return tuple(file for file in files if file.role in CHANNELS)


def _sizes(files: Sequence[FileStamp]) -> dict[str, int]:
    return {file.role: file.size for file in files}
