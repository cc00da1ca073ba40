"""Versions of a clean set through a history of changes: what differs is explained, and so is each cell."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set, refresh_clean_set
from hpastore.clean.diff import CAUSES, clean_diff, summarise_diff
from hpastore.clean.drift import drift
from hpastore.clean.explain import Explanation, explain
from hpastore.clean.overrides import Override, override_cells, undo_overrides
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.clean.sets import (
    clean_set,
    clean_set_recipe,
    clean_sets,
    drop_clean_set,
    emptied_images,
    freeze_clean_set,
)
from hpastore.clean.summary import Flips, ShareMove
from hpastore.errors import NotFoundError
from hpastore.kernels.definitions import VERSIONS
from hpastore.kernels.image import remeasure
from hpastore.model import Measured, MeasurementSettings
from hpastore.schema.tables import Image
from hpastore.store import arrays, write
from hpastore.store.engine import Store
from tests.world import cells, dump, measured, put, rows, scalar

MANY = CleanRecipe(
    (
        Rule("fraction", "green", 0.1, 0.9),
        Rule("touches_border"),
        Rule("area", None, Bound(median=0.5), Bound(median=1.5), name="size"),
        Rule("intensity_mean", "blue", None, Bound(percentile=0.95), where="no_nucleus"),
    ),
    labels={18: (Rule("fraction", "green", None, 0.9),)},
    min_green=30,
    guard="keep",
)


def image(name: str, labels: tuple[int, ...], seed: int, n: int = 8) -> Measured:
    rng = random.Random(seed)
    return measured(
        name,
        labels,
        cells(
            n,
            seed=seed,
            green_fraction=[rng.random() for _ in range(n)],
            green_intensity_max=[rng.choice([20, 99, 200]) for _ in range(n)],
            area=[rng.randint(1, 40) for _ in range(n)],
            touches_border=[rng.random() < 0.2 for _ in range(n)],
            nucleus_area=[rng.choice([0, 3]) for _ in range(n)],
        ),
    )


def put_now(store: Store, *images: Measured) -> None:
    put(store, *images, now=datetime.now(UTC))


def membership(store: Store, name: str) -> dict[tuple[str, int], bool]:
    """Whether each cell is clean for each label, in the newest version of a set."""
    found = rows(
        store,
        "SELECT image_name, mask_id, label_id, clean FROM clean_cell WHERE clean_set = :name "
        "AND version = (SELECT max(version) FROM clean_set WHERE name = :name)",
        name=name,
    )
    return {(f"{r['image_name']}:{r['mask_id']}", r["label_id"]): bool(r["clean"]) for r in found}


def the_store_is_remeasured(store: Store, share: float) -> None:
    with store.writing() as connection:
        settings_id = write.adopt_settings(connection, MeasurementSettings(share, VERSIONS))
        ids = list(connection.execute(select(Image.id)).scalars())
        numbers = {
            key: {channel: remeasure(counts, share) for channel, counts in found.items()}
            for key, found in arrays.histograms(connection, ids)
        }
        write.remeasure_images(connection, settings_id, numbers)


class History:
    """Steps that change what a clean set is made from, each with the causes that may come of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        labels = [(0,), (0,), (16,), (16,), (18,), (0, 16), (7,)]
        put_now(store, *(image(f"i{k}", of, k) for k, of in enumerate(labels)))
        create_clean_set(store, "mine", MANY)

    def new_images(self) -> None:
        put_now(self.store, *(image(f"n{k}", (0,), 50 + k) for k in range(3)))
        refresh_clean_set(self.store, "mine")

    def decided(self) -> None:
        wrong = {cell: clean for (cell, _), clean in sorted(membership(self.store, "mine").items())}
        some = random.Random(1).sample(sorted(wrong), 6)
        override_cells(self.store, [Override(cell, keep=not wrong[cell]) for cell in some])
        refresh_clean_set(self.store, "mine")

    def undone(self) -> None:
        named = [
            row["image_name"] + f":{row['mask_id']}"
            for row in rows(self.store, "SELECT * FROM cell_override")
        ]
        undo_overrides(self.store, named[:3])
        refresh_clean_set(self.store, "mine")

    def relabelled(self) -> None:
        with self.store.writing() as connection:
            for name, labels in (("i0", (16,)), ("i2", (0, 16)), ("i5", (0,))):
                write.relabel_image(connection, image(name, labels, 0).source, "/data", None)
        refresh_clean_set(self.store, "mine")

    def replaced(self) -> None:
        put_now(self.store, image("i1", (0,), 77), image("i3", (16,), 78, n=5))
        refresh_clean_set(self.store, "mine")

    def gone(self) -> None:
        with self.store.writing() as connection:
            write.mark_gone(connection, ["i6", "n0"], datetime.now(UTC))
            write.delete_images(connection, ["n1"])
        refresh_clean_set(self.store, "mine")

    def returned(self) -> None:
        with self.store.writing() as connection:
            write.move_images(connection, ["n0"], "/data", None)
        refresh_clean_set(self.store, "mine")

    def other_rules(self) -> None:
        rules = (Rule("fraction", "green", 0.1, 0.9), Rule("touches_border"))
        create_clean_set(
            self.store, "mine", CleanRecipe(rules, 60, labels=MANY.labels, guard="keep")
        )

    def other_scope(self) -> None:
        rules = (Rule("fraction", "green", 0.1, 0.9), Rule("touches_border"))
        create_clean_set(self.store, "mine", CleanRecipe(rules, 60, "all", labels=MANY.labels))

    def remeasured(self) -> None:
        the_store_is_remeasured(self.store, 0.5)
        refresh_clean_set(self.store, "mine")


