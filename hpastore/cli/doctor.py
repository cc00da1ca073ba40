"""Whether anything is wrong with the store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Final

import typer

from hpastore.cli import show

WRONG: Final = 4


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare every stored value with its checksum too.")
    ] = False,
) -> None:
    """Look for what is wrong with the store, a line each; exit code 4 if there is anything.

    The database's own checks, schema, masks against their areas and boxes, counts, labels, files, and
    where the file is kept; with --deep also histograms, and a byte that a disk has changed.

    Example: hpastore doctor --deep
    """
    import hpastore
    from hpastore.errors import HpastoreError
    from hpastore.store.status import missing_roots, warn_of_missing_root

    with show.open_store() as store:
        found = hpastore.doctor(store, deep=deep)
        missing: dict[str, int] = {}
        with suppress(HpastoreError):  # of a damaged store, whose findings say more
            missing = missing_roots(store)
    for root, live in missing.items():
        warn_of_missing_root(root, live)
    if show.settings.json:
        show.document([asdict(finding) for finding in found])
    else:
        for finding in found:
            show.line(str(finding))
        if not found:
            show.line("nothing is wrong")
    if found:
        raise typer.Exit(WRONG)
