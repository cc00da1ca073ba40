"""Commands that write training annotations."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpastore.cli import show
from hpastore.cli.ingest_options import Jobs

if TYPE_CHECKING:
    from hpastore.export.manifest import Written
    from hpastore.export.selection import Choice

app = typer.Typer(no_args_is_help=True, help="Write training annotations, each with a manifest.")

Out = Annotated[Path, typer.Argument(help="What to write.", metavar="OUT")]
Clean = Annotated[
    str | None, typer.Option(help="A clean set, NAME or NAME@VERSION; else all cells.", metavar="NAME")
]
Label = Annotated[
    list[int] | None, typer.Option(help="Only this label, 0..18; may be repeated.", metavar="L")
]
Split = Annotated[str | None, typer.Option(help="Only images of this split.", metavar="NAME")]
_CELL = "A cell with several labels:"
Multilabel = Annotated[str, typer.Option(help=f"{_CELL} expand or skip.", metavar="WAY")]
MultilabelOrHot = Annotated[str, typer.Option(help=f"{_CELL} expand, skip or multihot.", metavar="WAY")]
DropEmpty = Annotated[bool, typer.Option("--drop-empty", help="Leave out images without a cell left.")]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="Write an export without a cell.")]
Channels = Annotated[
    str, typer.Option(help="composite: one file per image; list: its four channel files.", metavar="WAY")
]
ImageFormat = Annotated[str, typer.Option(help="png or jpg, of the composite.", metavar="FORMAT")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@app.command("coco")
def coco(
    out: Out,
    clean: Clean = None,
    label: Label = None,
    split: Split = None,
    multilabel: Multilabel = "expand",
    drop_empty: DropEmpty = False,
    allow_empty: AllowEmpty = False,
    channels: Channels = "composite",
    image_format: ImageFormat = "png",
    force: Force = False,
) -> None:
    """Write COCO instance annotations with RLE masks.

    Example: hpastore export coco mine.json --clean mine
    """
    import hpastore

    choice = _choice(clean, label, split, multilabel, drop_empty=drop_empty, allow_empty=allow_empty)
    with show.open_store() as store:
        _say(
            hpastore.export_coco(
                store, out, choice, channels=channels, image_format=image_format, force=force
            )
        )


@app.command("mmdet")
def mmdet(
    out: Out,
    clean: Clean = None,
    label: Label = None,
    split: Split = None,
    multilabel: MultilabelOrHot = "expand",
    drop_empty: DropEmpty = False,
    allow_empty: AllowEmpty = False,
    channels: Channels = "composite",
    image_format: ImageFormat = "png",
    force: Force = False,
) -> None:
    """Write the pickle of MMDetection 2.x's CustomDataset; NumPy 1 and 2 read it.

    Example: hpastore export mmdet mine.pkl --clean mine
    """
    import hpastore

    choice = _choice(clean, label, split, multilabel, drop_empty=drop_empty, allow_empty=allow_empty)
    with show.open_store() as store:
        _say(
            hpastore.export_mmdet(
                store, out, choice, channels=channels, image_format=image_format, force=force
            )
        )


@app.command("csv")
def csv(
    out: Out,
    clean: Clean = None,
    label: Label = None,
    split: Split = None,
    multilabel: Multilabel = "expand",
    allow_empty: AllowEmpty = False,
    layout: Annotated[str, typer.Option(help="clean_cell or notebook.")] = "clean_cell",
    force: Force = False,
) -> None:
    """Write the verdicts of a clean set, clean or not, one row per cell and label.

    Example: hpastore export csv mine.csv --clean mine --layout notebook
    """
    import hpastore

    choice = _choice(clean, label, split, multilabel, drop_empty=False, allow_empty=allow_empty)
    with show.open_store() as store:
        _say(hpastore.export_csv(store, out, choice, layout=layout, force=force))


@app.command("images")
def images(
    out: Out,
    clean: Clean = None,
    label: Label = None,
    split: Split = None,
    multilabel: MultilabelOrHot = "expand",
    drop_empty: DropEmpty = False,
    image_format: ImageFormat = "png",
    channel_order: Annotated[
        str, typer.Option(help="rgb; bgr swaps red and blue, as in the notebook's files.", metavar="ORDER")
    ] = "rgb",
    jobs: Jobs = None,
    force: Force = False,
) -> None:
    """Write each image that the annotations name as one RGB picture.

    Example: hpastore export images pictures --clean mine
    """
    import hpastore

    choice = _choice(clean, label, split, multilabel, drop_empty=drop_empty, allow_empty=True)
    with show.open_store() as store, show.progress("writing") as progress:
        written = hpastore.export_images(
            store,
            out,
            choice,
            image_format=image_format,
            channel_order=channel_order,
            jobs=jobs,
            force=force,
            progress=progress,
        )
    _say(written)


def verify(out: Out) -> None:
    """Read an export again, and compare it with its manifest.

    Example: hpastore verify mine.json
    """
    import hpastore
    from hpastore.text import count_text

    files = hpastore.verify(out)
    if show.settings.json:
        show.document({"path": str(out), "files": files})
    else:
        agree = "agrees" if files == 1 else "agree"
        show.line(f"{out}: {count_text(files, 'file')} {agree} with the manifest")


def _choice(
    clean: str | None,
    labels: list[int] | None,
    split: str | None,
    multilabel: str,
    *,
    drop_empty: bool,
    allow_empty: bool,
) -> Choice:
    import hpastore

    return hpastore.Choice(clean, tuple(labels or ()), multilabel, drop_empty, allow_empty, split)


def _say(written: Written) -> None:
    if show.settings.json:
        show.document(asdict(written))
    else:
        what = f"{written.images} images, {written.cells} cells, {written.annotations} annotations"
        show.line(f"{written.path}: {what}; manifest in {written.manifest}")
