"""Cells side by side, with what a clean set says of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection

from hpastore.clean.outdated import warn_if_outdated
from hpastore.errors import RejectedError, UsageError
from hpastore.kernels.definitions import SHAPE_MEASURES
from hpastore.plot.canvas import (
    DROPPED,
    FAINT,
    INK,
    KEPT,
    apart,
    blank,
    drawing,
    fitted,
    label_name,
    number,
    shortened,
)
from hpastore.render.cells import Outline, outlines
from hpastore.render.channels import Look, Picture, coloured, look, reduced
from hpastore.schema.clean_rows import Side, deciding_rule
from hpastore.store import pixels, read
from hpastore.store.cell_facts import CellMeasures, read_measures
from hpastore.store.cell_masks import CellMask, read_masks
from hpastore.store.cell_selection import (
    CellFilter,
    SelectedCell,
    cells_of_images,
    count_by_image,
    nearest_cells,
)
from hpastore.store.clean_sets.rows import FoundSet, find_clean_set_or_newest, read_clean_set
from hpastore.store.engine import Store
from hpastore.store.figures import RuleOfLabel, kept_rules
from hpastore.vocabulary import REASONS, require_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

WHICH: Final = ("all", "kept", "dropped", "below", "above", "near-lower", "near-upper", "dropped-by")

MOST: Final = 400
"""Cells of one gallery."""

_FLAGS: Final = [m.name for m in SHAPE_MEASURES if m.kind == "flag"]

_COLUMNS: Final = 6
_TILE, _GAP = 1.9, 0.15
"""Inches."""
_PIXELS: Final = 320
"""What of a tile's width is kept: a little more than its place has."""
_CHARACTERS: Final = 40
"""Of a caption's line."""
_LINE: Final = 8.5
"""Points from one line to the next."""
_PAPER: Final = 200
"""Grey level of what lies outside an image."""


class _Tile(NamedTuple):
    """A cell to be drawn."""

    subject: SelectedCell
    place: CellMask
    caption: tuple[str, ...]
    """Its name, and what else is to be said."""


class _Drawn(NamedTuple):
    """A cell's pixels, with `side` pixels of the image from its corner, and its outlines."""

    picture: Picture
    corner: tuple[int, int]
    side: int
    outlines: list[Outline]


@drawing
def plot_gallery(
    store: Store,
    *,
    clean: str | None = None,
    label: int | None = None,
    split: str | None = None,
    which: str = "all",
    rule: str | None = None,
    n: int = 24,
    seed: int = 0,
    channels: str = "rgb",
    gain: float = 1.0,
) -> Figure:
    """Draw cells side by side, each outlined, with its name, verdict and value.

    Parameters
    ----------
    store : Store
    clean : str, optional
        A clean set, ``NAME`` or ``NAME@VERSION``; by default the newest there is, of those that have judged
        the split.
    label : int, optional
        Only cells judged under this label.
    split : str, optional
        Only cells of images of this split.
    which : str
        ``all``, ``kept`` or ``dropped``; ``dropped-by`` a rule; ``below`` or ``above`` the bounds of the
        rule that their label is shown with; of these random ones.  ``near-lower`` and ``near-upper``:
        the cells on both sides of that bound that are the nearest to it, from far outside to far inside,
        which for one label is the order of their values.
    rule : str, optional
        For ``dropped-by``: the reason of the verdicts.
    n : int
        How many.
    seed : int
        Of the choice; the same seed chooses the same cells from every store of the same content.
    channels : str
        Letters such as ``rgb`` or ``rgby``, in HPA's colours, or one channel's name, in grey.
    gain : float
        What grey levels are multiplied with, the same for all cells, so that dark cells look dark.

    Returns
    -------
    matplotlib.figure.Figure
        A cell whose files are gone or have changed is a grey tile that says so.

    Raises
    ------
    UsageError
        If an argument makes no sense, there is no such split, or no clean set to choose by, or no Matplotlib.
    NotFoundError
        If there is no such clean set.

    Notes
    -----
    One image is decoded at a time, whatever the number of cells.
    """
    chosen_look = look(channels, gain)
    _check(label, which, rule, n)
    with store.reading() as connection:
        read.require_split(connection, split)
        chosen = find_clean_set_or_newest(connection, clean, split)
        rules = kept_rules(connection, chosen.id) if chosen else []
        wanted = _wanted(chosen, rules, label, which, rule)._replace(split=split)
        subjects, total = _choose(connection, wanted, which, n, seed)
        row = read_clean_set(connection, chosen.id) if chosen else None
        caption = _Caption(rules, row.min_green if row else 0, by_shown=wanted.side is not None)
        tiles = _tiles(connection, subjects, caption, one_label=label is not None)
        if chosen:
            warn_if_outdated(connection, chosen.id)
        names = sorted({subject.image_name for subject in subjects})
        files = pixels.files_of(connection, names, chosen_look.channels)
    drawn = _drawn(tiles, files, chosen_look)
    figure, places = _grid(len(tiles), max((len(tile.caption) for tile in tiles), default=0))
    for tile, result, axes in zip(tiles, drawn, places, strict=True):
        _draw(axes, tile, result)
    asked = f"{which} {rule}" if rule else which
    of = f"{chosen.versioned_name}, {asked}" if chosen else "no clean set"
    of += f", {label_name(label)}" if label is not None else ""
    of += f", split {shortened(split, _CHARACTERS)}" if split is not None else ""
    how = "" if which.startswith("near") else f", seed {seed}"
    what = "verdicts" if row and row.scope == "all" and label is None else "cells"
    _say(
        figure,
        f"{of}: {len(tiles)} of {total:,} {what}{how}",
        chosen_look,
        empty=not tiles,
        judged=bool(chosen),
    )
    return figure


