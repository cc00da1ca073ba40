"""Measures that users added: which images have them, and their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from hpastore.kernels.custom import CustomMeasure, Values
from hpastore.model import Cells, StoredImage
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import Cell, CellMeasure, Image, ImageMeasure, Measure
from hpastore.schema.views import LIVE
from hpastore.store.bulk import as_rows, change, insert_rows, plain
from hpastore.store.integrity import checksums
from hpastore.store.measurement_settings import lacks_measure
from hpastore.store.statements import Row, rows

_Floats = npt.NDArray[np.float64]

_MEASURES: Final = select(Measure.__table__)
"""Made once: to build a statement takes longer than to run it."""

Versions = frozenset[tuple[str, int]]
"""Measures by name and version."""


class Own(NamedTuple):
    """Measures that users added, of an image."""

    versions: Mapping[str, int]
    values: Mapping[tuple[str, str], Sequence[float | None]]
    """Of its cells in ascending mask id, by measure and channel as they are stored."""


def with_measures(connection: Connection, known: Mapping[str, StoredImage]) -> dict[str, StoredImage]:
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
    statement = select(func.count(Image.id)).where(LIVE, lacks_measure(measures))
    return int(connection.execute(statement).scalar_one())


def counts(connection: Connection) -> dict[tuple[str, int], int]:
    """Count the images that have each measure, by its name and version; gone ones too."""
    columns = (ImageMeasure.measure, ImageMeasure.version)
    found = connection.execute(select(*columns, func.count()).group_by(*columns))
    return {(name, version): count for name, version, count in found}


def measures(connection: Connection) -> list[Row]:
    """Read the measures that users added as they were last written, by name."""
    columns = [column for column in Measure.__table__.c if column.name != "id"]
    return rows(connection, select(*columns).order_by(Measure.name))


def add_measures(
    connection: Connection, users: Sequence[CustomMeasure], images: Mapping[int, Values]
) -> None:
    """Give stored images measures that users added, in place of what they have of these names.

    Parameters
    ----------
    connection
        In a writing transaction.
    users
        The measures.
    images
        By an image's key: the (K,) values of its cells, in ascending mask id.
    """
    chosen, names = list(images), [user.name for user in users]
    stored = cells(connection, chosen)
    now = {key: _of_values(values, users) for key, values in images.items()}
    differences = _delete(connection, names, chosen)
    for key, one in now.items():
        mask_ids = [mask_id for _, mask_id in stored[key]]
        differences[key] += checksums.rows_number(ImageMeasure, version_rows(one.versions))
        differences[key] += checksums.blocks_number(CellMeasure, value_blocks(mask_ids, one.values))
    change(connection, Image, Image.id.in_(chosen), {}, differences)
    write_measures(connection, users, {key: ([i for i, _ in stored[key]], one) for key, one in now.items()})


def of_cells(cells: Cells, users: Iterable[CustomMeasure]) -> Own:
    """Choose the measures that are known here: a worker may have met a package that came just now."""
    known = {user.name for user in users}
    versions = {name: version for name, version in cells.custom_versions.items() if name in known}
    return Own(versions, _plain({key: v for key, v in cells.custom.items() if key[0] in known}))


def _of_values(values: Values, users: Iterable[CustomMeasure]) -> Own:
    return Own({user.name: user.version for user in users}, _plain(values))


def _plain(values: Mapping[tuple[str, str | None], _Floats]) -> dict[tuple[str, str], list[Any]]:
    return {(name, channel or ""): plain(column, "real") for (name, channel), column in values.items()}


def value_blocks(
    mask_ids: Sequence[int], values: Mapping[tuple[str, str], Sequence[float | None]]
) -> checksums.Blocks:
    """Give an image's rows of ``cell_measure`` as columns, by measure and channel; none without a cell."""
    return {key: {"mask_id": mask_ids, "value": column} for key, column in values.items() if mask_ids}


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
    users: Sequence[CustomMeasure],
    images: Mapping[int, tuple[Sequence[int], Own]],
) -> None:
    """Write measures that users added, of images by their keys, with the keys of their cells."""
    keys = _adopt_measures(connection, users)
    versions = [(key, *one) for key, (_, theirs) in images.items() for one in theirs.versions.items()]
    insert_rows(connection, ImageMeasure, ("image_id", "measure", "version"), versions)
    failpoint("image.measures")
    values_of_cells = [
        row
        for ids, theirs in images.values()
        for (name, channel), values in theirs.values.items()
        for row in as_rows(ids, keys[name], channel, values)
    ]
    insert_rows(connection, CellMeasure, ("cell_id", "measure_id", "channel", "value"), values_of_cells)
    failpoint("image.cell_measures")


def _adopt_measures(connection: Connection, users: Iterable[CustomMeasure]) -> dict[str, int]:
    """Say what measures that users added are now, and give their keys by name."""
    stored = {row["name"]: row for row in connection.execute(_MEASURES).mappings()}
    keys = {name: int(row["id"]) for name, row in stored.items()}
    for user in users:
        now = {"version": user.version, "kind": user.kind, "unit": user.unit, "comment": user.sentence}
        row = stored.get(user.name)
        if row is None:
            statement = insert(Measure).values(name=user.name, **now).returning(Measure.id)
            keys[user.name] = int(connection.execute(statement).scalar_one())
        elif {name: row[name] for name in now} != now:
            connection.execute(update(Measure).where(Measure.id == row["id"]).values(now))
    failpoint("image.measure")
    return keys
