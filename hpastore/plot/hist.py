"""The distribution of a measure, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from hpastore.classes import Classes
from hpastore.clean.outdated import warn_if_outdated
from hpastore.clean.thresholds import warn_of_incomplete_measures
from hpastore.errors import UsageError
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES, channel_of
from hpastore.plot.canvas import (
    DROPPED,
    FAINT,
    INK,
    KEPT,
    add_no_cells,
    blank,
    drawing,
    label_name,
    shortened,
)
from hpastore.store import custom_measures, figures, roots_and_splits
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.rows import find_clean_set_or_newest
from hpastore.store.engine import Store
from hpastore.text import count_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = npt.NDArray[np.float64]

_NOTEBOOK: Final = (0.001, 0.999)
"""Percentiles that are drawn where there is no clean set."""

_BINS: Final = 50
_COLUMNS: Final = 4
_SHOWN: Final = (0.001, 0.999)
"""Quantiles that an axis shows at least; of a share it shows all from 0."""

_MARGIN: Final = 0.3
"""An axis is longer by up to this share on each side, if that shows all values."""

_MAX_LINEAR: Final = 20
"""An axis is logarithmic if its largest value is more than this many times the median."""


@dataclass(frozen=True)
class _Panel:
    """What is drawn of one label.

    Parameters
    ----------
    values, kept
        (n,) float64 and bool, of the cells that have a value.
    without_value, kept_without_value
        Numbers of cells.
    bounds
        Value of each line, and whether it holds under a condition only.
    """

    label: int
    values: Values
    kept: npt.NDArray[np.bool_]
    without_value: int
    kept_without_value: int
    bounds: tuple[tuple[float, bool], ...]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.values) + self.without_value


@drawing
def plot_hist(
    store: Store,
    *,
    measure: str = "fraction",
    channel: str | None = "green",
    label: int | str | None = None,
    clean: str | None = None,
    split: str | None = None,
) -> Figure:
    """Draw the distribution of a measure over the cells of one label, or of every label.

    Parameters
    ----------
    store : Store
    measure : str
    channel : str, optional
        The measure's channel; ignored for a measure of a whole cell.
    label : int or str, optional
        Only this label, given by id or name.
    clean : str, optional
        A clean set, ``NAME`` or ``NAME@VERSION``; by default the newest one that judged the split.
    split : str, optional
        Only cells of images of this split.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per label, all with the same x axis and each with its own y axis: the cells that
        the clean set keeps and those that it drops, the bounds of its rules on this measure, and
        the number of cells.  A label without cells has a panel only if `label` names it.  In a
        store without clean sets, the panels show the cells of single-label images and the
        notebook's percentiles.

    Raises
    ------
    UsageError
        If there is no such measure, channel, label or split, or Matplotlib is not installed.
    NotFoundError
        If there is no such clean set.
    """
    with store.reading() as connection:
        classes = read_classes(connection)
        label_id = None if label is None else classes.find(label)
        channel, unit = _channel(connection, measure, channel)
        roots_and_splits.require_split(connection, split)
        found = find_clean_set_or_newest(connection, clean, split)
        set_id = found and found.id
        rows = figures.values_by_label(connection, measure, channel, label_id, set_id, split)
        rules = None if set_id is None else figures.kept_rules(connection, set_id, classes)
        warn_of_incomplete_measures(connection, {measure})
        if set_id is not None:
            warn_if_outdated(connection, set_id)
    what = f"{channel} {measure}" if channel else measure
    labels = np.unique(rows["label"]).tolist() if label_id is None else [label_id]
    panels = _panels(labels, rows, _bounds(rules, measure, channel))
    axis = _Axis.of(panels, unit)
    figure, axes, note = _grid(len(panels))
    for panel, place in zip(panels, axes, strict=True):
        _draw(place, panel, axis, classes)
    clean_name = found and found.versioned_name
    bounded = any(panel.bounds for panel in panels)
    _add_legend(figure, note, clean_name, bounded=bounded)
    _add_texts(figure, what, unit, axis, clean_name, bounded=bounded, split=split)
    if label_id is None:
        _note_empty_labels(figure, note, len(panels), len(classes.ids))
    return figure


def _channel(connection: Connection, measure: str, channel: str | None) -> tuple[str | None, str]:
    """Find the channel of a measure, None for a measure of the whole cell, and its unit."""
    units = figures.custom_measure_units(connection, measure)
    if not units:
        custom = [row["name"] for row in custom_measures.measures(connection)]
        checked = channel_of(measure, channel, custom)
        return checked, next(
            m.unit for m in (*SHAPE_MEASURES, *CHANNEL_MEASURES) if m.name == measure
        )
    if None in units:
        return None, units[None]
    if channel not in units:
        names = ", ".join(sorted(map(str, units)))
        raise UsageError(f"no channel {channel!r} for {measure}; there are {names}")
    return channel, units[channel]


def _bounds(
    rules: list[figures.RuleOfLabel] | None, measure: str, channel: str | None
) -> dict[int, list[tuple[float, bool]]] | None:
    """Collect the bounds of a clean set's rules on a measure by label; None without a clean set."""
    if rules is None:
        return None
    bounds: dict[int, list[tuple[float, bool]]] = {}
    for rule in rules:
        if (rule.measure, rule.channel) == (measure, channel):
            of_label = bounds.setdefault(rule.label_id, [])
            for bound in (rule.lower, rule.upper):
                if bound is not None:
                    of_label.append((bound, rule.condition is not None))
    return bounds


