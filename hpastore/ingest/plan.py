"""Decide what has to be done."""

from __future__ import annotations

from collections.abc import Mapping

from hpastore.model import CELL_MASK, CHANNELS, Failure, Found, Known, Plan, Source


def plan(found: Found, known: Mapping[str, Known]) -> Plan:
    """Compare what is found with what is stored.

    Parameters
    ----------
    found : Found
        From `hpastore.ingest.discover.discover`.
    known : mapping of name to Known
        What the store holds.

    Returns
    -------
    Plan
        A pure function of its arguments; planning again after doing it finds no work.
    """
    new: list[Source] = []
    changed: list[Source] = []
    relabelled: list[Source] = []
    rejected = list(found.failures)
    unchanged = 0
    root = str(found.root)
    for source in found.sources:
        stored = known.get(source.name)
        if stored is not None and stored.files == source.files:
            if stored.labels == source.labels:
                unchanged += 1
            else:
                relabelled.append(source)
        elif failure := _missing(source) or _conflict(source, stored, root):
            rejected.append(failure)
        else:
            (new if stored is None else changed).append(source)
    return Plan(tuple(new), tuple(changed), tuple(relabelled), unchanged, tuple(rejected))


def _missing(source: Source) -> Failure | None:
    """Say which files an image lacks; a nucleus mask may be absent."""
    present = {file.role for file in source.files}
    missing = [role.replace("_", " ") for role in (*CHANNELS, CELL_MASK) if role not in present]
    if not missing:
        return None
    if not present:
        message = f"{source.name}: none of its files is there; add them, or remove its row from the table"
    else:
        what = " and no ".join(missing)
        message = f"{source.name}: no {what} file; add it, or remove the image's row from the table"
    uri = source.files[0].uri if source.files else ""
    return Failure(source.name, uri, "missing_file", message)


def _conflict(source: Source, stored: Known | None, root: str) -> Failure | None:
    if stored is None or stored.root == root:
        return None
    message = (
        f"{source.name}: the store has another image of this name, from {stored.root}; rename one of them"
    )
    return Failure(source.name, source.files[0].uri, "conflict", message)
