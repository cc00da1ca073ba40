"""The verdict by many rules per label, against one that is plain Python, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from hpastore.clean.recipe import parse_recipe, recipe_toml
from hpastore.clean.rules import Bound, CleanRecipe, Rule, reason_of
from hpastore.clean.select import create_clean_set
from hpastore.schema.tables import Base
from hpastore.store import overrides
from hpastore.store.engine import Store
from tests.conftest import MakeStore
from tests.world import NOW, cells, exact, measured, put, rows

LABELS = ((0,), (0,), (16,), (18,), (0, 16), (7,), ())
"""Of the images a, b, ...; no image has 5 alone or with others."""

NAMED = tuple(zip("abcdefg", LABELS, strict=True))

NAN = float("nan")

VALUES: Mapping[str, Sequence[float]] = {
    "green_fraction": (0.0, 0.1, 0.1, 1 / 3, 0.7, NAN),
    "green_intensity_max": (3, 64, 65, 200, 255),
    "blue_brenner": (0.5, 2.0, 7.0, 7.0, NAN),
    "area": (1, 4, 9, 30),
    "pieces": (1, 1, 1, 2),
    "touches_border": (0, 0, 1),
    "nucleus_area": (0, 1, 3),
}

BOUNDS = st.one_of(
    st.none(),
    st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.9]).map(lambda p: Bound(percentile=p)),
    st.sampled_from([0.1, 4.0, 7.0]).map(lambda v: Bound(value=v)),
    st.sampled_from([0.3, 1.0, 1.7]).map(lambda m: Bound(median=m)),
)


@st.composite
def rule(draw: st.DrawFn) -> Rule:
    where = draw(st.sampled_from([None, None, "touches_border", "no_nucleus"]))
    if draw(st.integers(0, 3)) == 0:
        return Rule(draw(st.sampled_from(["touches_border", "no_nucleus"])), where=where)
    measure, channel = draw(
        st.sampled_from([("fraction", "green"), ("area", None), ("brenner", "blue"), ("pieces", None)])
    )
    lower, upper = draw(BOUNDS), draw(BOUNDS)
    if lower is None and upper is None:
        upper = Bound(value=7.0)
    if lower is not None and upper is not None and lower.said()[0] == upper.said()[0]:
        lower, upper = sorted((lower, upper), key=lambda bound: bound.said()[1])
    return Rule(measure, channel, lower, upper, where=where)


@st.composite
def rule_list(draw: st.DrawFn) -> tuple[Rule, ...]:
    rules = draw(st.lists(rule(), max_size=4))
    return tuple(Rule(**{**vars(r), "name": f"rule_{i}"}) if i else r for i, r in enumerate(rules))


RECIPES = st.builds(
    CleanRecipe,
    rules=rule_list(),
    min_green=st.sampled_from([0, 65]),
    scope=st.sampled_from(["single", "all"]),
    labels=st.dictionaries(st.sampled_from([0, 18]), rule_list(), max_size=2),
    min_cells=st.sampled_from([1, 4]),
    guard=st.sampled_from(["report", "keep"]),
)


@st.composite
def world(draw: st.DrawFn) -> list[dict[str, list[Any]]]:
    """Measures of the cells of each image."""
    return [
        {
            name: draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))
            for name, values in VALUES.items()
        }
        for n in draw(st.lists(st.integers(0, 4), min_size=len(LABELS), max_size=len(LABELS)))
    ]


Decided = list[tuple[str, int, int | None, bool]]

DECIDED = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(1, 4), st.sampled_from([None, 0, 16]), st.booleans()),
    max_size=3,
    unique_by=lambda one: one[:3],
)


class Judge:
    """What the words of the definitions mean, cell by cell."""

    def __init__(self, recipe: CleanRecipe, images: list[dict[str, list[Any]]], decided: Decided) -> None:
        self.recipe, self.images = recipe, images
        self.keep = {(image, mask_id, label): keep for image, mask_id, label, keep in decided}

    def value(self, image: int, cell: int, rule: Rule) -> float:
        measures = self.images[image]
        if rule.is_flag:
            return self.flag(image, cell, rule.measure)
        key = rule.measure if rule.measure in measures else f"{rule.channel}_{rule.measure}"
        return float(measures[key][cell])

    def flag(self, image: int, cell: int, name: str) -> float:
        measures = self.images[image]
        if name == "no_nucleus":
            return float(measures["nucleus_area"][cell] == 0)
        return float(measures[name][cell])

    def values(self, label: int, rule: Rule) -> list[float]:
        of_label = [
            self.value(i, cell, rule)
            for i, labels in enumerate(LABELS)
            if labels == (label,)
            for cell in range(len(self.images[i]["area"]))
        ]
        return [value for value in of_label if not np.isnan(value)]

    def bounds(self, label: int, rule: Rule) -> dict[str, float | None]:
        values = self.values(label, rule)
        return {side: self.bound(values, *said) for side, said in rule.sides.items()}

    def bound(self, values: list[float], kind: str, number: float) -> float | None:
        if kind == "value":
            return number
        if not values or len(values) < self.recipe.min_cells:
            return None
        return float(
            np.quantile(values, number) if kind == "percentile" else number * float(np.quantile(values, 0.5))
        )

    def verdicts(self) -> dict[tuple[str, int, int], tuple[bool, str | None]]:
        found: dict[tuple[str, int, int], tuple[bool, str | None]] = {}
        for i, labels in enumerate(LABELS):
            if self.recipe.scope == "single" and len(labels) != 1:
                continue
            for label in labels:
                found |= self.image(i, label)
        return found

    def image(self, i: int, label: int) -> dict[tuple[str, int, int], tuple[bool, str | None]]:
        name, numbers = "abcdefg"[i], range(len(self.images[i]["area"]))
        judged = {cell: self.reason(i, cell, label) for cell in numbers}
        kept = {cell for cell, (reason, _) in judged.items() if reason in (None, "override_keep")}
        reasons = {cell: reason for cell, (reason, _) in judged.items()}
        if self.recipe.guard == "keep" and not kept:
            free = [cell for cell, (_, place) in judged.items() if place >= 0]
            if free:
                best = max(free, key=lambda c: (judged[c][1], self.images[i]["area"][c], -c))
                kept.add(best)
                reasons[best] = "kept_best"
        return {(name, cell + 1, label): (cell in kept, reasons[cell]) for cell in numbers}

    def reason(self, i: int, cell: int, label: int) -> tuple[str | None, float]:
        """Reason of a verdict, and how far the cell came; below 0 for one that no guard may keep."""
        name = "abcdefg"[i]
        for of_label in (label, None):
            if (name, cell + 1, of_label) in self.keep:
                kept = self.keep[name, cell + 1, of_label]
                return ("override_keep" if kept else "override_drop"), -1
        rules = self.recipe.labels.get(label, self.recipe.rules)
        shown = next((r for r in rules if r.has_percentile), None)
        if any(r.measure == "fraction" and np.isnan(self.value(i, cell, r)) for r in rules):
            return "no_background", -1
        if shown and np.isnan(self.value(i, cell, shown)):
            return "no_value", -1
        if self.images[i]["green_intensity_max"][cell] < self.recipe.min_green and LABELS[i] != (18,):
            return "dark", 0
        if shown and not self.values(label, shown):
            return "no_threshold", 0.5
        for place, r in enumerate(rules, start=1):
            side = self.fails(i, cell, label, r)
            if side is not None:
                name_of = reason_of(r, rules) or {"lower": "below_lower", "upper": "above_upper"}[side]
                return name_of, place + (0.5 if side == "upper" else 0)
        return None, 0

    def fails(self, i: int, cell: int, label: int, r: Rule) -> str | None:
        if r.where is not None and not self.flag(i, cell, r.where):
            return None
        value = self.value(i, cell, r)
        if r.is_flag:
            return "upper" if value else None
        bounds = self.bounds(label, r)
        lower, upper = bounds.get("lower"), bounds.get("upper")
        if lower is not None and value < lower:
            return "lower"
        return "upper" if upper is not None and value > upper else None


def fill(store: Store, images: list[dict[str, list[Any]]], decided: Decided) -> Decided:
    """Put the world in place of what is there, and say which decisions are on cells that it has."""
    with store.writing() as connection:
        for name in ("cell_override", "clean_set", "image"):
            connection.execute(delete(Base.metadata.tables[name]))
    worlds: list[Any] = [measures if measures["area"] else {"n": 0} for measures in images]
    put(store, *(measured(*one, cells(**of)) for one, of in zip(NAMED, worlds, strict=True)))
    known = [d for d in decided if d[1] <= len(images["abcdefg".index(d[0])]["area"])]
    with store.writing() as connection:
        decisions = [overrides.Decision(*one, None, None, None) for one in known]
        overrides.write_overrides(connection, decisions, NOW)
    return known


def limits(store: Store) -> dict[tuple[int, int], Any]:
    """Number of cells and bounds that a set keeps, by the rule's place and the label, to the last bit."""
    sql = "SELECT position, k.label_id, n, lower, upper FROM clean_set_threshold AS k "
    sql += "JOIN clean_rule ON clean_rule.id = rule_id"
    return {
        (row["position"], row["label_id"]): (row["n"], exact(row["lower"]), exact(row["upper"]))
        for row in rows(store, sql)
    }


