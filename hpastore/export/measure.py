"""The values of a custom measure, as a CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from hpastore.arguments import expanded
from hpastore.errors import NotFoundError
from hpastore.export.output import whole_file
from hpastore.store import custom_measures
from hpastore.store.decoding import image_name as check_image_name
from hpastore.store.engine import Store
from hpastore.store.imported_measures import read_named_values
from hpastore.text import printable


def export_measure(store: Store, name: str, path: Path | str, *, force: bool = False) -> int:
    """Write the values of a custom measure as a CSV that `import_measure` reads.

    Parameters
    ----------
    store : Store
    name : str
        Of a measure that was imported, or that a package computed.
    path : Path
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    int
        Number of values; those that are NULL are empty in the file.

    Raises
    ------
    NotFoundError
        If the store has no custom measure of this name.
    ExportError
        If the file exists or cannot be written.
    """
    path = expanded(path)
    with store.reading() as connection:
        known = [str(row["name"]) for row in custom_measures.measures(connection)]
        if name not in known:
            choices = f"choose from {', '.join(known)}" if known else "it has none"
            raise NotFoundError(f"no custom measure {printable(name)!r} in the store ({choices})")
        rows = list(read_named_values(connection, name))

    has_channels = any(channel for _, _, channel, _ in rows)
    columns = ("image", "mask_id", *(["channel"] if has_channels else []), "value")
    with (
        whole_file(path, force=force, store=store) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for image, mask_id, channel, value in rows:
            check_image_name(image)
            # Python writes the shortest text that reads back as the same number.
            writer.writerow((image, mask_id, *([channel] if has_channels else []), value))
    return len(rows)
