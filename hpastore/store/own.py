"""Which images have which of the measures that users added; what is read of them otherwise is in `read`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from hpastore.model import Known
from hpastore.schema.tables import Cell, Image, ImageMeasure, Measure
from hpastore.schema.views import LIVE
from hpastore.store.read import Row, lacking, rows

Versions = frozenset[tuple[str, int]]
"""Measures by name and version."""


def with_measures(connection: Connection, known: Mapping[str, Known]) -> dict[str, Known]:
    """Add to what the store remembers of images the measures that they have."""
    has = versions(connection)
    found = connection.execute(select(Image.name, Image.id))
    return {name: known[name]._replace(measures=has.get(key, frozenset())) for name, key in found}


def versions(connection: Connection, images: Sequence[int] | None = None) -> dict[int, Versions]:
    """Read the measures of images, all or some, by the image's key; one without any is left out."""
    statement = select(ImageMeasure.image_id, ImageMeasure.measure, ImageMeasure.version)
    if images is not None:
        statement = statement.where(ImageMeasure.image_id.in_(images))
    found: dict[int, list[tuple[str, int]]] = {}
    for image_id, measure, version in connection.execute(statement):
        found.setdefault(image_id, []).append((measure, version))
    alike: dict[Versions, Versions] = {}  # most images have the same: one set for all of them
    return {key: alike.setdefault(of, of) for key, of in ((k, frozenset(m)) for k, m in found.items())}


def names(connection: Connection, images: Sequence[int]) -> dict[int, str]:
    """Read the names of images."""
    found = connection.execute(select(Image.id, Image.name).where(Image.id.in_(images)))
    return {row.id: row.name for row in found}


def cells(connection: Connection, images: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """Read key and mask id of images' cells, in ascending mask id."""
    statement = select(Cell.image_id, Cell.id, Cell.mask_id).where(Cell.image_id.in_(images))
    found: dict[int, list[tuple[int, int]]] = {image_id: [] for image_id in images}
    for image_id, key, mask_id in connection.execute(statement.order_by(Cell.image_id, Cell.mask_id)):
        found[image_id].append((key, mask_id))
    return found


def count_lacking(connection: Connection, measures: Versions) -> int:
    """Count the images that lack one of these measures, and that can be read again."""
    statement = select(func.count(Image.id)).where(LIVE, lacking(measures))
    return int(connection.execute(statement).scalar_one())


def counts(connection: Connection) -> dict[tuple[str, int], int]:
    """Count the images that have each measure, by its name and version; gone ones too."""
    columns = (ImageMeasure.measure, ImageMeasure.version)
    found = connection.execute(select(*columns, func.count()).group_by(*columns))
    return {(name, version): count for name, version, count in found}


def measures(connection: Connection) -> list[Row]:
    """Read the measures that users added as they were last written, by name."""
    columns = [column for column in Measure.__table__.c if column.name not in ("id", "checksum")]
    return rows(connection, select(*columns).order_by(Measure.name))
