"""The rows of one image as they will be stored, and their checksum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpastore.kernels.custom import CustomMeasure
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.model import (
    DEFAULT_MASKS,
    Cells,
    ChannelStats,
    FileRecord,
    MaskOptions,
    Measured,
    Source,
)
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellMeasure,
    Image,
    ImageChannel,
    ImageColumn,
    ImageFile,
    ImageLabel,
    ImageMeasure,
)
from hpastore.store import custom_measures
from hpastore.store.bulk import plain, plain_real
from hpastore.store.integrity import checksums
from hpastore.store.integrity.checksums import Blocks, Columns
from hpastore.vocabulary import CHANNELS


@dataclass(frozen=True)
class ImageRows:
    """The rows of one image, without keys.

    Parameters
    ----------
    image
        Columns of ``image``.
    files, labels, columns
        Rows of ``image_file``, ``image_label`` and ``image_column``.
    channels
        Rows of ``image_channel``, one by channel.
    cells
        Columns of ``cell`` and ``cell_mask``, in ascending mask id.
    cell_channels
        Columns of ``cell_channel`` and the mask id, by channel.
    custom
        Versions and values of custom measures.
    """

    image: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]
    labels: Sequence[Mapping[str, Any]]
    columns: Sequence[Mapping[str, Any]]
    channels: Blocks
    cells: Columns
    cell_channels: Blocks
    custom: custom_measures.CustomValues

    @property
    def checksum(self) -> int | None:
        """Of all these rows."""
        numbers = [
            checksums.row_number(Image, self.image),
            checksums.rows_number(ImageFile, self.files),
            checksums.rows_number(ImageLabel, self.labels),
            checksums.rows_number(ImageColumn, self.columns),
            checksums.rows_number(ImageMeasure, custom_measures.version_rows(self.custom.versions)),
            checksums.blocks_number(ImageChannel, self.channels),
        ]
        mask_ids = self.cells["mask_id"]
        if mask_ids:
            values = custom_measures.value_blocks(mask_ids, self.custom.values)
            numbers.append(checksums.blocks_number(Cell, {(): self.cells}))
            numbers.append(checksums.blocks_number(CellChannel, self.cell_channels))
            numbers.append(checksums.blocks_number(CellMeasure, values))
        return checksums.add(0, *numbers)


def image_rows(
    measured: Measured,
    of_run: Mapping[str, Any],
    custom: Sequence[CustomMeasure],
    stored_columns: Mapping[str, str],
) -> ImageRows:
    """Make the rows of an image.

    Parameters
    ----------
    measured : Measured
    of_run
        What the run gives to ``image``: root, split, settings_id, ingested_at.
    custom
        The custom measures that are installed here; values of others are left out.
    stored_columns
        The columns of the label table that the image has before, by name.
    """
    cells = measured.cells
    image = {
        "name": measured.source.name,
        "width": measured.width,
        "height": measured.height,
        "bit_depth": measured.bit_depth,
        "cell_count": len(cells.mask_ids),
        **_mask_columns(measured.masks),
        **label_columns(measured.source),
        **of_run,
    }
    return ImageRows(
        image=image,
        files=file_rows(measured.files),
        labels=label_rows(measured.source),
        columns=column_rows(measured.source.columns_after(stored_columns)),
        channels=_channel_rows(cells),
        cells=_cell_columns(cells),
        cell_channels=_cell_channel_columns(cells),
        custom=custom_measures.known_values(cells, custom),
    )


def label_columns(source: Source) -> dict[str, Any]:
    """Give the columns of ``image`` that tell its labels."""
    return {"labels": "|".join(map(str, source.labels)), "label_count": len(source.labels)}


def label_rows(source: Source) -> list[dict[str, Any]]:
    """Give the rows of ``image_label``."""
    return [{"label_id": label} for label in source.labels]


def column_rows(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give the rows of ``image_column``."""
    return [{"name": name, "value": value} for name, value in columns.items()]


def file_rows(files: Iterable[FileRecord]) -> list[dict[str, Any]]:
    """Give the rows of ``image_file``."""
    return [file._asdict() for file in files]


def _mask_columns(masks: MaskOptions) -> dict[str, str | None]:
    """How masks were read; the defaults are stored as NULL."""
    usual = DEFAULT_MASKS._asdict()
    return {
        name: None if value == usual[name] else value for name, value in masks._asdict().items()
    }


def _stats_by_channel(cells: Cells) -> list[tuple[str, ChannelStats]]:
    """Give the channels that an image has, in their usual order."""
    return [(name, cells.channels[name]) for name in CHANNELS if name in cells.channels]


def _channel_rows(cells: Cells) -> Blocks:
    rows: dict[tuple[str], Columns] = {}
    for name, stats in _stats_by_channel(cells):
        level = None if stats.background_level is None else plain_real(stats.background_level)
        rows[(name,)] = {"background_level": [level], "histogram": [stats.histogram]}
    return rows


def _cell_columns(cells: Cells) -> Columns:
    shape = {
        m.name: plain(cells.shape[m.name], m.kind) for m in SHAPE_MEASURES if m.name in cells.shape
    }
    return {"mask_id": cells.mask_ids.tolist(), **shape, "rle": cells.rles}


def _cell_channel_columns(cells: Cells) -> Blocks:
    mask_ids = cells.mask_ids.tolist()
    blocks = {}
    for name, stats in _stats_by_channel(cells):
        measures = {m.name: plain(stats.measures[m.name], m.kind) for m in CHANNEL_MEASURES}
        blocks[(name,)] = {"mask_id": mask_ids, **measures}
    return blocks