def _panels(
    labels: Sequence[int],
    rows: npt.NDArray[Any],
    bounds: dict[int, list[tuple[float, bool]]] | None,
) -> list[_Panel]:
    panels = []
    for label in labels:
        of_label = rows[rows["label"] == label]
        missing = np.isnan(of_label["value"])
        kept_missing = int(of_label["clean"][missing].sum())
        values = of_label["value"][~missing]
        kept = of_label["clean"][~missing]
        lines = tuple(bounds.get(label, ())) if bounds is not None else ()
        if bounds is None and values.size:
            lower, upper = np.quantile(values, _NOTEBOOK)
            lines = ((float(lower), False), (float(upper), False))
            kept = (values >= lower) & (values <= upper)
        panels.append(_Panel(label, values, kept, int(missing.sum()), kept_missing, lines))
    return panels


@dataclass(frozen=True)
class _Axis:
    """The x axis of all panels."""

    edges: Values
    """Of the bins."""
    ends: tuple[float, float]
    """A little wider than the bins, so that a bound at their end is visible."""
    log: bool

    @staticmethod
    def of(panels: list[_Panel], unit: str) -> _Axis:
        """Choose an axis that shows every bound, and all values but the most distant ones."""
        values = np.concatenate([np.empty(0), *(panel.values for panel in panels)])
        if not values.size:
            return _Axis(np.linspace(0, 1, _BINS + 1), (0, 1), log=False)
        lines = [value for panel in panels if panel.values.size for value, _ in panel.bounds]
        share = unit.startswith("share")
        ends = (0.0, values.max()) if share else _main_range(values)
        low = float(min(ends[0], *lines, np.inf))
        high = float(max(ends[1], *lines, -np.inf))
        if low > 0 and high > _MAX_LINEAR * np.median(values):
            pad = (high / low) ** 0.02
            return _Axis(np.geomspace(low, high, _BINS + 1), (low / pad, high * pad), log=True)
        if low == high:
            low, high = low - 0.5, high + 0.5
        pad = 0.02 * (high - low)
        return _Axis(np.linspace(low, high, _BINS + 1), (low - pad, high + pad), log=False)

    def beyond(self, values: Values) -> int:
        """Count the values that the axis does not show."""
        return int(((values < self.edges[0]) | (values > self.edges[-1])).sum())


def _main_range(values: Values) -> tuple[float, float]:
    """Find the range of all values, but cut off the most distant ones."""
    low, high = np.quantile(values, _SHOWN)
    room = _MARGIN * (high - low)
    return max(values.min(), low - room), min(values.max(), high + room)


def _grid(n: int) -> tuple[Figure, list[Axes], Axes]:
    """Make panels in a figure, and the place for the legend."""
    if n == 1:
        figure = blank(6, 4)
        axes = figure.add_axes((0.1, 0.12, 0.86, 0.6))
        note = figure.add_axes((0.1, 0.84, 0.86, 0.08), frameon=False)
        return figure, [axes], note
    columns = min(n + 1, _COLUMNS)
    rows = ceil((n + 1) / columns)
    height = 1.75 * rows + 0.8
    figure = blank(11, height)
    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.065,
        right=0.985,
        bottom=0.62 / height,
        top=1 - 0.8 / height,
        hspace=0.62,
        wspace=0.22,
    )
    places = [figure.add_subplot(grid[divmod(i, columns)]) for i in range(n + 1)]
    places[-1].set_frame_on(False)
    return figure, places[:-1], places[-1]


