"""Decisions of people about cells, as a CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from hpastore.arguments import expanded
from hpastore.clean.overrides import COLUMNS
from hpastore.export.output import whole_file
from hpastore.store.decoding import image_name as check_image_name
from hpastore.store.engine import Store
from hpastore.store.overrides import overrides


def export_overrides(store: Store, path: Path | str, *, force: bool = False) -> int:
    """Write all overrides as a CSV that `read_overrides` reads.

    Parameters
    ----------
    store : Store
    path : Path
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    int
        Number of overrides.  The column ``attached`` is false for those whose cell is not in the
        store any more.

    Raises
    ------
    ExportError
        If the file exists or cannot be written.
    """
    path = expanded(path)
    with store.reading() as connection:
        rows = overrides(connection)
    with (
        whole_file(path, force=force, store=store) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, "attached"])
        for row in rows:
            cell = f"{row['image_name']}:{row['mask_id']}"
            check_image_name(row["image_name"], f"override of {cell}")
            decision = "keep" if row["keep"] else "drop"
            details = [row[name] for name in ("score", "author", "comment")]
            attached = "true" if row["attached"] else "false"
            writer.writerow([cell, row["label_id"], decision, *details, attached])
    return len(rows)
