"""Commands that write training annotations."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hpastore.cli import show
from hpastore.cli.completion import complete_clean_sets
from hpastore.cli.ingest_options import Jobs
from hpastore.cli.options import Clean, Force, Labels, Out, Split
from hpastore.vocabulary import ChannelFiles, ChannelOrder, CsvLayout, ImageFormat, Multilabel

if TYPE_CHECKING:
    from hpastore.export.manifest import Written
    from hpastore.export.selection import ExportOptions

app = typer.Typer(no_args_is_help=True, help="Write training annotations, each with a manifest.")

_EXPAND_OR_SKIP = (
    "Cells with several labels: expand repeats each for every label, skip leaves out their images"
)
ExpandOrSkip = Annotated[
    Literal["expand", "skip"], typer.Option("--multilabel", help=f"{_EXPAND_OR_SKIP}.")
]
AnyMultilabel = Annotated[
    Multilabel,
    typer.Option(
        "--multilabel", help=f"{_EXPAND_OR_SKIP}, multihot writes each once with all its labels."
    ),
]
VerdictsOf = Annotated[
    str | None,
    typer.Option(
        "--clean",
        help="The clean set, NAME or NAME@VERSION.  By default all cells, without verdicts.",
        metavar="NAME",
        autocompletion=complete_clean_sets,
    ),
]
DropEmpty = Annotated[
    bool, typer.Option("--drop-empty", help="Leave out images that keep no cell.")
]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="Write the export even if it holds no cell.")
]
Channels = Annotated[
    ChannelFiles,
    typer.Option(help="Name one file per image (composite), or its channel files (list)."),
]
Format = Annotated[ImageFormat, typer.Option("--image-format", help="The format of composites.")]


@app.command("coco")
def coco(
    out: Out,
    clean: Clean = None,
    labels: Labels = None,
    split: Split = None,
    multilabel: ExpandOrSkip = "expand",
    drop_empty: DropEmpty = False,
    allow_empty: AllowEmpty = False,
    channels: Channels = "composite",
    image_format: Format = "png",
    force: Force = False,
) -> None:
    """Write COCO instance annotations with RLE masks.

    Example: hpastore export coco mine.json --clean mine
    """
    import hpastore

    options = _options(clean, labels, split, multilabel, drop_empty, allow_empty)
    with show.open_store() as store:
        written = hpastore.export_coco(
            store, out, options, channels=channels, image_format=image_format, force=force
        )
    _print_written(written)


@app.command("mmdet")
def mmdet(
    out: Out,
    clean: Clean = None,
    labels: Labels = None,
    split: Split = None,
    multilabel: AnyMultilabel = "expand",
    drop_empty: DropEmpty = False,
    allow_empty: AllowEmpty = False,
    channels: Channels = "composite",
    image_format: Format = "png",
    force: Force = False,
) -> None:
    """Write the pickle of MMDetection 2.x's CustomDataset; NumPy 1 and 2 read it.

    Example: hpastore export mmdet mine.pkl --clean mine
    """
    import hpastore

    options = _options(clean, labels, split, multilabel, drop_empty, allow_empty)
    with show.open_store() as store:
        written = hpastore.export_mmdet(
            store, out, options, channels=channels, image_format=image_format, force=force
        )
    _print_written(written)


@app.command("csv")
def csv(
    out: Out,
    clean: VerdictsOf = None,
    labels: Labels = None,
    split: Split = None,
    multilabel: ExpandOrSkip = "expand",
    allow_empty: AllowEmpty = False,
    layout: Annotated[
        CsvLayout,
        typer.Option(help="The columns: those of the view clean_cell, or the notebook's."),
    ] = "clean_cell",
    force: Force = False,
) -> None:
    """Write all verdicts of a clean set, clean or not, with a row for each cell and label.

    Example: hpastore export csv mine.csv --clean mine --layout notebook
    """
    import hpastore

    options = _options(clean, labels, split, multilabel, allow_empty=allow_empty)
    with show.open_store() as store:
        written = hpastore.export_csv(store, out, options, layout=layout, force=force)
    _print_written(written)


@app.command("images")
def images(
    out: Out,
    clean: Clean = None,
    labels: Labels = None,
    split: Split = None,
    multilabel: AnyMultilabel = "expand",
    drop_empty: DropEmpty = False,
    image_format: Format = "png",
    channel_order: Annotated[
        ChannelOrder, typer.Option(help="bgr swaps red and blue, as in the notebook's files.")
    ] = "rgb",
    jobs: Jobs = None,
    force: Force = False,
) -> None:
    """Write the images that annotations name, each as one RGB picture.

    The options are those of the annotations.

    Example: hpastore export images pictures --clean mine
    """
    import hpastore

    options = _options(clean, labels, split, multilabel, drop_empty)
    with show.open_store() as store, show.progress("writing") as progress:
        written = hpastore.export_images(
            store,
            out,
            options,
            image_format=image_format,
            channel_order=channel_order,
            jobs=jobs,
            force=force,
            progress=progress,
        )
    _print_written(written)


def verify(out: Out) -> None:
    """Compare an export with its manifest, file by file.

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


def _options(
    clean: str | None,
    labels: list[str] | None,
    split: str | None,
    multilabel: Multilabel,
    drop_empty: bool = False,
    allow_empty: bool = False,
) -> ExportOptions:
    import hpastore

    return hpastore.ExportOptions(
        clean,
        tuple(labels or ()),
        multilabel,
        drop_empty=drop_empty,
        allow_empty=allow_empty,
        split=split,
    )


def _print_written(written: Written) -> None:
    from hpastore.text import count_text

    if show.settings.json:
        show.document(asdict(written))
        return
    images = count_text(written.images, "image")
    cells = count_text(written.cells, "cell")
    annotations = count_text(written.annotations, "annotation")
    show.line(f"{written.path}: {images}, {cells}, {annotations}; manifest in {written.manifest}")
