"""List all measures: built-in ones, installed custom ones, and custom ones in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.kernels.plugins import load_measures
from hpastore.store import (
    custom_measures,
    imported_measures,
    label_thresholds,
    measurement_settings,
)
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = (
    *("name", "channels", "unit", "kind", "sentence", "source", "version"),
    *("installed", "images", "lacking", "cells_lacking"),
)

_Row = dict[str, Any]


def measures(store: Store) -> pd.DataFrame:
    """List all measures: first the built-in ones, then the custom ones by name.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        ``name, channels, unit, kind, sentence, source, version, installed, images, lacking,
        cells_lacking``.
        `channels` is empty for a measure of the cell as a whole; `kind` is ``built-in``,
        ``histogram``, ``crops`` or ``imported``.  For a custom measure, `installed` is whether it
        is installed, and `images` the number of images that have it in this version: the installed
        one, or else the last one written.  For a built-in measure both are None, and `lacking` is
        the number of images that lack its current version; images that are gone do not count.
        `cells_lacking` is the number of cells without a custom measure that the store has, in
        images that are not gone.

    Raises
    ------
    MeasureError
        If a custom measure cannot be loaded.
    """
    import pandas as pd

    lacking = store.read(measurement_settings.count_lacking)
    rows = [*_built_in(lacking), *sorted(_custom(store), key=lambda row: str(row["name"]))]
    return pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object)


def _built_in(lacking: Mapping[str, int]) -> Iterator[_Row]:
    shapes = ((measure, "") for measure in SHAPE_MEASURES)
    levels = ((measure, ", ".join(measure.channels)) for measure in CHANNEL_MEASURES)
    for measure, channels in (*shapes, *levels):
        yield {
            "name": measure.name,
            "channels": channels,
            "unit": measure.unit,
            "kind": "built-in",
            "sentence": measure.sentence,
            "source": measure.source,
            "version": measure.version,
            "installed": None,
            "images": None,
            "lacking": lacking.get(measure.name, 0),
            "cells_lacking": None,
        }


def _custom(store: Store) -> Iterator[_Row]:
    installed = {measure.name: measure for measure in load_measures()}
    with store.reading() as connection:
        stored = custom_measures.measures(connection)
        counts = custom_measures.counts(connection)
        channels = label_thresholds.custom_channels(connection)
        cells_lacking = imported_measures.count_lacking_cells(connection)
    for measure in installed.values():
        yield {
            "name": measure.name,
            "channels": ", ".join(measure.channels) if measure.of_histogram else "",
            "unit": measure.unit,
            "kind": measure.kind,
            "sentence": measure.sentence,
            "source": measure.source,
            "version": measure.version,
            "installed": True,
            "images": counts.get((measure.name, measure.version), 0),
            "lacking": None,
            "cells_lacking": cells_lacking.get(measure.name),
        }
    for row in stored:
        if row["name"] not in installed:
            yield {
                "name": row["name"],
                "channels": ", ".join(filter(None, channels.get(row["name"], []))),
                "unit": row["unit"],
                "kind": row["kind"],
                "sentence": row["comment"],
                "source": "",
                "version": row["version"],
                "installed": False,
                "images": counts.get((row["name"], row["version"]), 0),
                "lacking": None,
                "cells_lacking": cells_lacking.get(row["name"]),
            }
