"""All measures that there are: hpastore's, those that packages add, and those that the store has kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES, VERSION
from hpastore.kernels.plugins import load_measures
from hpastore.store import custom_measures, label_thresholds
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = ["name", "channels", "unit", "kind", "sentence", "source", "version", "installed", "images"]


def measures(store: Store) -> pd.DataFrame:
    """List all measures: first those of hpastore, then those that users added, by name.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        ``name, channels, unit, kind, sentence, source, version, installed, images``.  The channels are empty
        for the cell as a whole; the kind is ``built-in``, ``histogram`` or ``crops``.  Of a measure that a
        user added: whether it is installed, and how many images have it by the version that is installed,
        or else that was last written; of others both are None.

    Raises
    ------
    MeasureError
        If a measure that a user added cannot be loaded.
    """
    import pandas as pd

    rows = sorted(_of_users(store), key=lambda row: str(row[0]))
    return pd.DataFrame([*_built_in(), *rows], columns=_COLUMNS, dtype=object)


def _built_in() -> Iterator[tuple[Any, ...]]:
    shapes = ((measure, "") for measure in SHAPE_MEASURES)
    levels = ((measure, ", ".join(measure.channels)) for measure in CHANNEL_MEASURES)
    for m, channels in (*shapes, *levels):
        yield m.name, channels, m.unit, "built-in", m.sentence, m.source, VERSION, None, None


def _of_users(store: Store) -> Iterator[tuple[Any, ...]]:
    installed = {user.name: user for user in load_measures()}
    with store.reading() as connection:
        stored, counts = custom_measures.measures(connection), custom_measures.counts(connection)
        channels = label_thresholds.custom_channels(connection)
    for user in installed.values():
        of = ", ".join(user.channels) if user.of_histogram else ""
        images = counts.get((user.name, user.version), 0)
        said = (user.kind, user.sentence, user.source, user.version)
        yield user.name, of, user.unit, *said, True, images
    for row in stored:
        if row["name"] not in installed:
            of = ", ".join(filter(None, channels.get(row["name"], [])))
            images = counts.get((row["name"], row["version"]), 0)
            said = (row["kind"], row["comment"], "", row["version"])
            yield row["name"], of, row["unit"], *said, False, images
