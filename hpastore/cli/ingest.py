"""Commands that bring images in, and that show what came."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hpastore.cli import show

REJECTED = 3
WORK = 4

Root = Annotated[Path, typer.Argument(help="Folder with train.csv, train/ and hpa_cell_mask/.")]
Labels = Annotated[
    str | None, typer.Option(help="CSV or TSV of names and labels; 'none' for images without.", metavar="CSV")
]
Images = Annotated[Path | None, typer.Option(help="Folder of channel PNGs, else ROOT/train.", metavar="DIR")]
Masks = Annotated[
    Path | None, typer.Option(help="Folder of cell masks, else ROOT/hpa_cell_mask.", metavar="DIR")
]
Nuclei = Annotated[
    Path | None, typer.Option(help="Folder of nucleus masks, else ROOT/hpa_nuclei_mask.", metavar="DIR")
]
Split = Annotated[str | None, typer.Option(help="Name to give these images.", metavar="NAME")]
Limit = Annotated[int | None, typer.Option(help="Only the first N images by name.", metavar="N")]
IdColumn = Annotated[str, typer.Option(help="Heading of the names in the table.", metavar="ID")]
LabelColumn = Annotated[str, typer.Option(help="Heading of the labels in the table.", metavar="LABEL")]
Jobs = Annotated[
    int | None, typer.Option("-j", "--jobs", help="Worker processes, else one per core.", metavar="N")
]


def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to make.", metavar="DIR")],
    n: Annotated[int, typer.Option("-n", help="Number of images.")] = 12,
    size: Annotated[int, typer.Option(help="Width and height in pixels, 64 to 4096.", metavar="PX")] = 1024,
    seed: Annotated[int, typer.Option(help="The same seed draws the same bytes.")] = 0,
    bits: Annotated[int, typer.Option(help="8 or 16.")] = 8,
    jobs: Jobs = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
) -> None:
    """Draw an HPA-shaped data set with known truth, to try things on.

    Example: hpastore sample demo/data -n 24 --size 512
    """
    import hpastore

    with show.progress("drawing") as progress:
        made = hpastore.make_sample(
            folder, n=n, size=size, seed=seed, bits=bits, jobs=jobs, force=force, progress=progress
        )
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
    jobs: Jobs = None,
    executor: Annotated[str, typer.Option(help="process or serial.", metavar="NAME")] = "process",
    background_percentile: Annotated[
        float | None, typer.Option(help="Share 0..1, else the store's own; 0.99 in a new store.", metavar="Q")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Store the images that are new or changed; exit code 3 if some were rejected.

    Example: hpastore ingest /data/hpa -j 8
    """
    from hpastore.ingest.run import ingest as run

    layout = _layout(root, labels, images, masks, nuclei, split, limit, id_column, label_column)
    if dry_run:
        _show_plan(_plan(layout))
        return
    _refuse_unusable(layout, jobs, executor, background_percentile)
    with show.open_store(create=True) as store, show.progress("ingesting") as progress:
        summary = run(
            store,
            layout,
            jobs=jobs,
            executor=executor,
            background_percentile=background_percentile,
            progress=progress,
        )
    if show.settings.json:
        show.document(asdict(summary))
    else:
        show.lines(asdict(summary))
    if summary.rejected:
        show.message(f"{summary.rejected} images were rejected; 'hpastore failures' says why")
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
) -> None:
    """Say what ingest would do and why, touching nothing; exit code 4 if there is work.

    Example: hpastore plan /data/hpa
    """
    found = _plan(_layout(root, labels, images, masks, nuclei, split, limit, id_column, label_column))
    _show_plan(found)
    if found.work:
        raise typer.Exit(WORK)


def status() -> None:
    """Show what the store holds.

    Example: hpastore status
    """
    import hpastore

    with show.open_store() as store:
        found = hpastore.status(store)
    if show.settings.json:
        show.document(asdict(found))
        return
    pairs = asdict(found)
    roots, recipe = pairs.pop("roots"), pairs.pop("recipe")
    pairs["background_percentile"] = recipe and recipe["background_percentile"]
    show.lines(pairs)
    if roots:
        show.text_table(["root", "split", "images"], [tuple(row.values()) for row in roots])


def failures() -> None:
    """List the images that were rejected, with the file at fault and what to do.

    Example: hpastore failures
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.failures(store))


def _layout(root: Path, labels: str | None, *rest: Any) -> Any:
    from hpastore.errors import InputError
    from hpastore.ingest.discover import Layout

    for stored in (root.absolute(), *rest):
        try:
            str(stored).encode()
        except UnicodeEncodeError as error:
            raise InputError(str(stored), "is not UTF-8, so that no store can name it; rename it") from error
    return Layout(root, labels, *rest)


def _plan(layout: Any) -> Any:
    """Plan against the store; one that is not there yet has no image."""
    import hpastore
    from hpastore.errors import SchemaMissingError

    try:
        with show.open_store() as store:
            return hpastore.plan(store, layout)
    except SchemaMissingError:
        return hpastore.plan(None, layout)


def _refuse_unusable(
    layout: Any, jobs: int | None, executor: str, background_percentile: float | None
) -> None:
    """Look at all arguments before a store is made: a mistyped one shall leave no empty file."""
    from hpastore.errors import SchemaMissingError, UsageError
    from hpastore.ingest.discover import discover
    from hpastore.ingest.pool import workers
    from hpastore.ingest.run import EXECUTORS
    from hpastore.model import require_share

    try:
        show.open_store().close()
    except SchemaMissingError:
        if executor not in EXECUTORS:
            raise UsageError(f"no executor {executor!r}; there are {' and '.join(EXECUTORS)}") from None
        if background_percentile is not None:
            require_share(background_percentile, "background percentile")
        workers(jobs)
        discover(layout)


def _show_plan(plan: Any) -> None:
    kinds = ("new", "changed", "relabelled")
    if show.settings.json:
        names = {kind: [source.name for source in getattr(plan, kind)] for kind in kinds}
        rejected = [asdict(failure) for failure in plan.rejected]
        show.document({**names, "unchanged": plan.unchanged, "rejected": rejected})
        return
    rows = [(source.name, kind, "") for kind in kinds for source in getattr(plan, kind)]
    rows += [(failure.image_name, "rejected", failure.message) for failure in plan.rejected]
    if rows:
        show.text_table(["image", "what", "why"], sorted(rows))
    counts = {kind: len(getattr(plan, kind)) for kind in (*kinds, "rejected")}
    show.lines({**counts, "unchanged": plan.unchanged})
