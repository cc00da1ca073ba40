"""Imported measures: values of cells that another program computed.

An image has an imported measure as soon as one of its cells is in the file; a cell that is not
there has no row.  The values belong to the cells: an image whose cells are replaced loses them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, select

from hpastore.errors import UsageError
from hpastore.kernels.custom import ImportedMeasure
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.conditions import LIVE
from hpastore.schema.labelled_cells import LABELS
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Cell, CellMeasure, Image, ImageMeasure, Measure
from hpastore.store.bulk import change, insert_rows
from hpastore.store.custom_measures import adopt_measures
from hpastore.store.integrity import checksums
from hpastore.store.statements import stream
from hpastore.text import count_text

_IMAGES: Final = 1_000
"""Images whose checksums are changed at a time."""

_ROWS: Final = 20_000
"""Rows that are read at a time."""


class CellKey(NamedTuple):
    """The keys of a cell."""

    image_id: int
    mask_id: int
    cell_id: int


ValueKey = tuple[CellKey, str]
"""A cell and a channel; the channel is empty for the cell as a whole."""

Values = dict[ValueKey, float | None]


def find_cells(connection: Connection, images: Collection[str]) -> dict[str, dict[int, CellKey]]:
    """Read the keys of the cells of images, by image name and mask id.

    All cells of the store are read, since half a million take a second; an image that it does not
    have is left out.
    """
    names = {
        key: name
        for key, name in connection.execute(select(Image.id, Image.name))
        if name in images
    }
    found: dict[str, dict[int, CellKey]] = {name: {} for name in names.values()}
    statement = select(Cell.image_id, Cell.mask_id, Cell.id)
    for row in stream(connection, statement, _ROWS):
        name = names.get(row[0])
        if name is not None:
            found[name][row[1]] = CellKey(*row)
    return found


def read_labels(connection: Connection) -> dict[int, str]:
    """Read the labels of all cells, joined by ``|``, by the cells' keys."""
    statement = select(Cell.id, LABELS).join(Image, Image.id == Cell.image_id)
    return {row[0]: row[1] for row in stream(connection, statement, _ROWS)}


def write_values(
    connection: Connection, measure: ImportedMeasure, values: Values, *, force: bool = False
) -> None:
    """Write values of cells.

    Values of another version are replaced, and so are those of this version if `force`.  Otherwise
    cells that have a value of this version keep it, and must have the same here.

    Raises
    ------
    UsageError
        If cells have another value of the same version, or the name is that of a measure that was
        computed.
    """
    known = select(Measure.id, Measure.version, Measure.kind).where(Measure.name == measure.name)
    before = connection.execute(known).one_or_none()
    if before is not None and before.kind != measure.kind:
        raise UsageError(
            f"measure {measure.name!r}: the store has a custom measure of this name; choose another"
        )
    stored = {} if before is None else read_values(connection, measure.name)
    if before is not None and before.version == measure.version and not force:
        _refuse_other_values(connection, measure, stored, values)
        values = stored | values

    differences = _numbers(measure.name, values, dict.fromkeys(_images(values), measure.version))
    differences.subtract(_numbers(measure.name, stored, _versions(connection, measure.name)))
    _change_checksums(connection, differences)

    if before is not None:
        connection.execute(delete(CellMeasure).where(CellMeasure.measure_id == before.id))
        connection.execute(delete(ImageMeasure).where(ImageMeasure.measure == measure.name))
    failpoint("import.deleted")
    _insert(connection, measure, values)
    failpoint("import.written")


def read_values(connection: Connection, name: str) -> Values:
    """Read all values of a custom measure."""
    columns = (Cell.image_id, Cell.mask_id, Cell.id, CellMeasure.channel, CellMeasure.value)
    statement = _of_measure(select(*columns), name)
    return {(CellKey(*row[:3]), row[3]): row[4] for row in stream(connection, statement, _ROWS)}


def read_named_values(
    connection: Connection, name: str
) -> Iterable[tuple[str, int, str, float | None]]:
    """Read image name, mask id, channel and value of a custom measure's values, in this order."""
    columns = (Image.name, Cell.mask_id, CellMeasure.channel, CellMeasure.value)
    statement = _of_measure(select(*columns), name).join(Image, Image.id == Cell.image_id)
    return stream(connection, statement.order_by(*columns[:3]), _ROWS)


