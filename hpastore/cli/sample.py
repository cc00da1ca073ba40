"""The command that draws a data set with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hpastore.cli import show
from hpastore.cli.ingest_options import Jobs
from hpastore.text import count_text


def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to create.", metavar="DIR")],
    n: Annotated[int, typer.Option("-n", help="Number of images.")] = 12,
    size: Annotated[
        int, typer.Option(help="Width and height in pixels, 64 to 4096.", metavar="PX")
    ] = 1024,
    seed: Annotated[int, typer.Option(help="The same seed draws the same bytes.")] = 0,
    bits: Annotated[int, typer.Option(help="8 or 16.")] = 8,
    prefix: Annotated[
        str, typer.Option(help="First part of the images' names.", metavar="NAME")
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
        show.message(f"{count_text(n, 'image')} in {made}; next: hpastore ingest {made}")
