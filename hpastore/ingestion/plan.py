"""Decide what has to be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hpastore.model import (
    DEFAULT_MASKS,
    Change,
    Failure,
    FileStamp,
    Inputs,
    MaskOptions,
    MeasurementSettings,
    Orphan,
    Plan,
    RequiredMeasures,
    Source,
    StoredImage,
)
from hpastore.reading.places import quoted
from hpastore.text import printable
from hpastore.vocabulary import NUCLEUS_MASK

FEW_GONE: Final = 10
"""As many images may be gone without a question, if others of their root are left."""

GONE_SHARE: Final = 5
"""Of more than `FEW_GONE`, one in so many of a root's images."""


@dataclass(frozen=True)
class Policy:
    """What a run may do to images that are stored.

    Parameters
    ----------
    prune
        Whether images that are gone are deleted, and not only marked.
    allow_gone
        How many images may be gone, though they are more than a fifth of the root's, or all of them.
    resplit
        Whether images that have another split than the one given get it.
    binary_mask, match_nuclei
        How masks are to be read; None is as they were.
    kept
        Names of images that stay in another root, though they are found in this one too.
    origins
        The former root of each image of a root that has just moved here.
    """

    prune: bool = False
    allow_gone: int = 0
    resplit: bool = False
    binary_mask: str | None = None
    match_nuclei: str | None = None
    kept: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes_ids(self) -> bool:
        """Whether nuclei and the parts of binary masks are given other ids than they have."""
        return self.match_nuclei == "overlap" or self.binary_mask == "components"

    def masks(self, stored: MaskOptions = DEFAULT_MASKS) -> MaskOptions:
        """Say how the masks of an image are read, where it is decoded anew."""
        return MaskOptions(self.binary_mask or stored.binary_mask, self.match_nuclei or stored.match_nuclei)

    def reread(self, stored: StoredImage) -> str:
        """Say why an image is read again though its files are as they were; empty if it need not be.

        Other numbers can come of a mask that was read as one cell, or was split, and of nuclei.
        """
        wanted, masks = self.masks(stored.masks), stored.masks
        if wanted.binary_mask != masks.binary_mask and (stored.in_pieces or masks.binary_mask != "keep"):
            return f"its mask is to be read with --binary-mask {wanted.binary_mask}"
        nuclei = any(file.role == NUCLEUS_MASK for file in stored.files)
        if nuclei and wanted.match_nuclei != masks.match_nuclei:
            return f"its nuclei are to be matched by {wanted.match_nuclei}"
        return ""


def make_plan(
    found: Inputs,
    known: Mapping[str, StoredImage],
    failed: Mapping[str, Failure] | None = None,
    mine: Iterable[str] = (),
    settings: MeasurementSettings | None = None,
    compared: Mapping[str, tuple[str, ...]] | None = None,
    *,
    policy: Policy | None = None,
    listed: Mapping[str, Failure] | None = None,
    required: RequiredMeasures | None = None,
) -> Plan:
    """Compare what is found with what is stored.

    Parameters
    ----------
    found : Inputs
        From `hpastore.ingestion.discover.discover`.
    known : mapping of name to StoredImage
        What the store holds.
    failed : mapping of name to Failure
        What the store lists as rejected, and is not tried again while its files are as they were.
    mine : iterable of str
        Which rejected images are of this root.
    settings : MeasurementSettings, optional
        What numbers shall be of; others are stale.
    compared : mapping of name to roles, optional
        Which files' bytes differ, of the images whose bytes were compared; none where all are the
        same.  Without it, images that only their bytes tell about are `Plan.doubtful`.
    policy : Policy
        What may be done.
    listed : mapping of name to Failure, optional
        All that the store lists as rejected; `failed` by default.
    required : RequiredMeasures, optional
        Measures that users added; images that lack one are stale or unmeasured.

    Returns
    -------
    Plan
        A pure function of its arguments; planning again after doing it finds no work.
    """
    draft = _Draft(
        found,
        known,
        failed or {},
        settings,
        compared or {},
        required or RequiredMeasures(),
        policy or Policy(),
    )
    for source in found.sources:
        draft.place(source)
    return draft.plan(mine, failed or {} if listed is None else listed)


def files_to_compare(change: Change, stored: StoredImage) -> tuple[FileStamp, ...]:
    """Give the files of which only their bytes tell whether they changed: their sizes are as they were."""
    sizes = _sizes(stored.files)
    return tuple(f for f in change.source.files if f.role in change.roles and sizes.get(f.role) == f.size)