STEPS: dict[str, set[str]] = {
    "new_images": {"new_image", "threshold_moved", "guard"},
    "decided": {"override", "guard"},
    "undone": {"override", "guard"},
    "relabelled": {"relabelled", "threshold_moved", "guard"},
    "replaced": {"image_changed", "threshold_moved", "guard"},
    "gone": {"image_gone", "threshold_moved", "guard"},
    "returned": {"image_gone", "threshold_moved", "guard"},
    "other_rules": {"rule_changed", "guard"},
    "other_scope": {"rule_changed", "guard"},
    "remeasured": {"remeasured", "guard"},
}
"""What may come of each; the first must."""


def test_a_diff_explains_every_difference_of_a_history(store: Store) -> None:
    history = History(store)
    before: dict[int, Any] = {}
    seen = {1: membership(store, "mine")}
    for version, (step, causes) in enumerate(STEPS.items(), start=2):
        getattr(history, step)()
        seen[version] = membership(store, "mine")
        for older in {version - 1, 1}:
            found = clean_diff(store, f"mine@{older}", f"mine@{version}")
            clean = [{key for key, value in seen[v].items() if value} for v in (older, version)]
            told = changes(found)
            expected = dict.fromkeys(clean[0] - clean[1], "out") | dict.fromkeys(
                clean[1] - clean[0], "in"
            )
            assert told == expected, (step, older)
            assert set(found["cause"]) <= set(CAUSES)
            if older == version - 1:
                assert set(found["cause"]) <= causes, (step, Counter(found["cause"]))
                assert next(iter(STEPS[step] - {"guard", "threshold_moved"})) in set(
                    found["cause"]
                ), step
            back = clean_diff(store, f"mine@{version}", f"mine@{older}")
            assert changes(back) == {key: {"in": "out", "out": "in"}[told[key]] for key in told}
            counted = summarise_diff(found)
            assert counted["cells"].sum() == len(expected)
        assert {v: scalar_of(store, v) for v in before} == before, step
        before[version - 1] = scalar_of(store, version - 1)
    assert clean_diff(store, "mine", "mine").empty


def causes(store: Store, older: int, newer: int) -> dict[str, set[str]]:
    """Causes of the differences between two versions, by image."""
    found = clean_diff(store, f"x@{older}", f"x@{newer}")
    told: dict[str, set[str]] = {}
    for cell, cause in zip(found["cell"], found["cause"], strict=True):
        told.setdefault(cell.partition(":")[0], set()).add(cause)
    return told


ALL = CleanRecipe((Rule("area", None, Bound(value=0), None),), 0)


