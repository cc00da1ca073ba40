"""Exports that are one file of annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hpastore.export.manifest import Written, document, manifest_path
from hpastore.export.output import whole_export
from hpastore.export.selection import Choice, annotated_images, look_up, refuse_empty
from hpastore.model import AnnotatedImage
from hpastore.runtime.gc import gc_paused
from hpastore.store import measurement_settings
from hpastore.store.engine import Store

Write = Callable[[Path, Iterable[AnnotatedImage], str | None], Counter[str]]
"""Writes images to a path, given the clean set's name, and counts images, cells and annotations."""


def export_file(
    store: Store,
    out: Path,
    form: str,
    choice: Choice,
    options: Mapping[str, Any],
    write: Write,
    *,
    force: bool,
) -> Written:
    """Write one file of annotations and its manifest.

    Parameters
    ----------
    store : Store
    out : Path
    form : str
        The format's name, for the manifest.
    choice : Choice
    options : mapping
        The format's own options, for the manifest.
    write : callable
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    ExportError
        If there is nothing to export, or the file exists or cannot be written.
    """
    with whole_export(out, force=force, store=store) as (temporary, beside):
        with store.reading() as connection:
            chosen = look_up(connection, choice)
            settings = measurement_settings.current_settings(connection)
            with closing(annotated_images(connection, chosen)) as images, gc_paused():
                counts = write(temporary, images, chosen.clean_set)
        refuse_empty(out, chosen, counts["annotations"])
        counts = Counter({name: counts[name] for name in ("images", "cells", "annotations")})
        beside.write_bytes(document(form, options, chosen, settings, counts, {out.name: temporary}))
    return Written(out, manifest_path(out), **counts, files=1)
