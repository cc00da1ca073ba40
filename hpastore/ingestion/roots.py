"""Which of the stored roots are the root of the inputs: roots are places, not texts.

Two paths are one root if they lead to the same folder now.  Device and inode, by which the
operating system identifies a folder, are never stored: they repeat across disks and hosts.  A root
that no longer exists has moved to the place where its images are found again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hpastore.errors import UsageError
from hpastore.ingestion.stamps import sizes
from hpastore.model import FileStamp, Inputs, Source, StoredImage
from hpastore.reading.places import exists, find_root, is_same_folder, quoted
from hpastore.text import count_text
from hpastore.vocabulary import CHANNELS

logger = logging.getLogger(__name__)

MOVED_SHARE: Final = (4, 5)
"""A missing root has moved to where this share of its live images is found."""

Hashes = Callable[[Sequence[str]], Mapping[str, Mapping[str, str]]]
"""Returns the SHA-256 of stored files by image and role, for the names of images."""

HasSameBytes = Callable[[Source, Mapping[str, str], Path], bool]
"""Whether the files of an image have these SHA-256, by role."""


@dataclass(frozen=True)
class MovedRoot:
    """A stored root whose images were found in another folder.

    Parameters
    ----------
    root
        Its stored path.
    live
        Number of its images that are not gone.
    found
        How many of them were found with the same channels.
    """

    root: str
    live: int
    found: int

    @property
    def is_certain(self) -> bool:
        """Whether enough images were found."""
        part, whole = MOVED_SHARE
        return self.live > 0 and whole * self.found >= part * self.live


@dataclass(frozen=True)
class Roots:
    """How the stored roots relate to the root of the inputs.

    Parameters
    ----------
    spellings
        Other stored paths of the same folder.
    moved
        Roots that have moved here, with all their images.
    strays
        Roots that no longer exist and have some images here, but too few to say that they have
        moved.
    missing
        Number of live images of each other root that no longer exists.
    kept
        Names of images of the inputs that stay in another root, where their files still exist.
    """

    spellings: tuple[str, ...] = ()
    moved: tuple[MovedRoot, ...] = ()
    strays: tuple[MovedRoot, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    @property
    def here(self) -> tuple[str, ...]:
        """All stored paths of what is the root of the inputs now."""
        return (*self.spellings, *(one.root for one in self.moved))


def recognise_roots(
    inputs: Inputs,
    stored: Mapping[str, StoredImage],
    others: Collection[str],
    moved_from: Sequence[str | Path],
    hashes: Hashes,
    has_same_bytes: HasSameBytes,
) -> Roots:
    """Find the stored roots that are the root of the inputs.

    Parameters
    ----------
    inputs : Inputs
    stored : mapping of name to StoredImage
        What the store holds.
    others : collection of str
        Roots without images, such as those of rejected images.
    moved_from : sequence of str or Path
        Roots that have moved here, according to the user.
    hashes, has_same_bytes
        To compare bytes, if sizes and times do not tell.

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
    here = str(inputs.root)
    live: dict[str, list[str]] = {root: [] for root in others}
    for name, image in stored.items():
        names = live.setdefault(image.root, [])
        if not image.gone:
            names.append(name)
    candidates = {root: names for root, names in live.items() if root != here}
    spellings = tuple(root for root in candidates if is_same_folder(root, here))
    requested = {find_root(root, [here, *candidates]) for root in moved_from}

    sources = {source.name: source for source in inputs.sources}
    moved: list[MovedRoot] = []
    strays: list[MovedRoot] = []
    missing: dict[str, int] = {}
    for root, names in candidates.items():
        if root in spellings:
            continue
        if exists(root):
            if root in requested:
                raise UsageError(f"{root} still exists, so it has not moved to {here}")
            continue
        if not names and root not in requested:
            continue
        found = _count_found(names, stored, sources, inputs.root, hashes, has_same_bytes)
        candidate = MovedRoot(root, len(names), found)
        if root in requested:
            _require_found(candidate, here)
        if root in requested or candidate.is_certain:
            moved.append(candidate)
        else:
            missing[root] = len(names)
            if found:
                strays.append(candidate)

    roots_here = {here, *spellings, *(root.root for root in moved)}
    kept = {name for name in sources if name in stored and _stays(stored[name], roots_here)}
    return Roots(spellings, tuple(moved), tuple(strays), missing, frozenset(kept))


def _require_found(candidate: MovedRoot, here: str) -> None:
    """Refuse a root that has moved here according to the user, but has no image here."""
    if candidate.live and not candidate.found:
        images = count_text(candidate.live, "image")
        raise UsageError(
            f"{candidate.root} has not moved to {here}: none of its {images} was found there with "
            f"the same channels; hpastore forget {quoted(candidate.root)} marks them as gone"
        )


def _stays(image: StoredImage, roots_here: Collection[str]) -> bool:
    """Whether an image stays in another root, since its files still exist there."""
    if image.root in roots_here or image.gone:
        return False
    return exists(str(Path(image.root, image.files[0].uri)))


def _count_found(
    names: Sequence[str],
    stored: Mapping[str, StoredImage],
    sources: Mapping[str, Source],
    root: Path,
    hashes: Hashes,
    has_same_bytes: HasSameBytes,
) -> int:
    """Count the images of a root that are found with the same channels, until there are enough."""
    found = 0
    doubtful: list[str] = []
    for name in names:
        source = sources.get(name)
        if source is None:
            continue
        files = _channels(source.files)
        files_before = _channels(stored[name].files)
        if files == files_before:
            found += 1
        elif sizes(files) == sizes(files_before):
            doubtful.append(name)

    if not doubtful or MovedRoot("", len(names), found).is_certain:
        return found
    if not MovedRoot("", len(names), found + len(doubtful)).is_certain:
        doubtful = doubtful[:1]  # too few to have moved; the warning mentions whether one is here
    logger.info(
        "comparing the channels of %s with those of a root that no longer exists",
        count_text(len(doubtful), "image"),
    )
    stored_hashes = hashes(doubtful)
    for name in doubtful:
        found += has_same_bytes(sources[name], stored_hashes[name], root)
        if MovedRoot("", len(names), found).is_certain:
            break
    return found


def _channels(files: Sequence[FileStamp]) -> tuple[FileStamp, ...]:
    return tuple(file for file in files if file.role in CHANNELS)