def expected_limits(recipe: CleanRecipe, judge: Judge) -> dict[tuple[int, int], Any]:
    """The same by NumPy; a flag is a bound like any other."""
    place, expected = 0, {}
    for labels, rules in recipe.lists():
        for r in rules:
            place += 1
            flagged = Rule("nucleus_area", None) if r.measure == "no_nucleus" else r
            for label in range(19) if labels is None else labels:
                bounds = judge.bounds(label, r)
                if r.is_flag:
                    bounds = {"lower": 1.0} if r.measure == "no_nucleus" else {"upper": 0.0}
                sides = (exact(bounds.get(side)) for side in ("lower", "upper"))
                expected[place, label] = (len(judge.values(label, flagged)), *sides)
    return expected


def found(store: Store, column: str) -> dict[tuple[str, int, int], Any]:
    sql = f"SELECT image_name, mask_id, label_id, {column} FROM clean_cell"
    return {(r["image_name"], r["mask_id"], r["label_id"]): r[column] for r in rows(store, sql)}


@pytest.fixture
def both(make_store: MakeStore) -> list[Store]:
    return [make_store("sqlite"), make_store("postgresql")]


def test_rules_mean_what_their_words_say_on_both_databases(
    both: list[Store], trials: Callable[[int, int], int]
) -> None:
    @settings(
        max_examples=trials(30, 3000),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(RECIPES, world(), DECIDED)
    def check(recipe: CleanRecipe, images: list[dict[str, list[Any]]], decided: Decided) -> None:
        thresholds = []
        for store in both:
            known = fill(store, images, decided)
            expected = Judge(recipe, images, known).verdicts()
            if not expected:
                return
            create_clean_set(store, "a", recipe)
            assert found(store, "reason") == {key: reason for key, (_, reason) in expected.items()}
            clean = {key: clean for key, (clean, _) in expected.items()}
            assert {key: bool(value) for key, value in found(store, "clean").items()} == clean
            # The view judges rule by rule, for all sets in one statement.
            assert {key: bool(value) for key, value in found(store, "live").items()} == clean
            kept = (
                "SELECT rule_id - (SELECT min(id) FROM clean_rule) AS rule, label_id, n, lower, upper FROM "
            )
            tables = [
                [tuple(map(exact, row.values())) for row in rows(store, kept + table + " ORDER BY 1, 2")]
                for table in ("clean_set_threshold", "label_threshold")
            ]
            assert tables[0] == tables[1]
            assert limits(store) == expected_limits(recipe, Judge(recipe, images, known))
            thresholds.append(tables[0])
        assert thresholds[0] == thresholds[1]

    check()


@settings(max_examples=60, deadline=None)
@given(RECIPES)
def test_a_recipe_reads_back_as_it_was_written(recipe: CleanRecipe) -> None:
    assert parse_recipe(recipe_toml(recipe)).checked() == recipe.checked()
