"""Commands that bring images in, and that show what came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hpastore.cli import show
from hpastore.cli.table import print_table

if TYPE_CHECKING:
    from hpastore.clean.drift import Drift
    from hpastore.ingestion.summary import Summary
    from hpastore.runtime.executor import ExecutorName

STOPPED = 1
REJECTED = 3
WORK = 4

Root = Annotated[Path, typer.Argument(help="Folder with train.csv, train/ and hpa_cell_mask/.")]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Table of names and labels, CSV or TSV, perhaps gzipped; 'none' for images without.",
        metavar="FILE",
    ),
]
Images = Annotated[Path | None, typer.Option(help="Folder of channel PNGs, else ROOT/train.", metavar="DIR")]
Masks = Annotated[
    Path | None, typer.Option(help="Folder of cell masks, else ROOT/hpa_cell_mask.", metavar="DIR")
]
Nuclei = Annotated[
    str | None,
    typer.Option(
        help="Folder of nucleus masks, else ROOT/hpa_nuclei_mask; 'none' for images without.", metavar="DIR"
    ),
]
Split = Annotated[
    str | None, typer.Option(help="Name to give to new images and to those without one.", metavar="NAME")
]
Limit = Annotated[int | None, typer.Option(help="Only the first N images by name.", metavar="N")]
IdColumn = Annotated[str, typer.Option(help="Heading of the names in the table.", metavar="ID")]
LabelColumn = Annotated[str, typer.Option(help="Heading of the labels in the table.", metavar="LABEL")]
BackgroundPercentile = Annotated[
    float | None, typer.Option(help="Share 0..1, else the store's own; 0.99 in a new store.", metavar="Q")
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete images that are gone.")]
Resplit = Annotated[bool, typer.Option("--resplit", help="Change the split of images that have another.")]
AllowGone = Annotated[
    str,
    typer.Option(
        help="Images that may be gone at once, though more than a fifth of the root's or all.",
        metavar="N|all",
    ),
]
MovedFrom = Annotated[
    list[str] | None,
    typer.Option(help="Stored root that has moved here, with all its images.", metavar="OLD"),
]
BinaryMask = Annotated[
    str | None,
    typer.Option(
        help="Read a mask of one value as it is, or each connected part as a cell.", metavar="keep|components"
    ),
]
MatchNuclei = Annotated[
    str | None,
    typer.Option(
        help="Give a nucleus to the cell of its id, or to the one that holds most of it.",
        metavar="id|overlap",
    ),
]
Jobs = Annotated[
    int | None, typer.Option("-j", "--jobs", help="Worker processes, else one per core.", metavar="N")
]


def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to make.", metavar="DIR")],
    n: Annotated[int, typer.Option("-n", help="Number of images.")] = 12,
    size: Annotated[int, typer.Option(help="Width and height in pixels, 64 to 4096.", metavar="PX")] = 1024,
    seed: Annotated[int, typer.Option(help="The same seed draws the same bytes.")] = 0,
    bits: Annotated[int, typer.Option(help="8 or 16.")] = 8,
    prefix: Annotated[
        str, typer.Option(help="What the images' names begin with.", metavar="NAME")
    ] = "sample",
    jobs: Jobs = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
) -> None:
    """Draw an HPA-shaped data set with known truth, to try things on.

    Example: hpastore sample demo/data -n 24 --size 512
    """
    import hpastore

    replaced = force and folder.is_dir()
    with show.store_if_any(replaced) as store, show.progress("drawing") as progress:
        options: dict[str, Any] = {"n": n, "size": size, "seed": seed, "bits": bits}
        options |= {"prefix": prefix, "jobs": jobs}
        made = hpastore.make_sample(folder, **options, force=force, store=store, progress=progress)
    if show.settings.json:
        show.document({"folder": str(made), "images": n})
    else:
        show.message(f"{n} images in {made}; next: hpastore ingest {made}")


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
    binary_mask: BinaryMask = None,
    match_nuclei: MatchNuclei = None,
    jobs: Jobs = None,
    executor: Annotated[str, typer.Option(help="process or serial.", metavar="NAME")] = "process",
    background_percentile: BackgroundPercentile = None,
    prune: Prune = False,
    allow_gone: AllowGone = "0",
    moved_from: MovedFrom = None,
    resplit: Resplit = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 for images that were rejected before, too.")
    ] = False,
) -> None:
    """Make the store follow its inputs; exit code 3 if images were rejected that were not before.

    Images that have left the inputs are marked as gone: views, thresholds and new clean sets leave
    them out.  If more than a fifth of a root's images (and more than 10) or all of them would be gone,
    nothing is changed, unless --allow-gone says so.

    Example: hpastore ingest /data/hpa -j 8
    """
    import hpastore
    from hpastore.ingestion.run import ingest as run

    files, columns = (root, labels, images, masks, nuclei), (id_column, label_column)
    layout = _layout(*files, split, limit, *columns, binary_mask, match_nuclei)
    options = _options(background_percentile, prune, allow_gone, moved_from, resplit)
    if dry_run:
        todo = _plan(layout, options)
        _show_plan(todo)
        if todo.stopped:
            raise typer.Exit(STOPPED)
        return
    _refuse_unusable(layout, jobs, executor, options)
    with (
        show.stopping() as stop,
        show.open_store(create=True) as store,
        show.progress("ingesting") as progress,
    ):
        summary = run(
            store,
            layout,
            jobs=jobs,
            executor=cast("ExecutorName", executor),  # checked above
            stop=stop.is_set,
            progress=progress,
            **options,
        )
        drifted = [] if stop.is_set() or not summary.other_cells else hpastore.drift(store)
    _show_summary(summary)
    _show_drift(drifted)
    stop.exit()
    fresh = summary.rejected - summary.rejected_before
    if fresh:
        were = "image was" if fresh == 1 else "images were"
        show.message(f"{fresh} {were} rejected; 'hpastore failures' says why")
    if summary.rejected_before:
        are = "image is" if summary.rejected_before == 1 else "images are"
        show.message(f"{summary.rejected_before} {are} rejected as before; 'hpastore failures' says why")
    if fresh or summary.failed or (strict and summary.rejected):
        raise typer.Exit(REJECTED)


def _options(
    background_percentile: float | None,
    prune: bool,
    allow_gone: str,
    moved_from: list[str] | None,
    resplit: bool,
) -> dict[str, Any]:
    """Give what ingest and plan both take besides the layout."""
    # What is no number is left to the function that is called.
    allowed = int(allow_gone) if allow_gone.isascii() and allow_gone.isdigit() else allow_gone
    return {
        "background_percentile": background_percentile,
        "prune": prune,
        "allow_gone": allowed,
        "moved_from": moved_from or (),
        "resplit": resplit,
    }


def _show_summary(summary: Summary) -> None:
    if show.settings.json:
        show.document(_summary_document(summary))
    else:
        shown = ("new", "changed", "relabelled", "remeasured", "gone", "returned", "resplit", "unchanged")
        rest = ("rejected", "cells", "images_decoded", "seconds")
        show.lines({name: getattr(summary, name) for name in (*shown, *rest)})
    show.message(str(summary.files))
    if summary.foreign.files:
        show.message(f"ignored {summary.foreign}")
    if summary.gone:
        left = "image has" if summary.gone == 1 else "images have"
        show.message(
            f"{summary.gone} {left} left the inputs: views, thresholds and new clean sets leave them out"
        )
    if summary.files.orphans:
        show.message("'hpastore plan' names the orphans: files that belong to no image")


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


def _show_drift(drifted: Iterable[Drift]) -> None:
    for one in drifted:
        if one.any:
            show.message(str(one))


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
    binary_mask: BinaryMask = None,
    match_nuclei: MatchNuclei = None,
    background_percentile: BackgroundPercentile = None,
    prune: Prune = False,
    allow_gone: AllowGone = "0",
    moved_from: MovedFrom = None,
    resplit: Resplit = False,
) -> None:
    """Say what ingest would do and why, touching nothing; exit code 4 if there is work.

    Example: hpastore plan /data/hpa
    """
    files, columns = (root, labels, images, masks, nuclei), (id_column, label_column)
    layout = _layout(*files, split, limit, *columns, binary_mask, match_nuclei)
    todo = _plan(layout, _options(background_percentile, prune, allow_gone, moved_from, resplit))
    _show_plan(todo)
    if todo.work or todo.stopped:
        raise typer.Exit(WORK)


def remeasure(background_percentile: BackgroundPercentile = None) -> None:
    """Compute from the stored histograms what is outdated or missing; no pixel is read.

    That are background levels and fractions at another percentile, and measures of histograms that were
    installed since; exit code 3 if one fails on some images.

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
    if show.settings.json:
        show.document(asdict(done))
    else:
        counts = asdict(done)
        measures = counts.pop("measures")
        show.lines({**counts, **{f"measure {name}": images for name, images in measures.items()}})
    _show_drift(drifted)
    stop.exit()
    if done.failed:
        raise typer.Exit(REJECTED)


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
    roots = pairs.pop("roots")
    settings = pairs.pop("measurement_settings")
    del pairs["missing_roots"]
    pairs["background_percentile"] = settings and settings["background_percentile"]
    show.lines(pairs)
    if roots:
        print_table(["root", "split", "images"], [tuple(row.values()) for row in roots])


