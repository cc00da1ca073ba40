"""The distribution of a measure, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from hpastore.clean.outdated import warn_if_outdated
from hpastore.clean.thresholds import warn_of_incomplete_measures
from hpastore.errors import UsageError
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES, channel_of
from hpastore.plot.canvas import DROPPED, FAINT, INK, KEPT, blank, drawing, label_name, shortened
from hpastore.store import custom_measures, figures, read
from hpastore.store.clean_sets.rows import find_clean_set_or_newest
from hpastore.store.engine import Store
from hpastore.vocabulary import LABEL_NAMES, require_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = npt.NDArray[np.float64]

_NOTEBOOK: Final = (0.001, 0.999)
"""Percentiles that are drawn where there is no clean set."""

_BINS: Final = 50
_COLUMNS: Final = 4
_SHOWN: Final = (0.001, 0.999)
"""Which part of all values an axis shows at least, where the measure is no share."""

_FAR: Final = 0.3
"""Times this part by which the axis may be longer, to show all."""

_HEAVY: Final = 20
"""Times the median that the largest shown value may be on an even axis."""


@dataclass(frozen=True)
class _Panel:
    """What is drawn of one label.

    Parameters
    ----------
    values, kept
        (n,) float64 and bool, of the cells that have a value.
    without
        Number of cells that have none, and of those that are kept.
    bounds
        Value of each line, and whether it holds under a condition only.
    """

    label: int
    values: Values
    kept: npt.NDArray[np.bool_]
    without: tuple[int, int]
    bounds: tuple[tuple[float, bool], ...]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.values) + self.without[0]


@drawing
def plot_hist(
    store: Store,
    *,
    measure: str = "fraction",
    channel: str | None = "green",
    label: int | None = None,
    clean: str | None = None,
    split: str | None = None,
) -> Figure:
    """Draw how a measure is distributed over the cells of a label, or of all labels that have cells.

    Parameters
    ----------
    store : Store
    measure : str
    channel : str, optional
        The measure's channel; ignored for a measure of a whole cell.
    label : int, optional
        Only this label.
    clean : str, optional
        A clean set, ``NAME`` or ``NAME@VERSION``; by default the newest there is, of those that have judged
        the split.
    split : str, optional
        Only cells of images of this split.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per label, all with one x axis and each with its own y axis: the cells that the
        clean set keeps and those that it drops, the bounds of its rules on this measure, and how many
        cells there are.  A label without cells is left out unless it is asked for.  In a store without clean
        sets these are the cells of single-label images and the notebook's percentiles.

    Raises
    ------
    UsageError
        If there is no such measure, channel, label or split, or no Matplotlib.
    NotFoundError
        If there is no such clean set.
    """
    if label is not None:
        require_label(label)
    with store.reading() as connection:
        channel, unit = _channel(connection, measure, channel)
        read.require_split(connection, split)
        chosen = find_clean_set_or_newest(connection, clean, split)
        rows = figures.values_by_label(connection, measure, channel, label, chosen and chosen.id, split)
        rules = figures.kept_rules(connection, chosen.id) if chosen else None
        warn_of_incomplete_measures(connection, {measure})
        if chosen:
            warn_if_outdated(connection, chosen.id)
    what = f"{channel} {measure}" if channel else measure
    labels = np.unique(rows["label"]).tolist() if label is None else [label]
    panels = _panels(labels, rows, _bounds(rules, measure, channel))
    axis = _Axis.of(panels, unit)
    figure, axes, note = _grid(len(panels))
    for panel, place in zip(panels, axes, strict=True):
        _draw(place, panel, axis)
    _say(
        figure,
        note,
        what,
        unit,
        axis,
        chosen and chosen.versioned_name,
        any(panel.bounds for panel in panels),
        split,
    )
    if label is None:
        _say_empty(figure, note, len(panels))
    return figure


def _channel(connection: Connection, measure: str, channel: str | None) -> tuple[str | None, str]:
    """Say which channel a measure is of, and its unit."""
    own = figures.custom_measure_units(connection, measure)
    if not own:
        checked = channel_of(measure, channel, [row["name"] for row in custom_measures.measures(connection)])
        return checked, next(m.unit for m in (*SHAPE_MEASURES, *CHANNEL_MEASURES) if m.name == measure)
    if None in own:
        return None, own[None]
    if channel not in own:
        raise UsageError(
            f"no channel {channel!r} for {measure}; there are {', '.join(sorted(map(str, own)))}"
        )
    return channel, own[channel]


def _bounds(
    rules: list[figures.RuleOfLabel] | None, measure: str, channel: str | None
) -> dict[int, list[tuple[float, bool]]] | None:
    """Bounds of a clean set's rules on a measure, by label; None without a clean set."""
    if rules is None:
        return None
    bounds: dict[int, list[tuple[float, bool]]] = {}
    for rule in rules:
        if (rule.measure, rule.channel) == (measure, channel):
            lines = [(b, rule.condition is not None) for b in (rule.lower, rule.upper) if b is not None]
            bounds.setdefault(rule.label_id, []).extend(lines)
    return bounds


def _panels(
    labels: Sequence[int], rows: npt.NDArray[Any], bounds: dict[int, list[tuple[float, bool]]] | None
) -> list[_Panel]:
    panels = []
    for label in labels:
        of_label = rows[rows["label"] == label]
        mine, kept = of_label["value"], of_label["clean"]
        has = ~np.isnan(mine)
        lines = tuple(bounds.get(label, ())) if bounds is not None else ()
        without = (int((~has).sum()), int(kept[~has].sum()))
        mine, kept = mine[has], kept[has]
        if bounds is None and mine.size:
            lower, upper = np.quantile(mine, _NOTEBOOK)
            lines = ((float(lower), False), (float(upper), False))
            kept = (mine >= lower) & (mine <= upper)
        panels.append(_Panel(label, mine, kept, without, lines))
    return panels


