"""How the thresholds of a clean set moved from version to version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.errors import UsageError
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.plot.canvas import FAINT, INK, KEPT, blank, drawing, label_name, shortened
from hpastore.store import figures
from hpastore.store.clean_sets.counts import clean_shares
from hpastore.store.clean_sets.rows import find_clean_set, read_versions
from hpastore.store.engine import Store
from hpastore.vocabulary import require_label

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
"""Share of a value that an axis spans at least, so that a tremor does not look like a leap."""


class _Version(NamedTuple):
    """What is drawn of one version, or of now."""

    name: str
    rules: dict[int, figures.RuleOfLabel]
    """By label, the one that it is shown with."""
    shares: dict[int, float]
    """Share of the verdicts that are clean, by label."""


@drawing
def plot_drift(store: Store, name: str, *, label: int | None = None) -> Figure:
    """Draw how the bounds of each label moved over the versions of a clean set, and to where now.

    Parameters
    ----------
    store : Store
    name : str
        The set's name, without a version.
    label : int, optional
        Only this label.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each label that has cells: lower and upper bound of the rule that it is shown with, and
        the share of cells that is kept.  The last point, hollow, is what the rules of the newest version
        would give with the cells of now.  A version whose rule is on another measure than the newest's
        leaves a gap.

    Raises
    ------
    NotFoundError
        If there is no such clean set.
    UsageError
        If the label makes no sense, or no Matplotlib is installed.
    """
    if label is not None:
        require_label(label)
    with store.reading() as connection:
        if "@" in name:
            raise UsageError(f"drift is about all versions; leave out {name[name.index('@') :]}")
        newest = find_clean_set(connection, name)
        versions = []
        for made in read_versions(connection, name):
            shares = clean_shares(connection, made.id)
            rules = figures.kept_rules(connection, made.id)
            versions.append(_Version(f"@{made.version}", _shown(rules), shares))
        versions.append(_Version(NOW, _shown(figures.live_rules(connection, newest.id)), {}))
    labels = sorted({of for version in versions for of in version.shares if label in (None, of)})
    figure, grid = _grid(len(labels))
    for of, row in zip(labels, grid, strict=True):
        _draw(row, of, versions)
    _say(figure, grid, name, versions)
    return figure


def _shown(rules: Sequence[figures.RuleOfLabel]) -> dict[int, figures.RuleOfLabel]:
    return {rule.label_id: rule for rule in reversed(rules) if rule.shown}


def _grid(n: int) -> tuple[Figure, list[list[Axes]]]:
    height = 1.15 + max(n, 1) * _ROW
    figure = blank(10, height)
    if not n:
        figure.text(0.5, 0.5, "no such cell", ha="center", va="center", fontsize=12, color=FAINT)
        return figure, []
    grid = figure.add_gridspec(
        n, 3, left=0.27, right=0.985, bottom=0.4 / height, top=1 - 0.75 / height, hspace=0.35, wspace=0.28
    )
    return figure, [[figure.add_subplot(grid[row, column]) for column in range(3)] for row in range(n)]


def _draw(row: Sequence[Axes], label: int, versions: Sequence[_Version]) -> None:
    """Draw the three panels of one label."""
    newest = versions[-1].rules.get(label)
    same = [
        rule if (rule := version.rules.get(label)) and newest and rule[1:3] == newest[1:3] else None
        for version in versions
    ]
    lower, upper = (
        np.array(
            [np.nan if rule is None or (value := getattr(rule, side)) is None else value for rule in same]
        )
        for side in ("lower", "upper")
    )
    shares = np.array([version.shares.get(label, np.nan) for version in versions])
    what = "" if newest is None else f"{newest.channel or ''} {newest.measure}".strip()
    of_share = newest is not None and newest.measure in _SHARES
    for axes, values, share in zip(row, (lower, upper, shares), (of_share, of_share, True), strict=True):
        _points(axes, values, share=share)
    row[0].annotate(
        f"{shortened(label_name(label), 30)}\n{what}",
        (0, 0.5),
        xytext=(-175, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        va="center",
        color=INK,
        linespacing=1.4,
    )


def _points(axes: Axes, values: npt.NDArray[np.float64], *, share: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    x = np.arange(len(values))
    axes.plot(x[:-1], values[:-1], color=KEPT, linewidth=1.5, marker="o", markersize=4, clip_on=False)
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
        axes.text(0.5, 0.5, "no bound", transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    low, high = float(found.min()), float(found.max())
    half = max((high - low) * 0.6, _SPAN / 2 * (max(abs(low), abs(high)) or 1))
    ends = (low + high) / 2 - half, (low + high) / 2 + half
    axes.set_ylim(*(np.clip(ends, 0, 1) if share else ends))
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _say(figure: Figure, grid: list[list[Axes]], name: str, versions: Sequence[_Version]) -> None:
    height = figure.get_size_inches()[1]
    title = f"{name}: bounds and shares by version; hollow: its bounds with the cells of {NOW}"
    figure.text(0.012, 1 - 0.12 / height, title, va="top", fontsize=10, color=INK)
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
            made = shown[:-1] if axes is row[-1] else shown  # nothing is kept now
            axes.set_xticks(made, [versions[i].name for i in made])
            axes.tick_params(labelbottom=True)