def test_the_causes_of_a_difference_do_not_change_with_what_happens_later(store: Store) -> None:
    put_now(store, *(image(name, (0,), 1) for name in ("a", "b", "c")), image("m", (0, 16), 2))
    create_clean_set(store, "x", ALL)
    put_now(store, *(image(name, (0,), 3) for name in ("n", "o", "p")))
    with store.writing() as connection:
        write.relabel_image(connection, image("m", (16,), 2).source, "/data", None)
    refresh_clean_set(store, "x")
    came = {"n": {"new_image"}, "o": {"new_image"}, "p": {"new_image"}, "m": {"relabelled"}}
    assert causes(store, 1, 2) == came
    with store.writing() as connection:
        write.mark_gone(connection, ["a", "b", "n"], datetime.now(UTC))
        write.delete_images(connection, ["c"])
    refresh_clean_set(store, "x")
    left = {"a": {"image_gone"}, "b": {"image_gone"}, "c": {"image_gone"}, "n": {"image_gone"}}
    assert causes(store, 2, 3) == left
    put_now(store, image("o", (0,), 4, n=3), image("b", (0,), 5))
    with store.writing() as connection:
        write.delete_images(connection, ["p"])
        write.move_images(connection, ["a", "n"], "/data", None)
        write.relabel_image(connection, image("a", (16,), 1).source, "/data", None)
    assert causes(store, 1, 2) == came
    assert causes(store, 2, 3) == left
    refresh_clean_set(store, "x")
    assert causes(store, 1, 2) == came
    assert causes(store, 2, 3) == left
    back = {"a": {"relabelled"}, "b": {"new_image"}, "n": {"image_gone"}}
    assert causes(store, 3, 4) == back | {"o": {"image_changed"}, "p": {"image_gone"}}


def test_a_mask_and_labels_may_change_at_once(store: Store) -> None:
    put_now(
        store,
        image("a", (0, 16), 1),
        image("b", (0, 16), 2),
        image("c", (7,), 3),
        image("d", (0,), 4),
    )
    create_clean_set(store, "x", ALL)
    put_now(
        store,
        image("a", (0,), 5),
        image("b", (0, 16), 6),
        image("c", (0,), 7),
        image("d", (0,), 8, n=3),
    )
    refresh_clean_set(store, "x")
    assert causes(store, 1, 2) == {"a": {"relabelled"}, "c": {"relabelled"}, "d": {"image_changed"}}
    create_clean_set(store, "x", replace(ALL, scope="all"))
    assert causes(store, 2, 3) == {"b": {"rule_changed"}}
    assert causes(store, 1, 3)["b"] == {"rule_changed"}


def test_a_value_that_is_missing_was_not_dropped_by_a_threshold(store: Store) -> None:
    put_now(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3]))
    create_clean_set(store, "x", CleanRecipe((Rule(lower=0, upper=1),)))
    with store.writing() as connection:
        connection.execute(text("UPDATE cell SET green_fraction = NULL WHERE green_fraction = 0.2"))
    refresh_clean_set(store, "x")
    assert causes(store, 1, 2) == {"a": {"remeasured"}}


def changes(found: Any) -> dict[Any, str]:
    keys = zip(found["cell"], found["label_id"], strict=True)
    return dict(zip(keys, found["change"], strict=True))


def scalar_of(store: Store, version: int) -> Any:
    """What a version says in all, of cells that are and of those that are no more."""
    return scalar(
        store,
        "SELECT (SELECT count(*) FROM clean_set_cell WHERE clean_set_id = clean_set.id)"
        " + (SELECT count(*) FROM clean_set_former WHERE clean_set_id = clean_set.id)"
        " FROM clean_set WHERE version = :version",
        version=version,
    )


def check(store: Store, one: Explanation, row: dict[str, Any], kept: bool) -> None:
    """An explanation, its checks and the row of ``clean_cell`` say the same."""
    assert (one.clean, one.reason) == (bool(row["clean"]), row["reason"])
    assert (one.measure, one.channel, one.value) == (row["measure"], row["channel"], row["value"])
    assert (one.lower, one.upper, one.rank) == (row["lower"], row["upper"], row["rank"])
    if not kept or one.reason in ("override_keep", "override_drop"):
        return
    failed = next((c.reason for c in one.checks if c.passed is False), None)
    if one.reason == "kept_best":
        assert failed is not None
    elif one.reason in ("below_lower", "above_upper"):
        assert failed == "below_lower / above_upper"
        assert one.value is not None
        bound = one.lower if one.reason == "below_lower" else one.upper
        assert bound is not None
        assert (one.value < bound) == (one.reason == "below_lower")
    else:
        assert failed == one.reason


