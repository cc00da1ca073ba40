"""Cells side by side, with their verdicts in a clean set."""

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

from hpastore.arguments import require_choice
from hpastore.classes import Classes
from hpastore.clean.outdated import warn_if_outdated
from hpastore.errors import RejectedError, UsageError
from hpastore.kernels.definitions import SHAPE_MEASURES
from hpastore.plot.canvas import (
    DROPPED,
    FAINT,
    INK,
    KEPT,
    add_footnote,
    add_no_cells,
    add_title,
    blank,
    distinct_number_texts,
    drawing,
    fitted,
    label_name,
    number_text,
    shortened,
)
from hpastore.render.cells import Outline, outlines
from hpastore.render.channels import (
    ColourMap,
    Picture,
    colour_picture,
    parse_channels,
    shrink,
)
from hpastore.schema.clean_rows import Side, deciding_rule
from hpastore.store import pixels, roots_and_splits
from hpastore.store.cell_facts import CellMeasures, read_measures
from hpastore.store.cell_masks import CellMask, read_masks
from hpastore.store.cell_selection import (
    CellFilter,
    SelectedCell,
    cells_of_images,
    count_by_image,
    nearest_cells,
)
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.rows import FoundSet, find_clean_set_or_newest, read_clean_set
from hpastore.store.engine import Store
from hpastore.store.figures import RuleOfLabel, kept_rules
from hpastore.vocabulary import REASONS, Which

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

MAX_CELLS: Final = 400
"""In one gallery."""

_FLAGS: Final = [m.name for m in SHAPE_MEASURES if m.kind == "flag"]

_COLUMNS: Final = 6
_TILE, _GAP = 1.9, 0.15
"""Inches."""
_PIXELS: Final = 320
"""Width of a tile: a little more than the figure shows."""
_MAX_CHARACTERS: Final = 40
"""Of a caption's line."""
_LINE_HEIGHT: Final = 8.5
"""Points from one line of a caption to the next."""
_OUTSIDE: Final = 200
"""Grey level of a tile where it reaches beyond its image."""


class _Tile(NamedTuple):
    """A cell to be drawn."""

    subject: SelectedCell
    place: CellMask
    caption: tuple[str, ...]
    """Lines: its name, label, verdict and value."""


class _Drawn(NamedTuple):
    """A square around a cell: its pixels, its corner and side in the image, and the outlines."""

    picture: Picture
    corner: tuple[int, int]
    side: int
    outlines: list[Outline]


