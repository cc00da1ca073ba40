from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.clean.sets import clean_set, clean_sets
from hpastore.clean.summary import CleanSetSummary
from hpastore.errors import NotFoundError, UsageError
from hpastore.store.engine import Store
from tests.world import dump, measured, put, rows, scalar

NAN = float("nan")
MIDDLE = CleanRecipe((Rule(lower=0.25, upper=0.75),))
WIDE = CleanRecipe((Rule(lower=0.0, upper=1.0),))


def verdicts(store: Store, name: str = "a", version: int = 1) -> list[Any]:
    """Reasons by image, cell and label; None is clean."""
    found = rows(
        store,
        "SELECT image_name, mask_id, label_id, clean, reason FROM clean_cell "
        "WHERE clean_set = :name AND version = :version ORDER BY image_name, mask_id, label_id",
        name=name,
        version=version,
    )
    assert all(bool(row["clean"]) == (row["reason"] is None) for row in found)
    return [row["reason"] for row in found]


def test_both_bounds_are_inclusive(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3, 0.4, 0.5]))
    summary = create_clean_set(store, "a", MIDDLE)
    assert summary == CleanSetSummary("a", 1, cells=5, clean=3)
    assert verdicts(store) == ["below_lower", None, None, None, "above_upper"]


def test_the_first_reason_that_applies_is_given(store: Store) -> None:
    dark, bright = 63, 64
    put(
        store,
        measured("a", (0,), green_fraction=[0.1, 0.2, 0.3, 0.4, 0.5]),
        measured(
            "b",
            (0,),
            green_fraction=[NAN, NAN, 0.0, 0.3, 0.9, 0.0, 0.3, 0.9],
            green_intensity_max=[dark, bright, dark, dark, dark, bright, bright, bright],
        ),
        measured(
            "c", (0, 7), green_fraction=[NAN, 0.3, 0.3], green_intensity_max=[dark, dark, bright]
        ),
    )
    create_clean_set(store, "a", CleanRecipe(MIDDLE.rules, scope="all"))
    assert verdicts(store)[5:] == [
        *(
            "no_background",
            "no_background",
            "dark",
            "dark",
            "dark",
            "below_lower",
            None,
            "above_upper",
        ),
        # against the labels 0 and 7; no image has 7 alone
        *("no_background", "no_background", "dark", "dark", None, "no_threshold"),
    ]


@pytest.mark.parametrize(
    "rule",
    [Rule("brenner", "blue", 0.0, 1.0), Rule("nucleus_area", None, 0.0, 1.0)],
    ids=lambda r: r.measure,
)
def test_a_cell_without_a_value_is_not_clean(store: Store, rule: Rule) -> None:
    put(store, measured("a", (0,), blue_brenner=[NAN], green_intensity_max=[1]))
    put(store, measured("b", (0,), blue_brenner=[3.0], nucleus_area=[5], green_intensity_max=[99]))
    create_clean_set(store, "a", CleanRecipe((rule,)))
    assert verdicts(store) == ["no_value", None]


def test_negative_cells_may_be_dark(store: Store) -> None:
    put(
        store,
        *(measured(f"i{label:02}", (label,), green_intensity_max=[3]) for label in (8, 17, 18)),
    )
    create_clean_set(store, "a")
    assert verdicts(store) == ["dark", "dark", None]


@pytest.mark.parametrize(
    ("min_green", "reasons"),
    [(0, [None, None, None]), (64, ["dark", None, None]), (256, ["dark", "dark", "dark"])],
)
def test_how_dark_is_dark_may_be_said(
    store: Store, min_green: int, reasons: list[str | None]
) -> None:
    put(store, measured("a", (0,), green_intensity_max=[0, 64, 255]))
    create_clean_set(store, "a", CleanRecipe((Rule(lower=0, upper=1),), min_green))
    assert verdicts(store) == reasons


def test_scope_single_judges_cells_of_images_with_one_label(store: Store) -> None:
    put(store, measured("a", (0,)), measured("b", (0, 1)), measured("c", ()))
    assert create_clean_set(store, "a").cells == 3


def test_scope_all_judges_a_cell_against_each_label(store: Store) -> None:
    put(
        store,
        measured("a", (0,), green_fraction=[0.1, 0.2]),
        measured("b", (1,), green_fraction=[0.2, 0.4]),
        measured("c", (0, 1), green_fraction=[0.1, 0.2, 0.3]),
        measured("d", (), green_fraction=[0.2]),
    )
    create_clean_set(store, "a", CleanRecipe((Rule(lower=0, upper=1),), 0, "all"))
    of_c = rows(
        store,
        "SELECT label_id, reason FROM clean_cell WHERE image_name = 'c' ORDER BY label_id, mask_id",
    )
    assert [row["reason"] for row in of_c] == [None, None, "above_upper", "below_lower", None, None]
    assert scalar(store, "SELECT count(*) FROM clean_set_cell") == 4 + 6


def test_bounds_of_a_measure_of_shape(store: Store) -> None:
    put(store, measured("a", (0,), area=[1, 5, 9], green_intensity_max=[99, 99, 99]))
    create_clean_set(store, "a", CleanRecipe((Rule("area", "green", 0.5, 0.5),)))
    assert verdicts(store) == ["below_lower", None, "above_upper"]
    assert rows(store, "SELECT measure, channel FROM clean_rule") == [
        {"measure": "area", "channel": None}
    ]