def test_explain_agrees_with_the_row_of_every_cell(store: Store) -> None:
    history = History(store)
    for step in ("new_images", "decided", "relabelled", "replaced", "other_rules"):
        getattr(history, step)()
    create_clean_set(store, "all", CleanRecipe(MANY.rules, 0, "all"))
    found = rows(store, "SELECT * FROM clean_cell_live")
    by_cell: dict[str, dict[tuple[str, int, int], dict[str, Any]]] = {}
    for row in found:
        cell = f"{row['image_name']}:{row['mask_id']}"
        by_cell.setdefault(cell, {})[row["clean_set"], row["version"], row["label_id"]] = row
    checked = 0
    for cell, verdicts in by_cell.items():
        told = {(e.clean_set, e.version, e.label_id): e for e in explain(store, cell)}
        assert set(told) == set(verdicts)
        for key, row in verdicts.items():
            check(store, told[key], row, kept=True)
            checked += 1
    assert checked == len(found) > 300
    unjudged = next(r for r in rows(store, "SELECT name FROM image WHERE label_count = 2"))
    assert {e.clean_set for e in explain(store, f"{unjudged['name']}:1")} >= {"all"}
    with pytest.raises(NotFoundError, match="no cell i0:99; cells are named NAME:ID"):
        explain(store, "i0:99")


def test_explain_tells_since_when_and_by_which_override(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3, 0.4]))
    middle = CleanRecipe((Rule(lower=0.3, upper=1),))
    create_clean_set(store, "x", middle)
    create_clean_set(store, "x", middle)
    override_cells(store, [Override("a:1", keep=True, comment="fine")])
    create_clean_set(store, "x", middle)
    create_clean_set(store, "x", middle)
    found = explain(store, "a:1")
    assert [e.since for e in found] == [1, 1, 3, 3]
    assert [e.override for e in found] == [None, None, "keep: fine", "keep: fine"]
    assert [e.later_override for e in found] == ["keep: fine", "keep: fine", None, None]
    assert [(e.rank, e.n) for e in found] == [(1, 4)] * 4
    assert [e.since for e in explain(store, "a:4")] == [1] * 4


def test_explain_tells_an_override_of_a_version_from_what_came_after_it(store: Store) -> None:
    put(store, measured("a", (0, 16), n=1))
    create_clean_set(store, "x", replace(ALL, scope="all"))
    override_cells(store, [Override("a:1", keep=False, comment="two cells")])
    refresh_clean_set(store, "x")

    def overrides() -> list[tuple[str | None, str | None]]:
        return [(e.override, e.later_override) for e in explain(store, "a:1")]

    text = "drop: two cells"
    assert overrides() == [(None, text), (None, text), (text, None), (text, None)]
    override_cells(store, [Override("a:1", keep=True, label=16)])
    assert overrides() == [(None, text), (None, "keep"), (text, None), ("drop", "keep")]
    undo_overrides(store, ["a:1"])
    assert overrides() == [(None, None), (None, None), ("drop", "undone"), ("drop", "undone")]


# Versions


def test_a_refresh_makes_a_version_and_leaves_the_old_as_it_was(store: Store) -> None:
    put(store, image("a", (0,), 1))
    create_clean_set(store, "x", MANY)
    tables = ("clean_set", "clean_rule", "clean_set_threshold", "clean_set_cell")
    before = {name: dump(store)[name] for name in tables}
    put(store, image("b", (0,), 2))
    made = refresh_clean_set(store, "x")
    assert (made.version, made.cells) == (2, 16)
    after = dump(store)
    assert all(set(map(repr, before[name])) <= set(map(repr, after[name])) for name in tables)
    assert clean_set_recipe(store, "x@1") == clean_set_recipe(store, "x@2")
    assert refresh_clean_set(store, "x@1").version == 3