def _check(label: int | None, which: str, rule: str | None, n: int) -> None:
    if label is not None:
        require_label(label)
    if which not in WHICH:
        raise UsageError(f"no cells {which!r}; there are {', '.join(WHICH)}")
    if (which == "dropped-by") != (rule is not None):
        raise UsageError("dropped-by takes the name of a rule, as in: --which dropped-by below_lower")
    if not 1 <= n <= MOST:
        raise UsageError(f"a gallery has 1 to {MOST} cells, not {n}")


def _wanted(
    chosen: FoundSet | None,
    rules: Sequence[RuleOfLabel],
    label: int | None,
    which: str,
    rule: str | None,
) -> CellFilter:
    """Say which cells are asked for."""
    if chosen is None:
        if which != "all":
            raise UsageError(f"no clean set to tell which cells are {which}; make one: hpastore clean create")
        return CellFilter(label=label)
    wanted = CellFilter(chosen.id, label)
    if which in ("kept", "dropped"):
        return wanted._replace(clean=which == "kept")
    if which == "dropped-by":
        own = sorted({r.reason for r in rules if r.reason})
        if rule not in REASONS and rule not in own:
            there = ", ".join([*REASONS, *own])
            raise UsageError(f"{chosen.versioned_name} has no rule {rule!r}; its reasons are {there}")
        return wanted._replace(clean=False, reason=rule)
    if which != "all":
        side: Side = "lower" if which in ("below", "near-lower") else "upper"
        return wanted._replace(side=side, rules=tuple(rules))
    return wanted