def conflict(source: Source, root: str) -> Failure:
    """Say that the store has another image of this name from another root."""
    message = (
        f"{source.name}: the store has another image of this name, from {printable(root, None)}; rename one "
        f"of the two.  If that root does not exist any more: --moved-from {quoted(root)} where it has moved "
        f"here, else hpastore forget {quoted(root)}"
    )
    return Failure(source.name, source.files[0].uri, "conflict", message, source.files)


@dataclass
class _Draft:
    """A plan in the making."""

    found: Inputs
    known: Mapping[str, StoredImage]
    failed: Mapping[str, Failure]
    settings: MeasurementSettings | None
    compared: Mapping[str, tuple[str, ...]]
    required: RequiredMeasures
    policy: Policy
    new: list[Source] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    doubtful: list[Change] = field(default_factory=list)
    unmeasured: list[Source] = field(default_factory=list)
    relabelled: list[Source] = field(default_factory=list)
    rejected: dict[str, Failure] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    resplit: list[str] = field(default_factory=list)
    other_split: Counter[str] = field(default_factory=Counter)
    orphans: list[Orphan] = field(default_factory=list)
    unchanged: int = 0
    unchanged_files: int = 0

    def place(self, source: Source) -> None:
        """Put one image where it belongs."""
        stored, name = self.known.get(source.name), source.name
        if stored is not None and self._is_that_image(source, stored):
            self._split(source, stored)
        if not _has_image(source):
            self.orphans.append(Orphan("label_without_image", name, len(source.files)))
        elif stored is not None and self._has_same_files(source, stored):
            self._same_files(source, stored)
        elif source.missing:
            self._reject(_missing(source), source, stored)
        elif (tried := self.failed.get(name)) and self._in_vain(source, tried):
            self._reject(tried, source, stored)
        elif stored is None:
            self.new.append(source)
        else:
            self._other_files(source, stored)

    def _has_same_files(self, source: Source, stored: StoredImage) -> bool:
        return stored.files == source.files or self.compared.get(source.name) == ()

    def _is_that_image(self, source: Source, stored: StoredImage) -> bool:
        """Whether a stored image is the one that is found, and not its namesake in another root."""
        if source.name in self.policy.kept:
            return False
        return stored.root == str(self.found.root) or self._has_same_files(source, stored)

    def _split(self, source: Source, stored: StoredImage) -> None:
        """See whether an image gets the split that was given: its first, or another if that is allowed."""
        given = self.found.split
        if given is None or given == stored.split or not _has_image(source):
            return
        if stored.split is None or self.policy.resplit:
            self.resplit.append(source.name)
        else:
            self.other_split[stored.split] += 1

    def _in_vain(self, source: Source, tried: Failure) -> bool:
        """Whether trying again would end as before: the files are as they were, and what was in the way."""
        if tried.files != source.files:
            return False
        if tried.code == "conflict":
            return self._elsewhere(self.known.get(source.name))
        return not (tried.code == "nucleus_ids" and self.policy.changes_ids)

    def _reject(self, failure: Failure, source: Source, stored: StoredImage | None) -> None:
        """Leave an image as it is; it has moved if one of its files is as it was, but under another root."""
        self.rejected[source.name] = failure
        if stored is None or stored.gone or failure.code == "conflict":
            return
        here = source.name not in self.policy.kept and set(stored.files) & set(source.files)
        if self._elsewhere(stored) and here:
            self.moved.append(source.name)

    def _same_files(self, source: Source, stored: StoredImage) -> None:
        if source.name in self.policy.kept:
            self.unchanged += 1
            self.unchanged_files += len(source.files)
            return
        if self._outdated(stored):
            self.changed.append(Change(source, (), "measured by another version of hpastore"))
            return
        if why := self.policy.reread(stored):
            tried = self.failed.get(source.name)
            if tried and self._in_vain(source, tried):
                self._reject(tried, source, stored)
            else:
                self.changed.append(Change(source, (), why))
            return
        if not self.required.of_crops <= stored.measures:
            self._unmeasured(source, stored)
            return
        self.unchanged_files += len(source.files)
        if stored.labels != source.labels:
            self.relabelled.append(source)
        else:
            self.unchanged += 1
            if stored.gone:
                self.returned.append(source.name)
            if stored.root != str(self.found.root):
                self.moved.append(source.name)

    def _unmeasured(self, source: Source, stored: StoredImage) -> None:
        tried = self.failed.get(source.name)
        if tried and self._in_vain(source, tried):
            self._reject(tried, source, stored)
        else:
            self.unmeasured.append(source)

    def _other_files(self, source: Source, stored: StoredImage) -> None:
        roles = self.compared.get(source.name) or _differing(source.files, stored.files)
        if _sizes(source.files) == _sizes(stored.files) and source.name not in self.compared:
            self.doubtful.append(Change(source, roles))
        elif self._elsewhere(stored):
            self.rejected[source.name] = conflict(source, stored.root)
        else:
            self.changed.append(Change(source, roles))

    def _elsewhere(self, stored: StoredImage | None) -> bool:
        """Whether another root has a live image of this name; one that is gone is in nobody's way."""
        return stored is not None and not stored.gone and stored.root != str(self.found.root)

    def _outdated(self, stored: StoredImage) -> bool:
        return self.settings is not None and stored.settings.version != self.settings.version

    def plan(self, mine: Iterable[str], listed: Mapping[str, Failure]) -> Plan:
        """Add what the store has and the inputs do not have."""
        here = {source.name for source in self.found.sources if _has_image(source)}
        here |= {name for name, files in self.found.refused.items() if files}
        gone = self._gone(here)
        self._refuse_alike(set(gone), here - set(self.rejected))
        rejected = {failure.image_name: failure for failure in self.found.failures} | self.rejected
        sources = (*self.new, *self.relabelled, *self.unmeasured)
        pending = {*rejected, *(source.name for source in sources)}
        pending |= {change.source.name for change in (*self.changed, *self.doubtful)}
        recovered = set(mine) - pending
        if not self.found.complete:
            recovered &= {source.name for source in self.found.sources}
        # Nothing of a root that is taken to have moved is deleted at once: its disk may come back.
        origins = self.policy.origins
        pruned = [name for name in self._gone(here, again=True) if name not in origins]
        pruned = pruned if self.policy.prune else []
        fresh = {*pruned, *(change.source.name for change in self.changed)}
        unmeasured = {source.name for source in self.unmeasured}
        return Plan(
            new=tuple(self.new),
            changed=tuple(self.changed),
            doubtful=tuple(self.doubtful),
            unmeasured=tuple(self.unmeasured),
            relabelled=tuple(self.relabelled),
            unchanged=self.unchanged,
            unchanged_files=self.unchanged_files,
            rejected=tuple(rejected.values()),
            rejected_before=sum(is_listed(failure, listed) for failure in rejected.values()),
            gone=tuple(gone),
            pruned=tuple(pruned),
            stale=tuple(
                sorted(
                    name
                    for name, stored in self.known.items()
                    if name not in fresh and self._stale(stored, measured=name in unmeasured)
                )
            ),
            returned=tuple(self.returned),
            moved=tuple(self.moved),
            recovered=tuple(sorted(recovered)),
            orphans=(*self.found.orphans, *self.orphans),
            resplit=tuple(self.resplit),
            other_split=dict(self.other_split),
            stopped=self._stopped(gone),
        )

    def _stopped(self, gone: list[str]) -> str | None:
        """Say why nothing may be done, if that is more likely an accident."""
        root = str(self.found.root)
        live = sum(stored.root == root and not stored.gone for stored in self.known.values())
        if not live and self._finds_nothing():
            found = f"no file of the {len(self.found.sources)} images of the table is there"
            return "; ".join((found, *self.found.remarks, "see --images and --masks"))
        return self._too_many_gone(gone, live) or self._no_nuclei()

    def _finds_nothing(self) -> bool:
        """Whether there are rows, and no image for any of them."""
        sources, refused = self.found.sources, self.found.refused
        return bool(sources) and not any(map(_has_image, sources)) and not any(refused.values())

    def _no_nuclei(self) -> str | None:
        """Say that images would lose their nuclei, since nobody said where these are."""
        if self.found.nuclei:
            return None
        had = [
            file.uri
            for source in self.found.sources
            if (stored := self.known.get(source.name)) and _has_image(source) and self._is_ours(stored)
            for file in stored.files
            if file.role == NUCLEUS_MASK
        ]
        if not had:
            return None
        return (
            f"{len(had)} images have nucleus masks in the store, such as {printable(min(had), None)}, and no "
            "folder of them is here; nothing was changed. Name the folder with --nuclei, or say --nuclei none"
        )

    def _is_ours(self, stored: StoredImage) -> bool:
        return stored.root == str(self.found.root) and not stored.gone

    def _too_many_gone(self, gone: list[str], live: int) -> str | None:
        """Say how many images of the root would be gone, if those are too many."""
        root, origins = str(self.found.root), self.policy.origins
        ours = (name for name, stored in self.known.items() if self._is_ours(stored))
        of_roots = Counter(origins.get(name, root) for name in ours)
        gone_of_roots = Counter(origins.get(name, root) for name in gone)
        too_many = any(_too_many(count, of_roots[origin]) for origin, count in gone_of_roots.items())
        if len(gone) <= self.policy.allow_gone or not too_many:
            return None
        rows = {source.name for source in self.found.sources}
        lost = sum(name in rows for name in gone)
        causes = [f"{lost} have no file" if lost else "", f"{len(gone) - lost} have no row in the table"]
        one_table = "" if lost == len(gone) else " A root has one table, with the rows of all its images."
        reasons = [*self.found.remarks, *(cause for cause in causes if cause and not cause.startswith("0 "))]
        return (
            f"{len(gone)} of the {live} images from here would be gone ({'; '.join(reasons)}); nothing was "
            f"changed.{one_table} If they have left for good, say --allow-gone {len(gone)}"
        )

    def _gone(self, here: set[str], *, again: bool = False) -> list[str]:
        """Name what has left the inputs, what was marked before too if that is asked for."""
        if not self.found.complete:
            return []
        root = str(self.found.root)
        return sorted(
            name
            for name, stored in self.known.items()
            if stored.root == root and name not in here and (again or not stored.gone)
        )

    def _refuse_alike(self, gone: set[str], here: set[str]) -> None:
        """Refuse names that equal a stored one but for case: exports would write one file for both."""
        back = {name for name, stored in self.known.items() if stored.gone}
        coming = [*self.new, *(source for source in self.found.sources if source.name in back & here)]
        if not coming:
            return
        taken = {n.casefold(): n for n, stored in self.known.items() if not stored.gone and n not in gone}
        alike = [source for source in coming if source.name.casefold() in taken]
        if not alike:
            return
        self.rejected |= {source.name: _alike(source, taken[source.name.casefold()]) for source in alike}
        names = {source.name for source in alike}
        self.unchanged -= len(names.intersection(self.returned))
        counted = {*self.returned, *(source.name for source in self.relabelled)} & names
        self.unchanged_files -= sum(len(source.files) for source in alike if source.name in counted)
        self.returned = [name for name in self.returned if name not in names]
        self.moved = [name for name in self.moved if name not in names]
        self.resplit = [name for name in self.resplit if name not in names]
        for sources in (self.new, self.relabelled, self.unmeasured):
            sources[:] = [source for source in sources if source.name not in names]
        for changes in (self.changed, self.doubtful):
            changes[:] = [change for change in changes if change.source.name not in names]

    def _stale(self, stored: StoredImage, *, measured: bool) -> bool:
        """Whether numbers are to be computed from histograms; those of users are not where it is measured."""
        if not measured and not self.required.of_histograms <= stored.measures:
            return True
        return self.settings is not None and stored.settings != self.settings and not self._outdated(stored)