def count_lacking_cells(connection: Connection) -> dict[str, int]:
    """Count the live cells without a row of each custom measure, by its name."""
    live = select(func.coalesce(func.sum(Image.cell_count), 0)).where(LIVE)
    cells = int(connection.execute(live).scalar_one())
    having = (
        select(Measure.name, func.count(Cell.id).label("cells"))
        .select_from(CellMeasure)
        .join(Measure, Measure.id == CellMeasure.measure_id)
        .join(Cell, Cell.id == CellMeasure.cell_id)
        .join(Image, Image.id == Cell.image_id)
        .where(LIVE)
        .group_by(Measure.name, CellMeasure.channel)
    )
    counts: dict[str, int] = dict.fromkeys(connection.execute(select(Measure.name)).scalars(), 0)
    for name, count in connection.execute(having):
        counts[name] = max(counts[name], count)
    return {name: cells - count for name, count in counts.items()}


def _of_measure(statement: AnySelect, name: str) -> AnySelect:
    return (
        statement.select_from(CellMeasure)
        .join(Measure, Measure.id == CellMeasure.measure_id)
        .join(Cell, Cell.id == CellMeasure.cell_id)
        .where(Measure.name == name)
    )


def _refuse_other_values(
    connection: Connection, measure: ImportedMeasure, stored: Values, values: Values
) -> None:
    others = [key for key, value in values.items() if key in stored and stored[key] != value]
    if not others:
        return
    cell, channel = others[0]
    name = connection.execute(select(Image.name).where(Image.id == cell.image_id)).scalar_one()
    raise UsageError(
        f"measure {measure.name}: {count_text(len(others), 'cell has', 'cells have')} another "
        f"value of version {measure.version}, such as {name}:{cell.mask_id} "
        f"({stored[cell, channel]}, not {values[cell, channel]}); give the values another "
        "--version, or replace all with --force"
    )


def _images(values: Values) -> dict[int, None]:
    return dict.fromkeys(cell.image_id for cell, _ in values)


def _versions(connection: Connection, name: str) -> dict[int, int]:
    """Read the version of a measure that images have, by their keys."""
    columns = (ImageMeasure.image_id, ImageMeasure.version)
    found = connection.execute(select(*columns).where(ImageMeasure.measure == name))
    return {row.image_id: row.version for row in found}


def _numbers(name: str, values: Values, versions: Mapping[int, int]) -> Counter[int]:
    """Compute what a measure adds to the checksums of images, by their keys."""
    columns: dict[tuple[int, str], list[tuple[int, float | None]]] = defaultdict(list)
    for (cell, channel), value in values.items():
        columns[cell.image_id, channel].append((cell.mask_id, value))

    numbers = Counter[int]()
    for (image_id, channel), rows in columns.items():
        mask_ids, of_cells = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
        block = {"mask_id": mask_ids, "value": of_cells}
        numbers[image_id] += checksums.blocks_number(CellMeasure, {(name, channel): block})
    for image_id, version in versions.items():
        row = {"measure": name, "version": version}
        numbers[image_id] += checksums.row_number(ImageMeasure, row)
    return numbers


def _change_checksums(connection: Connection, differences: Mapping[int, int]) -> None:
    changed = iter([key for key, difference in differences.items() if difference])
    while keys := list(islice(changed, _IMAGES)):
        change(connection, Image, Image.id.in_(keys), {}, differences)


def _insert(connection: Connection, measure: ImportedMeasure, values: Values) -> None:
    key = adopt_measures(connection, [measure])[measure.name]
    versions = [(image_id, measure.name, measure.version) for image_id in _images(values)]
    insert_rows(connection, ImageMeasure, ("image_id", "measure", "version"), versions)
    rows = [(cell.cell_id, key, channel, value) for (cell, channel), value in values.items()]
    rows.sort(key=lambda row: row[0])  # the order of the table's key
    insert_rows(connection, CellMeasure, ("cell_id", "measure_id", "channel", "value"), rows)
    if connection.dialect.name == "postgresql":
        # Without statistics its planner expects a few rows.
        connection.exec_driver_sql(f"ANALYZE {CellMeasure.__tablename__}")