def runs(
    limit: Annotated[int, typer.Option("-n", "--limit", help="Only the last N.", metavar="N")] = 20,
) -> None:
    """List the ingests that had work to do, the last first: when, what root, what came and went.

    Example: hpastore runs -n 5
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.runs(store).head(max(limit, 0)))


def forget(
    root: Annotated[str, typer.Argument(help="A root that 'hpastore status' shows.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete its images, and do not only mark them.")
    ] = False,
) -> None:
    """Mark the images of a root that is not used any more as gone.

    Images that are marked leave views, thresholds and new clean sets, and return when they are ingested
    again.

    Example: hpastore forget /mnt/old/hpa
    """
    import hpastore

    with show.open_store() as store:
        ended = hpastore.forget(store, root, prune=prune)
    if show.settings.json:
        show.document({"root": root, "pruned" if prune else "gone": ended})
    else:
        show.message(f"{ended} images of {root} were {'deleted' if prune else 'marked as gone'}")


def retry(
    names: Annotated[
        list[str] | None, typer.Argument(help="Images; all if none.", metavar="[NAME]...")
    ] = None,
) -> None:
    """Have rejected images tried again by the next ingest, though their files did not change.

    Example: hpastore retry
    """
    import hpastore

    with show.open_store() as store:
        chosen = hpastore.retry(store, names or None)
    if show.settings.json:
        show.document(chosen)
    else:
        show.line(f"the next ingest tries {len(chosen)} images again")


def failures() -> None:
    """List the images that were rejected, with the file at fault and what to do.

    Example: hpastore failures
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.failures(store))


