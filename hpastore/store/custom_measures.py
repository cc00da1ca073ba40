"""Custom measures: which images have them, and their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from hpastore.errors import MeasureError
from hpastore.kernels.custom import CustomMeasure, ImportedMeasure, Values
from hpastore.model import Cells, StoredImage
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.conditions import LIVE
from hpastore.schema.tables import Cell, CellMeasure, Image, ImageMeasure, Measure
from hpastore.store.bulk import as_rows, change, insert_rows, plain
from hpastore.store.integrity import checksums
from hpastore.store.measurement_settings import lacks_measure
from hpastore.store.statements import Row, rows

_Floats = npt.NDArray[np.float64]

_MEASURES: Final = select(Measure.__table__)
"""Built once: building a statement takes longer than running it."""

Versions = frozenset[tuple[str, int]]
"""Measures by name and version."""


class CustomValues(NamedTuple):
    """The custom measures of an image."""

    versions: Mapping[str, int]
    values: Mapping[tuple[str, str], Sequence[float | None]]
    """Of its cells in ascending mask id, by measure and channel as they are stored."""


def with_measures(
    connection: Connection, known: Mapping[str, StoredImage]
) -> dict[str, StoredImage]:
    """Add to known images the custom measures that they have."""
    by_image = versions(connection)
    found = connection.execute(select(Image.name, Image.id))
    return {
        name: known[name]._replace(measures=by_image.get(key, frozenset())) for name, key in found
    }


def versions(connection: Connection, images: Sequence[int] | None = None) -> dict[int, Versions]:
    """Read the custom measures of all or some images by key; an image without any is left out."""
    statement = select(ImageMeasure.image_id, ImageMeasure.measure, ImageMeasure.version)
    if images is not None:
        statement = statement.where(ImageMeasure.image_id.in_(images))
    found: dict[int, list[tuple[str, int]]] = {}
    for image_id, measure, version in connection.execute(statement):
        found.setdefault(image_id, []).append((measure, version))

    # Most images have the same measures: they share one set.
    shared: dict[Versions, Versions] = {}
    result = {}
    for image_id, measures in found.items():
        frozen = frozenset(measures)
        result[image_id] = shared.setdefault(frozen, frozen)
    return result


def names(connection: Connection, images: Sequence[int]) -> dict[int, str]:
    """Read the names of images."""
    found = connection.execute(select(Image.id, Image.name).where(Image.id.in_(images)))
    return {row.id: row.name for row in found}


def cells(connection: Connection, images: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """Read key and mask id of images' cells by the image's key, in ascending mask id."""
    statement = select(Cell.image_id, Cell.id, Cell.mask_id).where(Cell.image_id.in_(images))
    found: dict[int, list[tuple[int, int]]] = {image_id: [] for image_id in images}
    for image_id, key, mask_id in connection.execute(
        statement.order_by(Cell.image_id, Cell.mask_id)
    ):
        found[image_id].append((key, mask_id))
    return found


def count_lacking(connection: Connection, measures: Versions) -> int:
    """Count the live images without one of these measures."""
    statement = select(func.count(Image.id)).where(LIVE, lacks_measure(measures))
    return int(connection.execute(statement).scalar_one())


def counts(connection: Connection) -> dict[tuple[str, int], int]:
    """Count the images that have each measure, by its name and version; gone ones too."""
    columns = (ImageMeasure.measure, ImageMeasure.version)
    found = connection.execute(select(*columns, func.count()).group_by(*columns))
    return {(name, version): count for name, version, count in found}


def measures(connection: Connection) -> list[Row]:
    """Read the custom measures as they were last written, by name."""
    columns = [column for column in Measure.__table__.c if column.name != "id"]
    return rows(connection, select(*columns).order_by(Measure.name))


def add_measures(
    connection: Connection, measures: Sequence[CustomMeasure], images: Mapping[int, Values]
) -> None:
    """Write custom measures of stored images, in place of what they have of these names.

    Parameters
    ----------
    connection
        In a writing transaction.
    measures
    images
        By an image's key: the (K,) values of its cells, in ascending mask id.
    """
    keys = list(images)
    versions = {measure.name: measure.version for measure in measures}
    stored = cells(connection, keys)
    new = {key: CustomValues(versions, _plain(values)) for key, values in images.items()}

    differences = _delete(connection, list(versions), keys)
    for key, custom in new.items():
        mask_ids = [mask_id for _, mask_id in stored[key]]
        differences[key] += checksums.rows_number(ImageMeasure, version_rows(custom.versions))
        differences[key] += checksums.blocks_number(
            CellMeasure, value_blocks(mask_ids, custom.values)
        )
    change(connection, Image, Image.id.in_(keys), {}, differences)

    rows_of_images = {
        key: ([cell_id for cell_id, _ in stored[key]], custom) for key, custom in new.items()
    }
    write_measures(connection, measures, rows_of_images)


def known_values(cells: Cells, measures: Iterable[CustomMeasure]) -> CustomValues:
    """Choose the values of the measures that this process knows.

    A worker may have found a package that was installed after this process started.
    """
    known = {measure.name for measure in measures}
    versions = {name: version for name, version in cells.custom_versions.items() if name in known}
    values = {key: values for key, values in cells.custom.items() if key[0] in known}
    return CustomValues(versions, _plain(values))


def _plain(values: Mapping[tuple[str, str | None], _Floats]) -> dict[tuple[str, str], list[Any]]:
    return {
        (name, channel or ""): plain(column, "real") for (name, channel), column in values.items()
    }


def value_blocks(
    mask_ids: Sequence[int], values: Mapping[tuple[str, str], Sequence[float | None]]
) -> checksums.Blocks:
    """Give an image's rows of ``cell_measure`` as columns, if it has cells."""
    return {
        key: {"mask_id": mask_ids, "value": column} for key, column in values.items() if mask_ids
    }


