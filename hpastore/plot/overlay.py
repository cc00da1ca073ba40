"""One image, with the verdicts on its cells in a clean set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from hpastore.clean.outdated import warn_if_outdated
from hpastore.errors import UsageError
from hpastore.plot.canvas import (
    INK,
    KEPT,
    LineStyle,
    add_footnote,
    add_title,
    blank,
    drawing,
    fitted,
    label_name,
    line_styles,
    shortened,
)
from hpastore.render.cells import Outline, box_mask, outlines
from hpastore.render.channels import colour_picture, parse_channels, shrink
from hpastore.runtime.opencv import cv2
from hpastore.store import pixels
from hpastore.store.cell_masks import CellMask, read_image_cells, read_image_verdicts
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.rows import find_clean_set_or_newest
from hpastore.store.engine import Store
from hpastore.text import count_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEPT_WORD: Final = "kept"
NOT_JUDGED: Final = "not in the set"

_WIDE, _NARROW = 9.0, 6.0
"""Inches of a panel that is alone, and of each of several."""
_MAX_PIXELS: Final = 1500
"""Longer side of the picture."""
_ID_POINTS: Final = (4.0, 8.0)
"""Smallest and largest font of the ids, which grow with their cells."""
_COLUMNS: Final = 3
_WIDE_ENTRIES, _NARROW_ENTRIES = 3, 2
"""In one line of a legend, below a wide and a narrow panel."""
_HANDLE: Final = 44
"""Points that a legend's entry takes beside its text."""


class _Cell(NamedTuple):
    """A cell as it is drawn."""

    mask_id: int
    outlines: list[Outline]
    middle: tuple[float, float]
    """Where its id is written: x and y, in pixels of the image."""
    radius: float
    """Of the largest circle around `middle` that lies in the cell, in pixels."""


@drawing
def plot_overlay(
    store: Store,
    image: str,
    *,
    clean: str | None = None,
    label: int | str | None = None,
    channels: str = "rgb",
    gain: float = 1.0,
) -> Figure:
    """Draw an image with its cells outlined in the colour of their verdicts, and their ids.

    Parameters
    ----------
    store : Store
    image : str
        Its name.
    clean : str, optional
        A clean set, ``NAME`` or ``NAME@VERSION``; by default the newest one.
    label : int or str, optional
        Only the verdicts under this label, given by id or name.
    channels : str
        Letters such as ``rgb`` or ``rgby``, shown in HPA's colours, or one channel's name, shown in
        grey.
    gain : float
        Factor for grey levels.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each label that the clean set judged the image's cells by, with the number of
        cells by verdict; a single panel if it judged none of them.

    Raises
    ------
    NotFoundError
        If there is no such image or clean set.
    RejectedError
        If a file is missing, or has changed since it was ingested.
    UsageError
        If an argument is invalid, the image does not have this label, or Matplotlib is not
        installed.
    """
    colours = parse_channels(channels, gain)
    with store.reading() as connection:
        classes = read_classes(connection)
        label_id = None if label is None else classes.find(label)
        width, height, labels, masks = read_image_cells(connection, image)
        files = pixels.channel_files(connection, [image], colours.channels)
        found = find_clean_set_or_newest(connection, clean)
        verdicts = read_image_verdicts(connection, image, found.id) if found else []
        if found:
            warn_if_outdated(connection, found.id)
    if label_id is not None and str(label_id) not in labels.split("|"):
        raise UsageError(f"{image} has no label {label_id}; its labels are {labels or 'none'}")

    whole = colour_picture(pixels.read_pixels(files[image]), colours, (height, width))
    picture = shrink(whole, _MAX_PIXELS)
    cells = [_cell(place) for place in sorted(masks.values())]
    panels: dict[int, dict[int, str]] = {}
    for mask_id, judged_by, is_clean, reason in verdicts:
        if label_id in (None, judged_by):
            panels.setdefault(judged_by, {})[mask_id] = _verdict_text(is_clean, reason)
    texts = sorted({text for panel in panels.values() for text in panel.values()} - {KEPT_WORD})
    styles = {KEPT_WORD: (KEPT, "-"), **line_styles(texts), NOT_JUDGED: ("white", (0, (1, 1)))}

    figure, all_axes = _grid(max(1, len(panels)), height / width, len(texts) + 2)
    titles = [label_name(key, classes) for key in sorted(panels)] or [_unjudged_title(labels)]
    judged = [panels[judged_by] for judged_by in sorted(panels)] or [{}]
    for axes, panel, title in zip(all_axes, judged, titles, strict=True):
        edges = (-0.5, width - 0.5, height - 0.5, -0.5)
        axes.imshow(picture, extent=edges, interpolation="antialiased")
        axes.set_title(title, loc="left", color=INK)
        _draw(axes, cells, panel, styles, judged=found is not None)
    left = 0.15 / figure.get_size_inches()[0]
    source = f"verdicts of {found.versioned_name}" if found else "no clean set"
    add_title(figure, f"{shortened(image, 60)}: {count_text(len(cells), 'cell')}, {source}", left)
    add_footnote(figure, colours.description, left)
    return figure