def test_versions_count_up_and_older_ones_are_kept(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3]))
    made = [
        create_clean_set(store, name, recipe)
        for name, recipe in (("a", WIDE), ("b", WIDE), ("a", MIDDLE))
    ]
    assert [(m.name, m.version) for m in made] == [("a", 1), ("b", 1), ("a", 2)]
    assert clean_set(store, "a@1")["clean"].tolist() == [3]
    assert clean_set(store, "a@2")["clean"].tolist() == [1]
    pd.testing.assert_frame_equal(clean_set(store, "a"), clean_set(store, "a@2"))
    assert verdicts(store, "a", 1) == [None, None, None]


def test_a_set_that_is_not_there_is_said(store: Store) -> None:
    put(store, measured())
    create_clean_set(store, "a")
    for name in ("b", "a@2", "a@0", "A"):
        with pytest.raises(NotFoundError, match=f"no clean set {name}"):
            clean_set(store, name)
    for name in ("a@", "a@x", "a@-1", "a@1@1"):
        with pytest.raises(UsageError, match="invalid version in"):
            clean_set(store, name)


def test_show_counts_the_verdicts_by_label_and_reason(store: Store) -> None:
    put(
        store,
        measured(
            "a", (0,), green_fraction=[0.1, 0.2, 0.3, NAN], green_intensity_max=[99, 99, 9, 99]
        ),
        measured("b", (5,), green_fraction=[0.5]),
    )
    create_clean_set(store, "a", CleanRecipe((Rule(lower=0.5, upper=1),), 64))
    found = clean_set(store, "a").to_dict("records")
    label = {
        "label_id": 0,
        "label": "Nucleoplasm",
        "split": None,
        "measure": "fraction",
        "channel": "green",
        "n": 3,
        "lower": 0.2,
        "upper": 0.3,
        "cells": 4,
        "clean": 1,
    }
    counts = {"emptied": 0, "idle_rules": 0, "forced_drops": 0}
    assert found[0] == {**label, "no_background": 1, "dark": 1, "below_lower": 1, **counts}
    assert [row["label_id"] for row in found] == [0, 5]


def test_list_has_a_row_for_each_version(store: Store) -> None:
    assert clean_sets(store).empty
    put(store, measured(green_fraction=[0.1, 0.2, 0.3]))
    create_clean_set(store, "b", WIDE)
    create_clean_set(store, "a", MIDDLE)
    create_clean_set(store, "b", CleanRecipe((Rule("area", None, 0.0, 1.0),), 0, "all"))
    found = clean_sets(store)
    assert found[["name", "version", "scope", "min_green"]].to_numpy().tolist() == [
        ["a", 1, "single", 64],
        ["b", 1, "single", 64],
        ["b", 2, "all", 0],
    ]
    assert found[["cells", "clean"]].to_numpy().tolist() == [[3, 1], [3, 3], [3, 3]]
    assert found["rules"].tolist() == [1, 1, 1]


def test_a_set_stays_as_it_was_made_and_shows_what_would_be_said_now(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3, 0.4, 0.5]))
    create_clean_set(store, "a", MIDDLE)
    kept = ("clean_set", "clean_rule", "clean_set_threshold", "clean_set_cell")
    tables, live = dump(store), "SELECT lower, upper, n FROM label_threshold WHERE label_id = 0"
    before = verdicts(store)
    put(store, measured("b", (0,), green_fraction=[0.5, 0.6, 0.7, 0.8]))
    assert verdicts(store) == before
    assert {name: dump(store)[name] for name in kept} == {name: tables[name] for name in kept}
    assert rows(store, live) == [{"lower": 0.3, "upper": 0.6, "n": 9}]
    found = rows(store, "SELECT lower, upper, live FROM clean_cell_live ORDER BY mask_id")
    assert [bool(row["live"]) for row in found] == [False, False, True, True, True]
    assert {(row["lower"], row["upper"]) for row in found} == {(0.2, 0.4)}


def test_a_new_version_judges_the_cells_of_now(store: Store) -> None:
    put(store, measured("a", (0,)))
    create_clean_set(store, "a")
    put(store, measured("b", (0,)))
    assert create_clean_set(store, "a").cells == 6


@pytest.mark.parametrize("labels", [None, (), (0, 1)])
def test_without_a_cell_to_judge_nothing_is_made(
    store: Store, labels: tuple[int, ...] | None
) -> None:
    if labels is not None:
        put(store, measured("a", labels))
    before = dump(store)
    with pytest.raises(UsageError, match="no cell to judge"):
        create_clean_set(store, "a")
    assert dump(store) == before


def test_a_bad_name_or_recipe_makes_nothing(store: Store) -> None:
    put(store, measured())
    for name, recipe in (("a@1", CleanRecipe()), ("a", CleanRecipe((Rule(upper=98),)))):
        with pytest.raises(UsageError):
            create_clean_set(store, name, recipe)
    assert scalar(store, "SELECT count(*) FROM clean_set") == 0
