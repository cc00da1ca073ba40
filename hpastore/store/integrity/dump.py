"""The store's content in natural keys: equal for two stores that hold the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable
from typing import Any, Final

from sqlalchemy import Connection, func, select

from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellMeasure,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    CleanSetThreshold,
    Failure,
    FailureFile,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    ImageMeasure,
    Label,
    Measure,
    StoredSettings,
)
from hpastore.schema.views import VIEWS
from hpastore.store import arrays
from hpastore.store.engine import Store
from hpastore.store.read import stream


def dump(store: Store) -> Generator[str]:
    r"""Give everything that two stores of the same inputs have in common, as lines of text.

    Surrogate keys, runs, moments, modification times, roots, checksums and messages are left out;
    so are measurement settings that no image uses.  Whole numbers are decimal, real ones C99 hexadecimal,
    text is JSON, a histogram is the SHA-256 of its counts, NULL is ``\N``; tabs separate them.

    Parameters
    ----------
    store : Store

    Yields
    ------
    str
        A heading per table and view, its rows by their natural keys, and last ``sha256`` and the sum of
        all lines before.
    """
    digest = hashlib.sha256()
    with store.reading() as connection:
        for line in _lines(connection):
            digest.update(f"{line}\n".encode())
            yield line
    yield f"sha256\t{digest.hexdigest()}"


def _lines(connection: Connection) -> Generator[str]:
    for name, statement, keys in (*_tables(), *_views()):
        yield f"{name}: {', '.join(column.name for column in statement.selected_columns)}"
        ordered = statement.order_by(*(statement.selected_columns[key] for key in keys))
        for row in stream(connection, ordered):
            yield "\t".join((name, *(_text(value, row) for value in row)))


def _text(value: Any, row: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, bytes | memoryview):
        counts = arrays.inflated(bytes(value), f"image {row.image}")  # packed, it depends on zlib's version
        return hashlib.sha256(counts).hexdigest()
    return str(int(value))


def _tables() -> Iterable[tuple[str, AnySelect, tuple[str, ...]]]:
    """Name, statement and natural key of each table."""
    image, of_set = Image.name.label("image"), (CleanSet.name.label("clean_set"), CleanSet.version)
    shapes = [getattr(Cell, measure.name) for measure in SHAPE_MEASURES]
    levels = [getattr(CellChannel, measure.name) for measure in CHANNEL_MEASURES]
    place = CleanRule.position.label("rule")
    said = (
        *(CleanRule.measure, CleanRule.channel, CleanRule.reason, CleanRule.condition, CleanRule.shown),
        *(CleanRule.lower_percentile, CleanRule.lower_value, CleanRule.lower_median),
        *(CleanRule.upper_percentile, CleanRule.upper_value, CleanRule.upper_median),
    )
    decided = (CellOverride.keep, CellOverride.score, CellOverride.author, CellOverride.comment)
    yield "label", select(Label.id, Label.name), ("id",)
    yield (
        "image",
        select(
            *(Image.name, Image.split, Image.width, Image.height, Image.bit_depth, Image.labels),
            *(Image.label_count, Image.cell_count, Image.gone_at.is_not(None).label("gone")),
            *(StoredSettings.background_percentile, StoredSettings.version),
        ).join(StoredSettings),
        ("name",),
    )
    yield (
        "image_file",
        select(image, ImageFile.role, ImageFile.uri, ImageFile.size, ImageFile.sha256).join(Image),
        ("image", "role"),
    )
    yield "image_label", select(image, ImageLabel.label_id).join(Image), ("image", "label_id")
    yield (
        "image_channel",
        select(image, ImageChannel.channel, ImageChannel.background_level, ImageChannel.histogram).join(
            Image
        ),
        ("image", "channel"),
    )
    yield "cell", select(image, Cell.mask_id, *shapes, Cell.rle).join(Image), ("image", "mask_id")
    yield (
        "cell_channel",
        select(image, Cell.mask_id, CellChannel.channel, *levels)
        .select_from(CellChannel)
        .join(Cell)
        .join(Image),
        ("image", "mask_id", "channel"),
    )
    yield "failure", select(Failure.image_name, Failure.uri, Failure.code), ("image_name",)
    yield (
        "failure_file",
        select(FailureFile.image_name, FailureFile.role, FailureFile.uri, FailureFile.size),
        ("image_name", "role"),
    )
    yield (
        "clean_set",
        select(
            *of_set,
            CleanSet.scope,
            CleanSet.split,
            CleanSet.min_green,
            CleanSet.recipe_toml,
            CleanSet.frozen,
            CleanSet.min_cells,
            CleanSet.guard,
            CleanSet.background_percentile,
        ),
        ("clean_set", "version"),
    )
    yield (
        "clean_rule",
        select(*of_set, place, _every(CleanRule.label_id), *said).select_from(CleanRule).join(CleanSet),
        ("clean_set", "version", "rule", "label_id"),
    )
    kept = CleanSetThreshold
    yield (
        "clean_set_threshold",
        select(*of_set, place, kept.label_id, kept.n, kept.lower, kept.upper)
        .select_from(kept)
        .join(CleanSet)
        .join(CleanRule, CleanRule.id == kept.rule_id),
        ("clean_set", "version", "rule", "label_id"),
    )
    yield (
        "clean_set_cell",
        select(*of_set, image, Cell.mask_id, CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason)
        .select_from(CleanSetCell)
        .join(CleanSet)
        .join(Cell)
        .join(Image),
        ("clean_set", "version", "image", "mask_id", "label_id"),
    )
    former = CleanSetFormer
    yield (
        "clean_set_former",
        select(*of_set, former.image_name, former.mask_id, former.label_id, former.clean, former.reason).join(
            CleanSet
        ),
        ("clean_set", "version", "image_name", "mask_id", "label_id"),
    )
    o = CellOverride
    yield (
        "cell_override",
        select(
            *(o.image_name, o.mask_id, _every(o.label_id), o.rle, *decided),
            o.cell_id.is_not(None).label("attached"),
        ),
        ("image_name", "mask_id", "label_id", "rle"),
    )
    yield "measure", select(Measure.name, Measure.kind, Measure.unit, Measure.comment), ("name",)
    yield (
        "image_measure",
        select(image, ImageMeasure.measure, ImageMeasure.version).join(Image),
        ("image", "measure"),
    )
    yield (
        "cell_measure",
        select(image, Cell.mask_id, Measure.name, CellMeasure.channel, CellMeasure.value)
        .select_from(CellMeasure)
        .join(Cell)
        .join(Image)
        .join(Measure, Measure.id == CellMeasure.measure_id),
        ("image", "mask_id", "name", "channel"),
    )


def _every(label_id: Any) -> Any:
    """A label, or -1 for every label: databases differ on where NULL sorts."""
    return func.coalesce(label_id, -1).label("label_id")


_SURROGATES: Final = frozenset({"image_id", "cell_id", "clean_set_id", "rule_id"})

_VIEW_KEYS: Final = {
    "cell_stats": ("image_name", "mask_id"),
    "cell_size": ("image_name", "mask_id", "label_id"),
    "label_threshold": ("clean_set", "version", "rule", "label_id"),
    "clean_cell": ("clean_set", "version", "image_name", "mask_id", "label_id"),
    "label_summary": ("label_id",),
    "image_summary": ("image_name",),
}


def _views() -> Iterable[tuple[str, AnySelect, tuple[str, ...]]]:
    """Name, statement and natural key of each view."""
    for view in VIEWS:
        columns = [column for column in view.table.c if column.name not in _SURROGATES]
        yield view.table.name, select(*columns), _VIEW_KEYS[view.table.name]
