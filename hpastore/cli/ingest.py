"""Commands that bring images in: ingest, and plan, which says what ingest would do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpastore.cli import show
from hpastore.cli.ingest_options import (
    AllowGone,
    BackgroundPercentile,
    BinaryMask,
    ClassTable,
    DropColumn,
    IdColumn,
    Images,
    Jobs,
    KeepColumn,
    LabelColumn,
    Labels,
    Limit,
    Masks,
    MatchNuclei,
    MovedFrom,
    Nuclei,
    Prune,
    Resplit,
    Root,
    Split,
    read_class_table,
    run_options,
)
from hpastore.cli.plan_table import show_plan
from hpastore.runtime.executor import ExecutorName
from hpastore.text import count_text

if TYPE_CHECKING:
    from hpastore.classes import Classes
    from hpastore.clean.drift import Drift
    from hpastore.ingestion.layout import Layout
    from hpastore.ingestion.summary import Summary
    from hpastore.model import Plan

STOPPED = 1
REJECTED = 3
WORK = 4

Executor = Annotated[
    ExecutorName,
    typer.Option(help="Measure images in worker processes, or in this process."),
]


def ingest(
    root: Root,
    labels: Labels = None,
    images: Images = None,
    masks: Masks = None,
    nuclei: Nuclei = None,
    split: Split = None,
    limit: Limit = None,
    id_column: IdColumn = "ID",
    label_column: LabelColumn = "Label",
    keep_column: KeepColumn = None,
    drop_column: DropColumn = None,
    binary_mask: BinaryMask = None,
    match_nuclei: MatchNuclei = None,
    jobs: Jobs = None,
    executor: Executor = "process",
    background_percentile: BackgroundPercentile = None,
    prune: Prune = False,
    allow_gone: AllowGone = "0",
    moved_from: MovedFrom = None,
    resplit: Resplit = False,
    classes: ClassTable = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 also if images are rejected as before.")
    ] = False,
) -> None:
    """Make the store follow its inputs; exit code 3 if images are newly rejected.

    Images that are missing in the inputs are marked as gone: views, thresholds and new clean sets
    leave them out.  If more than a fifth of a root's images (and more than 10), or all of them,
    would be gone, nothing is changed unless --allow-gone permits it.

    Example: hpastore ingest /data/hpa -j 8
    """
    import hpastore

    folders = (root, labels, images, masks, nuclei)
    columns = (id_column, label_column)
    kept = (keep_column or (), drop_column or ())
    layout = hpastore.Layout(*folders, split, limit, *columns, binary_mask, match_nuclei, *kept)
    options = run_options(background_percentile, prune, allow_gone, moved_from, resplit)
    given = read_class_table(classes)
    if dry_run:
        todo = _plan(layout, options, given)
        show_plan(todo)
        raise typer.Exit(STOPPED if todo.stopped else 0)

    _check_before_creating(layout, jobs, executor, options, given)
    with (
        show.stopping() as stop,
        show.open_store(create=True, classes=given) as store,
        show.progress("ingesting") as progress,
    ):
        summary = hpastore.ingest(
            store,
            layout,
            jobs=jobs,
            executor=executor,
            stop=stop.is_set,
            progress=progress,
            **options,
        )
        drifted = [] if stop.is_set() or not summary.changes_cells else hpastore.drift(store)
    _show_summary(summary)
    show_drift(drifted)
    stop.exit()
    _show_rejected(summary)
    if (
        summary.rejected > summary.rejected_before
        or summary.failed
        or (strict and summary.rejected)
    ):
        raise typer.Exit(REJECTED)


def plan(
    root: Root,
    labels: Labels = None,
    images: Images = None,
    masks: Masks = None,
    nuclei: Nuclei = None,
    split: Split = None,
    limit: Limit = None,
    id_column: IdColumn = "ID",
    label_column: LabelColumn = "Label",
    keep_column: KeepColumn = None,
    drop_column: DropColumn = None,
    binary_mask: BinaryMask = None,
    match_nuclei: MatchNuclei = None,
    background_percentile: BackgroundPercentile = None,
    prune: Prune = False,
    allow_gone: AllowGone = "0",
    moved_from: MovedFrom = None,
    resplit: Resplit = False,
    classes: ClassTable = None,
) -> None:
    """Show what ingest would do and why, and change nothing; exit code 4 if there is work.

    Example: hpastore plan /data/hpa
    """
    import hpastore

    folders = (root, labels, images, masks, nuclei)
    columns = (id_column, label_column)
    kept = (keep_column or (), drop_column or ())
    layout = hpastore.Layout(*folders, split, limit, *columns, binary_mask, match_nuclei, *kept)
    options = run_options(background_percentile, prune, allow_gone, moved_from, resplit)
    todo = _plan(layout, options, read_class_table(classes))
    show_plan(todo)
    if todo.work or todo.stopped:
        raise typer.Exit(WORK)


def show_drift(drifted: Iterable[Drift]) -> None:
    """Say which clean sets would be different now."""
    for one in drifted:
        if one.any:
            show.message(str(one))


def _plan(layout: Layout, options: dict[str, Any], classes: Classes | None) -> Plan:
    """Compare with the store; a store that does not exist yet has no images."""
    import hpastore
    from hpastore.errors import SchemaMissingError

    try:
        with show.open_store() as store:
            return hpastore.plan(store, layout, classes=classes, **options)
    except SchemaMissingError:
        return hpastore.plan(None, layout, classes=classes, **options)


def _check_before_creating(
    layout: Layout,
    jobs: int | None,
    executor: ExecutorName,
    options: dict[str, Any],
    classes: Classes | None,
) -> None:
    """Check all arguments before a store is created: a typing error must leave no empty file."""
    import hpastore
    from hpastore.errors import SchemaMissingError
    from hpastore.ingestion.options import check_arguments

    try:
        show.open_store().close()
    except SchemaMissingError:
        check_arguments(layout, executor, jobs, options["background_percentile"])
        hpastore.plan(None, layout, classes=classes, **options)


def _show_summary(summary: Summary) -> None:
    if show.settings.json:
        show.document(_summary_document(summary))
    else:
        shown = (
            *("new", "changed", "relabelled", "remeasured", "gone", "returned", "resplit"),
            *("unchanged", "rejected", "cells", "images_decoded", "seconds"),
        )
        show.lines({name: getattr(summary, name) for name in shown})
    show.message(str(summary.files))
    if summary.foreign.files:
        show.message(f"ignored {summary.foreign}")
    if summary.gone:
        are = count_text(summary.gone, "image is", "images are")
        them = "it" if summary.gone == 1 else "them"
        show.message(f"{are} gone: views, thresholds and new clean sets leave {them} out")
    if summary.files.orphans:
        show.message("'hpastore plan' lists the orphans: files that belong to no image")


def _summary_document(summary: Summary) -> dict[str, Any]:
    counts = {
        name: value
        for name, value in vars(summary).items()
        if name not in ("files", "foreign", "moves", "failed")
    }
    return counts | {
        "files": asdict(summary.files) | {"foreign": summary.foreign.files},
        "moves": [move._asdict() for move in summary.moves],
        "warnings": list(show.settings.warnings),
    }


def _show_rejected(summary: Summary) -> None:
    new = summary.rejected - summary.rejected_before
    if new:
        were = count_text(new, "image was", "images were")
        show.message(f"{were} rejected; 'hpastore failures' says why")
    if summary.rejected_before:
        are = count_text(summary.rejected_before, "image is", "images are")
        show.message(f"{are} rejected as before; 'hpastore failures' says why")
