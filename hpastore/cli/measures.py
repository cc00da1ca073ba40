"""The command that lists measures."""

from __future__ import annotations

from hpastore.cli import show


def measures() -> None:
    """List all measures: those of hpastore, custom measures of installed packages, and stored ones.

    Example: hpastore measures
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.measures(store))