def test_a_refresh_counts_what_flipped_and_why(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    wide = CleanRecipe((Rule(lower=0, upper=1),), 0)
    put_now(
        store, measured("a", (0,), green_fraction=[k / 100 for k in range(20)]), measured("b", (7,))
    )
    made = create_clean_set(store, "x", wide)
    assert (made.flips, made.shares) == ((), ())
    override_cells(store, [Override("a:1", keep=False)])
    put_now(store, measured("c", (7,)))
    made = refresh_clean_set(store, "x")
    assert made.flips == (
        Flips(0, "Nucleoplasm", "out", "override", 1),
        Flips(7, "Golgi apparatus", "in", "new_image", 3),
    )
    assert made.shares == ()
    assert not caplog.records

    override_cells(store, [Override(f"a:{n}", keep=False) for n in (2, 3, 4)])
    made = refresh_clean_set(store, "x")
    assert made.flips == (Flips(0, "Nucleoplasm", "out", "override", 3),)
    assert made.shares == (ShareMove(0, "Nucleoplasm", 0.95, 0.8),)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "x@3: the share of clean verdicts moved by more than 10 percentage points: 0 Nucleoplasm from "
        "95.0% to 80.0%; "
        "'hpastore clean diff x@2 x@3' lists the cells"
    )
    assert refresh_clean_set(store, "x").flips == ()


def test_a_frozen_set_keeps_its_thresholds_when_data_arrive_and_others_follow(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3]))
    wide = CleanRecipe((Rule(lower=0, upper=1),))
    create_clean_set(store, "follows", wide)
    create_clean_set(store, "frozen", wide, frozen=True)
    put(store, measured("b", (0,), green_fraction=[0.9, 0.2]))
    assert [(one.clean_set, one.labels, one.flips, one.unjudged) for one in drift(store)] == [
        ("follows", (0,), 0, 2),
        ("frozen", (), 0, 2),
    ]
    live = "SELECT clean_set, upper, n FROM label_threshold WHERE label_id = 0 ORDER BY clean_set, version"
    assert rows(store, live) == [
        {"clean_set": "follows", "upper": 0.9, "n": 5},
        {"clean_set": "frozen", "upper": 0.3, "n": 3},
    ]
    assert refresh_clean_set(store, "follows").clean == 5
    assert refresh_clean_set(store, "frozen").clean == 4
    assert clean_set(store, "frozen")["upper"].tolist() == [0.3]
    freeze_clean_set(store, "frozen", frozen=False)
    assert refresh_clean_set(store, "frozen").clean == 5
    assert clean_sets(store)["frozen"].tolist() == [False, False, True, False, False]
    assert [one.any for one in drift(store)] == [False, False]


def test_drift_counts_verdicts_that_a_refresh_would_leave_out(store: Store) -> None:
    names = ("a", "b", "c", "d", "e")
    put_now(store, *(measured(name, (0,), area=[5, 6, 7]) for name in names))
    create_clean_set(store, "follows", ALL)
    create_clean_set(store, "frozen", CleanRecipe(), frozen=True)

    def left() -> list[tuple[str, int, bool]]:
        return [(one.clean_set, one.left, one.any) for one in drift(store)]

    assert left() == [("follows", 0, False), ("frozen", 0, False)]
    with store.writing() as connection:
        write.mark_gone(connection, ["a"], datetime.now(UTC))
    assert left() == [("follows", 3, True), ("frozen", 3, True)]
    with store.writing() as connection:
        write.delete_images(connection, ["b"])
        write.relabel_image(connection, measured("c", (0, 16)).source, "/data", None)
    assert left() == [("follows", 9, True), ("frozen", 9, True)]
    put_now(store, measured("d", (0,), area=[5, 6, 7]))
    (one, _) = drift(store)
    assert (one.left, one.unjudged, one.cells) == (12, 3, 3)
    assert str(one) == (
        "clean set follows@1: a refresh would judge 3 new cells and leave out 12 verdicts on cells that "
        "left; run 'hpastore clean refresh follows'"
    )
    for name in ("follows", "frozen"):
        assert refresh_clean_set(store, name).cells == 6
    assert left() == [("follows", 0, False), ("frozen", 0, False)]


