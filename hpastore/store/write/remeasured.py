"""Numbers that follow from stored histograms, replaced: background levels and measures.

Context: the checksum of an image has two numbers for its cells in a channel: one of the columns
that follow the background percentile, one of all others.  Decision: another percentile replaces
only the first, and no other column is read; another version of another measure replaces both, so
that all columns of the cells are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress, groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, bindparam, select, type_coerce, update
from sqlalchemy.types import NullType

from hpastore.errors import DamagedError
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.kernels.versions import OF_BACKGROUND
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import Cell, CellChannel, Image, ImageChannel, channel_column
from hpastore.store.bulk import as_rows, change, plain, plain_real
from hpastore.store.integrity import checksums
from hpastore.store.integrity.checksums import Columns
from hpastore.vocabulary import CHANNELS

_Floats = npt.NDArray[np.float64]

Remeasured = Mapping[int, Mapping[str, tuple[float, Mapping[str, _Floats]]]]
"""By an image's key and the channel: its background level and (K,) measures of its cells by name;
the same measures for all images.  The level is replaced with the measure that depends on it."""

_IN_EVERY_CHANNEL: Final = "intensity_max"
"""A measure that a cell has in every channel of its image."""

_KINDS: Final = {m.name: m.kind for m in CHANNEL_MEASURES}


class _Channel(NamedTuple):
    """One channel of an image, before or after."""

    background_level: float | None
    cell_ids: Sequence[int]
    columns: Columns
    """Of the cells: mask ids, and measures by name."""


def remeasure_images(connection: Connection, settings_id: int, images: Remeasured) -> None:
    """Replace what follows from histograms.

    Parameters
    ----------
    connection
        In a writing transaction.
    settings_id : int
        The settings that the images have then.
    images
        Cells are in ascending mask id.
    """
    measures = _measures(images)
    before = _stored_channels(connection, list(images), measures)
    _check_cells(connection, before, images)
    after = {key: _replaced(before[key], channels) for key, channels in images.items()}
    differences = {
        key: _number(after[key], measures) - _number(before[key], measures) for key in images
    }
    change(connection, Image, Image.id.in_(images), {"settings_id": settings_id}, differences)

    if OF_BACKGROUND in measures:
        _replace_levels(connection, after)
    failpoint("image.remeasured")
    measured = filter(None, after.values())  # a damaged image may have no channel
    for names, of_names in groupby(sorted(measured, key=tuple), key=tuple):
        _replace_measures(connection, names, measures, list(of_names))
    failpoint("image.measures_replaced")


def _measures(images: Remeasured) -> tuple[str, ...]:
    """Name the measures that are replaced, in the order of the definitions."""
    found = {
        name
        for channels in images.values()
        for _, measures in channels.values()
        for name in measures
    }
    return tuple(m.name for m in CHANNEL_MEASURES if m.name in found)


def _stored_channels(
    connection: Connection, images: Sequence[int], measures: Sequence[str]
) -> dict[int, dict[str, _Channel]]:
    """Read the channels of images, with what their checksum needs of their cells."""
    names = _columns_to_read(measures)
    cells = _stored_cells(connection, images, names) if measures else {}
    columns = (ImageChannel.image_id, ImageChannel.channel, ImageChannel.background_level)
    levels = select(*columns).where(ImageChannel.image_id.in_(images))
    found: dict[int, dict[str, _Channel]] = {image_id: {} for image_id in images}
    for image_id, channel, level in connection.execute(levels):
        cell_ids, *values = cells.get((image_id, channel)) or [()] * (2 + len(names))
        by_name = dict(zip(("mask_id", *names), values, strict=True))
        found[image_id][channel] = _Channel(level, cell_ids, by_name)
    return found


def _columns_to_read(measures: Sequence[str]) -> tuple[str, ...]:
    return tuple(_KINDS) if _replaces_all(measures) else tuple(measures)


def _replaces_all(measures: Sequence[str]) -> bool:
    """Whether both numbers of a channel's cells change, and not only the one of the percentile."""
    return bool(set(measures) - checksums.following_names(CellChannel))


def _stored_cells(
    connection: Connection, images: Sequence[int], names: Sequence[str]
) -> dict[tuple[int, str], list[Sequence[Any]]]:
    """Read key, mask id and measures of cells as columns, by image and channel."""
    width = 1 + len(names)
    columns = [
        type_coerce(channel_column(name, channel), NullType())
        for channel in CHANNELS
        for name in (_IN_EVERY_CHANNEL, *names)
    ]
    statement = select(Cell.image_id, Cell.id, Cell.mask_id, *columns)
    statement = statement.where(Cell.image_id.in_(images)).order_by(Cell.image_id, Cell.mask_id)
    found: dict[tuple[int, str], list[Sequence[Any]]] = {}
    for image_id, rows in groupby(connection.execute(statement), key=itemgetter(0)):
        _, cell_ids, mask_ids, *values = zip(*rows, strict=True)
        for place, channel in enumerate(CHANNELS):
            brightest, *measures = values[place * width : (place + 1) * width]
            found[image_id, channel] = _where_present(brightest, cell_ids, mask_ids, *measures)
    return found


