"""The current measurement settings, and the images that were measured with others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, or_, select
from sqlalchemy.orm import aliased

from hpastore.model import MeasurementSettings
from hpastore.schema.conditions import LIVE
from hpastore.schema.tables import Image, ImageMeasure, StoredSettings

SETTINGS: Final[tuple[Any, ...]] = (
    StoredSettings.background_percentile,
    StoredSettings.measures,
    StoredSettings.levels,
)
"""Columns of `MeasurementSettings`."""


def current_settings(connection: Connection) -> MeasurementSettings | None:
    """Read the current settings; None in a store without images."""
    row = connection.execute(select(*SETTINGS).where(StoredSettings.current)).one_or_none()
    return None if row is None else MeasurementSettings(*row)


def settings_in_use(connection: Connection) -> tuple[MeasurementSettings, int]:
    """Read the current settings and their key, which every store with a run has."""
    columns = (*SETTINGS, StoredSettings.id)
    *values, key = connection.execute(select(*columns).where(StoredSettings.current)).one()
    return MeasurementSettings(*values), key


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
        Keys of images that have the current version of the measures and other settings, or lack a
        custom measure.
    """
    statement = select(Image.id, Image.cell_count).where(_is_stale(measures), Image.id > after)
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
    return int(
        connection.execute(select(func.count(Image.id)).where(_is_stale(measures))).scalar_one()
    )


def images_of_other_settings(connection: Connection, images: Sequence[int]) -> list[int]:
    """Read which of some images have the current version of the measures and other settings."""
    chosen = select(Image.id).where(Image.id.in_(images), _is_stale(()))
    return list(connection.execute(chosen).scalars())


def count_other_version(connection: Connection) -> int:
    """Count the live images that have another version of the measures than the current one."""
    used = aliased(StoredSettings)
    current = aliased(StoredSettings)
    statement = (
        select(func.count(Image.id))
        .join(used, used.id == Image.settings_id)
        .where(LIVE)
        .join(current, and_(current.current, current.measures != used.measures))
    )
    return int(connection.execute(statement).scalar_one())


def lacks_measure(measures: Iterable[tuple[str, int]]) -> ColumnElement[bool]:
    """Whether an image lacks one of these custom measures, each given by its name and version."""
    of_image = ImageMeasure.image_id == Image.id
    lacks_each = [
        ~exists().where(of_image, ImageMeasure.measure == name, ImageMeasure.version == version)
        for name, version in sorted(measures)
    ]
    return or_(false(), *lacks_each)


def _is_stale(measures: Iterable[tuple[str, int]]) -> ColumnElement[bool]:
    used = aliased(StoredSettings)
    current = aliased(StoredSettings)
    same_version = and_(current.current, current.measures == used.measures, current.id != used.id)
    other_settings = select(used.id).join(current, same_version)
    return or_(Image.settings_id.in_(other_settings), lacks_measure(measures))
