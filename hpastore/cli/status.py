"""Commands that show what the store holds: status, runs, failures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hpastore.cli import show
from hpastore.cli.failure_list import print_failures
from hpastore.cli.table import print_table
from hpastore.text import short_list


def status() -> None:
    """Show what the store holds.

    Example: hpastore status
    """
    import hpastore
    from hpastore.store.status import warn_of_missing_root

    with show.open_store() as store:
        found = hpastore.status(store)
    for root, live in found.missing_roots.items():
        warn_of_missing_root(root, live)
    if show.settings.json:
        show.document(asdict(found))
        return
    pairs = asdict(found)
    del pairs["missing_roots"]
    roots = pairs.pop("roots")
    settings = pairs.pop("measurement_settings")
    measures = pairs.pop("unmeasured_measures")
    if measures:
        pairs["unmeasured"] = f"{pairs['unmeasured']} ({short_list(measures)})"
    pairs["background_percentile"] = settings and settings["background_percentile"]
    show.lines(pairs)
    if roots:
        print_table(["root", "split", "images"], [tuple(row.values()) for row in roots])


def runs(
    limit: Annotated[int, typer.Option("-n", "--limit", help="Only the last N.", metavar="N")] = 20,
) -> None:
    """List the ingests that had work to do, the last one first.

    Example: hpastore runs -n 5
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.runs(store).head(max(limit, 0)))


def failures() -> None:
    """List the rejected images, with the file at fault and what to do.

    Example: hpastore failures
    """
    import hpastore

    with show.open_store() as store:
        table = hpastore.failures(store)
    if show.settings.json:
        show.frame(table)
    elif table.empty:
        show.message("no image is rejected")
    else:
        print_failures(zip(table["image_name"], table["code"], table["message"], strict=True))
