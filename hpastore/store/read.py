"""Every statement that reads what an ingest stores, as lists of mappings or streams of rows."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    exists,
    false,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.orm import aliased

from hpastore.errors import DamagedError, UsageError
from hpastore.model import DEFAULT_MASKS, FileStamp, Known, MaskOptions, MeasurementSettings
from hpastore.model import Failure as FailureValue
from hpastore.schema.conditions import LIVE
from hpastore.schema.measure_value import MeasureValues
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import (
    Cell,
    CellMeasure,
    CleanSet,
    CleanSetCell,
    Failure,
    FailureFile,
    Image,
    ImageFile,
    ImageLabel,
    ImageMeasure,
    IngestRun,
    Label,
    Measure,
    StoredSettings,
)
from hpastore.schema.types import REAL
from hpastore.store import decoding
from hpastore.text import printable
from hpastore.vocabulary import ROLES

Row = RowMapping

_MOST_VARIABLES: Final = 10_000


def rows(connection: Connection, statement: AnySelect) -> list[Row]:
    """Run a statement and return its rows."""
    return list(connection.execute(statement).mappings())


def current_settings(connection: Connection) -> MeasurementSettings | None:
    """Read the store's recipe; None in a store without images."""
    statement = select(StoredSettings.background_percentile, StoredSettings.version).where(
        StoredSettings.current
    )
    row = connection.execute(statement).one_or_none()
    return row and MeasurementSettings(*row)


def settings_in_use(connection: Connection) -> tuple[MeasurementSettings, int]:
    """Read the store's recipe and its key; there is one as soon as there is a run."""
    columns = (StoredSettings.background_percentile, StoredSettings.version, StoredSettings.id)
    percentile, version, key = connection.execute(select(*columns).where(StoredSettings.current)).one()
    return MeasurementSettings(percentile, version), key


def known_images(connection: Connection) -> dict[str, Known]:
    """Read what the store remembers of every image's files and labels, by name."""
    stamps = _stamps(connection, ImageFile.image_id, ImageFile)
    recipes = {
        key: MeasurementSettings(percentile, version)
        for key, percentile, version in connection.execute(
            select(StoredSettings.id, StoredSettings.background_percentile, StoredSettings.version)
        )
    }
    known = {}
    for row in connection.execute(_KNOWN):
        image_id, name, root, split, labels, recipe_id, gone_at, binary, nuclei = row
        if image_id not in stamps:
            raise DamagedError(f"image {printable(name)}", "none of its files is recorded")
        if recipe_id not in recipes:
            raise DamagedError(f"image {printable(name)}", f"its recipe {recipe_id} is not there")
        files = stamps[image_id]
        if "\0" in root:
            decoding.file_path(name, root, "")
        for file in files:
            if "\0" in file.uri:
                decoding.file_path(name, root, file.uri)
        masks = _masks(binary, nuclei) if binary or nuclei else DEFAULT_MASKS
        known[name] = Known(
            root,
            split,
            decoding.label_ids(name, labels),
            files,
            recipes[recipe_id],
            gone_at is not None,
            masks=masks,
        )
    return known


_KNOWN: Final = select(
    *(Image.id, Image.name, Image.root, Image.split, Image.labels, Image.recipe_id, Image.gone_at),
    *(Image.binary_mask, Image.match_nuclei),
)


def in_pieces(connection: Connection) -> set[str]:
    """Read the names of images whose cell mask has one id in several pieces."""
    statement = select(Image.name).join(Cell).where(Image.cell_count == 1, Cell.pieces > 1)
    return set(connection.execute(statement).scalars())


def _masks(binary_mask: str | None, match_nuclei: str | None) -> MaskOptions:
    """How an image's masks were read; the defaults are stored as NULL."""
    usual = DEFAULT_MASKS
    return MaskOptions(binary_mask or usual.binary_mask, match_nuclei or usual.match_nuclei)


