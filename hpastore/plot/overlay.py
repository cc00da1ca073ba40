"""One image, with what a clean set says of its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from hpastore.clean.outdated import warn_if_outdated
from hpastore.errors import UsageError
from hpastore.plot.canvas import FAINT, INK, KEPT, blank, drawing, fitted, label_name, lines_of, shortened
from hpastore.render.cells import Outline, mask_of, outlines
from hpastore.render.channels import coloured, look, reduced
from hpastore.runtime.opencv import cv2
from hpastore.store import pixels
from hpastore.store.cell_masks import CellMask, read_image_cells, read_image_verdicts
from hpastore.store.clean_sets.rows import find_clean_set_or_newest
from hpastore.store.engine import Store
from hpastore.vocabulary import require_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEPT_WORD: Final = "kept"
NOT_JUDGED: Final = "not in the set"

_WIDTH, _NARROW = 9.0, 6.0
"""Inches of one panel, and of each of several."""
_PIXELS: Final = 1500
_ID_POINTS: Final = (4.0, 8.0)
"""Size of the ids, by that of the cells."""
_COLUMNS: Final = 3
_ENTRIES, _FEW = 3, 2
"""Of a line of a legend, of one panel and of each of several."""
_HANDLE: Final = 44
"""Points that an entry takes beside its text."""


class _Cell(NamedTuple):
    """A cell as it is drawn: where its id stands, and what is free around that, in pixels of the image."""

    mask_id: int
    outlines: list[Outline]
    middle: tuple[float, float]
    room: float


@drawing
def plot_overlay(
    store: Store,
    image: str,
    *,
    clean: str | None = None,
    label: int | None = None,
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
        A clean set, ``NAME`` or ``NAME@VERSION``; by default the newest there is.
    label : int, optional
        Only the verdicts under this label.
    channels : str
        Letters such as ``rgb`` or ``rgby``, in HPA's colours, or one channel's name, in grey.
    gain : float
        What grey levels are multiplied with.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each label that the set judged the image's cells by, each with the cells counted by
        verdict; one where there is none.

    Raises
    ------
    NotFoundError
        If there is no such image or clean set.
    RejectedError
        If a file is gone, or has other bytes than were ingested.
    UsageError
        If an argument makes no sense, or no Matplotlib is installed.
    """
    chosen_look = look(channels, gain)
    if label is not None:
        require_label(label)
    with store.reading() as connection:
        width, height, labels, masks = read_image_cells(connection, image)
        files = pixels.files_of(connection, [image], chosen_look.channels)
        chosen = find_clean_set_or_newest(connection, clean)
        verdicts = read_image_verdicts(connection, image, chosen.id) if chosen else []
        if chosen:
            warn_if_outdated(connection, chosen.id)
    if label is not None and str(label) not in labels.split("|"):
        raise UsageError(f"{image} has no label {label}; its labels are {labels or 'none'}")
    judged = sorted({row[1] for row in verdicts if label in (None, row[1])})
    picture = reduced(coloured(pixels.read_pixels(files[image]), chosen_look), _PIXELS)
    cells = [_cell(place) for place in sorted(masks.values())]
    panels = [{row[0]: _word(row[2], row[3]) for row in verdicts if row[1] == under} for under in judged]
    words = sorted({word for panel in panels for word in panel.values()} - {KEPT_WORD})
    ways = {KEPT_WORD: (KEPT, "-"), **lines_of(words), NOT_JUDGED: ("white", (0, (1, 1)))}
    figure, places_of = _grid(max(1, len(panels)), height / width, len(words) + 2)
    titles = [label_name(under) for under in judged] or [_unjudged(labels)]
    for axes, panel, title in zip(places_of, panels or [{}], titles, strict=True):
        axes.imshow(picture, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="antialiased")
        axes.set_title(title, loc="left", color=INK)
        _draw(axes, cells, panel, ways, bool(chosen))
    _say(figure, image, chosen and chosen.versioned_name, len(cells), chosen_look.words)
    return figure


def _word(clean: bool, reason: str | None) -> str:
    if reason is None:
        return KEPT_WORD
    return f"{KEPT_WORD}: {reason}" if clean else reason


def _unjudged(labels: str) -> str:
    return f"labels {labels}" if labels else "no label"


def _cell(place: CellMask) -> _Cell:
    """Find where in a cell its id has the most room."""
    free = cv2.distanceTransform(np.pad(mask_of(place).astype(np.uint8), 1), cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(free.argmax()), free.shape)
    middle = (float(place.x + column - 1), float(place.y + row - 1))
    return _Cell(place.mask_id, outlines(place), middle, float(free.max()))


def _grid(n: int, aspect: float, entries: int) -> tuple[Figure, list[Axes]]:
    """Make panels side by side, with room for legends below."""
    wide, in_line = (_WIDTH, _ENTRIES) if n == 1 else (_NARROW, _FEW)
    columns, rows = min(n, _COLUMNS), ceil(n / _COLUMNS)
    high, legend = wide * aspect, 0.1 + 0.18 * ceil(entries / in_line)
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
    ways: Mapping[str, tuple[str, Any]],
    judged: bool,
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import Normal, Stroke

    axes.set_axis_off()
    halo = [Stroke(linewidth=2.8, foreground="black"), Normal()]
    words = {cell.mask_id: verdicts.get(cell.mask_id, NOT_JUDGED) for cell in cells}
    counts = Counter(words.values())
    handles = []
    inches = axes.get_window_extent().width / axes.figure.dpi
    in_line = _ENTRIES if inches > _NARROW else _FEW
    for word, (colour, dash) in ways.items():
        if not counts[word]:
            continue
        mine = [line for cell in cells if words[cell.mask_id] == word for line in cell.outlines]
        black = LineCollection(mine, colors="black", linewidths=2.6, label="_halo")
        bright = LineCollection(mine, colors=colour, linewidths=1.3, linestyles=[dash], label=word)
        for lines in (black, bright):
            axes.add_collection(lines, autolim=False)
        n = f" ({counts[word]})"
        said = fitted(word if judged else "cells", 72 * inches / in_line - _HANDLE - 6 * len(n), 8) + n
        handles.append(
            Line2D(
                [],
                [],
                color=colour,
                linestyle=dash,
                linewidth=1.5,
                path_effects=halo,
                label=said,
            )
        )
    points = inches * 72 / abs(np.diff(axes.get_xlim())[0])
    thin = [Stroke(linewidth=1.5, foreground="black"), Normal()]
    for cell in cells:
        size = float(np.clip(cell.room * points, *_ID_POINTS))
        axes.text(
            *cell.middle,
            str(cell.mask_id),
            ha="center",
            va="center",
            color="white",
            fontsize=size,
            path_effects=thin,
        )
    if handles:
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0, 0),
            ncols=in_line,
            frameon=False,
            borderaxespad=0.3,
        )


def _say(figure: Figure, image: str, clean: str | None, cells: int, look: str) -> None:
    width, height = figure.get_size_inches()
    of = f"verdicts of {clean}" if clean else "no clean set"
    title = f"{shortened(image, 60)}: {cells:,} cells, {of}"
    figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", fontsize=10, color=INK)
    figure.text(0.15 / width, 0.1 / height, look, fontsize=7, color=FAINT)