def _draw(axes: Axes, panel: _Panel, axis: _Axis, classes: Classes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(_title(panel, axis, classes), loc="left", linespacing=1.25, color=INK)
    if axis.log:
        axes.set_xscale("log")
    axes.set_xlim(*axis.ends)
    axes.tick_params(length=2)
    if not panel.values.size:
        axes.set_yticks([])
        missing = "no value" if panel.cells else "no cell"
        axes.text(
            0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color=FAINT
        )
        return
    shown = [panel.values[panel.kept], panel.values[~panel.kept]]
    axes.hist(shown, axis.edges.tolist(), stacked=True, color=[KEPT, DROPPED], linewidth=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for value, conditional in panel.bounds:
        axes.axvline(value, color=INK, linewidth=1, linestyle=":" if conditional else "--")


def _title(panel: _Panel, axis: _Axis, classes: Classes) -> str:
    name = shortened(label_name(panel.label, classes), 38)
    if not panel.cells:
        return f"{name}\nn = 0"
    kept = (int(panel.kept.sum()) + panel.kept_without_value) / panel.cells
    parts = [f"n = {panel.cells:,}", f"{kept:.1%} kept"]
    if panel.without_value:
        parts.append(f"{panel.without_value:,} without a value")
    beyond = axis.beyond(panel.values)
    if beyond:
        parts.append(f"{beyond:,} off the axis")
    return f"{name}\n{', '.join(parts)}"


def _add_legend(figure: Figure, note: Axes, clean: str | None, *, bounded: bool) -> None:
    """Explain the colours and lines."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    note.set_axis_off()
    kept, dropped = ("kept", "dropped") if clean else ("between the percentiles", "outside")
    handles: list[Any] = [Patch(color=KEPT, label=kept), Patch(color=DROPPED, label=dropped)]
    if bounded:
        percentiles = f"percentiles {_NOTEBOOK[0]:g} and {_NOTEBOOK[1]:g}"
        text = f"bounds in {clean}" if clean else percentiles
        handles.append(Line2D([], [], color=INK, linewidth=1, linestyle="--", label=text))
    if bounded and _has_dotted_line(figure):
        handles.append(
            Line2D([], [], color=INK, linewidth=1, linestyle=":", label="under a condition")
        )
    columns = 3 if _has_one_panel(figure) else 1
    note.legend(handles=handles, loc="center left", frameon=False, ncols=columns, borderaxespad=0)


def _has_one_panel(figure: Figure) -> bool:
    return len(figure.axes) == 2  # beside the legend


def _has_dotted_line(figure: Figure) -> bool:
    return any(line.get_linestyle() == ":" for axes in figure.axes for line in axes.get_lines())


def _add_texts(
    figure: Figure,
    what: str,
    unit: str,
    axis: _Axis,
    clean: str | None,
    *,
    bounded: bool,
    split: str | None,
) -> None:
    """Write the title, and name the axes."""
    judged = f"as judged by {clean}" if clean else "of images with one label, no clean set"
    if clean and not bounded:
        judged += f", which has no bound on {what}"
    if split is not None:
        judged += f", split {shortened(split, 30)}"
    left = 0.1 if _has_one_panel(figure) else 0.065
    figure.suptitle(f"{what}: cells {judged}", x=left, ha="left", fontsize=10, color=INK)
    scale = " (log scale)" if axis.log else ""
    name = f"{what} [{unit}]" if unit else what
    figure.supxlabel(f"{name}{scale}", fontsize=8, color=INK)
    figure.supylabel("cells", fontsize=8, color=INK)


def _note_empty_labels(figure: Figure, note: Axes, drawn: int, labels: int) -> None:
    """Write how many labels have no cell, and are not drawn."""
    empty = labels - drawn
    if not drawn:
        add_no_cells(figure)
    elif empty:
        text = f"{count_text(empty, 'label')} without a cell not drawn"
        note.text(0, 0, text, transform=note.transAxes, va="bottom", fontsize=7, color=FAINT)
