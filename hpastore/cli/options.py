"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpastore.cli.completion import complete_clean_sets, complete_labels
from hpastore.vocabulary import Channel

_CLEAN_SET = "NAME, which is its newest version, or NAME@VERSION"

MeasureName = Annotated[
    str, typer.Option("--measure", help="A measure; 'hpastore measures' lists all.", metavar="M")
]
ChannelName = Annotated[
    Channel,
    typer.Option(
        "--channel",
        help="The channel of the measure; ignored for a measure of the whole cell.",
    ),
]
Lower = Annotated[
    float, typer.Option(help="Lower percentile, as a share from 0 to 1.", metavar="P")
]
Upper = Annotated[
    float, typer.Option(help="Upper percentile, as a share from 0 to 1.", metavar="P")
]
Label = Annotated[
    str | None,
    typer.Option(
        help="Only this label, by id or name: 16 or Cytosol.",
        metavar="L",
        autocompletion=complete_labels,
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        help="Only this label, by id or name: 16 or Cytosol; may be repeated.",
        metavar="L",
        autocompletion=complete_labels,
    ),
]
Split = Annotated[str | None, typer.Option(help="Only images of this split.", metavar="NAME")]
CleanSet = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help=f"The clean set: {_CLEAN_SET}.", autocompletion=complete_clean_sets
    ),
]
Clean = Annotated[
    str | None,
    typer.Option(
        help=f"Only clean cells of this clean set: {_CLEAN_SET}.  By default all cells.",
        metavar="NAME",
        autocompletion=complete_clean_sets,
    ),
]
CleanOrNewest = Annotated[
    str | None,
    typer.Option(
        "--clean",
        help=f"A clean set: {_CLEAN_SET}.  By default the newest one.",
        metavar="NAME",
        autocompletion=complete_clean_sets,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file or folder.")]
Out = Annotated[Path, typer.Argument(help="The file or folder to write.", metavar="OUT")]
