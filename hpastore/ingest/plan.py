"""Decide what has to be done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from hpastore.model import Failure, Found, Known, Plan, Source


def plan(found: Found, known: Mapping[str, Known], failed: Collection[str] = ()) -> Plan:
    """Compare what is found with what is stored.

    Parameters
    ----------
    found : Found
        From `hpastore.ingest.discover.discover`.
    known : mapping of name to Known
        What the store holds.
    failed : collection of str
        Names that the store lists as failures of this root.

    Returns
    -------
    Plan
        A pure function of its arguments; planning again after doing it finds no work.
    """
    new: list[Source] = []
    changed: list[Source] = []
    relabelled: list[Source] = []
    moved: list[str] = []
    rejected = {failure.image_name: failure for failure in found.failures}
    unchanged = 0
    for source in found.sources:
        stored = known.get(source.name)
        if stored is not None and stored.files == source.files:
            if stored.labels != source.labels:
                relabelled.append(source)
                continue
            unchanged += 1
            if stored.root != str(found.root) or found.split not in (None, stored.split):
                moved.append(source.name)
        elif failure := _missing(source) or _conflict(source, stored, found.root):
            rejected[source.name] = failure
        else:
            (new if stored is None else changed).append(source)
    pending = {*rejected, *(source.name for source in (*new, *changed, *relabelled))}
    if not found.complete:
        pending |= set(failed) - {source.name for source in found.sources}
    return Plan(
        tuple(new),
        tuple(changed),
        tuple(relabelled),
        unchanged,
        tuple(rejected.values()),
        tuple(moved),
        tuple(sorted(set(failed) - pending)),
    )


def _missing(source: Source) -> Failure | None:
    """Say which files an image lacks."""
    if not source.missing:
        return None
    what = " and ".join(source.missing) if source.files else "every file"
    verb = "are" if source.files and len(source.missing) > 1 else "is"
    message = f"{source.name}: {what} {verb} missing; add it, or remove the image's row from the table"
    return Failure(source.name, source.missing[0], "missing_file", message)


def _conflict(source: Source, stored: Known | None, root: Path) -> Failure | None:
    if stored is None or stored.root == str(root):
        return None
    message = (
        f"{source.name}: the store has another image of this name, from {stored.root}; rename one of them"
    )
    return Failure(source.name, source.files[0].uri, "conflict", message)