def _layout(root: Path, *rest: Any) -> Any:
    from hpastore.ingestion.discover import Layout

    return Layout(root, *rest)


def _plan(layout: Any, options: dict[str, Any]) -> Any:
    """Plan against the store; one that is not there yet has no image."""
    import hpastore
    from hpastore.errors import SchemaMissingError

    try:
        with show.open_store() as store:
            return hpastore.plan(store, layout, **options)
    except SchemaMissingError:
        return hpastore.plan(None, layout, **options)


def _refuse_unusable(layout: Any, jobs: int | None, executor: str, options: dict[str, Any]) -> None:
    """Look at all arguments before a store is made: a mistyped one shall leave no empty file."""
    from hpastore.errors import SchemaMissingError
    from hpastore.ingestion.run import check_arguments
    from hpastore.ingestion.run import plan as make_plan
    from hpastore.kernels.plugins import load_measures

    try:
        show.open_store().close()
    except SchemaMissingError:
        check_arguments(layout, executor, jobs, options["background_percentile"])
        load_measures()
        make_plan(None, layout, **options)


def _show_plan(plan: Any) -> None:
    if plan.stopped:
        show.message(f"ingest would refuse: {plan.stopped}")
    if show.settings.json:
        show.document(_as_document(plan))
        return
    rows = [(source.name, "new", "") for source in plan.new]
    rows += [(change.source.name, "changed", _why(change)) for change in plan.changed]
    rows += [(s.name, "unmeasured", "it lacks a measure that takes pixels") for s in plan.unmeasured]
    rows += [(source.name, "relabelled", _labels(source)) for source in plan.relabelled]
    without_row = {orphan.name for orphan in plan.orphans if orphan.kind == "image_without_label"}
    rows += [
        (name, "gone", "its row has left the table" if name in without_row else "its files have left")
        for name in plan.gone
    ]
    rows += [(name, "pruned", "it is gone, and is deleted") for name in plan.pruned]
    rows += [(name, "returned", "it was gone, and is back as it was") for name in plan.returned]
    rows += [(name, "resplit", "it is given a split") for name in plan.resplit]
    rows += [(name, "stale", "its numbers are of another recipe, or lack a measure") for name in plan.stale]
    rows += [(failure.image_name, "rejected", failure.message) for failure in plan.rejected]
    rows += [(orphan.name, "orphan", _lacks(orphan)) for orphan in plan.orphans]
    if rows:
        print_table(["image", "what", "why"], sorted(rows))
    of_stored = ("changed", "unmeasured", "relabelled", "gone", "pruned", "returned", "resplit", "stale")
    kinds = ("new", *of_stored, "rejected", "orphans")
    show.lines({**{kind: len(getattr(plan, kind)) for kind in kinds}, "unchanged": plan.unchanged})
    if any(failure.files for failure in plan.rejected):
        show.message(
            "what was rejected before is tried again when its files change, or after 'hpastore retry'"
        )


def _why(change: Any) -> str:
    verb = "differ" if len(change.roles) > 1 else "differs"
    return f"{', '.join(change.roles)} {verb}" if change.roles else change.why


def _labels(source: Any) -> str:
    return f"the table says {'|'.join(map(str, source.labels))}" if source.labels else "it has no labels"


def _lacks(orphan: Any) -> str:
    from hpastore.vocabulary import ORPHANS

    return ORPHANS[orphan.kind] + (f" (files: {orphan.files})" if orphan.files else "")


def _as_document(plan: Any) -> dict[str, Any]:
    return {
        "new": [source.name for source in plan.new],
        "changed": [change.source.name for change in plan.changed],
        "changed_files": {change.source.name: change.roles for change in plan.changed},
        "unmeasured": [source.name for source in plan.unmeasured],
        "relabelled": [source.name for source in plan.relabelled],
        **{
            kind: getattr(plan, kind)
            for kind in ("gone", "pruned", "returned", "resplit", "stale", "unchanged")
        },
        "rejected": [
            {key: getattr(f, key) for key in ("image_name", "uri", "code", "message")} for f in plan.rejected
        ],
        "orphans": [orphan._asdict() for orphan in plan.orphans],
        "stopped": plan.stopped,
        "warnings": list(show.settings.warnings),
    }
