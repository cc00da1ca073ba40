"""Pictures of what the recipe ``hpa`` does to real images, for people to judge."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import hpastore
from scripts.benchmark import real
from scripts.benchmark.verdicts import judge

_MAX_CELLS: Final = 400


def write(out: Path) -> list[Path]:
    """Write galleries of dropped and kept cells of each root, and an overlay of each image.

    Under each cell are its verdict, the reason, and the value beside the bound.

    Parameters
    ----------
    out
        A folder; pictures that are there already are replaced.

    Raises
    ------
    Skip
        Where there are no real images.
    """
    written = []
    chosen = real.images()
    with (
        tempfile.TemporaryDirectory(prefix="hpastore-bench-") as folder,
        hpastore.open_store(Path(folder) / "cells.db", create=True) as store,
    ):
        splits = {root: root.name for root in dict.fromkeys(image.root for image in chosen)}
        for root, split in splits.items():
            some = [image for image in chosen if image.root == root]
            layout = hpastore.Layout(real.lay_out(Path(folder) / split, some, {}), split=split)
            hpastore.ingest(store, layout)
        judge(store, "single")
        out.mkdir(parents=True, exist_ok=True)
        for split in splits.values():
            for which in ("dropped", "kept"):
                figure = hpastore.plot_gallery(
                    store, clean="hpa-single", split=split, which=which, n=_MAX_CELLS
                )
                path = out / f"{split}_{which}.png"
                written.append(hpastore.save_figure(figure, path, force=True))
        for image in chosen:
            figure = hpastore.plot_overlay(store, image.name, clean="hpa-single")
            path = out / f"{image.name}.png"
            written.append(hpastore.save_figure(figure, path, force=True))
    return written
