"""Commands about thresholds and clean sets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hpastore.cli import show

app = typer.Typer(no_args_is_help=True, help="Make clean sets, and look at them.")

Measure = Annotated[str, typer.Option(help="A measure, see the README's table.", metavar="M")]
Channel = Annotated[str, typer.Option(help="red, green, blue or yellow.", metavar="C")]
Lower = Annotated[float, typer.Option(help="Lower percentile, a share 0..1.", metavar="P")]
Upper = Annotated[float, typer.Option(help="Upper percentile, a share 0..1.", metavar="P")]
Name = Annotated[str, typer.Argument(help="NAME, the newest version, or NAME@VERSION.")]


def thresholds(
    measure: Measure = "fraction",
    channel: Channel = "green",
    lower: Lower = 0.001,
    upper: Upper = 0.999,
    label: Annotated[int | None, typer.Option(help="Only this label, 0..18.", metavar="L")] = None,
) -> None:
    """Take two percentiles of a measure for every label, from the cells of now.

    Example: hpastore thresholds --measure intensity_mean --lower 0.05 --upper 0.95
    """
    import hpastore

    rule = hpastore.Rule(measure, channel, lower, upper)
    with show.open_store() as store:
        show.frame(hpastore.thresholds(store, rule, label=label))


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="A name; one that exists gets its next version.")],
    measure: Measure = "fraction",
    channel: Channel = "green",
    lower: Lower = 0.001,
    upper: Upper = 0.999,
    min_green: Annotated[
        int, typer.Option(help="Cells whose brightest green pixel is below are dark; 0 turns this off.")
    ] = 64,
    scope: Annotated[
        str, typer.Option(help="single: images with one label; all: each cell against each label.")
    ] = "single",
) -> None:
    """Judge all cells by their label's percentiles, and keep the verdicts under a name.

    Example: hpastore clean create mine --lower 0.01 --upper 0.99
    """
    import hpastore

    recipe = hpastore.CleanRecipe(hpastore.Rule(measure, channel, lower, upper), min_green, scope)
    with show.open_store() as store:
        made = hpastore.create_clean_set(store, name, recipe)
    if show.settings.json:
        show.document(asdict(made))
    else:
        print(f"{made.name}@{made.version}: {made.clean} of {made.cells} verdicts are clean")


@app.command("list")
def list_() -> None:
    """List the clean sets with the numbers of their verdicts.

    Example: hpastore clean list
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.clean_sets(store))


@app.command("show")
def show_(name: Name) -> None:
    """Show a clean set: per label its thresholds, and its verdicts counted by reason.

    Example: hpastore clean show mine@1
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.clean_set(store, name))
