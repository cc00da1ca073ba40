"""What the store holds of images and their files, for an ingest to compare with its inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from hpastore.classes import Classes
from hpastore.errors import DamagedError
from hpastore.model import DEFAULT_MASKS, FileStamp, MaskOptions, MeasurementSettings, StoredImage
from hpastore.model import Failure as FailureValue
from hpastore.schema.conditions import LIVE
from hpastore.schema.labelled_cells import judged_cells
from hpastore.schema.tables import (
    Cell,
    Failure,
    FailureFile,
    Image,
    ImageChannel,
    ImageColumn,
    ImageFile,
    IngestRun,
    StoredSettings,
)
from hpastore.store import decoding
from hpastore.store.measurement_settings import SETTINGS, all_settings, read_settings
from hpastore.store.statements import batches
from hpastore.text import printable
from hpastore.vocabulary import ROLES


def known_images(connection: Connection, classes: Classes) -> dict[str, StoredImage]:
    """Read the files, labels and settings of every stored image, by name.

    Raises
    ------
    DamagedError
        If an image has no files or no settings, or holds a damaged value.
    """
    stamps = _stamps(connection, ImageFile.image_id, ImageFile)
    settings = all_settings(connection)
    known = {}
    for row in connection.execute(_KNOWN):
        image_id, name, root, split, labels, settings_id, gone_at, binary_mask, match_nuclei = row
        if image_id not in stamps:
            raise DamagedError(f"image {printable(name)}", "none of its files is recorded")
        if settings_id not in settings:
            raise DamagedError(
                f"image {printable(name)}", f"its measurement settings {settings_id} are missing"
            )
        files = stamps[image_id]
        _check_paths(name, root, files)
        # Made only where they differ from the defaults, which nearly all images have.
        masks = _masks(binary_mask, match_nuclei) if binary_mask or match_nuclei else DEFAULT_MASKS
        known[name] = StoredImage(
            root,
            split,
            decoding.label_ids(name, labels, classes),
            files,
            settings[settings_id],
            gone_at is not None,
            masks=masks,
        )
    return known


_KNOWN: Final = select(
    *(
        Image.id,
        Image.name,
        Image.root,
        Image.split,
        Image.labels,
        Image.settings_id,
        Image.gone_at,
    ),
    *(Image.binary_mask, Image.match_nuclei),
)


def images_in_pieces(connection: Connection) -> set[str]:
    """Read the names of images whose cell mask has one id in several pieces."""
    statement = select(Image.name).join(Cell).where(Image.cell_count == 1, Cell.pieces > 1)
    return set(connection.execute(statement).scalars())


def columns_of_images(
    connection: Connection, columns: Collection[str]
) -> dict[str, dict[str, str]]:
    """Read some columns of the label table, by image and column; not of images without them."""
    statement = select(Image.name, ImageColumn.name, ImageColumn.value).join(ImageColumn)
    statement = statement.where(ImageColumn.name.in_(columns))
    found: dict[str, dict[str, str]] = {}
    for image, column, value in connection.execute(statement):
        found.setdefault(image, {})[column] = value
    return found


def image_columns(connection: Connection, image_id: int) -> dict[str, str]:
    """Read what an image has of the columns of the label table, by name."""
    columns = select(ImageColumn.name, ImageColumn.value).where(ImageColumn.image_id == image_id)
    return {row.name: row.value for row in connection.execute(columns.order_by(ImageColumn.name))}


def column_names(connection: Connection) -> list[str]:
    """Read the names of all columns of the label table that the store keeps, ascending."""
    names = select(ImageColumn.name).distinct().order_by(ImageColumn.name)
    return list(connection.scalars(names))


def column_values(connection: Connection, columns: Iterable[str]) -> dict[str, list[str]]:
    """Read what each of some columns says of the live images, ascending."""
    said = select(ImageColumn.value).distinct().join(Image, Image.id == ImageColumn.image_id)
    said = said.where(LIVE).order_by(ImageColumn.value)
    return {
        name: list(connection.scalars(said.where(ImageColumn.name == name))) for name in columns
    }


def background_levels(
    connection: Connection, channel: str, split: str | None = None
) -> dict[str, float]:
    """Read the background level of a channel of the live images that have one, by name."""
    statement = select(Image.name, ImageChannel.background_level).join(ImageChannel)
    statement = statement.where(
        ImageChannel.channel == channel, ImageChannel.background_level.is_not(None), LIVE
    )
    if split is not None:
        statement = statement.where(Image.split == split)
    return {
        name: float(level) for name, level in connection.execute(statement) if level is not None
    }


def image_names(connection: Connection, root: str, *, live: bool = False) -> set[str]:
    """Read the names of a root's images; without those that are gone, if `live`."""
    names = select(Image.name).where(Image.root == root)
    return set(connection.execute(names.where(LIVE) if live else names).scalars())


