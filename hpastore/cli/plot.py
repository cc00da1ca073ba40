"""Commands that draw figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpastore.cli import show
from hpastore.cli.completion import complete_clean_sets
from hpastore.cli.options import ChannelName, CleanOrNewest, Force, Label, MeasureName, Split
from hpastore.vocabulary import Which

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hpastore.store.engine import Store

app = typer.Typer(no_args_is_help=True, help="Draw figures, as .png, .svg or .pdf.")

Out = Annotated[Path, typer.Option(help="The file to write: .png, .svg or .pdf.", metavar="FILE")]
Channels = Annotated[
    str,
    typer.Option(
        help="Letters such as rgb or rgby, shown in colours; or one channel's name, shown in grey.",
        metavar="C",
    ),
]
Gain = Annotated[float, typer.Option(help="Factor for grey levels.", metavar="FACTOR")]


@app.command("hist")
def hist(
    out: Out,
    measure: MeasureName = "fraction",
    channel: ChannelName = "green",
    label: Label = None,
    clean: CleanOrNewest = None,
    split: Split = None,
    force: Force = False,
) -> None:
    """Draw the distribution of a measure for each label, of cells that are kept and dropped.

    Labels without cells are left out, unless --label names one.

    Example: hpastore plot hist --measure entropy --out entropy.png
    """
    import hpastore

    _draw(
        out,
        lambda store: hpastore.plot_hist(
            store, measure=measure, channel=channel, label=label, clean=clean, split=split
        ),
        force=force,
    )


@app.command("gallery")
def gallery(
    out: Out,
    rule: Annotated[
        str | None,
        typer.Argument(
            help="With --which dropped-by: the rule, as in the verdicts' reasons.", metavar="RULE"
        ),
    ] = None,
    clean: CleanOrNewest = None,
    label: Label = None,
    split: Split = None,
    which: Annotated[
        Which,
        typer.Option(
            help="Which cells: below and above are outside a bound of their label, near-lower and "
            "near-upper the nearest to it on both sides; dropped-by takes a RULE."
        ),
    ] = "all",
    n: Annotated[int, typer.Option("--n", "-n", help="Number of cells.", metavar="N")] = 24,
    seed: Annotated[
        int, typer.Option(help="The same seed chooses the same cells.", metavar="S")
    ] = 0,
    channels: Channels = "rgb",
    gain: Gain = 1.0,
    force: Force = False,
) -> None:
    """Draw cells side by side, each with its outline, name, verdict and value.

    Example: hpastore plot gallery --which dropped-by below_lower --out dropped.png
    """
    import hpastore

    _draw(
        out,
        lambda store: hpastore.plot_gallery(
            store,
            clean=clean,
            label=label,
            split=split,
            which=which,
            rule=rule,
            n=n,
            seed=seed,
            channels=channels,
            gain=gain,
        ),
        force=force,
    )


@app.command("overlay")
def overlay(
    image: Annotated[str, typer.Argument(help="The image's name.", metavar="IMAGE")],
    out: Out,
    clean: CleanOrNewest = None,
    label: Label = None,
    channels: Channels = "rgb",
    gain: Gain = 1.0,
    force: Force = False,
) -> None:
    """Draw an image, and outline its cells in the colours of their verdicts.

    Example: hpastore plot overlay sample-0001 --out overlay.png
    """
    import hpastore

    _draw(
        out,
        lambda store: hpastore.plot_overlay(
            store, image, clean=clean, label=label, channels=channels, gain=gain
        ),
        force=force,
    )


@app.command("drift")
def drift(
    name: Annotated[
        str,
        typer.Argument(
            help="The clean set's name, without a version.",
            metavar="NAME",
            autocompletion=complete_clean_sets,
        ),
    ],
    out: Out,
    label: Label = None,
    force: Force = False,
) -> None:
    """Draw how the bounds of a clean set changed from version to version, and their current values.

    Example: hpastore plot drift mine --out drift.png
    """
    import hpastore

    _draw(out, lambda store: hpastore.plot_drift(store, name, label=label), force=force)


def _draw(out: Path, draw: Callable[[Store], Figure], *, force: bool) -> None:
    import hpastore
    from hpastore.export.figure import check_figure

    with show.open_store() as store:
        check_figure(out, force=force, store=store)
        hpastore.save_figure(draw(store), out, force=force, store=store)
    if show.settings.json:
        show.document({"path": str(out)})
    else:
        show.line(str(out))
