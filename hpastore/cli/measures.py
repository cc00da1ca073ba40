"""Commands about measures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpastore.cli import show
from hpastore.cli.options import Force

app = typer.Typer()


@app.command("list")
def measures() -> None:
    """List all measures: those of hpastore, custom measures of installed packages, and stored ones.

    Example: hpastore measures list
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.measures(store))


@app.callback(invoke_without_command=True)
def list_by_default(context: typer.Context) -> None:
    """List measures, as 'hpastore measures list' does; import and export values of cells.

    Example: hpastore measures
    """
    if context.invoked_subcommand is None:
        measures()


@app.command("import")
def import_values(
    path: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet with the columns image,mask_id,value or cell,value.",
            metavar="FILE",
        ),
    ],
    name: Annotated[str, typer.Option(help="The name of the measure.", metavar="NAME")],
    version: Annotated[
        int,
        typer.Option(help="Another version replaces the values of the last one.", metavar="V"),
    ],
    unit: Annotated[str, typer.Option(help="The unit of the values.", metavar="U")] = "",
    label: Annotated[
        str | None,
        typer.Option(
            help="Of a file with a column 'label', take the rows of this one; without this, the "
            "row of each cell's own label.",
            metavar="LABEL",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace all values of the same version.")
    ] = False,
) -> None:
    """Import values of cells as a measure: all of them, or none if one is wrong.

    Example: hpastore measures import scores.csv --name prob --version 1
    """
    import hpastore

    with show.open_store() as store:
        n = hpastore.import_measure(store, path, name, version, unit=unit, label=label, force=force)
    _print_count(n, "imported")


@app.command("export")
def export_values(
    name: Annotated[str, typer.Argument(help="A custom measure.", metavar="NAME")],
    path: Annotated[Path, typer.Argument(help="The CSV to write.", metavar="OUT.csv")],
    force: Force = False,
) -> None:
    """Write the values of a custom measure as a CSV that 'measures import' reads.

    Example: hpastore measures export prob scores.csv
    """
    import hpastore

    with show.open_store() as store:
        n = hpastore.export_measure(store, name, path, force=force)
    _print_count(n, "exported")


def _print_count(n: int, done: str) -> None:
    from hpastore.text import count_text

    if show.settings.json:
        show.document({done: n})
    else:
        show.line(f"{count_text(n, 'value')} {done}")