def version_rows(versions: Mapping[str, int]) -> list[dict[str, Any]]:
    """Give an image's rows of ``image_measure``."""
    return [{"measure": name, "version": version} for name, version in versions.items()]


def _delete(connection: Connection, names: Sequence[str], images: Sequence[int]) -> Counter[int]:
    """Delete custom measures of images, and give what that changes of their checksums."""
    differences = Counter[int]()
    chosen = and_(Cell.image_id.in_(images), Measure.name.in_(names))
    for key, blocks in checksums.stored_blocks(connection, CellMeasure, chosen).items():
        differences[key] -= checksums.blocks_number(CellMeasure, blocks)

    of_images = and_(ImageMeasure.image_id.in_(images), ImageMeasure.measure.in_(names))
    columns = (ImageMeasure.image_id.label("owner"), *checksums.raw_columns(ImageMeasure))
    for row in connection.execute(select(*columns).where(of_images)).mappings():
        differences[row["owner"]] -= checksums.row_number(ImageMeasure, row)

    connection.execute(delete(ImageMeasure).where(of_images))
    cells = CellMeasure.cell_id.in_(select(Cell.id).where(Cell.image_id.in_(images)))
    named = CellMeasure.measure_id.in_(select(Measure.id).where(Measure.name.in_(names)))
    connection.execute(delete(CellMeasure).where(cells, named))
    failpoint("image.measures_deleted")
    return differences


def write_measures(
    connection: Connection,
    measures: Sequence[CustomMeasure],
    images: Mapping[int, tuple[Sequence[int], CustomValues]],
) -> None:
    """Write custom measures of images by their keys, with the keys of their cells."""
    keys = adopt_measures(connection, measures)
    versions = [
        (image_id, name, version)
        for image_id, (_, custom) in images.items()
        for name, version in custom.versions.items()
    ]
    insert_rows(connection, ImageMeasure, ("image_id", "measure", "version"), versions)
    failpoint("image.measures")
    values_of_cells = [
        row
        for ids, custom in images.values()
        for (name, channel), values in custom.values.items()
        for row in as_rows(ids, keys[name], channel, values)
    ]
    insert_rows(
        connection, CellMeasure, ("cell_id", "measure_id", "channel", "value"), values_of_cells
    )
    failpoint("image.cell_measures")


def refuse_imported(connection: Connection, measures: Iterable[CustomMeasure]) -> None:
    """Refuse installed measures whose names imported measures have.

    Raises
    ------
    MeasureError
        Naming the first one.
    """
    statement = select(Measure.name).where(Measure.kind == "imported")
    imported = set(connection.execute(statement).scalars())
    for measure in measures:
        if measure.name in imported:
            reason = (
                "a package defines it, and the store has imported values of this name; "
                "uninstall the package, or rename its measure"
            )
            raise MeasureError(measure.name, reason)


def adopt_measures(
    connection: Connection, measures: Iterable[CustomMeasure | ImportedMeasure]
) -> dict[str, int]:
    """Write what custom measures are where that is new or has changed; give their keys by name."""
    stored = {row["name"]: row for row in connection.execute(_MEASURES).mappings()}
    keys = {name: int(row["id"]) for name, row in stored.items()}
    for measure in measures:
        columns = {
            "version": measure.version,
            "kind": measure.kind,
            "unit": measure.unit,
            "comment": measure.sentence,
        }
        row = stored.get(measure.name)
        if row is None:
            statement = insert(Measure).values(name=measure.name, **columns).returning(Measure.id)
            keys[measure.name] = int(connection.execute(statement).scalar_one())
        elif {name: row[name] for name in columns} != columns:
            connection.execute(update(Measure).where(Measure.id == row["id"]).values(columns))
    failpoint("image.measure")
    return keys
