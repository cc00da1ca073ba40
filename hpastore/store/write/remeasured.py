"""Numbers that follow the measurement settings, replaced: background levels and fractions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, bindparam, select, update

from hpastore.errors import DamagedError
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import Cell, CellChannel, Image, ImageChannel, channel_column
from hpastore.store.bulk import as_rows, change, plain, plain_real
from hpastore.store.integrity import checksums
from hpastore.vocabulary import CHANNELS

_Floats = npt.NDArray[np.float64]

Remeasured = Mapping[int, Mapping[str, tuple[float, _Floats]]]
"""By an image's key and the channel: its background level and the (K,) fractions of its cells."""


class _Channel(NamedTuple):
    """What follows the settings in one channel of an image."""

    background_level: float | None
    cell_ids: Sequence[int]
    fractions: Sequence[float | None]


def remeasure_images(connection: Connection, settings_id: int, images: Remeasured) -> None:
    """Replace what follows the measurement settings.

    Parameters
    ----------
    connection
        In a writing transaction.
    settings_id : int
    images
        Cells are in ascending mask id.
    """
    before = _stored_channels(connection, list(images))
    _check_cells(connection, before, images)
    after = {key: _replaced(before[key], channels) for key, channels in images.items()}
    differences = {key: _number(after[key]) - _number(before[key]) for key in images}
    change(connection, Image, Image.id.in_(images), {"settings_id": settings_id}, differences)

    _replace_levels(connection, after)
    failpoint("image.remeasured")
    measured = filter(None, after.values())  # a damaged image may have no channel
    for names, of_names in groupby(sorted(measured, key=tuple), key=tuple):
        _replace_fractions(connection, names, list(of_names))
    failpoint("image.fractions")


def _stored_channels(
    connection: Connection, images: Sequence[int]
) -> dict[int, dict[str, _Channel]]:
    columns = [channel_column(m, c) for c in CHANNELS for m in ("intensity_max", "fraction")]
    statement = select(Cell.image_id, Cell.id, *columns)
    statement = statement.where(Cell.image_id.in_(images)).order_by(Cell.image_id, Cell.mask_id)
    rows = defaultdict[tuple[int, str], list[tuple[int, float | None]]](list)
    for image_id, cell_id, *values in connection.execute(statement).all():
        for name, brightest, fraction in zip(CHANNELS, values[::2], values[1::2], strict=True):
            if brightest is not None:
                rows[image_id, name].append((cell_id, fraction))

    levels = select(ImageChannel.image_id, ImageChannel.channel, ImageChannel.background_level)
    found: dict[int, dict[str, _Channel]] = {image_id: {} for image_id in images}
    for image_id, name, level in connection.execute(
        levels.where(ImageChannel.image_id.in_(images))
    ):
        of_channel = rows[image_id, name]
        cell_ids = [cell_id for cell_id, _ in of_channel]
        found[image_id][name] = _Channel(level, cell_ids, [fraction for _, fraction in of_channel])
    return found


def _check_cells(
    connection: Connection, before: Mapping[int, Mapping[str, _Channel]], images: Remeasured
) -> None:
    """Refuse numbers of other cells than are stored: the store is damaged, or somebody else's."""
    for key, channels in images.items():
        for name, (_, fractions) in channels.items():
            if len(fractions) != len(before[key][name].cell_ids):
                image = connection.scalar(select(Image.name).where(Image.id == key))
                raise DamagedError(f"image {image}", f"its cells have not all measures in {name}")


def _replaced(
    before: Mapping[str, _Channel], channels: Mapping[str, tuple[float, _Floats]]
) -> dict[str, _Channel]:
    """Channels of an image with other background levels and fractions."""
    return {
        name: _Channel(plain_real(level), before[name].cell_ids, plain(fractions, "real"))
        for name, (level, fractions) in channels.items()
    }


def _number(channels: Mapping[str, _Channel]) -> int:
    """Part of an image's checksum that follows the settings."""
    total = 0
    for name, channel in channels.items():
        levels = {"background_level": [channel.background_level]}
        total += checksums.settings_number(ImageChannel, (name,), levels)
        if channel.cell_ids:
            total += checksums.settings_number(
                CellChannel, (name,), {"fraction": channel.fractions}
            )
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


def _replace_fractions(
    connection: Connection, names: Sequence[str], images: Sequence[Mapping[str, _Channel]]
) -> None:
    """Replace the fractions of the cells of images, which all have the same channels."""
    columns: list[list[Any]] = [[] for _ in (*names, "id")]
    for channels in images:
        for column, name in zip(columns, names, strict=False):
            column += channels[name].fractions
        columns[-1] += channels[names[0]].cell_ids
    if not columns[-1]:
        return
    if connection.dialect.name == "sqlite":
        changes = ", ".join(f"{name}_fraction = ?" for name in names)
        connection.exec_driver_sql(
            f"UPDATE cell SET {changes} WHERE id = ?",  # noqa: S608 names of channels
            as_rows(*columns),
        )
        return
    # As text, which the database takes apart: to adapt each value takes the driver a third of all
    # the time.
    changes = ", ".join(f"{name}_fraction = new.{name}" for name in names)
    arrays = ", ".join(["CAST(string_to_array(%s, ',', '') AS float8[])"] * len(names))
    statement = (
        f"UPDATE cell SET {changes} FROM unnest({arrays}, "  # noqa: S608 names of channels
        f"CAST(string_to_array(%s, ',') AS bigint[])) AS new({', '.join(names)}, cell_id) "
        "WHERE cell.id = new.cell_id"
    )
    texts = (["" if value is None else repr(value) for value in column] for column in columns)
    connection.exec_driver_sql(statement, tuple(map(",".join, texts)))
