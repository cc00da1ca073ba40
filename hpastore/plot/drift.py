"""How the thresholds of a clean set moved from version to version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.clean.thresholds import warn_of_incomplete_measures
from hpastore.errors import UsageError
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.plot.canvas import (
    FAINT,
    INK,
    KEPT,
    add_no_cells,
    add_title,
    blank,
    drawing,
    label_name,
    shortened,
)
from hpastore.store import figures
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.counts import clean_shares
from hpastore.store.clean_sets.rows import find_clean_set, read_versions
from hpastore.store.engine import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOW: Final = "now"

_SHARES: Final = frozenset(m.name for m in CHANNEL_MEASURES if m.unit.startswith("share"))

_HEADS: Final = ("lower bound", "upper bound", "share kept")
_ROW: Final = 0.85
"""Inches."""
_TICKS: Final = 6
_SPAN: Final = 0.05
"""An axis spans at least this share of a value, so that a small change does not look large."""


class _Version(NamedTuple):
    """What is drawn of one version, or of the current state."""

    name: str
    rules: dict[int, figures.RuleOfLabel]
    """By label, the rule that the label is shown with."""
    shares: dict[int, float]
    """By label, the share of verdicts that are clean."""


@drawing
def plot_drift(store: Store, name: str, *, label: int | str | None = None) -> Figure:
    """Draw how the bounds of each label moved from version to version, and where they are now.

    Parameters
    ----------
    store : Store
    name : str
        The set's name, without a version.
    label : int or str, optional
        Only this label, given by id or name.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each label that has cells: the lower and upper bound of the rule that the label is
        shown with, and the share of cells that is kept.  The last point, hollow, shows the bounds
        that the rules of the newest version give for the current cells.  A version whose rule is on
        another measure than that of the newest leaves a gap.

    Raises
    ------
    NotFoundError
        If there is no such clean set.
    UsageError
        If there is no such label, `name` has a version, or Matplotlib is not installed.
    """
    if "@" in name:
        raise UsageError(f"drift shows all versions; leave out {name[name.index('@') :]}")
    with store.reading() as connection:
        classes = read_classes(connection)
        label_id = None if label is None else classes.find(label)
        newest = find_clean_set(connection, name)
        versions = []
        for stored in read_versions(connection, name):
            shares = clean_shares(connection, stored.id)
            rules = figures.kept_rules(connection, stored.id, classes)
            versions.append(_Version(f"@{stored.version}", _shown(rules), shares))
        rules = figures.live_rules(connection, newest.id, classes)
        versions.append(_Version(NOW, _shown(rules), {}))
        warn_of_incomplete_measures(connection, {rule.measure for rule in rules})
    found = {key for version in versions for key in version.shares}
    labels = sorted(found if label_id is None else found & {label_id})
    figure, grid = _grid(len(labels))
    for key, row in zip(labels, grid, strict=True):
        _draw(row, label_name(key, classes), key, versions)
    title = f"{name}: bounds and shares by version; hollow: its bounds with the current cells"
    add_title(figure, title, left=0.012)
    _label_axes(grid, versions)
    return figure


def _shown(rules: Sequence[figures.RuleOfLabel]) -> dict[int, figures.RuleOfLabel]:
    return {rule.label_id: rule for rule in reversed(rules) if rule.shown}


def _grid(n: int) -> tuple[Figure, list[list[Axes]]]:
    height = 1.15 + max(n, 1) * _ROW
    figure = blank(10, height)
    if not n:
        add_no_cells(figure)
        return figure, []
    grid = figure.add_gridspec(
        n,
        3,
        left=0.27,
        right=0.985,
        bottom=0.4 / height,
        top=1 - 0.75 / height,
        hspace=0.35,
        wspace=0.28,
    )
    return figure, [
        [figure.add_subplot(grid[row, column]) for column in range(3)] for row in range(n)
    ]


def _draw(row: Sequence[Axes], name: str, label: int, versions: Sequence[_Version]) -> None:
    """Draw the three panels of one label."""
    newest = versions[-1].rules.get(label)
    rules = [_same_measure(version.rules.get(label), newest) for version in versions]
    lower = _values([rule and rule.lower for rule in rules])
    upper = _values([rule and rule.upper for rule in rules])
    shares = _values([version.shares.get(label) for version in versions])
    what = "" if newest is None else f"{newest.channel or ''} {newest.measure}".strip()
    is_share = newest is not None and newest.measure in _SHARES
    _points(row[0], lower, share=is_share)
    _points(row[1], upper, share=is_share)
    _points(row[2], shares, share=True)
    row[0].annotate(
        f"{shortened(name, 30)}\n{what}",
        (0, 0.5),
        xytext=(-175, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        va="center",
        color=INK,
        linespacing=1.4,
    )


def _same_measure(
    rule: figures.RuleOfLabel | None, newest: figures.RuleOfLabel | None
) -> figures.RuleOfLabel | None:
    """Return a rule if it is on the measure and channel of the newest one."""
    if rule is None or newest is None:
        return None
    same = (rule.measure, rule.channel) == (newest.measure, newest.channel)
    return rule if same else None


def _values(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _points(axes: Axes, values: npt.NDArray[np.float64], *, share: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    x = np.arange(len(values))
    axes.plot(
        x[:-1], values[:-1], color=KEPT, linewidth=1.5, marker="o", markersize=4, clip_on=False
    )
    axes.plot(x[-2:], values[-2:], color=KEPT, linewidth=1, linestyle=":", clip_on=False)
    axes.plot(
        x[-1:],
        values[-1:],
        linestyle="",
        marker="o",
        markersize=5,
        markerfacecolor="white",
        markeredgecolor=INK,
        clip_on=False,
    )
    axes.set_xlim(-0.3, len(values) - 0.7)
    axes.tick_params(length=2, labelbottom=False)
    axes.set_xticks(x)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    found = values[~np.isnan(values)]
    if not found.size:
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no bound", transform=axes.transAxes, ha="center", va="center", color=FAINT
        )
        return
    low, high = float(found.min()), float(found.max())
    half = max((high - low) * 0.6, _SPAN / 2 * (max(abs(low), abs(high)) or 1))
    ends = (low + high) / 2 - half, (low + high) / 2 + half
    axes.set_ylim(*(np.clip(ends, 0, 1) if share else ends))
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _label_axes(grid: list[list[Axes]], versions: Sequence[_Version]) -> None:
    """Write the heads of the columns, and the versions below the last row."""
    step = -(-len(versions) // _TICKS)
    shown = [i for i in range(len(versions)) if (len(versions) - 1 - i) % step == 0]
    for row in grid[:1]:
        for axes, head in zip(row, _HEADS, strict=True):
            axes.set_title(head, loc="left", color=INK)
    for row in grid:
        for axes in row:
            axes.set_xticks(shown)
    for row in grid[-1:]:
        for axes in row:
            ticks = shown[:-1] if axes is row[-1] else shown  # there is no share for now
            axes.set_xticks(ticks, [versions[i].name for i in ticks])
            axes.tick_params(labelbottom=True)
