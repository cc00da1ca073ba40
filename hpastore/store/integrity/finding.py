"""What the doctor gives: one thing that is wrong, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpastore.errors import DamagedError

RESTORE: Final = "restore a backup"

REPLACE_IMAGE: Final = (
    "restore a backup; or remove the image from the label table, run 'hpastore ingest ROOT "
    "--prune', put it back and ingest again"
)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a store.

    Parameters
    ----------
    where
        The image, cell, clean set, or part of the database.
    what
        What is wrong with it.
    hint
        What to do.
    """

    where: str
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.hint}"


def damage_finding(error: DamagedError) -> Finding:
    """Make a finding of a stored value that cannot be decoded."""
    return Finding(error.where, error.reason, RESTORE)
