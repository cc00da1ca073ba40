"""The command that examines the store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Final

import typer

from hpastore.cli import show

WRONG: Final = 4


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also compare every stored value with its checksum.")
    ] = False,
) -> None:
    """Examine the store, and print a line for each fault; exit code 4 if there are any.

    Runs the database's own checks, and examines the schema, masks with their areas and boxes,
    counts, labels, image files, and the place of the SQLite file.  --deep also finds values that
    have changed on the disk.

    Example: hpastore doctor --deep
    """
    import hpastore
    from hpastore.errors import HpastoreError
    from hpastore.store.status import missing_roots, warn_of_missing_root

    with show.open_store() as store:
        found = hpastore.doctor(store, deep=deep)
        missing: dict[str, int] = {}
        with suppress(HpastoreError):  # of a damaged store: the findings tell more
            missing = missing_roots(store)
    for root, live in missing.items():
        warn_of_missing_root(root, live)
    if show.settings.json:
        show.document([asdict(finding) for finding in found])
    else:
        for finding in found:
            show.line(str(finding))
        if not found:
            more = "" if deep else "; --deep also compares all values with their checksums"
            show.line(f"nothing is wrong{more}")
    if found:
        raise typer.Exit(WRONG)