@drawing
def plot_gallery(
    store: Store,
    *,
    clean: str | None = None,
    label: int | str | None = None,
    split: str | None = None,
    which: Which = "all",
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
        A clean set, ``NAME`` or ``NAME@VERSION``; by default the newest one that judged the split.
    label : int or str, optional
        Only cells judged under this label, given by id or name.
    split : str, optional
        Only cells of images of this split.
    which : str
        Which cells to choose from at random: ``all``, ``kept`` or ``dropped``; those ``dropped-by``
        a rule; those ``below`` or ``above`` the bounds of the rule that their label is shown with.
        ``near-lower`` and ``near-upper`` show the cells nearest to that bound on both sides of it,
        from far outside to far inside; for one label this is the order of their values.
    rule : str, optional
        For ``dropped-by``: the reason of the verdicts.
    n : int
        Number of cells.
    seed : int
        For the random choice; the same seed chooses the same cells from all stores with the same
        content.
    channels : str
        Letters such as ``rgb`` or ``rgby``, shown in HPA's colours, or one channel's name, shown in
        grey.
    gain : float
        Factor for grey levels, the same for all cells, so that dark cells look dark.

    Returns
    -------
    matplotlib.figure.Figure
        A cell whose files are missing or have changed is a grey tile with a note; a channel that
        its image does not have is black.

    Raises
    ------
    UsageError
        If an argument is invalid, there is no such label or split, `which` needs a clean set and
        there is none, or Matplotlib is not installed.
    NotFoundError
        If there is no such clean set.

    Notes
    -----
    Only one image at a time is held in memory.
    """
    colours = parse_channels(channels, gain)
    _check(which, rule, n)
    with store.reading() as connection:
        classes = read_classes(connection)
        label_id = None if label is None else classes.find(label)
        roots_and_splits.require_split(connection, split)
        found = find_clean_set_or_newest(connection, clean, split)
        rules = kept_rules(connection, found.id, classes) if found else []
        wanted = _wanted(found, rules, label_id, which, rule)._replace(split=split)
        subjects, total = _choose(connection, wanted, which, n, seed)
        row = read_clean_set(connection, found.id) if found else None
        limit = row.min_green if row else 0
        caption = _Caption(rules, classes, limit, by_shown=wanted.side is not None)
        tiles = _tiles(connection, subjects, caption, one_label=label_id is not None)
        if found:
            warn_if_outdated(connection, found.id)
        names = sorted({subject.image_name for subject in subjects})
        files = pixels.channel_files(connection, names, colours.channels)

    drawn = _drawn(tiles, files, colours)
    figure, places = _grid(len(tiles), max((len(tile.caption) for tile in tiles), default=0))
    for tile, result, axes in zip(tiles, drawn, places, strict=True):
        _draw(axes, tile, result)

    parts = [
        f"{found.versioned_name}, {f'{which} {rule}' if rule else which}"
        if found
        else "no clean set"
    ]
    if label_id is not None:
        parts.append(label_name(label_id, classes))
    if split is not None:
        parts.append(f"split {shortened(split, _MAX_CHARACTERS)}")
    counts_verdicts = row is not None and row.scope == "all" and label_id is None
    count = f"{len(tiles)} of {total:,} {'verdicts' if counts_verdicts else 'cells'}"
    chosen_by = "" if which.startswith("near") else f", seed {seed}"
    _add_texts(figure, f"{', '.join(parts)}: {count}{chosen_by}", colours, judged=found is not None)
    if not tiles:
        add_no_cells(figure)
    return figure


def _check(which: Which, rule: str | None, n: int) -> None:
    require_choice(which, Which, "which")
    if (which == "dropped-by") != (rule is not None):
        raise UsageError(
            "dropped-by takes the name of a rule, as in: --which dropped-by below_lower"
        )
    if not 1 <= n <= MAX_CELLS:
        raise UsageError(f"a gallery has 1 to {MAX_CELLS} cells, not {n}")


def _wanted(
    chosen: FoundSet | None,
    rules: Sequence[RuleOfLabel],
    label: int | None,
    which: Which,
    rule: str | None,
) -> CellFilter:
    """Translate the arguments into a query's conditions."""
    if chosen is None:
        if which != "all":
            raise UsageError(
                f"--which {which} needs a clean set; make one with: hpastore clean create NAME"
            )
        return CellFilter(label=label)
    wanted = CellFilter(chosen.id, label)
    if which in ("kept", "dropped"):
        return wanted._replace(clean=which == "kept")
    if which == "dropped-by":
        names = sorted({r.reason for r in rules if r.reason})
        if rule not in REASONS and rule not in names:
            reasons = ", ".join([*REASONS, *names])
            raise UsageError(
                f"{chosen.versioned_name} has no rule {rule!r}; its reasons are {reasons}"
            )
        return wanted._replace(clean=False, reason=rule)
    if which != "all":
        side: Side = "lower" if which in ("below", "near-lower") else "upper"
        return wanted._replace(side=side, rules=tuple(rules))
    return wanted


def _choose(
    connection: Connection, wanted: CellFilter, which: Which, n: int, seed: int
) -> tuple[list[SelectedCell], int]:
    """Choose cells, and count all that could be chosen."""
    if which.startswith("near"):
        return _nearest(connection, wanted, n)
    return _random(connection, wanted, n, seed)


def _nearest(connection: Connection, wanted: CellFilter, n: int) -> tuple[list[SelectedCell], int]:
    """Choose the cells nearest to a bound, half of them outside of it if there are enough."""
    is_outside = wanted._replace(outside=True)
    is_inside = wanted._replace(outside=False)
    outside = nearest_cells(connection, is_outside, n)
    inside = nearest_cells(connection, is_inside, n)
    n_outside = min(len(outside), max(n // 2, n - len(inside)))
    ordered = [*reversed(outside[:n_outside]), *inside[: n - n_outside]]
    if wanted.side == "upper":
        ordered.reverse()
    total = _count(connection, is_outside) + _count(connection, is_inside)
    return ordered, total


def _count(connection: Connection, wanted: CellFilter) -> int:
    return sum(count for _, count in count_by_image(connection, wanted))


def _random(
    connection: Connection, wanted: CellFilter, n: int, seed: int
) -> tuple[list[SelectedCell], int]:
    """Choose random cells by their numbers, and read only images with a chosen cell."""
    counts = count_by_image(connection, wanted)
    ends = list(accumulate(count for _, count in counts))
    total = ends[-1] if ends else 0
    chosen = sorted(Random(seed).sample(range(total), min(n, total)))  # noqa: S311 no secret
    images = np.searchsorted(ends, chosen, side="right").tolist()
    names = sorted({counts[image][0] for image in images})
    of_image: dict[str, list[SelectedCell]] = {}
    for subject in cells_of_images(connection, wanted, names):
        of_image.setdefault(subject.image_name, []).append(subject)
    begins = [0, *ends]
    subjects = []
    for cell, image in zip(chosen, images, strict=True):
        name = counts[image][0]
        subjects.append(of_image[name][cell - begins[image]])
    return subjects, total


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
        name = shortened(subject.image_name, _MAX_CHARACTERS - len(cell)) + cell
        lines = [name, "" if one_label else caption.label(subject), _verdict(subject)]
        lines += caption.value_lines(subject, values[subject.cell_id])
        tiles.append(_Tile(subject, places[subject.cell_id], tuple(filter(None, lines))))
    return tiles


def _verdict(subject: SelectedCell) -> str:
    if subject.clean is None:
        return ""
    word = "kept" if subject.clean else "dropped"
    return f"{word}: {subject.reason}" if subject.reason else word


@dataclass(frozen=True)
class _Caption:
    """Writes the value that gave a cell its verdict.

    Parameters
    ----------
    rules
        Of the clean set, with their bounds.
    classes
        Those of the store.
    min_green
        The clean set's limit for dark cells.
    by_shown
        Whether to write the value of the rule that a label is shown with, whatever rule dropped the
        cell.
    """

    rules: Sequence[RuleOfLabel]
    classes: Classes
    min_green: int
    by_shown: bool

    def label(self, subject: SelectedCell) -> str:
        """Name the label that a cell is shown under, or all of its image."""
        if subject.label_id is None:
            return f"labels {subject.labels or '-'}"
        return label_name(subject.label_id, self.classes)

    def value_lines(self, subject: SelectedCell, values: CellMeasures) -> list[str]:
        """Name the measure that decided about a cell, its value and the bounds."""
        if subject.clean is None:
            return [f"green fraction {number_text(values['fraction', 'green'])}"]
        rule = self._rule(subject)
        if rule is None or rule.measure in _FLAGS:
            return []
        what = f"{rule.channel} {rule.measure}" if rule.channel else rule.measure
        if not self.by_shown:
            rule = _with_own_bounds(rule, subject)
        comparison = _comparison(values.get((rule.measure, rule.channel)), rule)
        if len(what) + len(comparison) < _MAX_CHARACTERS:
            return [f"{what} {comparison}"]
        return [what, comparison]

    def _rule(self, subject: SelectedCell) -> RuleOfLabel | None:
        """Find the rule that a verdict names, or else the one that its label is shown with."""
        rules = [rule for rule in self.rules if rule.label_id == subject.label_id]
        if subject.reason == "dark" and not self.by_shown:
            return _dark_limit(subject, self.min_green)
        return deciding_rule(rules, None if self.by_shown else subject.reason)


def _with_own_bounds(rule: RuleOfLabel, subject: SelectedCell) -> RuleOfLabel:
    """Give a rule the bounds of a cell's image or group."""
    if subject.lower is None and subject.upper is None:
        return rule
    return rule._replace(lower=subject.lower, upper=subject.upper)


def _dark_limit(subject: SelectedCell, min_green: int) -> RuleOfLabel:
    """Express the limit for dark cells as a rule."""
    label = subject.label_id or 0
    return RuleOfLabel(label, "intensity_max", "green", "dark", None, False, min_green, None)


def _comparison(value: float | None, rule: RuleOfLabel) -> str:
    """Compare a value with a rule's bounds: ``0.2 < 0.3``."""
    lower = rule.lower
    upper = rule.upper
    if value is None:
        return "has no value"
    if lower is not None and value < lower:
        return " < ".join(distinct_number_texts(value, lower))
    if upper is not None and value > upper:
        return " > ".join(distinct_number_texts(value, upper))
    if lower is not None and upper is not None:
        return f"{number_text(value)} in {number_text(lower)}..{number_text(upper)}"
    if lower is not None:
        return f"{number_text(value)} ≥ {number_text(lower)}"
    return number_text(value) if upper is None else f"{number_text(value)} ≤ {number_text(upper)}"


def _drawn(
    tiles: Sequence[_Tile], files: Mapping[str, list[pixels.StoredFile]], colours: ColourMap
) -> list[_Drawn | str]:
    """Cut the cells out, one image after the other; a text tells why a cell cannot be shown."""
    drawn: dict[int, _Drawn | str] = {}
    for name in sorted({tile.subject.image_name for tile in tiles}):
        in_image = [i for i, tile in enumerate(tiles) if tile.subject.image_name == name]
        place = tiles[in_image[0]].place
        shape = (place.image_height, place.image_width)
        try:
            picture = colour_picture(pixels.read_pixels(files[name]), colours, shape)
        except RejectedError as error:
            logger.warning("%s", error)
            drawn |= dict.fromkeys(in_image, _short_reason(error))
        else:
            drawn |= {i: _cut(picture, tiles[i].place) for i in in_image}
    return [drawn[i] for i in range(len(tiles))]


def _short_reason(error: RejectedError) -> str:
    reasons = {"missing_file": "file is missing", "changed": "file has changed"}
    return reasons.get(error.code, "file cannot be read")


def _cut(picture: Picture, place: CellMask) -> _Drawn:
    """Cut a square around a cell; it is grey where it reaches beyond the image."""
    side = max(place.width, place.height)
    side += 2 * max(4, side // 12)
    x = place.x + (place.width - side) // 2
    y = place.y + (place.height - side) // 2
    tile = np.full((side, side, 3), _OUTSIDE, np.uint8)
    height, width = picture.shape[:2]
    rows = slice(max(y, 0), min(y + side, height))
    columns = slice(max(x, 0), min(x + side, width))
    tile[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = picture[
        rows, columns
    ]
    return _Drawn(shrink(tile, _PIXELS), (x, y), side, outlines(place))


def _grid(n: int, lines: int) -> tuple[Figure, list[Axes]]:
    """Make a place for each tile, from the top left."""
    rows = max(1, ceil(n / _COLUMNS))
    edge, top, bottom = 0.15, 0.4, 0.3
    caption = (4 + _LINE_HEIGHT * lines) / 72 + _GAP
    width = _COLUMNS * (_TILE + _GAP) - _GAP + 2 * edge
    height = top + rows * (_TILE + caption) + bottom
    figure = blank(width, height)
    places = []
    for i in range(n):
        row, column = divmod(i, _COLUMNS)
        left = edge + column * (_TILE + _GAP)
        low = height - top - row * (_TILE + caption) - _TILE
        places.append(figure.add_axes((left / width, low / height, _TILE / width, _TILE / height)))
    return figure, places


def _draw(axes: Axes, tile: _Tile, drawn: _Drawn | str) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import Normal, Stroke

    axes.set_xticks([])
    axes.set_yticks([])
    if isinstance(drawn, str):
        axes.set_facecolor(str(_OUTSIDE / 255))
        axes.text(0.5, 0.5, drawn, transform=axes.transAxes, ha="center", va="center", color=INK)
    else:
        (x, y), side = drawn.corner, drawn.side
        edges = (x - 0.5, x + side - 0.5, y + side - 0.5, y - 0.5)
        axes.imshow(drawn.picture, extent=edges, interpolation="antialiased", aspect="auto")
        halo = [Stroke(linewidth=2.2, foreground="black"), Normal()]
        axes.add_collection(
            LineCollection(drawn.outlines, colors="white", linewidths=0.8, path_effects=halo),
            autolim=False,
        )
        axes.set_xlim(*edges[:2])
        axes.set_ylim(*edges[2:])
        box = {"facecolor": "black", "linewidth": 0, "pad": 1}
        size = f"{side} px"
        axes.text(
            0.98,
            0.03,
            size,
            transform=axes.transAxes,
            ha="right",
            color="white",
            fontsize=5.5,
            bbox=box,
        )
    frame = FAINT if tile.subject.clean is None else KEPT if tile.subject.clean else DROPPED
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, linewidth=2)
    for line, text in enumerate(tile.caption):
        points, family = (5.6, "DejaVu Sans Mono") if line == 0 else (6.0, "DejaVu Sans")
        axes.annotate(
            fitted(text, 72 * (_TILE + _GAP) - 4, points, family),
            (0, 0),
            xytext=(0, -4 - _LINE_HEIGHT * line),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=points,
            family=family,
            color=INK,
        )


def _add_texts(figure: Figure, title: str, colours: ColourMap, *, judged: bool) -> None:
    left = 0.15 / figure.get_size_inches()[0]
    add_title(figure, title, left)
    frames = "blue frame: kept, orange: dropped; " if judged else ""
    note = f"{colours.description}, the same for all; {frames}px: width of the tile"
    add_footnote(figure, note, left)
