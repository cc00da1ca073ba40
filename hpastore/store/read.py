"""Every statement that reads rows, as lists of mappings or streams of rows."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.orm import aliased

from hpastore.errors import NotFoundError, UsageError
from hpastore.model import LABEL_NAMES, REASONS, ROLES, Annotation, FileStamp, Known, Recipe
from hpastore.model import Failure as FailureValue
from hpastore.schema.columns import REAL
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellMeasure,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetThreshold,
    Failure,
    FailureFile,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    ImageMeasure,
    IngestRun,
    Label,
    Measure,
)
from hpastore.schema.tables import Recipe as RecipeRow
from hpastore.schema.views import (
    CHANNEL_NAMES,
    CLEAN_CELL,
    LIVE,
    SHAPE_NAMES,
    shape_value,
)

Row = RowMapping

_MOST_VARIABLES: Final = 10_000


def rows(connection: Connection, statement: AnySelect) -> list[Row]:
    """Run a statement and return its rows."""
    return list(connection.execute(statement).mappings())


def current_recipe(connection: Connection) -> Recipe | None:
    """Read the store's recipe; None in a store without images."""
    statement = select(RecipeRow.background_percentile, RecipeRow.version).where(RecipeRow.current)
    row = connection.execute(statement).one_or_none()
    return row and Recipe(*row)


def recipe_in_use(connection: Connection) -> tuple[Recipe, int]:
    """Read the store's recipe and its key; there is one as soon as there is a run."""
    columns = (RecipeRow.background_percentile, RecipeRow.version, RecipeRow.id)
    percentile, version, key = connection.execute(select(*columns).where(RecipeRow.current)).one()
    return Recipe(percentile, version), key


def known_images(connection: Connection) -> dict[str, Known]:
    """Read what the store remembers of every image's files and labels, by name."""
    stamps = _stamps(connection, ImageFile.image_id, ImageFile)
    recipes = {
        key: Recipe(percentile, version)
        for key, percentile, version in connection.execute(
            select(RecipeRow.id, RecipeRow.background_percentile, RecipeRow.version)
        )
    }
    known = {}
    images = select(
        Image.id, Image.name, Image.root, Image.split, Image.labels, Image.recipe_id, Image.gone_at
    )
    for image_id, name, root, split, labels, recipe_id, gone_at in connection.execute(images):
        known[name] = Known(
            root, split, ids(labels), stamps[image_id], recipes[recipe_id], gone_at is not None
        )
    return known


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
    return {
        name: Rejection(FailureValue(name, uri, code, message, stamps.get(name, ())), root, split)
        for name, uri, code, message, root, split in connection.execute(statement)
    }


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


def stored_place(connection: Connection, name: str) -> Place | None:
    """Read where a stored image is from; None if there is none of this name."""
    row = connection.execute(_PLACE, {"name": name}).one_or_none()
    return row and Place(*row)