def _too_many(gone: int, live: int) -> bool:
    """Whether so many of a root's live images would be gone that somebody must allow it."""
    return gone == live or (gone > FEW_GONE and GONE_SHARE * gone > live)


def is_listed(failure: Failure, listed: Mapping[str, Failure]) -> bool:
    """Whether the store lists a rejected image already, with the same fault."""
    before = listed.get(failure.image_name)
    return before is not None and (before.code, before.uri, before.message) == (
        failure.code,
        failure.uri,
        failure.message,
    )


def _has_image(source: Source) -> bool:
    """Whether an image has a channel or a cell mask; a mask of its nuclei alone is none."""
    return bool(source.files) and source.files[0].role != NUCLEUS_MASK  # in the order of the roles


def _differing(found: tuple[FileStamp, ...], stored: tuple[FileStamp, ...]) -> tuple[str, ...]:
    """Roles of the files that differ, came or went; in the order of the roles."""
    differing = {file.role for file in set(found) ^ set(stored)}
    return tuple(dict.fromkeys(file.role for file in (*found, *stored) if file.role in differing))


def _sizes(files: Iterable[FileStamp]) -> dict[str, int]:
    return {file.role: file.size for file in files}


def _alike(source: Source, other: str) -> Failure:
    """Say that the store has an image whose name differs by case only."""
    message = f"{source.name}: the store has {other}, which is the same but for case; rename one of them"
    return Failure(source.name, source.files[0].uri, "duplicate", message)


def _missing(source: Source) -> Failure:
    """Say which files an image lacks."""
    verb, what = ("are", "them") if len(source.missing) > 1 else ("is", "it")
    near = f" (there, but not read: {', '.join(map(printable, source.nearest))})" if source.nearest else ""
    message = (
        f"{source.name}: {' and '.join(source.missing)} {verb} missing{near}; "
        f"add {what}, or remove the image's row from the table"
    )
    return Failure(source.name, source.missing[0], "missing_file", message)
