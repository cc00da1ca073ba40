from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select

import hpastore
from hpastore.errors import NotFoundError, UsageError
from hpastore.plot.canvas import DROPPED, KEPT
from hpastore.schema.tables import Cell, CellMeasure, Measure
from hpastore.store import write
from hpastore.store.engine import Store
from tests.plot.conftest import RECIPE, one_database
from tests.world import measured, put, rows

NAN = float("nan")


def bars(axes: Any, colour: str) -> int:
    """How many cells the bars of a colour stand for."""
    from matplotlib.colors import to_hex

    patches = [p for p in axes.patches if to_hex(p.get_facecolor()).upper() == colour]
    return int(sum(patch.get_height() for patch in patches))


def lines(axes: Any) -> list[float]:
    return [float(line.get_xdata()[0]) for line in axes.get_lines()]


def test_a_label_is_drawn_with_its_bounds_its_cells_and_the_share_kept(store: Store) -> None:
    put(store, measured("a", (3,), green_fraction=[0.1, 0.2, 0.3, 0.4, NAN]), measured("b", (4,)))
    hpastore.create_clean_set(store, "mine", RECIPE)
    figure = hpastore.plot_hist(store, label=3)
    axes = figure.axes[0]
    assert (
        axes.get_title("left")
        == "3 Nucleoli fibrillar center\nn = 5, 40.0% kept, 1 without a value"
    )
    assert (bars(axes, KEPT), bars(axes, DROPPED)) == (2, 2)
    (kept,) = rows(store, "SELECT lower, upper FROM clean_set_threshold WHERE label_id = 3")
    assert lines(axes) == [kept["lower"], kept["upper"]]
    assert figure.get_suptitle() == "green fraction: cells as judged by mine@1"
    legend = figure.axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "kept",
        "dropped",
        "bounds in mine@1",
    ]


def test_labels_with_cells_are_panels_on_one_axis_and_the_others_are_counted(store: Store) -> None:
    put(
        store,
        measured("a", (0,), green_fraction=[0.1, 0.1]),
        measured("b", (18,), green_fraction=[0.9]),
        measured("c", (7,), green_fraction=[NAN]),
    )
    figure = hpastore.plot_hist(store)
    panels, note = figure.axes[:-1], figure.axes[-1]
    names = [axes.get_title("left").split("\n")[0] for axes in panels]
    assert names == ["0 Nucleoplasm", "7 Golgi apparatus", "18 Negative"]
    assert [bool(axes.patches) for axes in panels] == [True, False, True]
    assert [text.get_text() for text in panels[1].texts] == ["no value"]
    assert [text.get_text() for text in note.texts] == ["16 labels without a cell not drawn"]
    assert len({axes.get_xlim() for axes in panels}) == 1
    assert panels[0].get_ylim() != panels[2].get_ylim()
    (asked,) = hpastore.plot_hist(store, label=5).axes[:-1]
    assert [text.get_text() for text in asked.texts] == ["no cell"]


@one_database
def test_a_store_without_a_cell_gives_a_figure_that_says_so(store: Store) -> None:
    figure = hpastore.plot_hist(store)
    assert "no such cell" in [text.get_text() for text in figure.texts]


def test_only_cells_of_a_split_are_drawn_by_a_set_that_judged_it(store: Store) -> None:
    put(
        store,
        measured("a", (3,), green_fraction=[0.1, 0.2]),
        measured("b", (3,), green_fraction=[0.5]),
    )
    with store.writing() as connection:
        write.move_images(connection, ["b"], "/data", "val")
    hpastore.create_clean_set(store, "both", RECIPE)
    hpastore.create_clean_set(store, "half", RECIPE, split="train")
    drawn = {
        split: hpastore.plot_hist(store, label=3, split=split) for split in (None, "train", "val")
    }
    counts = {
        split: figure.axes[0].get_title("left").split("\n")[1].split(",")[0]
        for split, figure in drawn.items()
    }
    assert counts == {None: "n = 2", "train": "n = 2", "val": "n = 1"}
    assert drawn["val"].get_suptitle() == "green fraction: cells as judged by both@1, split val"
    with pytest.raises(UsageError, match="half@1 is limited to split 'train' and has no cells of"):
        hpastore.plot_hist(store, clean="half", split="val")
    with pytest.raises(UsageError, match=r"no split 'test' \(choose from train, val\)"):
        hpastore.plot_hist(store, split="test")