@dataclass(frozen=True)
class _Axis:
    """The x axis of all panels."""

    edges: Values
    """Of the bins."""
    ends: tuple[float, float]
    """A little more than the bins, so that a bound at their end is seen."""
    log: bool

    @staticmethod
    def of(panels: list[_Panel], unit: str) -> _Axis:
        """Choose an axis: all of a share, else all but the farthest values, and every bound."""
        values = np.concatenate([np.empty(0), *(panel.values for panel in panels)])
        if not values.size:
            return _Axis(np.linspace(0, 1, _BINS + 1), (0, 1), log=False)
        lines = [value for panel in panels if panel.values.size for value, _ in panel.bounds]
        share = unit.startswith("share")
        ends = (0.0, values.max()) if share else _most_of(values)
        low, high = float(min(ends[0], *lines, np.inf)), float(max(ends[1], *lines, -np.inf))
        if low > 0 and high > _HEAVY * np.median(values):
            pad = (high / low) ** 0.02
            return _Axis(np.geomspace(low, high, _BINS + 1), (low / pad, high * pad), log=True)
        if low == high:
            low, high = low - 0.5, high + 0.5
        pad = 0.02 * (high - low)
        return _Axis(np.linspace(low, high, _BINS + 1), (low - pad, high + pad), log=False)

    def beyond(self, values: Values) -> int:
        """Count the values that the axis does not show."""
        return int(((values < self.edges[0]) | (values > self.edges[-1])).sum())


def _most_of(values: Values) -> tuple[float, float]:
    """Where most values lie; at their ends, unless the farthest lie far away."""
    low, high = np.quantile(values, _SHOWN)
    room = _FAR * (high - low)
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


def _draw(axes: Axes, panel: _Panel, axis: _Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(_title(panel, axis), loc="left", linespacing=1.25, color=INK)
    if axis.log:
        axes.set_xscale("log")
    axes.set_xlim(*axis.ends)
    axes.tick_params(length=2)
    if not panel.values.size:
        axes.set_yticks([])
        missing = "no value" if panel.cells else "no cell"
        axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    shown = [panel.values[panel.kept], panel.values[~panel.kept]]
    axes.hist(shown, axis.edges.tolist(), stacked=True, color=[KEPT, DROPPED], linewidth=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for value, conditional in panel.bounds:
        axes.axvline(value, color=INK, linewidth=1, linestyle=":" if conditional else "--")


def _title(panel: _Panel, axis: _Axis) -> str:
    name = shortened(label_name(panel.label), 38)
    if not panel.cells:
        return f"{name}\nn = 0"
    kept = (int(panel.kept.sum()) + panel.without[1]) / panel.cells
    parts = [f"n = {panel.cells:,}", f"{kept:.1%} kept"]
    parts += [f"{panel.without[0]:,} without a value"] if panel.without[0] else []
    beyond = axis.beyond(panel.values)
    parts += [f"{beyond:,} off the axis"] if beyond else []
    return f"{name}\n{', '.join(parts)}"


def _say(
    figure: Figure,
    note: Axes,
    what: str,
    unit: str,
    axis: _Axis,
    clean: str | None,
    bounded: bool,
    split: str | None,
) -> None:
    """Name the axes, and say what the colours and lines are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    note.set_axis_off()
    one = len(figure.axes) == 2
    kept, dropped = ("kept", "dropped") if clean else ("between the percentiles", "outside")
    lines = f"bounds in {clean}" if clean else f"percentiles {_NOTEBOOK[0]:g} and {_NOTEBOOK[1]:g}"
    handles: list[Any] = [Patch(color=KEPT, label=kept), Patch(color=DROPPED, label=dropped)]
    if bounded:
        handles.append(Line2D([], [], color=INK, linewidth=1, linestyle="--", label=lines))
    if bounded and any(line.get_linestyle() == ":" for axes in figure.axes for line in axes.get_lines()):
        handles.append(Line2D([], [], color=INK, linewidth=1, linestyle=":", label="under a condition"))
    note.legend(handles=handles, loc="center left", frameon=False, ncols=3 if one else 1, borderaxespad=0)
    judged = f"as judged by {clean}" if clean else "of images with one label, no clean set"
    judged += "" if bounded or not clean else f", which has no bound on {what}"
    judged += f", split {shortened(split, 30)}" if split is not None else ""
    figure.suptitle(f"{what}: cells {judged}", x=0.1 if one else 0.065, ha="left", fontsize=10, color=INK)
    scale = " (log scale)" if axis.log else ""
    figure.supxlabel(f"{what} [{unit}]{scale}" if unit else f"{what}{scale}", fontsize=8, color=INK)
    figure.supylabel("cells", fontsize=8, color=INK)


def _say_empty(figure: Figure, note: Axes, drawn: int) -> None:
    """Say how many labels have no cell, and are not drawn."""
    empty = len(LABEL_NAMES) - drawn
    if not drawn:
        figure.text(0.5, 0.5, "no such cell", ha="center", va="center", fontsize=12, color=FAINT)
    elif empty:
        text = f"{empty} label{'' if empty == 1 else 's'} without a cell not drawn"
        note.text(0, 0, text, transform=note.transAxes, va="bottom", fontsize=7, color=FAINT)