def file_hashes(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read the SHA-256 of stored images' files, by name and role."""
    hashes: dict[str, dict[str, str]] = {}
    for batch in batches(names):
        statement = select(Image.name, ImageFile.role, ImageFile.sha256).join(ImageFile)
        for name, role, sha256 in connection.execute(statement.where(Image.name.in_(batch))):
            hashes.setdefault(name, {})[role] = sha256
    return hashes


class ImageRecord(NamedTuple):
    """The row of a stored image: where it was ingested from, and how it was measured."""

    image_id: int
    root: str
    split: str | None
    settings_id: int
    settings: MeasurementSettings
    gone: bool
    masks: MaskOptions


def image_record(connection: Connection, name: str) -> ImageRecord | None:
    """Read the row of an image; None if the store has no image of this name."""
    row = connection.execute(_RECORD, {"name": name}).one_or_none()
    if row is None:
        return None
    image_id, root, split, gone_at, binary_mask, match_nuclei, *settings = row
    masks = _masks(binary_mask, match_nuclei)
    return ImageRecord(
        image_id, root, split, settings[0], read_settings(*settings), gone_at is not None, masks
    )


_RECORD: Final = (
    select(
        *(Image.id, Image.root, Image.split, Image.gone_at, Image.binary_mask, Image.match_nuclei),
        *SETTINGS,
    )
    .join(StoredSettings, StoredSettings.id == Image.settings_id)
    .where(Image.name == bindparam("name"))
)


def count_verdicts(connection: Connection, name: str) -> int:
    """Count the verdicts of clean sets on an image's cells."""
    statement = select(func.count()).select_from(judged_cells())
    return int(connection.execute(statement.where(Image.name == name)).scalar_one())


class Rejection(NamedTuple):
    """A rejected image, and the root and split of the run that rejected it."""

    failure: FailureValue
    root: str
    split: str | None


def rejected_images(connection: Connection) -> dict[str, Rejection]:
    """Read every rejected image, with its files as they were then, by name."""
    stamps = _stamps(connection, FailureFile.image_name, FailureFile)
    columns = (Failure.image_name, Failure.uri, Failure.code, Failure.message)
    statement = select(*columns, IngestRun.root, IngestRun.split).join(IngestRun)
    found = {}
    for name, uri, code, message, root, split in connection.execute(statement):
        files = stamps.get(name, ())
        _check_paths(name, root, files)
        found[name] = Rejection(FailureValue(name, uri, code, message, files), root, split)
    return found


def count_measure_failures(connection: Connection) -> int:
    """Count the images that were rejected because a custom measure failed on them."""
    statement = select(func.count()).select_from(Failure).where(Failure.code == "measure")
    return int(connection.execute(statement).scalar_one())


def _check_paths(name: str, root: str, files: Sequence[FileStamp]) -> None:
    """Refuse paths of a damaged image, without making a path of each: there may be millions."""
    for file in files:
        if "\0" in root or "\0" in file.uri:
            decoding.file_path(name, root, file.uri)


def _masks(binary_mask: str | None, match_nuclei: str | None) -> MaskOptions:
    """How an image's masks were read; the defaults are stored as NULL."""
    default = DEFAULT_MASKS
    return MaskOptions(binary_mask or default.binary_mask, match_nuclei or default.match_nuclei)


def _stamps(connection: Connection, key: Any, table: Any) -> dict[Any, tuple[FileStamp, ...]]:
    """Read files by the key of their image, each image's in the order of the roles."""
    files: dict[Any, dict[str, FileStamp]] = {}
    statement = select(key, table.role, table.uri, table.size, table.mtime_ns)
    result = connection.execute(statement, execution_options={"yield_per": 10_000})
    for part in result.partitions():
        for owner, role, uri, size, mtime_ns in part:
            files.setdefault(owner, {})[role] = FileStamp(role, uri, size, mtime_ns)
    return {
        owner: tuple(by_role[role] for role in ROLES if role in by_role)
        for owner, by_role in files.items()
    }