def test_without_a_clean_set_the_lines_are_the_notebooks_percentiles(store: Store) -> None:
    values = np.random.default_rng(0).random(50).tolist()
    put(
        store,
        measured("a", (7,), green_fraction=values),
        measured("b", (7, 8), green_fraction=[0.5]),
    )
    axes = hpastore.plot_hist(store, label=7).axes[0]
    bounds = hpastore.thresholds(store).iloc[0]
    assert lines(axes) == [bounds["lower"], bounds["upper"]]
    assert axes.get_title("left").endswith("n = 50, 96.0% kept")


@one_database
def test_what_is_far_off_is_cut_from_the_axis_and_counted(store: Store) -> None:
    area = [*range(1000, 2200), 10**7]
    put(store, measured("a", (2,), area=area))
    hpastore.create_clean_set(store, "mine")
    figure = hpastore.plot_hist(store, measure="area", label=2)
    axes = figure.axes[0]
    assert axes.get_title("left").endswith("n = 1,201, 100.0% kept, 1 off the axis")
    assert 2199 < axes.get_xlim()[1] < 3000
    assert bars(axes, KEPT) == 1200
    assert figure.get_suptitle().endswith("mine@1, which has no bound on area")


@one_database
def test_a_heavy_tail_has_a_log_scale_unless_it_is_a_share(store: Store) -> None:
    tail = [1.0, 1.5, 2.0, 5000.0]
    put(
        store,
        measured("a", (2,), green_intensity_mean=tail, green_fraction=[0.001, 0.001, 0.001, 1.0]),
    )
    assert (
        hpastore.plot_hist(store, measure="intensity_mean", label=2).axes[0].get_xscale() == "log"
    )
    assert hpastore.plot_hist(store, label=2).axes[0].get_xscale() == "linear"


@one_database
def test_a_bound_under_a_condition_is_dotted(store: Store) -> None:
    put(store, measured("a", (2,), green_fraction=[0.1, 0.2, 0.3]))
    bound = hpastore.Rule("intensity_mean", "green", lower=0.1, upper=None, where="touches_border")
    recipe = hpastore.CleanRecipe((hpastore.Rule(), bound))
    hpastore.create_clean_set(store, "mine", recipe)
    (line,) = hpastore.plot_hist(store, measure="intensity_mean", label=2).axes[0].get_lines()
    assert line.get_linestyle() == ":"


@one_database
def test_one_value_and_no_value_at_all_can_be_drawn(store: Store) -> None:
    hpastore.plot_hist(store, label=1)
    put(store, measured("a", (1,), green_fraction=[0.0]), measured("b", (2,), green_fraction=[NAN]))
    assert bars(hpastore.plot_hist(store, label=1).axes[0], KEPT) == 1
    axes = hpastore.plot_hist(store, label=2).axes[0]
    assert axes.get_title("left").endswith("1 without a value")
    assert axes.texts[0].get_text() == "no value"


def test_a_measure_of_a_users_own_is_drawn_like_any_other(store: Store) -> None:
    put(store, measured("a", (2,), n=3))
    with store.writing() as connection:
        keys = connection.execute(select(Cell.id)).scalars().all()
        own = {
            "name": "glow",
            "version": 1,
            "kind": "crops",
            "unit": "lumen",
            "comment": "How it glows",
        }
        key = connection.execute(insert(Measure).values(own).returning(Measure.id)).scalar_one()
        values = [
            {"cell_id": cell, "measure_id": key, "channel": channel, "value": float(value)}
            for value, cell in enumerate(keys)
            for channel in ("green", "red")
        ]
        connection.execute(insert(CellMeasure), values)
    figure = hpastore.plot_hist(store, measure="glow", channel="red", label=2)
    assert figure.get_suptitle().startswith("red glow:")
    assert figure.get_supxlabel() == "red glow [lumen]"
    assert figure.axes[0].get_title("left").endswith("n = 3, 33.3% kept")
    with pytest.raises(UsageError, match="no channel 'blue' for glow; there are green, red"):
        hpastore.plot_hist(store, measure="glow", channel="blue")


@one_database
def test_what_makes_no_sense_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="no measure 'fractoin'; there are"):
        hpastore.plot_hist(store, measure="fractoin")
    with pytest.raises(UsageError, match="no channel 'cyan' for fraction"):
        hpastore.plot_hist(store, channel="cyan")
    with pytest.raises(UsageError, match="no label 19"):
        hpastore.plot_hist(store, label=19)
    with pytest.raises(NotFoundError, match="no clean set mine"):
        hpastore.plot_hist(store, clean="mine")