def _where_present(brightest: Sequence[Any], *columns: Sequence[Any]) -> list[Sequence[Any]]:
    """Leave out the cells that lack a channel, as those of a damaged image may."""
    if None not in brightest:
        return list(columns)
    present = [level is not None for level in brightest]
    return [list(compress(column, present)) for column in columns]


def _check_cells(
    connection: Connection, before: Mapping[int, Mapping[str, _Channel]], images: Remeasured
) -> None:
    """Refuse numbers of other cells than are stored: the store is damaged, or somebody else's."""
    for key, channels in images.items():
        for name, (_, measures) in channels.items():
            stored = len(before[key][name].cell_ids)
            if any(len(values) != stored for values in measures.values()):
                image = connection.scalar(select(Image.name).where(Image.id == key))
                raise DamagedError(f"image {image}", f"its cells have not all measures in {name}")


def _replaced(
    before: Mapping[str, _Channel], channels: Mapping[str, tuple[float, Mapping[str, _Floats]]]
) -> dict[str, _Channel]:
    """Channels of an image with other background levels and measures."""
    replaced = {}
    for channel, (level, measures) in channels.items():
        stored = before[channel]
        new = {name: plain(values, _KINDS[name]) for name, values in measures.items()}
        new_level = plain_real(level) if OF_BACKGROUND in new else stored.background_level
        columns = {**stored.columns, **new}
        replaced[channel] = _Channel(new_level, stored.cell_ids, columns)
    return replaced


def _number(channels: Mapping[str, _Channel], measures: Sequence[str]) -> int:
    """Part of an image's checksum that changes with these measures."""
    total = 0
    for name, channel in channels.items():
        levels = {"background_level": [channel.background_level]}
        total += checksums.settings_number(ImageChannel, (name,), levels)
        if not channel.cell_ids:
            continue
        if _replaces_all(measures):
            total += checksums.blocks_number(CellChannel, {(name,): channel.columns})
        else:
            total += checksums.settings_number(CellChannel, (name,), channel.columns)
    return total


def _replace_levels(connection: Connection, images: Mapping[int, Mapping[str, _Channel]]) -> None:
    levels = [
        {"image": key, "name": name, "level": channel.background_level}
        for key, channels in images.items()
        for name, channel in channels.items()
    ]
    if levels:
        of_image = and_(
            ImageChannel.image_id == bindparam("image"), ImageChannel.channel == bindparam("name")
        )
        statement = update(ImageChannel).where(of_image).values(background_level=bindparam("level"))
        connection.execute(statement, levels)


def _replace_measures(
    connection: Connection,
    channels: Sequence[str],
    measures: Sequence[str],
    images: Sequence[Mapping[str, _Channel]],
) -> None:
    """Replace measures of the cells of images, which all have the same channels."""
    names = [f"{channel}_{measure}" for channel in channels for measure in measures]
    columns: list[list[Any]] = [[] for _ in (*names, "id")]
    for image in images:
        values = [image[channel].columns[name] for channel in channels for name in measures]
        for column, of_image in zip(columns, (*values, image[channels[0]].cell_ids), strict=True):
            column += of_image
    if not names or not columns[-1]:
        return
    if connection.dialect.name == "sqlite":
        changes = ", ".join(f"{name} = ?" for name in names)
        connection.exec_driver_sql(
            f"UPDATE cell SET {changes} WHERE id = ?",  # noqa: S608 names of columns
            as_rows(*columns),
        )
        return
    # As text, which the database takes apart: to adapt each value takes the driver a third of all
    # the time.
    changes = ", ".join(f"{name} = new.{name}" for name in names)
    arrays = ", ".join(["CAST(string_to_array(%s, ',', '') AS float8[])"] * len(names))
    statement = (
        f"UPDATE cell SET {changes} FROM unnest({arrays}, "  # noqa: S608 names of columns
        f"CAST(string_to_array(%s, ',') AS bigint[])) AS new({', '.join(names)}, cell_id) "
        "WHERE cell.id = new.cell_id"
    )
    texts = (["" if value is None else repr(value) for value in column] for column in columns)
    connection.exec_driver_sql(statement, tuple(map(",".join, texts)))
