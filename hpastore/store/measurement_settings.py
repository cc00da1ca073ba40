"""The measurement settings, and the images whose numbers have others than they should have.

Numbers should have the store's background percentile and this program's versions of the measures;
see `hpastore.kernels.versions` for what they lack.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, exists, false, func, or_, select

from hpastore.kernels.versions import (
    outdated_measures,
    remeasured_settings,
    required_settings,
    unmeasured,
)
from hpastore.model import MeasurementSettings
from hpastore.schema.conditions import LIVE
from hpastore.schema.tables import Image, ImageMeasure, StoredSettings
from hpastore.store import decoding

SETTINGS: Final[tuple[Any, ...]] = (
    StoredSettings.id,
    StoredSettings.background_percentile,
    StoredSettings.measures,
    StoredSettings.levels,
)
"""Columns that `read_settings` takes."""


def read_settings(
    key: int, background_percentile: float, measures: str, levels: str
) -> MeasurementSettings:
    """Read a row of settings.

    Raises
    ------
    DamagedError
        If its versions of measures are damaged.
    """
    versions = decoding.measure_versions(f"measurement settings {key}", measures)
    return MeasurementSettings(background_percentile, versions, levels)


def settings_columns(settings: MeasurementSettings) -> dict[str, Any]:
    """Give the columns of settings; equal versions are equal texts."""
    measures = json.dumps(dict(settings.measures), sort_keys=True, separators=(",", ":"))
    return {
        "background_percentile": settings.background_percentile,
        "measures": measures,
        "levels": settings.levels,
    }


def all_settings(connection: Connection) -> dict[int, MeasurementSettings]:
    """Read all settings, by key."""
    found = connection.execute(select(*SETTINGS).order_by(StoredSettings.id))
    return {row.id: read_settings(*row) for row in found}


def current_settings(connection: Connection) -> MeasurementSettings | None:
    """Read the current settings; None in a store without images."""
    row = connection.execute(select(*SETTINGS).where(StoredSettings.current)).one_or_none()
    return None if row is None else read_settings(*row)


def stale_images(
    connection: Connection,
    max_images: int,
    max_cells: int,
    measures: Iterable[tuple[str, int]] = (),
    after: int = 0,
) -> list[int]:
    """Read the keys of the next images that must be measured again from their stored histograms.

    Parameters
    ----------
    connection
    max_images, max_cells
        Size of a batch.  An image with more than `max_cells` cells is a batch of its own.
    measures
        Name and version of each custom measure that the images must have.
    after
        The last key of the batch before.

    Returns
    -------
    list of int
        Keys of images that have another background percentile or another version of a measure that
        follows from histograms, or lack a custom measure.
    """
    statement = select(Image.id, Image.cell_count)
    statement = statement.where(_is_stale(connection, measures), Image.id > after)
    cells_left = max_cells
    batch: list[int] = []
    for image_id, cells in connection.execute(statement.order_by(Image.id).limit(max_images)):
        cells_left -= cells
        if cells_left < 0 and batch:
            break
        batch.append(image_id)
    return batch


def count_stale(connection: Connection, measures: Iterable[tuple[str, int]] = ()) -> int:
    """Count all images of `stale_images`."""
    statement = select(func.count(Image.id)).where(_is_stale(connection, measures))
    return int(connection.execute(statement).scalar_one())


def stale_settings(
    connection: Connection, images: Sequence[int]
) -> dict[int, tuple[MeasurementSettings, list[int]]]:
    """Read the settings of those images that are stale by them, by key, and the images' keys."""
    settings = all_settings(connection)
    chosen = select(Image.id, Image.settings_id).where(
        Image.id.in_(images), _has_stale_settings(connection)
    )
    found: dict[int, tuple[MeasurementSettings, list[int]]] = {}
    for image_id, key in connection.execute(chosen.order_by(Image.id)):
        found.setdefault(key, (settings[key], []))[1].append(image_id)
    return found


def count_other_percentile(connection: Connection) -> int:
    """Count the images, gone ones too, that have another background percentile."""
    current = current_settings(connection)
    if current is None:
        return 0
    return sum(
        count
        for stored, count in _images_by_settings(connection)
        if stored.background_percentile != current.background_percentile
    )


class Unmeasured(NamedTuple):
    """Live images whose pixels must be read."""

    images: int
    measures: tuple[str, ...]
    """The measures that they lack, or have in another version, by name."""


def unmeasured_images(connection: Connection) -> Unmeasured:
    """Count the live images that lack measures of pixels, and name these."""
    lacking = _images_by_measure(connection, unmeasured)
    names = {name for names, _ in lacking for name in names}
    return Unmeasured(sum(count for _, count in lacking), tuple(sorted(names)))


def count_lacking(connection: Connection) -> dict[str, int]:
    """Count the live images that lack the current version of each built-in measure, by name.

    A measure that all images have is left out.  Those with other levels of 16 bit lack all measures
    of channels.
    """

    def lacking(stored: MeasurementSettings, required: MeasurementSettings) -> tuple[str, ...]:
        pixels = unmeasured(stored, required)
        return tuple({*outdated_measures(stored, required), *pixels})

    counts = Counter[str]()
    for names, count in _images_by_measure(connection, lacking):
        counts.update(dict.fromkeys(names, count))
    return dict(counts)


def lacks_measure(measures: Iterable[tuple[str, int]]) -> ColumnElement[bool]:
    """Whether an image lacks one of these custom measures, each given by its name and version."""
    of_image = ImageMeasure.image_id == Image.id
    lacks_each = [
        ~exists().where(of_image, ImageMeasure.measure == name, ImageMeasure.version == version)
        for name, version in sorted(measures)
    ]
    return or_(false(), *lacks_each)


def _is_stale(connection: Connection, measures: Iterable[tuple[str, int]]) -> ColumnElement[bool]:
    return or_(_has_stale_settings(connection), lacks_measure(measures))


def _has_stale_settings(connection: Connection) -> ColumnElement[bool]:
    """Whether something must be computed again from an image's histograms, by its settings."""
    required = _required(connection)
    if required is None:
        return false()
    stale = [
        key
        for key, stored in all_settings(connection).items()
        if remeasured_settings(stored, required) != stored
    ]
    return Image.settings_id.in_(stale)


def _required(connection: Connection) -> MeasurementSettings | None:
    """Give the settings that all numbers should have; None in a store without images."""
    current = current_settings(connection)
    return None if current is None else required_settings(current.background_percentile)


def _images_by_measure(
    connection: Connection,
    lacking: Callable[[MeasurementSettings, MeasurementSettings], tuple[str, ...]],
) -> list[tuple[tuple[str, ...], int]]:
    """Count the live images that lack measures, by the names of these."""
    required = _required(connection)
    if required is None:
        return []
    found = (
        (lacking(stored, required), count)
        for stored, count in _images_by_settings(connection, LIVE)
    )
    return [(names, count) for names, count in found if names]


def _images_by_settings(
    connection: Connection, *where: ColumnElement[bool]
) -> list[tuple[MeasurementSettings, int]]:
    settings = all_settings(connection)
    counts = select(Image.settings_id, func.count()).where(*where).group_by(Image.settings_id)
    return [(settings[key], count) for key, count in connection.execute(counts) if key in settings]
