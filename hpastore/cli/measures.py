"""The command that lists measures."""

from __future__ import annotations

from hpastore.cli import show


def measures() -> None:
    """List all measures: those of hpastore, those that packages add, and those that the store has kept.

    Example: hpastore measures
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.measures(store))
