"""Decide what has to be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hpastore.model import Change, Failure, FileStamp, Found, Known, Orphan, Plan, Recipe, Source, Wanted


def plan(
    found: Found,
    known: Mapping[str, Known],
    failed: Mapping[str, Failure] | None = None,
    mine: Iterable[str] = (),
    recipe: Recipe | None = None,
    compared: Mapping[str, tuple[str, ...]] | None = None,
    *,
    prune: bool = False,
    wanted: Wanted | None = None,
) -> Plan:
    """Compare what is found with what is stored.

    Parameters
    ----------
    found : Found
        From `hpastore.ingest.discover.discover`.
    known : mapping of name to Known
        What the store holds.
    failed : mapping of name to Failure
        What the store lists as rejected.
    mine : iterable of str
        Which of them are of this root and split.
    recipe : Recipe, optional
        What numbers shall be of; others are stale.
    compared : mapping of name to roles, optional
        Which files' bytes differ, of the images whose bytes were compared; none where all are the
        same.  Without it, images that only their bytes tell about are `Plan.doubtful`.
    prune : bool
        Whether images that are gone shall be deleted.
    wanted : Wanted, optional
        Measures that users added; images that lack one are stale or unmeasured.

    Returns
    -------
    Plan
        A pure function of its arguments; planning again after doing it finds no work.
    """
    draft = _Draft(found, known, failed or {}, recipe, compared or {}, wanted or Wanted())
    for source in found.sources:
        draft.place(source)
    return draft.plan(mine, prune=prune)


def unsure(change: Change, stored: Known) -> tuple[FileStamp, ...]:
    """Give the files of which only their bytes tell whether they changed: their sizes are as they were."""
    sizes = _sizes(stored.files)
    return tuple(f for f in change.source.files if f.role in change.roles and sizes.get(f.role) == f.size)


def conflict(source: Source, root: str) -> Failure:
    """Say that the store has another image of this name from another root."""
    message = (
        f"{source.name}: the store has another image of this name, from {root}; "
        "rename one of them, or remove that one and ingest its root with --prune"
    )
    return Failure(source.name, source.files[0].uri, "conflict", message, source.files)


@dataclass
class _Draft:
    """A plan in the making."""

    found: Found
    known: Mapping[str, Known]
    failed: Mapping[str, Failure]
    recipe: Recipe | None
    compared: Mapping[str, tuple[str, ...]]
    wanted: Wanted
    new: list[Source] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    doubtful: list[Change] = field(default_factory=list)
    unmeasured: list[Source] = field(default_factory=list)
    relabelled: list[Source] = field(default_factory=list)
    rejected: dict[str, Failure] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    orphans: list[Orphan] = field(default_factory=list)
    unchanged: int = 0
    unchanged_files: int = 0

    def place(self, source: Source) -> None:
        """Put one image where it belongs."""
        stored, name = self.known.get(source.name), source.name
        if not source.files:
            self.orphans.append(Orphan("label_without_image", name, 0))
        elif stored is not None and (stored.files == source.files or self.compared.get(name) == ()):
            self._same_files(source, stored)
        elif source.missing:
            self._reject(_missing(source), source, stored)
        elif (tried := self.failed.get(name)) and self._in_vain(source, tried):
            self._reject(tried, source, stored)
        elif stored is None:
            self.new.append(source)
        else:
            self._other_files(source, stored)

    def _in_vain(self, source: Source, tried: Failure) -> bool:
        """Whether trying again would end as before: the files are as they were, and what was in the way."""
        return tried.files == source.files and (
            tried.code != "conflict" or self._elsewhere(self.known.get(source.name))
        )

    def _reject(self, failure: Failure, source: Source, stored: Known | None) -> None:
        """Leave an image as it is; it has moved if one of its files is as it was, but under another root."""
        self.rejected[source.name] = failure
        if stored is None or stored.gone or failure.code == "conflict":
            return
        if self._elsewhere(stored) and set(stored.files) & set(source.files):
            self.moved.append(source.name)

    def _same_files(self, source: Source, stored: Known) -> None:
        if self._outdated(stored):
            self.changed.append(Change(source, ()))
            return
        if not self.wanted.of_crops <= stored.measures:
            self._unmeasured(source, stored)
            return
        self.unchanged_files += len(source.files)
        if stored.labels != source.labels:
            self.relabelled.append(source)
        else:
            self.unchanged += 1
            if stored.gone:
                self.returned.append(source.name)
            if self._elsewhere(stored) or self.found.split not in (None, stored.split):
                self.moved.append(source.name)

    def _unmeasured(self, source: Source, stored: Known) -> None:
        tried = self.failed.get(source.name)
        if tried and self._in_vain(source, tried):
            self._reject(tried, source, stored)
        else:
            self.unmeasured.append(source)

    def _other_files(self, source: Source, stored: Known) -> None:
        roles = self.compared.get(source.name) or _differing(source.files, stored.files)
        if _sizes(source.files) == _sizes(stored.files) and source.name not in self.compared:
            self.doubtful.append(Change(source, roles))
        elif self._elsewhere(stored):
            self.rejected[source.name] = conflict(source, stored.root)
        else:
            self.changed.append(Change(source, roles))

    def _elsewhere(self, stored: Known | None) -> bool:
        return stored is not None and stored.root != str(self.found.root)

    def _outdated(self, stored: Known) -> bool:
        return self.recipe is not None and stored.recipe.version != self.recipe.version

    def plan(self, mine: Iterable[str], *, prune: bool) -> Plan:
        """Add what the store has and the inputs have not."""
        here = {source.name for source in self.found.sources if source.files}
        here |= {name for name, files in self.found.refused.items() if files}
        gone = self._gone(here)
        self._refuse_alike(set(gone))
        rejected = {failure.image_name: failure for failure in self.found.failures} | self.rejected
        sources = (*self.new, *self.relabelled, *self.unmeasured)
        pending = {*rejected, *(source.name for source in sources)}
        pending |= {change.source.name for change in (*self.changed, *self.doubtful)}
        recovered = set(mine) - pending
        if not self.found.complete:
            recovered &= {source.name for source in self.found.sources}
        pruned = self._gone(here, again=True) if prune else []
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
        )

    def _gone(self, here: set[str], *, again: bool = False) -> list[str]:
        """Name what has left the inputs, what was marked before too if that is asked for."""
        if not self.found.complete:
            return []
        place = str(self.found.root), self.found.split
        return sorted(
            name
            for name, stored in self.known.items()
            if (stored.root, stored.split) == place and name not in here and (again or not stored.gone)
        )

    def _refuse_alike(self, gone: set[str]) -> None:
        """Refuse new names that equal a stored one but for case: exports would write one file for both."""
        if not self.new:
            return
        taken = {n.casefold(): n for n, stored in self.known.items() if not stored.gone and n not in gone}
        alike = [source for source in self.new if source.name.casefold() in taken]
        self.rejected |= {source.name: _alike(source, taken[source.name.casefold()]) for source in alike}
        self.new = [source for source in self.new if source.name not in self.rejected]

    def _stale(self, stored: Known, *, measured: bool) -> bool:
        """Whether numbers are to be computed from histograms; those of users are not where it is measured."""
        if not measured and not self.wanted.of_histograms <= stored.measures:
            return True
        return self.recipe is not None and stored.recipe != self.recipe and not self._outdated(stored)


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
    message = (
        f"{source.name}: {' and '.join(source.missing)} {verb} missing; "
        f"add {what}, or remove the image's row from the table"
    )
    return Failure(source.name, source.missing[0], "missing_file", message)