def _stamps(connection: Connection, key: Any, table: Any) -> dict[Any, tuple[FileStamp, ...]]:
    """Read files by a key, each key's in the order of the roles."""
    files: dict[Any, dict[str, FileStamp]] = {}
    statement = select(key, table.role, table.uri, table.size, table.mtime_ns)
    for part in connection.execute(statement, execution_options={"yield_per": 10_000}).partitions():
        for owner, role, uri, size, mtime_ns in part:
            files.setdefault(owner, {})[role] = FileStamp(role, uri, size, mtime_ns)
    return {owner: tuple(of[role] for role in ROLES if role in of) for owner, of in files.items()}


def file_hashes(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read the SHA-256 of stored images' files, by name and role."""
    hashes: dict[str, dict[str, str]] = {}
    for part in parts(names):
        statement = select(Image.name, ImageFile.role, ImageFile.sha256).join(ImageFile)
        for name, role, sha256 in connection.execute(statement.where(Image.name.in_(part))):
            hashes.setdefault(name, {})[role] = sha256
    return hashes


def count_verdicts(connection: Connection, name: str) -> int:
    """Count the verdicts of clean sets on an image's cells."""
    statement = select(func.count()).select_from(CleanSetCell).join(Cell).join(Image)
    return int(connection.execute(statement.where(Image.name == name)).scalar_one())


def rejected(connection: Connection) -> dict[str, Rejection]:
    """Read every image that was rejected, with its files as they were tried, by name."""
    stamps = _stamps(connection, FailureFile.image_name, FailureFile)
    columns = (Failure.image_name, Failure.uri, Failure.code, Failure.message)
    statement = select(*columns, IngestRun.root, IngestRun.split).join(IngestRun)
    found = {}
    for name, uri, code, message, root, split in connection.execute(statement):
        files = stamps.get(name, ())
        for file in files:
            decoding.file_path(name, root, file.uri)
        found[name] = Rejection(FailureValue(name, uri, code, message, files), root, split)
    return found


class Rejection(NamedTuple):
    """A failure, and where it was met."""

    failure: FailureValue
    root: str
    split: str | None


class Place(NamedTuple):
    """Where an image was stored from, and what its numbers were computed with."""

    image_id: int
    root: str
    split: str | None
    recipe_id: int
    version: int
    gone: bool
    masks: MaskOptions


def stored_place(connection: Connection, name: str) -> Place | None:
    """Read where a stored image is from; None if there is none of this name."""
    row = connection.execute(_PLACE, {"name": name}).one_or_none()
    if row is None:
        return None
    image_id, root, split, recipe_id, version, gone_at, *masks = row
    return Place(image_id, root, split, recipe_id, version, gone_at is not None, _masks(*masks))


_PLACE: Final = (
    select(
        *(Image.id, Image.root, Image.split, Image.recipe_id, StoredSettings.version),
        *(Image.gone_at, Image.binary_mask, Image.match_nuclei),
    )
    .join(StoredSettings, StoredSettings.id == Image.recipe_id)
    .where(Image.name == bindparam("name"))
)


def stale_images(
    connection: Connection,
    most: int,
    most_cells: int,
    measures: Iterable[tuple[str, int]] = (),
    after: int = 0,
) -> list[int]:
    """Read keys of images whose numbers are not of the current recipe but of its version, or lack a measure.

    So many that they have `most_cells` in sum, and at least one; those with the next keys.
    """
    statement = select(Image.id, Image.cell_count).where(_stale_or(measures), Image.id > after)
    chosen: list[int] = []
    for image_id, cells in connection.execute(statement.order_by(Image.id).limit(most)):
        most_cells -= cells
        if most_cells < 0 and chosen:
            break
        chosen.append(image_id)
    return chosen


def count_stale(connection: Connection, measures: Iterable[tuple[str, int]] = ()) -> int:
    """Count the images of `stale_images`."""
    return int(connection.execute(select(func.count(Image.id)).where(_stale_or(measures))).scalar_one())


def of_other_recipe(connection: Connection, images: Sequence[int]) -> list[int]:
    """Read which of some images have numbers that are not of the current recipe but of its version."""
    chosen = select(Image.id).where(Image.id.in_(images), _stale_or(()))
    return list(connection.execute(chosen).scalars())


def _stale_or(measures: Iterable[tuple[str, int]]) -> ColumnElement[bool]:
    used, now = aliased(StoredSettings), aliased(StoredSettings)
    others = select(used.id).join(now, now.current & (now.version == used.version) & (now.id != used.id))
    return or_(Image.recipe_id.in_(others), lacking(measures))


def lacking(measures: Iterable[tuple[str, int]]) -> ColumnElement[bool]:
    """Whether an image lacks one of the measures that users added, each by its name and version."""
    of_image = ImageMeasure.image_id == Image.id
    return or_(
        false(),
        *(
            ~exists().where(of_image, ImageMeasure.measure == name, ImageMeasure.version == version)
            for name, version in sorted(measures)
        ),
    )


def outdated(connection: Connection) -> int:
    """Count the images whose numbers are of another version of the measures, and that can be read again."""
    used, now = aliased(StoredSettings), aliased(StoredSettings)
    statement = select(func.count(Image.id)).join(used, used.id == Image.recipe_id).where(LIVE)
    return int(
        connection.execute(statement.join(now, now.current & (now.version != used.version))).scalar_one()
    )


def names_of(connection: Connection, root: str, *, live: bool = False) -> set[str]:
    """Read the names of the stored images of a root; only of those that are not gone, if that is wanted."""
    names = select(Image.name).where(Image.root == root)
    return set(connection.execute(names.where(LIVE) if live else names).scalars())


def image_roots(connection: Connection) -> list[Row]:
    """Count the images of each root, those that are gone too, and the live ones: ``root, images, live``."""
    live = func.count(case((LIVE, 1)))
    columns = (Image.root, func.count().label("images"), live.label("live"))
    return rows(connection, select(*columns).group_by(Image.root).order_by(Image.root))


def roots_of_runs(connection: Connection) -> set[str]:
    """Read the roots that were ever ingested."""
    return set(connection.execute(select(IngestRun.root).distinct()).scalars())


def runs(connection: Connection) -> list[Row]:
    """Read all runs, the newest first."""
    columns = [column for column in IngestRun.__table__.c if column.name != "checksum"]
    return rows(connection, select(*columns).order_by(IngestRun.id.desc()))


def thresholds(
    connection: Connection,
    measure: str,
    channel: str | None,
    shares: Mapping[str, float],
    label: int | None = None,
    split: str | None = None,
) -> list[Row]:
    """Take percentiles of a measure for every label: ``label_id, label, n`` and one for each of `shares`.

    Over all cells, dark ones too, of images whose only label it is, be they of any split or of one; a label
    without a value is left out.
    """
    single = label_values(measure, channel, split)
    if label is not None:
        single = single.where(ImageLabel.label_id == label)
    numbers: dict[str, Any] = {name: literal(share, REAL) for name, share in shares.items()}
    found = percentiles(single.subquery("single"), ["label_id"], numbers).subquery("found")
    statement = (
        select(found.c.label_id, Label.name.label("label"), found.c.n, *(found.c[name] for name in shares))
        .join(Label, Label.id == found.c.label_id)
        .order_by(found.c.label_id)
    )
    return rows(connection, statement)


def label_values(measure: str, channel: str | None, split: str | None = None) -> AnySelect:
    """Select the values of a measure in images with one label: ``label_id, cell_id, value``."""
    values = MeasureValues([(measure, channel)])
    value = values.value(measure, channel)
    tables = ImageLabel.__table__.join(Image, Image.id == ImageLabel.image_id)
    tables = tables.join(Cell, Cell.image_id == Image.id)

    single = select(ImageLabel.label_id, Cell.id.label("cell_id"), value.label("value"))
    single = single.select_from(values.join_to(tables))
    single = single.where(Image.label_count == 1, LIVE, value.is_not(None))
    return single if split is None else single.where(Image.split == split)


def counts(connection: Connection) -> dict[str, int]:
    """Count images, cells, clean sets, failures and runs; images that are gone apart from the others."""
    live = select(func.count()).select_from(Image).where(LIVE)
    statements: dict[str, AnySelect] = {
        "images": live,
        "unlabelled": live.where(Image.label_count == 0),
        "gone": select(func.count()).select_from(Image).where(~LIVE),
        "stale": _stale(),
        "cells": select(func.coalesce(func.sum(Image.cell_count), 0)).where(LIVE),
        "clean_sets": select(func.count()).select_from(CleanSet),
        "failures": select(func.count()).select_from(Failure),
        "runs": select(func.count()).select_from(IngestRun),
    }
    columns = [statement.scalar_subquery().label(name) for name, statement in statements.items()]
    return {name: int(count) for name, count in connection.execute(select(*columns)).mappings().one().items()}


def _stale() -> AnySelect:
    current = select(StoredSettings.id).where(StoredSettings.current)
    return select(func.count()).select_from(Image).where(Image.recipe_id.not_in(current))


def roots(connection: Connection) -> list[Row]:
    """Count the images of each root and split."""
    statement = select(Image.root, Image.split, func.count().label("images")).where(LIVE)
    return rows(connection, statement.group_by(Image.root, Image.split).order_by(Image.root, Image.split))


def require_split(connection: Connection, split: str | None) -> None:
    """Refuse a split that no image of the store has; None is all images, and is never refused.

    Raises
    ------
    UsageError
        With the splits that there are.
    """
    if split is None:
        return
    names = select(Image.split).where(LIVE, Image.split.is_not(None)).distinct().order_by(Image.split)
    splits = [str(name) for name in connection.execute(names).scalars()]
    if not splits:
        raise UsageError(
            f"no split {printable(repr(split))}: no image has one; give it with ingest ROOT --split NAME"
        )
    if split not in splits:
        raise UsageError(
            f"no split {printable(repr(split))}; there are {', '.join(printable(name) for name in splits)}"
        )


def failures(connection: Connection) -> list[Row]:
    """Read all rejected images, by name."""
    columns = [column for column in Failure.__table__.c if column.name != "checksum"]
    return rows(connection, select(*columns).order_by(Failure.image_name))


def count_failures_of_measures(connection: Connection) -> int:
    """Count the images that were rejected because a measure of users failed on them."""
    statement = select(func.count()).select_from(Failure).where(Failure.code == "measure")
    return int(connection.execute(statement).scalar_one())


def several_labels(connection: Connection, split: str | None = None) -> tuple[int, int]:
    """Count the live images with several labels and any cell, and their cells; only of a split, if given."""
    cells = func.coalesce(func.sum(Image.cell_count), 0)
    statement = select(func.count(), cells).where(LIVE, Image.label_count > 1, Image.cell_count > 0)
    if split is not None:
        statement = statement.where(Image.split == split)
    images, total = connection.execute(statement).one()
    return int(images), int(total)


def own_channels(connection: Connection) -> dict[str, list[str | None]]:
    """Read the channels that each measure which users added was taken in; None is the cell as a whole."""
    statement = select(Measure.name, CellMeasure.channel).join(CellMeasure).distinct()
    found: dict[str, list[str | None]] = {}
    for name, channel in connection.execute(statement.order_by(Measure.name, CellMeasure.channel)):
        found.setdefault(name, []).append(channel or None)
    return found


def stream(connection: Connection, statement: AnySelect, size: int = 1000) -> Generator[Any]:
    """Run a statement and give its rows as they come, without holding them all.

    Who may stop before the last row closes the generator, and with it the database's cursor.
    """
    with connection.execute(statement, execution_options={"yield_per": size}) as result:
        yield from result


def parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list of names: SQLite takes 32,766 variables in a statement."""
    return (names[i : i + _MOST_VARIABLES] for i in range(0, len(names), _MOST_VARIABLES))