_PLACE: Final = (
    select(Image.id, Image.root, Image.split, Image.recipe_id, RecipeRow.version)
    .join(RecipeRow, RecipeRow.id == Image.recipe_id)
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
    used, now = aliased(RecipeRow), aliased(RecipeRow)
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
    used, now = aliased(RecipeRow), aliased(RecipeRow)
    statement = select(func.count(Image.id)).join(used, used.id == Image.recipe_id).where(LIVE)
    return int(
        connection.execute(statement.join(now, now.current & (now.version != used.version))).scalar_one()
    )


def histograms(connection: Connection, images: Sequence[int]) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Read images' packed joint histograms by channel."""
    columns = (ImageChannel.image_id, ImageChannel.channel, ImageChannel.histogram)
    statement = select(*columns).where(ImageChannel.image_id.in_(images)).order_by(ImageChannel.image_id)
    for image_id, rows_of in groupby(connection.execute(statement), key=lambda row: row[0]):
        yield image_id, {channel: packed for _, channel, packed in rows_of}


def names_of(connection: Connection, root: str, split: str | None) -> set[str]:
    """Read the names of the stored images of a root and split."""
    mine = and_(Image.root == root, Image.split.is_not_distinct_from(split))
    return set(connection.execute(select(Image.name).where(mine)).scalars())


def thresholds(
    connection: Connection,
    measure: str,
    channel: str | None,
    shares: Mapping[str, float],
    label: int | None = None,
) -> list[Row]:
    """Take percentiles of a measure for every label: ``label_id, label, n`` and one for each of `shares`.

    Over all cells, dark ones too, of images whose only label it is; a label without a value is left
    out.
    """
    single = label_values(measure, channel)
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


def label_values(measure: str, channel: str | None) -> AnySelect:
    """Select the values of a measure in images with one label: ``label_id, cell_id, value``."""
    single = select(ImageLabel.label_id, Cell.id.label("cell_id"))
    single = single.join_from(ImageLabel, Image, Image.id == ImageLabel.image_id)
    single = single.join(Cell, Cell.image_id == Image.id).where(Image.label_count == 1, LIVE)
    value: Any
    # Outer, though values are wanted: an inner join SQLite begins with cell_channel, all of it.
    if measure in SHAPE_NAMES:
        value = shape_value(measure)
    elif measure in CHANNEL_NAMES:
        value = cast(getattr(CellChannel, measure), REAL)
        mine = and_(CellChannel.cell_id == Cell.id, CellChannel.channel == channel)
        single = single.outerjoin(CellChannel, mine)
    else:
        value = CellMeasure.value
        named = CellMeasure.measure_id.in_(select(Measure.id).where(Measure.name == measure))
        of_cell = and_(CellMeasure.cell_id == Cell.id, CellMeasure.channel == (channel or ""))
        single = single.outerjoin(CellMeasure, and_(of_cell, named))
    return single.add_columns(value.label("value")).where(value.is_not(None))


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
    current = select(RecipeRow.id).where(RecipeRow.current)
    return select(func.count()).select_from(Image).where(Image.recipe_id.not_in(current))


def roots(connection: Connection) -> list[Row]:
    """Count the images of each root and split."""
    statement = select(Image.root, Image.split, func.count().label("images")).where(LIVE)
    return rows(connection, statement.group_by(Image.root, Image.split).order_by(Image.root, Image.split))


def failures(connection: Connection) -> list[Row]:
    """Read all rejected images, by name."""
    columns = [column for column in Failure.__table__.c if column.name != "checksum"]
    return rows(connection, select(*columns).order_by(Failure.image_name))


def clean_sets(connection: Connection) -> list[Row]:
    """Read all clean sets with the numbers of their verdicts, by name and version."""
    count = {
        "cells": select(func.count()).where(CleanSetCell.clean_set_id == CleanSet.id),
        "clean": select(func.count()).where(CleanSetCell.clean_set_id == CleanSet.id, CleanSetCell.clean),
        "rules": select(func.count(func.distinct(CleanRule.position))).where(
            CleanRule.clean_set_id == CleanSet.id
        ),
    }
    columns = (CleanSet.name, CleanSet.version, CleanSet.created_at, CleanSet.scope, CleanSet.min_green)
    numbers = (count[name].scalar_subquery().label(name) for name in ("rules", "cells", "clean"))
    statement = select(*columns, CleanSet.frozen, *numbers)
    return rows(connection, statement.order_by(CleanSet.name, CleanSet.version))


def clean_set(connection: Connection, set_id: int) -> Row:
    """Read the row of a clean set."""
    return rows(connection, select(CleanSet.__table__).where(CleanSet.id == set_id))[0]


def versions(connection: Connection, name: str) -> list[Row]:
    """Read the rows of all versions of a clean set, oldest first."""
    statement = select(CleanSet.__table__).where(CleanSet.name == name)
    return rows(connection, statement.order_by(CleanSet.version))


def clean_rules(connection: Connection, set_id: int) -> list[Row]:
    """Read a clean set's rules in their order."""
    statement = select(CleanRule.__table__).where(CleanRule.clean_set_id == set_id)
    return rows(connection, statement.order_by(CleanRule.position, CleanRule.label_id))


def clean_bounds(connection: Connection, set_id: int) -> list[Row]:
    """Read the bounds that a clean set was materialised with."""
    kept = CleanSetThreshold
    columns = (kept.rule_id, kept.label_id, kept.n, kept.lower, kept.upper)
    return rows(connection, select(*columns).where(kept.clean_set_id == set_id))


def find_clean_set(connection: Connection, name: str) -> tuple[int, str, int]:
    """Find a clean set by ``NAME``, its newest version, or ``NAME@VERSION``.

    Returns
    -------
    id, name, version

    Raises
    ------
    NotFoundError
        If there is none of this name and version.
    """
    stem, at, version = name.partition("@")
    statement = select(CleanSet.id, CleanSet.name, CleanSet.version).where(CleanSet.name == stem)
    if at:
        if not (version.isdecimal() and len(version) < 10):
            raise UsageError(f"{name}: a version is a number, as in {stem}@1")
        statement = statement.where(CleanSet.version == int(version))
    found = connection.execute(statement.order_by(CleanSet.version.desc()).limit(1)).one_or_none()
    if found is None:
        raise NotFoundError(f"no clean set {name}; 'hpastore clean list' shows those there are")
    return found[0], found[1], found[2]


def clean_set_labels(connection: Connection, set_id: int) -> list[dict[str, Any]]:
    """Read a clean set's verdicts counted by label, with the bounds of the rule that is shown.

    ``label_id, label, n, lower, upper, cells, clean`` and ``reasons``, the counts by reason.
    """
    verdict = (CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason, func.count().label("cells"))
    counted = select(*verdict).where(CleanSetCell.clean_set_id == set_id)
    counted = counted.group_by(CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason)
    kept = CleanSetThreshold
    shown = select(kept.label_id, kept.n, kept.lower, kept.upper).join(
        CleanRule, CleanRule.id == kept.rule_id
    )
    shown = shown.where(kept.clean_set_id == set_id, CleanRule.shown)
    bounds = {row["label_id"]: row for row in rows(connection, shown)}
    found: dict[int, dict[str, Any]] = {}
    for label_id, clean, reason, cells in connection.execute(counted.order_by(CleanSetCell.label_id)):
        bound: Any = bounds.get(label_id, {})
        row = found.setdefault(
            label_id,
            {
                "label_id": label_id,
                "label": LABEL_NAMES[label_id],
                **{name: bound.get(name) for name in ("n", "lower", "upper")},
                "cells": 0,
                "clean": 0,
                "reasons": {},
            },
        )
        row["cells"] += cells
        row["clean"] += cells * clean
        if reason is not None:
            row["reasons"][reason] = cells
    return list(found.values())


def reasons(connection: Connection, set_id: int) -> list[str]:
    """Read the reasons that a clean set's verdicts have, in the order in which they are asked."""
    column = CleanSetCell.reason
    statement = select(column).where(CleanSetCell.clean_set_id == set_id, column.is_not(None)).distinct()
    found = {str(reason) for reason in connection.execute(statement).scalars()}
    named = [rule["reason"] for rule in clean_rules(connection, set_id)]
    order = list(dict.fromkeys([*REASONS[:-1], *(name for name in named if name), REASONS[-1]]))
    return sorted(found, key=lambda reason: order.index(reason) if reason in order else len(order))


def emptied(connection: Connection, set_id: int) -> list[Row]:
    """Read the images that have verdicts for a label and none that is clean."""
    cells = func.count().label("cells")
    statement = (
        select(Image.name.label("image_name"), CleanSetCell.label_id, Label.name.label("label"), cells)
        .select_from(CleanSetCell)
        .join(Cell, Cell.id == CleanSetCell.cell_id)
        .join(Image)
        .join(Label, Label.id == CleanSetCell.label_id)
        .where(CleanSetCell.clean_set_id == set_id)
        .group_by(Image.name, CleanSetCell.label_id, Label.name)
        .having(func.count(case((CleanSetCell.clean, 1))) == 0)
    )
    return rows(connection, statement.order_by(Image.name, CleanSetCell.label_id))


def own_channels(connection: Connection) -> dict[str, list[str | None]]:
    """Read the channels that each measure which users added was taken in; None is the cell as a whole."""
    statement = select(Measure.name, CellMeasure.channel).join(CellMeasure).distinct()
    found: dict[str, list[str | None]] = {}
    for name, channel in connection.execute(statement.order_by(Measure.name, CellMeasure.channel)):
        found.setdefault(name, []).append(channel or None)
    return found


class Selection(NamedTuple):
    """Which images and cells an export holds.

    With a clean set these are the images it has verdicts on, under the labels it judged them by, and
    the images without a cell that it met: what came or was relabelled since does not matter.
    """

    set_id: int | None = None
    """A clean set; None takes all images, cells and labels of now."""
    labels: tuple[int, ...] = ()
    """Only these; all if empty."""
    single: bool = False
    """Whether images with several labels are left out, be it now or in the clean set."""


def images(connection: Connection, selection: Selection) -> list[Any]:
    """Read the images of a selection by name: ``id, name, width, height, cell_count``."""
    columns = (Image.id, Image.name, Image.width, Image.height, Image.cell_count)
    return list(connection.execute(_images(selection, *columns)))


def channel_files(
    connection: Connection, selection: Selection, channels: Sequence[str]
) -> dict[str, list[Row]]:
    """Read where channels of a selection's images are: ``role, root, uri, sha256`` by image name."""
    columns = (Image.name, Image.root, ImageFile.role, ImageFile.uri, ImageFile.sha256)
    statement = _images(selection, *columns).join(ImageFile, ImageFile.image_id == Image.id)
    files: dict[str, list[Row]] = {}
    for row in rows(connection, statement.where(ImageFile.role.in_(channels)).order_by(ImageFile.role)):
        files.setdefault(row["name"], []).append(row)
    return files


def annotated_cells(
    connection: Connection, selection: Selection, images: Sequence[int]
) -> dict[int, list[Annotation]]:
    """Read the cells of some of a selection's images, of a clean set those that are clean for a label.

    By the image's key, in the order of mask id; an image without one is left out.
    """
    owner, labels = _labels_of(connection, selection, images)
    green = and_(CellChannel.cell_id == Cell.id, CellChannel.channel == "green")
    shape = (Cell.x, Cell.y, Cell.width, Cell.height, Cell.area, Cell.rle)
    statement = (
        select(Cell.image_id, owner, Cell.mask_id, *shape, CellChannel.fraction)
        .outerjoin(CellChannel, green)
        .where(Cell.image_id.in_(images))
        .order_by(Cell.image_id, Cell.mask_id)
    )
    found: dict[int, list[Annotation]] = {}
    for row in connection.execute(statement).all():  # at once: SQLite gives single rows slowly
        if row[1] in labels:
            found.setdefault(row[0], []).append(Annotation(row[2], labels[row[1]], *row[3:]))
    return found


def verdicts(connection: Connection, selection: Selection, view: FromClause | None = None) -> Generator[Any]:
    """Stream rows like those of ``clean_cell`` with the cells' boxes and notebook fractions.

    Parameters
    ----------
    connection
    selection
    view
        The rows of the selection's clean set; without one, these are all cells with all their labels, the
        green fraction and no verdict.
    """
    green = and_(CellChannel.cell_id == Cell.id, CellChannel.channel == "green")
    tables = Image.__table__.join(Cell, Cell.image_id == Image.id).join(CellChannel, green)
    if view is None:
        tables = tables.outerjoin(ImageLabel, ImageLabel.image_id == Image.id).outerjoin(Label)
        label_id: Any = ImageLabel.label_id
        verdict = _no_verdict()
    else:
        tables = tables.join(view, view.c.cell_id == Cell.id)
        label_id = view.c.label_id
        verdict = [c for c in view.c if c.name not in ("clean_set_id", "cell_id")]
    box = (Cell.x, Cell.y, Cell.width, Cell.height, CellChannel.fraction_notebook)
    statement = select(*verdict, *box).select_from(tables)
    statement = statement.where(*_of_labels(label_id, selection), *_live(selection))
    return stream(connection, statement.order_by(Image.name, Cell.mask_id, label_id))


def _images(selection: Selection, *columns: Any) -> AnySelect:
    """Select columns of a selection's images, by name."""
    labels = _of_labels(ImageLabel.label_id, selection)
    labelled = exists().where(ImageLabel.image_id == Image.id, *labels)
    statement = select(*columns).where(*_live(selection)).order_by(Image.name)
    if selection.set_id is None:
        return statement.where(labelled) if labels else statement
    judged = _judged(selection.set_id).where(*_of_labels(CleanSetCell.label_id, selection))
    met = exists().where(
        CleanSet.id == selection.set_id,
        CleanSet.created_at >= Image.ingested_at,
        or_(CleanSet.scope == "all", Image.label_count == 1),
    )
    return statement.where(or_(Image.id.in_(judged), and_(Image.cell_count == 0, labelled, met)))


def _labels_of(
    connection: Connection, selection: Selection, images: Sequence[int]
) -> tuple[Any, dict[int, tuple[int, ...]]]:
    """Read the labels that a selection's cells have, ascending: from their image, or by their verdicts.

    Returns
    -------
    column of cell, labels by its values
    """
    if selection.set_id is None:
        owner, label_id = Cell.image_id, ImageLabel.label_id
        statement = select(ImageLabel.image_id, label_id).where(ImageLabel.image_id.in_(images))
    else:
        owner, label_id = Cell.id, CleanSetCell.label_id
        mine = and_(CleanSetCell.cell_id == Cell.id, CleanSetCell.clean_set_id == selection.set_id)
        # Outer, though verdicts are wanted: an inner join SQLite begins with all of the set's.
        statement = select(owner, label_id).outerjoin(CleanSetCell, and_(mine, CleanSetCell.clean))
        statement = statement.where(Cell.image_id.in_(images), label_id.is_not(None))
    found = connection.execute(statement.where(*_of_labels(label_id, selection)).order_by(label_id))
    labels: dict[int, tuple[int, ...]] = {}
    for key, label in found.all():
        labels[key] = (*labels.get(key, ()), label)
    return owner, labels


def _of_labels(label_id: Any, selection: Selection) -> list[ColumnElement[bool]]:
    return [label_id.in_(selection.labels)] if selection.labels else []


def _live(selection: Selection) -> list[ColumnElement[bool]]:
    """Choose images that are not gone, of one label if only such are wanted."""
    if not selection.single:
        return [LIVE]
    if selection.set_id is None:
        return [LIVE, Image.label_count == 1]
    label_id = CleanSetCell.label_id
    several = _judged(selection.set_id).group_by(Cell.image_id)
    several = several.having(func.min(label_id) < func.max(label_id))
    return [LIVE, Image.label_count <= 1, Image.id.not_in(several)]


def _judged(set_id: int) -> AnySelect:
    """Select the images of a clean set's cells, for IN; for EXISTS, SQLite goes over them per image."""
    statement = select(Cell.image_id).join(CleanSetCell, CleanSetCell.cell_id == Cell.id)
    return statement.where(CleanSetCell.clean_set_id == set_id).correlate(None)


def _no_verdict() -> list[Any]:
    """Columns of ``clean_cell`` without a clean set."""
    known = {
        "image_name": Image.name,
        "mask_id": Cell.mask_id,
        "label_id": ImageLabel.label_id,
        "label": Label.name,
        "measure": literal("fraction"),
        "channel": literal("green"),
        "value": CellChannel.fraction,
    }
    names = (c.name for c in CLEAN_CELL.table.c if c.name not in ("clean_set_id", "cell_id"))
    return [known.get(name, null()).label(name) for name in names]


def stream(connection: Connection, statement: AnySelect, size: int = 1000) -> Generator[Any]:
    """Run a statement and give its rows as they come, without holding them all.

    Who may stop before the last row closes the generator, and with it the database's cursor.
    """
    with connection.execute(statement, execution_options={"yield_per": size}) as result:
        yield from result


def parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list of names: SQLite takes 32,766 variables in a statement."""
    return (names[i : i + _MOST_VARIABLES] for i in range(0, len(names), _MOST_VARIABLES))


def ids(labels: str) -> tuple[int, ...]:
    """Take ``image.labels`` apart."""
    return tuple(map(int, labels.split("|"))) if labels else ()
