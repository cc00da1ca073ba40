from __future__ import annotations

import math
from typing import Any

import pytest

import hpastore
from hpastore.errors import NotFoundError, UsageError
from hpastore.store.engine import Store
from tests.plot.conftest import RECIPE, one_database
from tests.world import measured, put, rows


def points(axes: Any) -> list[float | None]:
    """What a panel shows of each version, and of now."""
    line, _, now = axes.get_lines()
    values = [*line.get_ydata(), *now.get_ydata()]
    return [None if math.isnan(value) else float(value) for value in values]


def test_bounds_and_shares_are_those_of_each_version_and_the_last_those_of_now(
    store: Store,
) -> None:
    put(store, measured("a", (3,), green_fraction=[0.1, 0.2, 0.3, 0.4]))
    hpastore.create_clean_set(store, "mine", RECIPE)
    put(store, measured("b", (3,), green_fraction=[0.5, 0.9]))
    hpastore.create_clean_set(store, "mine", RECIPE)
    put(store, measured("c", (3,), green_fraction=[0.7]))
    figure = hpastore.plot_drift(store, "mine")
    lower, upper, share = figure.axes
    kept = rows(
        store,
        "SELECT lower, upper FROM clean_set_threshold WHERE label_id = 3 ORDER BY clean_set_id",
    )
    (now,) = rows(
        store, "SELECT lower, upper FROM label_threshold WHERE label_id = 3 AND version = 2"
    )
    assert points(lower) == [row["lower"] for row in (*kept, now)]
    assert points(upper) == [row["upper"] for row in (*kept, now)]
    assert len(set(points(upper))) == 3
    assert points(share) == [2 / 4, 2 / 6, None]
    assert [text.get_text() for text in upper.get_xticklabels()] == ["@1", "@2", "now"]
    assert [text.get_text() for text in share.get_xticklabels()] == ["@1", "@2"]
    assert lower.texts[0].get_text() == "3 Nucleoli fibrillar center\ngreen fraction"


def test_a_version_with_a_rule_on_another_measure_leaves_a_gap(store: Store) -> None:
    put(store, measured("a", (3,), green_fraction=[0.1, 0.2, 0.3]))
    other = hpastore.CleanRecipe((hpastore.Rule("entropy", lower=0.1, upper=None),))
    for recipe in (RECIPE, other, RECIPE):
        hpastore.create_clean_set(store, "mine", recipe)
    lower, upper, share = hpastore.plot_drift(store, "mine", label=3).axes
    assert [value is None for value in points(lower)] == [False, True, False, False]
    assert [value is None for value in points(upper)] == [False, True, False, False]
    assert [value is None for value in points(share)] == [False, False, False, True]


@one_database
def test_a_bound_that_hardly_moves_looks_still(store: Store) -> None:
    put(store, measured("a", (3,), green_fraction=[0.5]))
    hpastore.create_clean_set(store, "mine", RECIPE)
    put(store, measured("b", (3,), green_fraction=[0.50001]))
    hpastore.create_clean_set(store, "mine", RECIPE)
    upper = hpastore.plot_drift(store, "mine").axes[1]
    low, high = upper.get_ylim()
    assert high - low == pytest.approx(0.05 * 0.5, rel=0.01)


def test_a_label_has_a_row_if_any_version_judged_it(store: Store) -> None:
    put(store, measured("a", (3,), green_fraction=[0.5]))
    hpastore.create_clean_set(store, "mine", RECIPE)
    put(store, measured("b", (9,), green_fraction=[0.5]))
    hpastore.create_clean_set(store, "mine", RECIPE)
    assert len(hpastore.plot_drift(store, "mine").axes) == 6
    with pytest.raises(UsageError, match="no label 99"):
        hpastore.plot_drift(store, "mine", label=99)
    assert hpastore.plot_drift(store, "mine", label=4).texts[0].get_text() == "no such cell"


@one_database
def test_shares_stay_within_their_range_and_none_kept_is_drawn_as_such(store: Store) -> None:
    put(store, measured("a", (3,), green_fraction=[1.0]), measured("b", (4,), green_fraction=[0.0]))
    hpastore.create_clean_set(
        store, "mine", hpastore.CleanRecipe((hpastore.Rule(lower=0.5, upper=1),), 0)
    )
    hpastore.create_clean_set(
        store, "mine", hpastore.CleanRecipe((hpastore.Rule(lower=1, upper=1),), 256)
    )
    for axes in hpastore.plot_drift(store, "mine").axes:
        low, high = axes.get_ylim()
        assert 0 <= low < high <= 1
        assert high - low >= 0.02
        assert all(0 <= tick <= 1 for tick in axes.get_yticks() if low <= tick <= high)


@one_database
def test_what_makes_no_sense_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no clean set mine"):
        hpastore.plot_drift(store, "mine")
    with pytest.raises(UsageError, match="drift shows all versions; leave out @2"):
        hpastore.plot_drift(store, "mine@2")


def test_a_share_stays_as_it_was_when_an_image_is_replaced(store: Store) -> None:
    put(store, measured("a", (3,), green_fraction=[0.1, 0.2, 0.3, 0.4]))
    put(store, measured("b", (3,), green_fraction=[0.1]))
    hpastore.create_clean_set(store, "mine", RECIPE)
    before = points(hpastore.plot_drift(store, "mine").axes[2])
    put(store, measured("a", (3,), green_fraction=[0.9]))
    assert points(hpastore.plot_drift(store, "mine").axes[2]) == before == [4 / 5, None]
