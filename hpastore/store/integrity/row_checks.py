"""Rows that contradict each other, and values that cannot be decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from itertools import groupby
from operator import add
from typing import Any

from sqlalchemy import Connection, and_, case, exists, false, func, or_, select

from hpastore.classes import check_class
from hpastore.errors import DamagedError, UsageError
from hpastore.kernels import rle
from hpastore.reading import MAX_PIXELS
from hpastore.schema.clean_rows import BOUND_REASONS
from hpastore.schema.conditions import rule_applies
from hpastore.schema.row_info import references_of, referred
from hpastore.schema.tables import (
    Base,
    Cell,
    CellLabel,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    FailureFile,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    Label,
    StoredMask,
    StoredSettings,
    channel_column,
)
from hpastore.store import arrays, decoding
from hpastore.store.integrity import checksums
from hpastore.store.integrity.finding import REPLACE_IMAGE, RESTORE, Finding, damage_finding
from hpastore.text import count_text, printable
from hpastore.vocabulary import CELL_MASK, CHANNELS, REASONS


def orphans(connection: Connection) -> Iterator[Finding]:
    """Rows that refer to nothing."""
    for table in Base.metadata.sorted_tables:
        for column in references_of(table):
            target = referred(column)
            orphaned = column.is_not(None) & ~exists().where(target == column)
            statement = select(func.count()).select_from(table).where(orphaned)
            if count := connection.execute(statement).scalar_one():
                rows = count_text(count, "row refers", "rows refer")
                what = f"{rows} to a row of {target.table.name} that does not exist"
                yield Finding(table.name, what, RESTORE)


def classes(connection: Connection) -> Iterator[Finding]:
    """The classes of the store; `orphans` finds labels that are none of them."""
    found = connection.execute(select(Label.id, Label.name, Label.negative).order_by(Label.id))
    ids: dict[str, int] = {}
    negative = []
    for label, name, is_negative in found:
        try:
            check_class(label, name)
        except UsageError as error:
            yield Finding("label", str(error), RESTORE)
        other = ids.setdefault(name.casefold(), label)
        if other != label:
            what = f"classes {other} and {label} have the same name, {printable(name)!r}"
            yield Finding("label", what, RESTORE)
        if is_negative:
            negative.append(str(label))
    if not ids:
        yield Finding("label", "it has no class", RESTORE)
    if len(negative) > 1:
        what = f"classes {', '.join(negative)} are marked as negative; one at most can be"
        yield Finding("label", what, RESTORE)


def labels(connection: Connection) -> Iterator[Finding]:
    """The labels of images, which are stored twice."""
    rows = select(ImageLabel.image_id, ImageLabel.label_id).order_by(*ImageLabel.__table__.c)
    by_image = groupby(connection.execute(rows), lambda row: row[0])
    labels = {key: [label for _, label in found] for key, found in by_image}
    images = select(Image.id, Image.name, Image.labels, Image.label_count).order_by(Image.name)
    for key, name, joined, count in connection.execute(images):
        mine = labels.get(key, [])
        if joined != "|".join(map(str, mine)) or count != len(mine):
            what = (
                f"its labels are {joined!r} and label_count is {count}, but image_label has {mine}"
            )
            yield Finding(f"image {name}", what, REPLACE_IMAGE)


def cell_labels(connection: Connection) -> Iterator[Finding]:
    """Labels of cells, which are stored twice."""
    rows = select(CellLabel.cell_id, CellLabel.label_id).order_by(*CellLabel.__table__.c)
    by_cell = groupby(connection.execute(rows), lambda row: row[0])
    labels = {key: [label for _, label in found] for key, found in by_cell}
    columns = (Cell.id, Image.name, Cell.mask_id, Cell.labels, Cell.label_count)
    has_own = or_(Cell.labels.is_not(None), Cell.label_count.is_not(None), Cell.id.in_(labels))
    cells = select(*columns).join(Image).where(has_own).order_by(Image.name, Cell.mask_id)
    for key, name, mask_id, joined, count in connection.execute(cells):
        mine = labels.get(key, [])
        if joined != "|".join(map(str, mine)) or count != len(mine):
            what = (
                f"its labels are {joined!r} and label_count is {count}, but cell_label has {mine}"
            )
            yield Finding(f"cell {name}:{mask_id}", what, REPLACE_IMAGE)


def current_settings(connection: Connection) -> Iterator[Finding]:
    """Measurement settings, of which one row is the current one as soon as there are images."""
    current = connection.execute(
        select(func.count()).select_from(StoredSettings).where(StoredSettings.current)
    ).scalar_one()
    images = connection.execute(select(func.count()).select_from(Image)).scalar_one()
    if current > 1 or (images and not current):
        yield Finding(
            "measurement_settings",
            f"{count_text(current, 'row is', 'rows are')} marked as current, not 1",
            RESTORE,
        )


def counts(connection: Connection) -> Iterator[Finding]:
    """Numbers of rows."""
    cells = _number(Cell, Cell.image_id == Image.id)
    statement = select(Image.name, Image.cell_count, cells).where(Image.cell_count != cells)
    for name, cell_count, count in connection.execute(statement.order_by(Image.name)):
        yield Finding(
            f"image {name}",
            f"it has {count_text(count, 'cell')}, but its cell_count is {cell_count}",
            REPLACE_IMAGE,
        )
    channels = _number(ImageChannel, ImageChannel.image_id == Image.id)
    is_channel = and_(ImageFile.image_id == Image.id, ImageFile.role.in_(CHANNELS))
    files = _number(ImageFile, is_channel)
    statement = select(Image.name, channels, files).where(channels != files).order_by(Image.name)
    for name, count, n in connection.execute(statement):
        yield Finding(f"image {name}", f"it has {count} of {n} channels", REPLACE_IMAGE)
    measured = reduce(
        add, (case((channel_column("intensity_max", c).is_(None), 0), else_=1) for c in CHANNELS)
    )
    statement = select(Image.name, Cell.mask_id, measured, channels).join(Cell)
    statement = statement.where(measured != channels).order_by(Image.name, Cell.mask_id)
    for name, mask_id, count, n in connection.execute(statement):
        what = f"it has {count} of {n} channels"
        yield Finding(f"cell {name}:{mask_id}", what, REPLACE_IMAGE)


def masks(connection: Connection) -> Iterator[Finding]:
    """Cells without a mask."""
    has_mask = exists().where(StoredMask.cell_id == Cell.id)
    statement = select(Image.name, Cell.mask_id).join(Cell).where(~has_mask)
    for name, mask_id in connection.execute(statement.order_by(Image.name, Cell.mask_id)):
        yield Finding(f"cell {name}:{mask_id}", "it has no mask", REPLACE_IMAGE)


def _number(table: checksums.Model, where: Any) -> Any:
    return select(func.count()).select_from(table).where(where).scalar_subquery()


def files(connection: Connection) -> Iterator[Finding]:
    """Files that an image cannot have been read without: of its mask, and of each channel."""
    for role in (*CHANNELS, CELL_MASK):
        named = exists().where(ImageFile.image_id == Image.id, ImageFile.role == role)
        statement = select(Image.name).where(~named).order_by(Image.name)
        if role != CELL_MASK:
            of_channel = ImageChannel.channel == role
            statement = statement.where(
                exists().where(ImageChannel.image_id == Image.id, of_channel)
            )
        for name in connection.execute(statement).scalars():
            yield Finding(f"image {name}", f"no {role} file is recorded", REPLACE_IMAGE)


def overrides(connection: Connection) -> Iterator[Finding]:
    """What was decided about cells, against the cells that it is attached to."""
    o = CellOverride
    same = (o.image_name == Image.name) & (o.mask_id == Cell.mask_id)
    columns = (o.image_name, o.mask_id, Image.name, Cell.mask_id)
    statement = select(*columns).join(Cell, Cell.id == o.cell_id).join(Image).where(~same)
    for name, mask_id, other, other_id in connection.execute(statement.order_by(o.id)):
        what = f"it is attached to another cell, {other}:{other_id}"
        yield Finding(
            f"override of {name}:{mask_id}", what, f"delete it and decide again, or {RESTORE}"
        )


def override_masks(connection: Connection) -> Iterator[Finding]:
    """The masks that cells are known again by."""
    o = CellOverride
    statement = select(o.image_name, o.mask_id, o.height, o.width, o.rle).order_by(o.id)
    for name, mask_id, height, width, counts in connection.execute(statement):
        if _extents([counts], height, width) == [None]:
            yield Finding(
                f"override of {name}:{mask_id}",
                "its mask cannot be decoded",
                f"delete it and decide again, or {RESTORE}",
            )


def verdict_rules(connection: Connection) -> Iterator[Finding]:
    """Verdicts that are shown with another rule than the one that their reason names."""
    verdict, by_bound = CleanSetCell, tuple(BOUND_REASONS.values())
    before_rules = [reason for reason in REASONS if reason not in by_bound]
    names_rule = or_(
        CleanRule.reason == verdict.reason,
        and_(CleanRule.reason.is_(None), verdict.reason.in_(by_bound)),
        and_(CleanRule.shown, or_(verdict.reason.is_(None), verdict.reason.in_(before_rules))),
    )
    of_verdict = and_(
        CleanRule.clean_set_id == verdict.clean_set_id, rule_applies(verdict.label_id)
    )
    is_right = func.coalesce(and_(of_verdict, names_rule), false())
    rows = CleanSetCell.__table__.join(CleanRule, CleanRule.id == verdict.rule_id)
    wrong = select(verdict.clean_set_id, func.count()).select_from(rows).where(~is_right)

    without = select(verdict.clean_set_id, verdict.label_id, func.count().label("verdicts"))
    without = without.where(verdict.rule_id.is_(None))
    grouped = without.group_by(verdict.clean_set_id, verdict.label_id).subquery("grouped")
    g = grouped.c
    of_label = and_(CleanRule.clean_set_id == g.clean_set_id, rule_applies(g.label_id))
    lacking = select(g.clean_set_id, g.verdicts).where(exists().where(of_label))

    counts = Counter[int]()
    for statement in (wrong.group_by(verdict.clean_set_id), lacking):
        for key, count in connection.execute(statement):
            counts[key] += count
    titles = select(CleanSet.id, CleanSet.name, CleanSet.version).where(CleanSet.id.in_(counts))
    for key, name, version in connection.execute(titles.order_by(CleanSet.name, CleanSet.version)):
        is_shown = count_text(counts[key], "verdict is shown", "verdicts are shown")
        what = f"{is_shown} with another rule than the reason names"
        yield Finding(f"clean set {name}@{version}", what, RESTORE)


def names(connection: Connection) -> Iterator[Finding]:
    """Texts that paths are made of."""
    images = connection.execute(select(Image.name, Image.root).order_by(Image.name)).all()
    overrides = connection.execute(select(CellOverride.image_name, CellOverride.mask_id).distinct())
    checks: list[Callable[[], object]] = [partial(decoding.image_name, name) for name, _ in images]
    checks += [
        partial(decoding.image_name, name, f"override of {name}:{i}") for name, i in overrides
    ]
    checks += [partial(decoding.file_path, name, root, "") for name, root in images]
    uris = select(Image.name, ImageFile.uri).join(ImageFile, ImageFile.image_id == Image.id)
    checks += [partial(decoding.file_path, name, "", uri) for name, uri in connection.execute(uris)]
    tried = select(FailureFile.image_name, FailureFile.uri)
    checks += [
        partial(decoding.file_path, name, "", uri) for name, uri in connection.execute(tried)
    ]
    for check in checks:
        try:
            check()
        except DamagedError as error:
            yield damage_finding(error)


def moments(connection: Connection) -> Iterator[Finding]:
    """Dates and times that cannot be read."""
    yield from map(damage_finding, decoding.damaged_moments(connection))


def masks_and_histograms(connection: Connection, *, deep: bool) -> Iterator[Finding]:
    """Masks against the columns that tell of them, and histograms against masks."""
    for first, last in checksums.pages(connection):
        within = Image.id.between(first, last)
        cells = {
            key: of_image[()]
            for key, of_image in checksums.stored_blocks(connection, Cell, within).items()
        }
        sizes = (
            select(Image.id, Image.name, Image.height, Image.width).where(within).order_by(Image.id)
        )
        for key, name, height, width in connection.execute(sizes).all():
            yield from _masks(name, cells.get(key, {}), height, width)
        if not deep:
            continue
        columns = (ImageChannel.channel, ImageChannel.histogram)
        histograms = select(Image.id, Image.name, Image.height, Image.width, *columns)
        found: Any = connection.execute(histograms.join(ImageChannel).where(within))
        for key, name, height, width, channel, packed in found:
            if not _counts_of(packed, height * width, cells.get(key, {}).get("area", ())):
                what = f"the histogram of {channel} does not match the masks"
                yield Finding(f"image {name}", what, REPLACE_IMAGE)


def _masks(name: str, cells: checksums.Columns, height: int, width: int) -> Iterator[Finding]:
    stored = list(zip(*(cells.get(column, ()) for column in rle.Extents._fields), strict=True))
    measured = _extents(cells.get("rle", ()), height, width)
    for mask_id, columns, found in zip(cells.get("mask_id", ()), stored, measured, strict=True):
        if columns != found:
            names = ", ".join(rle.Extents._fields)
            what = f"its {names} are {columns}, but its mask gives {found}"
            what = what if found else "its mask cannot be decoded"
            yield Finding(f"cell {name}:{mask_id}", what, REPLACE_IMAGE)


def _extents(counts: Sequence[Any], height: int, width: int) -> list[tuple[int, ...] | None]:
    """Area and box of each mask; None for a text that is no mask."""
    if height * width > MAX_PIXELS:
        return [None] * len(counts)
    try:
        return list(
            zip(*(column.tolist() for column in rle.extents(counts, height, width)), strict=True)
        )
    except (ValueError, TypeError):
        if len(counts) == 1:
            return [None]
        return [found for one in counts for found in _extents([one], height, width)]


def _counts_of(packed: Any, pixels: int, areas: Sequence[int]) -> bool:
    """Whether a histogram's rows count the background's pixels and each cell's."""
    try:
        counts = arrays.unpack_histogram(packed, len(areas), pixels).sum(axis=1).tolist()
    except (ValueError, TypeError):
        return False
    return bool(counts == [pixels - sum(areas), *areas])
