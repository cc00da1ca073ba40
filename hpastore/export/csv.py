"""Verdicts as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TextIO

from hpastore.arguments import expanded
from hpastore.errors import UsageError
from hpastore.export.manifest import Written, document, manifest_path
from hpastore.export.output import whole_export
from hpastore.export.selection import Choice, look_up, refuse_empty
from hpastore.store import read
from hpastore.store.clean_sets.live_verdicts import stream_verdicts
from hpastore.store.decoding import image_name
from hpastore.store.engine import Store

LAYOUTS: Final = ("clean_cell", "notebook")

_COLUMNS: Final = (
    *("clean_set", "version", "image_name", "mask_id", "label_id", "label", "measure", "channel", "value"),
    *("lower", "upper", "clean", "reason", "rank", "live", "x", "y", "width", "height"),
)
_NOTEBOOK_COLUMNS: Final = ("cell_ID", "bbox", "fraction", "Label", "clean")


def export_csv(
    store: Store,
    out: Path | str,
    choice: Choice | None = None,
    *,
    layout: str = "clean_cell",
    force: bool = False,
) -> Written:
    """Write the verdicts of a clean set, clean or not, one row per cell and label.

    Parameters
    ----------
    store : Store
    out : Path
    choice : Choice, optional
        Names a clean set; without one, all cells are written with their green fraction and no
        verdict.
    layout : str
        ``clean_cell``: the columns of that view, but for the store's own keys, and the box.
        ``notebook``: ``cell_ID, bbox, fraction, Label, clean``, where `fraction` is what the
        notebook computes (``fraction_notebook``) and `bbox` is x1, y1, x2, y2.
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    Written

    Raises
    ------
    ExportError
        If there is nothing to export, or the file exists or cannot be written.
    UsageError, NotFoundError
        If an argument makes no sense, or there is no such clean set.
    """
    out, choice = expanded(out), choice or Choice()
    if layout not in LAYOUTS:
        raise UsageError(f"no layout {layout!r}; there are {' and '.join(LAYOUTS)}")
    if choice.multilabel == "multihot":
        raise UsageError("csv has a row per cell and label; use expand or skip")
    options = {"layout": layout}
    with whole_export(out, force=force, store=store) as (temporary, beside):
        with store.reading() as connection:
            chosen = look_up(connection, choice)
            recipe = read.current_settings(connection)
            with (
                closing(stream_verdicts(connection, chosen.selection)) as rows,
                temporary.open("w", encoding="utf-8", newline="") as file,
            ):
                counts = _write(file, rows, layout)
        refuse_empty(out, chosen, counts["annotations"])
        beside.write_bytes(document("csv", options, chosen, recipe, counts, {out.name: temporary}))
    return Written(out, manifest_path(out), **counts, files=1)


def _write(file: TextIO, rows: Iterable[Any], layout: str) -> Counter[str]:
    """Write rows in their order; floats in their shortest form that reads back the same."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS if layout == "clean_cell" else _NOTEBOOK_COLUMNS)
    images, cells, annotations = 0, 0, 0
    last: tuple[str | None, int] = (None, 0)
    for row in rows:
        image, mask_id = row.image_name, row.mask_id
        if image != last[0]:
            images += 1
            image_name(image)
        cells += (image, mask_id) != last
        annotations += 1
        last = (image, mask_id)
        writer.writerow(
            [getattr(row, name) for name in _COLUMNS] if layout == "clean_cell" else _notebook(row)
        )
    return Counter(images=images, cells=cells, annotations=annotations)


def _notebook(row: Any) -> list[Any]:
    box = [row.x, row.y, row.x + row.width, row.y + row.height]
    return [f"{row.image_name}:{row.mask_id}", box, row.fraction_notebook, row.label_id, row.clean]