def _choose(
    connection: Connection, wanted: CellFilter, which: str, n: int, seed: int
) -> tuple[list[SelectedCell], int]:
    """Choose cells, and count those there are."""
    if which.startswith("near"):
        outside = nearest_cells(connection, wanted, n)
        inside = nearest_cells(connection, wanted._replace(outside=False), n)
        few = min(len(outside), max(n // 2, n - len(inside)))
        ordered = [*reversed(outside[:few]), *inside[: n - few]]
        total = sum(
            count
            for side in (True, False)
            for _, count in count_by_image(connection, wanted._replace(outside=side))
        )
        return ordered if wanted.side == "lower" else ordered[::-1], total
    counts = count_by_image(connection, wanted)
    ends = list(accumulate(count for _, count in counts))
    total = ends[-1] if ends else 0
    places = sorted(Random(seed).sample(range(total), min(n, total)))  # noqa: S311 no secret
    images = np.searchsorted(ends, places, side="right").tolist()
    names = [counts[image][0] for image in images]
    found: dict[str, list[SelectedCell]] = {}
    for subject in cells_of_images(connection, wanted, sorted(set(names))):
        found.setdefault(subject.image_name, []).append(subject)
    begins = [0, *ends]
    return [found[counts[i][0]][place - begins[i]] for i, place in zip(images, places, strict=True)], total


def _tiles(
    connection: Connection,
    subjects: Sequence[SelectedCell],
    caption: _Caption,
    *,
    one_label: bool,
) -> list[_Tile]:
    cells = sorted({subject.cell_id for subject in subjects})
    places = read_masks(connection, cells)
    values = read_measures(connection, cells)
    tiles = []
    for subject in subjects:
        cell = f":{subject.mask_id}"
        name = shortened(subject.image_name, _CHARACTERS - len(cell)) + cell
        said = [name, "" if one_label else _label(subject), _verdict(subject)]
        said += caption.lines(subject, values[subject.cell_id])
        tiles.append(_Tile(subject, places[subject.cell_id], tuple(filter(None, said))))
    return tiles


def _label(subject: SelectedCell) -> str:
    return label_name(subject.label_id) if subject.label_id is not None else f"labels {subject.labels or '-'}"


def _verdict(subject: SelectedCell) -> str:
    if subject.clean is None:
        return ""
    word = "kept" if subject.clean else "dropped"
    return f"{word}: {subject.reason}" if subject.reason else word


@dataclass(frozen=True)
class _Caption:
    """Says by which value a cell got its verdict.

    Parameters
    ----------
    rules
        Of the clean set, with their bounds.
    min_green
        Its dark limit.
    by_shown
        Whether the cells were chosen by the rule that their label is shown with, whatever dropped them.
    """

    rules: Sequence[RuleOfLabel]
    min_green: int
    by_shown: bool

    def lines(self, subject: SelectedCell, values: CellMeasures) -> list[str]:
        """Name the measure that decided about a cell, its value and the bounds."""
        if subject.clean is None:
            return [f"green fraction {number(values['fraction', 'green'])}"]
        rule = self._rule(subject)
        if rule is None or rule.measure in _FLAGS:
            return []
        what = f"{rule.channel} {rule.measure}" if rule.channel else rule.measure
        lies = _against(values.get((rule.measure, rule.channel)), rule)
        return [f"{what} {lies}"] if len(what) + len(lies) < _CHARACTERS else [what, lies]

    def _rule(self, subject: SelectedCell) -> RuleOfLabel | None:
        """Find the rule that a verdict names, or else the one that is shown."""
        mine = [rule for rule in self.rules if rule.label_id == subject.label_id]
        if subject.reason == "dark" and not self.by_shown:
            return _dark_limit(subject, self.min_green)
        return deciding_rule(mine, None if self.by_shown else subject.reason)


def _dark_limit(subject: SelectedCell, min_green: int) -> RuleOfLabel:
    """Write the dark limit as a rule."""
    label = subject.label_id or 0
    return RuleOfLabel(label, "intensity_max", "green", "dark", None, False, min_green, None)


def _against(value: float | None, rule: RuleOfLabel) -> str:
    """How a value lies to a rule's bounds."""
    lower, upper = rule.lower, rule.upper
    if value is None:
        return "has no value"
    if lower is not None and value < lower:
        return " < ".join(apart(value, lower))
    if upper is not None and value > upper:
        return " > ".join(apart(value, upper))
    if lower is not None and upper is not None:
        return f"{number(value)} in {number(lower)}..{number(upper)}"
    if lower is not None:
        return f"{number(value)} ≥ {number(lower)}"
    return number(value) if upper is None else f"{number(value)} ≤ {number(upper)}"


def _drawn(
    tiles: Sequence[_Tile], files: Mapping[str, list[pixels.StoredFile]], chosen: Look
) -> list[_Drawn | str]:
    """Cut the cells out of their images, one image after the other; or say why one cannot be."""
    drawn: dict[int, _Drawn | str] = {}
    for name in sorted({tile.subject.image_name for tile in tiles}):
        mine = [i for i, tile in enumerate(tiles) if tile.subject.image_name == name]
        try:
            picture = coloured(pixels.read_pixels(files[name]), chosen)
        except RejectedError as error:
            logger.warning("%s", error)
            drawn |= dict.fromkeys(mine, _trouble(error))
        else:
            drawn |= {i: _cut(picture, tiles[i].place) for i in mine}
    return [drawn[i] for i in range(len(tiles))]


def _trouble(error: RejectedError) -> str:
    known = {"missing_file": "file is gone", "changed": "file has changed"}
    return known.get(error.code, "file cannot be read")


def _cut(picture: Picture, place: CellMask) -> _Drawn:
    """Cut a square around a cell; what lies outside the image is grey."""
    side = max(place.width, place.height)
    side += 2 * max(4, side // 12)
    x, y = place.x + (place.width - side) // 2, place.y + (place.height - side) // 2
    tile = np.full((side, side, 3), _PAPER, np.uint8)
    height, width = picture.shape[:2]
    rows, columns = slice(max(y, 0), min(y + side, height)), slice(max(x, 0), min(x + side, width))
    tile[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = picture[rows, columns]
    return _Drawn(reduced(tile, _PIXELS), (x, y), side, outlines(place))


def _grid(n: int, lines: int) -> tuple[Figure, list[Axes]]:
    """Make a place for each tile, from the top left."""
    columns, rows = _COLUMNS, max(1, ceil(n / _COLUMNS))
    edge, top, bottom = 0.15, 0.4, 0.3
    caption = (4 + _LINE * lines) / 72 + _GAP
    width = columns * (_TILE + _GAP) - _GAP + 2 * edge
    height = top + rows * (_TILE + caption) + bottom
    figure = blank(width, height)
    places = []
    for i in range(n):
        row, column = divmod(i, columns)
        left, low = edge + column * (_TILE + _GAP), height - top - row * (_TILE + caption) - _TILE
        places.append(figure.add_axes((left / width, low / height, _TILE / width, _TILE / height)))
    return figure, places


def _draw(axes: Axes, tile: _Tile, drawn: _Drawn | str) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import Normal, Stroke

    axes.set_xticks([])
    axes.set_yticks([])
    if isinstance(drawn, str):
        axes.set_facecolor(str(_PAPER / 255))
        axes.text(0.5, 0.5, drawn, transform=axes.transAxes, ha="center", va="center", color=INK)
    else:
        (x, y), side = drawn.corner, drawn.side
        edges = (x - 0.5, x + side - 0.5, y + side - 0.5, y - 0.5)
        axes.imshow(drawn.picture, extent=edges, interpolation="antialiased", aspect="auto")
        halo = [Stroke(linewidth=2.2, foreground="black"), Normal()]
        axes.add_collection(
            LineCollection(drawn.outlines, colors="white", linewidths=0.8, path_effects=halo), autolim=False
        )
        axes.set_xlim(*edges[:2])
        axes.set_ylim(*edges[2:])
        box = {"facecolor": "black", "linewidth": 0, "pad": 1}
        size = f"{side} px"
        axes.text(
            0.98, 0.03, size, transform=axes.transAxes, ha="right", color="white", fontsize=5.5, bbox=box
        )
    frame = FAINT if tile.subject.clean is None else KEPT if tile.subject.clean else DROPPED
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, linewidth=2)
    for line, text in enumerate(tile.caption):
        points, family = (5.6, "DejaVu Sans Mono") if line == 0 else (6.0, "DejaVu Sans")
        axes.annotate(
            fitted(text, 72 * (_TILE + _GAP) - 4, points, family),
            (0, 0),
            xytext=(0, -4 - _LINE * line),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=points,
            family=family,
            color=INK,
        )


def _say(figure: Figure, title: str, chosen: Look, *, empty: bool, judged: bool) -> None:
    width, height = figure.get_size_inches()
    figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", fontsize=10, color=INK)
    frames = "blue frame: kept, orange: dropped; " if judged else ""
    note = f"{chosen.words}, the same for all; {frames}px: width of the tile"
    figure.text(0.15 / width, 0.1 / height, note, fontsize=7, color=FAINT)
    if empty:
        figure.text(0.5, 0.5, "no such cell", ha="center", va="center", fontsize=12, color=FAINT)