def test_drift_counts_what_a_refresh_would_turn(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3, 0.4]), measured("c", (7,)))
    create_clean_set(store, "x", CleanRecipe((Rule(lower=0.5, upper=1),)))
    [found] = drift(store)
    assert not found.any
    assert str(found) == "clean set x@1: a refresh would change nothing"
    put(store, measured("b", (0,), green_fraction=[0.05, 0.06]))
    override_cells(store, [Override("c:1", keep=True), Override("a:4", keep=False)])
    [found] = drift(store, "x")
    assert (found.labels, found.unjudged) == ((0,), 2)
    before = membership(store, "x")
    refresh_clean_set(store, "x")
    after = membership(store, "x")
    assert found.flips == sum(after[key] != before[key] for key in before) > 1
    with pytest.raises(NotFoundError):
        drift(store, "y")


def test_drift_counts_the_flips_that_come_from_overrides(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3, 0.4, 0.5]))
    override_cells(store, [Override("a:4", keep=False)])
    create_clean_set(store, "x", CleanRecipe((Rule(lower=0.5, upper=1),)))
    undo_overrides(store, ["a:4"])
    override_cells(store, [Override("a:1", keep=True), Override("a:5", keep=True)])
    [found] = drift(store)
    assert (found.flips, found.overridden, found.labels) == (2, 2, ())  # a:5 was clean without it
    assert str(found) == (
        "clean set x@1: a refresh would flip 2 of 5 verdicts (2 because of overrides); "
        "run 'hpastore clean refresh x'"
    )
    put(store, measured("b", (0,), green_fraction=[0.45, 0.46]))
    [found] = drift(store)
    assert (found.labels, found.unjudged) == ((0,), 2)
    assert found.flips > found.overridden == 2
    assert str(found).startswith(
        "clean set x@1: a refresh would move the thresholds of label 0, flip "
    )
    refresh_clean_set(store, "x")
    assert drift(store)[0].overridden == 0


def test_a_set_is_dropped_whole_or_one_version(store: Store) -> None:
    put(store, measured())
    for _ in range(3):
        create_clean_set(store, "x")
    create_clean_set(store, "y")
    assert drop_clean_set(store, "x@2") == 1
    assert clean_sets(store)["version"].tolist() == [1, 3, 1]
    assert drop_clean_set(store, "x") == 2
    assert scalar(store, "SELECT count(DISTINCT clean_set_id) FROM clean_set_cell") == 1
    with pytest.raises(NotFoundError):
        drop_clean_set(store, "x")


def test_an_image_that_loses_all_its_cells_is_reported_or_keeps_its_best(store: Store) -> None:
    put(
        store,
        measured(
            "a", (0,), green_fraction=[0.1, 0.2, 0.3], area=[5, 5, 5], green_intensity_max=[99] * 3
        ),
        measured(
            "b", (0,), green_fraction=[0.8, 0.9, 0.85], area=[2, 9, 9], green_intensity_max=[99] * 3
        ),
    )
    rules = (Rule("area", None, Bound(value=3), None), Rule(lower=0, upper=0.5))
    made = create_clean_set(store, "x", CleanRecipe(rules))
    assert (made.clean, made.emptied) == (3, 1)
    assert emptied_images(store, "x").to_dict("records") == [
        {"image_name": "b", "label_id": 0, "label": "Nucleoplasm", "cells": 3}
    ]
    kept = create_clean_set(store, "x", CleanRecipe(rules, guard="keep"))
    assert (kept.clean, kept.emptied) == (4, 0)
    found = rows(
        store,
        "SELECT mask_id, reason FROM clean_cell WHERE image_name = 'b' AND version = 2 AND clean",
    )
    assert found == [
        {"mask_id": 2, "reason": "kept_best"}
    ]  # of the two that pass the first rule, the first


def test_overridden_cells_and_those_without_a_background_are_no_best(store: Store) -> None:
    put(
        store,
        measured("a", (0,), green_fraction=[np.nan, 0.2]),
        measured("b", (0,), green_fraction=[0.9]),
    )
    override_cells(store, [Override("a:2", keep=False)])
    made = create_clean_set(store, "x", CleanRecipe((Rule(lower=0, upper=1),), guard="keep"))
    assert (made.clean, made.emptied) == (1, 1)
