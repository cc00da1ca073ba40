"""The options that ingest and plan share, and how they become arguments of the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpastore import vocabulary

if TYPE_CHECKING:
    from hpastore.classes import Classes

Root = Annotated[Path, typer.Argument(help="Folder with train.csv, train/ and hpa_cell_mask/.")]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Table of names and labels: CSV or TSV, also gzipped.  'none': images without labels.",
        metavar="FILE",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of channel PNGs; by default ROOT/train.", metavar="DIR"),
]
Masks = Annotated[
    Path | None,
    typer.Option(help="Folder of cell masks; by default ROOT/hpa_cell_mask.", metavar="DIR"),
]
Nuclei = Annotated[
    str | None,
    typer.Option(
        help=(
            "Folder of nucleus masks; by default ROOT/hpa_nuclei_mask.  'none': images have none."
        ),
        metavar="DIR",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="Split of new images and of images without a split.", metavar="NAME"),
]
Limit = Annotated[int | None, typer.Option(help="Only the first N images by name.", metavar="N")]
IdColumn = Annotated[str, typer.Option(help="Heading of the names in the table.", metavar="ID")]
LabelColumn = Annotated[
    str, typer.Option(help="Heading of the labels in the table.", metavar="LABEL")
]
KeepColumn = Annotated[
    list[str] | None,
    typer.Option(
        help="Heading of a further column of the table to store, such as plate; repeatable.",
        metavar="NAME",
    ),
]
DropColumn = Annotated[
    list[str] | None,
    typer.Option(
        help="Name of a stored column that the images of this run lose; repeatable.",
        metavar="NAME",
    ),
]
BinaryMask = Annotated[
    vocabulary.BinaryMask | None,
    typer.Option(help="Keep a mask of one value as one cell, or take its components as cells."),
]
MatchNuclei = Annotated[
    vocabulary.NucleusMatch | None,
    typer.Option(
        help="Match a nucleus to the cell with its id, or to the cell that overlaps it most."
    ),
]
BackgroundPercentile = Annotated[
    float | None,
    typer.Option(help="Share 0..1; by default the store's own, 0.99 in a new store.", metavar="Q"),
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete images that are gone.")]
Resplit = Annotated[
    bool, typer.Option("--resplit", help="Give --split also to images that have another split.")
]
AllowGone = Annotated[
    str,
    typer.Option(
        help="How many images may be gone at once, even if they are more than a fifth, or all.",
        metavar="N|all",
    ),
]
MovedFrom = Annotated[
    list[str] | None,
    typer.Option(help="Stored root that has moved here, with all its images.", metavar="OLD"),
]
ClassTable = Annotated[
    Path | None,
    typer.Option(
        "--classes",
        help="Table of the classes of a new store: id,name,negative; by default the 19 of 2021.",
        metavar="FILE",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("-j", "--jobs", help="Worker processes; by default one per core.", metavar="N"),
]


def read_class_table(path: Path | None) -> Classes | None:
    """Read the classes that a command line gives a new store."""
    import hpastore

    return None if path is None else hpastore.load_classes(path)


def run_options(
    background_percentile: float | None,
    prune: bool,
    allow_gone: str,
    moved_from: list[str] | None,
    resplit: bool,
) -> dict[str, Any]:
    """Collect the arguments that ingest and plan share, besides the layout."""
    is_number = allow_gone.isascii() and allow_gone.isdigit()
    return {
        "background_percentile": background_percentile,
        "prune": prune,
        "allow_gone": int(allow_gone) if is_number else allow_gone,  # the library checks words
        "moved_from": moved_from or (),
        "resplit": resplit,
    }
