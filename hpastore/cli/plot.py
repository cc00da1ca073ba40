"""Commands that draw figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpastore.cli import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hpastore.store.engine import Store

app = typer.Typer(no_args_is_help=True, help="Draw figures, as .png, .svg or .pdf.")

Out = Annotated[Path, typer.Option(help="The file: .png, .svg or .pdf.", metavar="FILE")]
Clean = Annotated[
    str | None,
    typer.Option(help="A clean set, NAME or NAME@VERSION; else the newest there is.", metavar="NAME"),
]
Label = Annotated[int | None, typer.Option(help="Only this label, 0..18.", metavar="L")]
Split = Annotated[str | None, typer.Option(help="Only cells of images of this split.", metavar="NAME")]
Channels = Annotated[
    str,
    typer.Option(
        help="Letters such as rgb or rgby, in colours; or one channel's name, in grey.", metavar="C"
    ),
]
Gain = Annotated[float, typer.Option(help="What grey levels are multiplied with.", metavar="FACTOR")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@app.command("hist")
def hist(
    out: Out,
    measure: Annotated[
        str, typer.Option(help="A measure; 'hpastore measures' lists them.", metavar="M")
    ] = "fraction",
    channel: Annotated[str, typer.Option(help="red, green, blue or yellow.", metavar="C")] = "green",
    label: Label = None,
    clean: Clean = None,
    split: Split = None,
    force: Force = False,
) -> None:
    """Draw how a measure is distributed, label by label, and what is kept of it.

    Labels without a cell are left out, unless --label asks for one.

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
        str | None, typer.Argument(help="For dropped-by: the reason of the verdicts.", metavar="RULE")
    ] = None,
    clean: Clean = None,
    label: Label = None,
    split: Split = None,
    which: Annotated[
        str,
        typer.Option(
            help="all, kept, dropped, below, above, near-lower, near-upper, or dropped-by RULE.",
            metavar="WHICH",
        ),
    ] = "all",
    n: Annotated[int, typer.Option("--n", "-n", help="How many cells.", metavar="N")] = 24,
    seed: Annotated[int, typer.Option(help="Of the random choice.", metavar="S")] = 0,
    channels: Channels = "rgb",
    gain: Gain = 1.0,
    force: Force = False,
) -> None:
    """Draw cells side by side, outlined, with name, verdict and value.

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
    image: Annotated[str, typer.Argument(help="An image's name.", metavar="IMAGE")],
    out: Out,
    clean: Clean = None,
    label: Label = None,
    channels: Channels = "rgb",
    gain: Gain = 1.0,
    force: Force = False,
) -> None:
    """Draw an image with its cells outlined in the colour of their verdicts.

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
    name: Annotated[str, typer.Argument(help="A clean set's name, without a version.", metavar="NAME")],
    out: Out,
    label: Label = None,
    force: Force = False,
) -> None:
    """Draw how a clean set's bounds moved from version to version, and where they are now.

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