def _verdict_text(clean: bool, reason: str | None) -> str:
    if reason is None:
        return KEPT_WORD
    return f"{KEPT_WORD}: {reason}" if clean else reason


def _unjudged_title(labels: str) -> str:
    return f"labels {labels}" if labels else "no label"


def _cell(place: CellMask) -> _Cell:
    """Find the place in a cell that is the farthest from its outline: its id is written there."""
    mask = np.pad(box_mask(place).astype(np.uint8), 1)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    middle = (float(place.x + column - 1), float(place.y + row - 1))
    return _Cell(place.mask_id, outlines(place), middle, float(distance.max()))


def _grid(n: int, aspect: float, entries: int) -> tuple[Figure, list[Axes]]:
    """Make panels side by side, with room for legends below."""
    wide, entries_per_line = (_WIDE, _WIDE_ENTRIES) if n == 1 else (_NARROW, _NARROW_ENTRIES)
    columns = min(n, _COLUMNS)
    rows = ceil(n / _COLUMNS)
    high = wide * aspect
    legend = 0.1 + 0.18 * ceil(entries / entries_per_line)
    edge, top, title, bottom = 0.15, 0.4, 0.25, 0.35
    width = columns * (wide + edge) + edge
    height = top + rows * (title + high + legend) + bottom
    figure = blank(width, height)
    places = []
    for i in range(n):
        row, column = divmod(i, columns)
        low = height - top - row * (title + high + legend) - title - high
        left = edge + column * (wide + edge)
        places.append(figure.add_axes((left / width, low / height, wide / width, high / height)))
    return figure, places


def _draw(
    axes: Axes,
    cells: Sequence[_Cell],
    verdicts: Mapping[int, str],
    styles: Mapping[str, LineStyle],
    *,
    judged: bool,
) -> None:
    """Draw a panel: outlines by verdict, ids, and a legend with the number of cells by verdict."""
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    axes.set_axis_off()
    halo = [Stroke(linewidth=2.8, foreground="black"), Normal()]
    texts = {cell.mask_id: verdicts.get(cell.mask_id, NOT_JUDGED) for cell in cells}
    counts = Counter(texts.values())
    handles = []
    inches = axes.get_window_extent().width / axes.figure.dpi
    entries = _WIDE_ENTRIES if inches > _NARROW else _NARROW_ENTRIES
    for text, (colour, dash) in styles.items():
        if not counts[text]:
            continue
        lines = [line for cell in cells if texts[cell.mask_id] == text for line in cell.outlines]
        _add_outlines(axes, lines, (colour, dash), text)
        n = f" ({counts[text]})"
        width = 72 * inches / entries - _HANDLE - 6 * len(n)
        entry = fitted(text if judged else "cells", width, 8) + n
        handles.append(
            Line2D(
                [], [], color=colour, linestyle=dash, linewidth=1.5, path_effects=halo, label=entry
            )
        )
    _add_ids(axes, cells, inches)
    if handles:
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0, 0),
            ncols=entries,
            frameon=False,
            borderaxespad=0.3,
        )


def _add_outlines(axes: Axes, lines: list[Outline], style: LineStyle, text: str) -> None:
    from matplotlib.collections import LineCollection

    colour, dash = style
    black = LineCollection(lines, colors="black", linewidths=2.6, label="_halo")
    bright = LineCollection(lines, colors=colour, linewidths=1.3, linestyles=[dash], label=text)
    axes.add_collection(black, autolim=False)
    axes.add_collection(bright, autolim=False)


def _add_ids(axes: Axes, cells: Sequence[_Cell], inches: float) -> None:
    from matplotlib.patheffects import Normal, Stroke

    points_per_pixel = inches * 72 / abs(np.diff(axes.get_xlim())[0])
    halo = [Stroke(linewidth=1.5, foreground="black"), Normal()]
    for cell in cells:
        size = float(np.clip(cell.radius * points_per_pixel, *_ID_POINTS))
        axes.text(
            *cell.middle,
            str(cell.mask_id),
            ha="center",
            va="center",
            color="white",
            fontsize=size,
            path_effects=halo,
        )
