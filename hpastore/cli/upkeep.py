"""Commands that change stored images without new inputs: remeasure, forget, retry."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hpastore.cli import show
from hpastore.cli.ingest import REJECTED, show_drift
from hpastore.cli.ingest_options import BackgroundPercentile
from hpastore.text import count_text


def remeasure(background_percentile: BackgroundPercentile = None) -> None:
    """Compute outdated or missing numbers from the stored histograms; no pixel is read.

    These are background levels and fractions at another percentile, and custom measures of
    histograms that were installed since.  Exit code 3 if a custom measure fails on some images.

    Example: hpastore remeasure --background-percentile 0.98
    """
    import hpastore

    with (
        show.stopping() as stop,
        show.open_store() as store,
        show.progress("remeasuring") as progress,
    ):
        done = hpastore.remeasure(store, background_percentile, stop=stop.is_set, progress=progress)
        drifted = [] if stop.is_set() or not done.remeasured else hpastore.drift(store)
    counts = asdict(done)
    if show.settings.json:
        show.document(counts)
    else:
        measures = counts.pop("measures")
        show.lines(counts | {f"measure {name}": images for name, images in measures.items()})
    show_drift(drifted)
    stop.exit()
    if done.failed:
        raise typer.Exit(REJECTED)


def forget(
    root: Annotated[str, typer.Argument(help="A root that 'hpastore status' shows.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete its images instead of marking them.")
    ] = False,
) -> None:
    """Mark the images of a root that is no longer used as gone.

    Views, thresholds and new clean sets leave these images out.  They return when they are ingested
    again.

    Example: hpastore forget /mnt/old/hpa
    """
    import hpastore

    with show.open_store() as store:
        count = hpastore.forget(store, root, prune=prune)
    if show.settings.json:
        show.document({"root": root, "pruned" if prune else "gone": count})
    else:
        were = f"of {root} {'was' if count == 1 else 'were'}"
        what = "deleted" if prune else "marked as gone"
        show.message(f"{count_text(count, 'image')} {were} {what}")


def retry(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Images; by default all rejected images.", metavar="[NAME]..."),
    ] = None,
) -> None:
    """Let the next ingest try rejected images again, although their files are unchanged.

    Example: hpastore retry
    """
    import hpastore

    with show.open_store() as store:
        chosen = hpastore.retry(store, names or None)
    if show.settings.json:
        show.document(chosen)
    else:
        show.line(f"the next ingest tries {count_text(len(chosen), 'image')} again")
