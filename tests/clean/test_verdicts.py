"""Verdicts by random recipes over random cells, against what docs/recipes.md says in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete

from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set
from hpastore.clean.explain import Explanation, explain
from hpastore.clean.recipe import parse_recipe, recipe_toml
from hpastore.clean.rules import FLAGS, CleanRecipe, LabelRules, Rule
from hpastore.errors import UsageError
from hpastore.model import Measured
from hpastore.schema.tables import Base
from hpastore.store import overrides, write
from hpastore.store.classes import set_classes
from hpastore.store.engine import Store
from tests.conftest import Figure, Trials
from tests.oracle import Decisions, Key, Oracle, Verdict
from tests.world import NOW, exact, lacking, measured, put, rows

LABELS = {
    "a": (0,),
    "b": (0,),
    "c": (16,),
    "d": (18,),
    "e": (0, 16),
    "f": (7,),
    "g": (),
    "h": (0,),
    "i": (16,),
}
"""Of the images; no image has 5 alone or with others."""

SPLITS = ("train", "val")
NAN = float("nan")

VALUES: Mapping[str, Sequence[float]] = {
    "green_fraction": (0.0, 0.1, 0.1, 1 / 3, 0.7, NAN),
    "red_fraction": (0.2, 0.4, NAN),
    "green_fraction_notebook": (0.1, 0.5, 0.9, NAN),
    "green_intensity_max": (3, 64, 65, 200, 255),
    "blue_brenner": (0.5, 2.0, 7.0, 7.0, NAN),
    "area": (1, 4, 9, 30),
    "pieces": (1, 1, 1, 2),
    "touches_border": (0, 0, 1),
    "nucleus_area": (0, 1, 3),
}

MEASURES = (
    *(
        ("fraction", "green"),
        ("fraction", "red"),
        ("fraction_notebook", "green"),
        ("brenner", "blue"),
    ),
    *(("area", None), ("pieces", None), ("nucleus_area", None)),
)

NUMBERS: Mapping[str, Sequence[float]] = {
    "percentile": (0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0),
    "value": (0.1, 1.0, 4.0, 7.0),
    "median": (0.3, 1.0, 1.7),
    "image_median": (0.3, 1.0, 1.7),
}

COLUMNS: Mapping[str, Sequence[str]] = {"line": ("", "A", "B"), "plate": ("1", "2", "it's")}
"""What the label table says of images; an empty value is none."""


_FIRST_SEED = 103
"""The ten from here on draw verdicts of every reason."""


OTHER_CLASSES = Classes(
    {5: "Five", 77: "Nothing", 900: "Many", 2018: "Old", 2**31 - 1: "Last"}, negative=77
)
OTHER_IDS = {0: 2018, 7: 2**31 - 1, 16: 5, 18: 77}
"""What the labels of `LABELS` are in a store with these classes."""


class Draw:
    """Draws recipes and stores; the same seed draws the same, an odd one with other classes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.classes = OTHER_CLASSES if seed % 2 else DEFAULT_CLASSES

    def labels(self, *labels: int) -> tuple[int, ...]:
        """Give the ids that labels have among the classes."""
        ids = (OTHER_IDS[label] if self.classes is OTHER_CLASSES else label for label in labels)
        return tuple(sorted(ids))

    def one(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def recipe(self) -> CleanRecipe:
        """Draw recipes until one makes sense: a bound may be above the other, two reasons the same."""
        while True:
            recipe = CleanRecipe(
                self.rules(),
                min_green=self.one([0, 65]),
                scope=self.one(["single", "all"]),
                min_cells=self.one([0, 1, 4]),
                guard=self.one(["report", "keep"]),
                small_labels=self.one(["nothing", "image", "all"]),
                label_sections=self.one(["change", "change", "replace"]),
            )
            labels: dict[int | str, LabelRules | tuple[Rule, ...]] = {
                label: self.section(recipe)
                for label in self.labels(0, 18)
                if self.rng.random() < 0.3
            }
            negative = self.section(recipe) if self.rng.random() < 0.2 else None
            recipe = replace(recipe, labels=labels, negative_class=negative)
            try:
                return recipe.validated(classes=self.classes)
            except UsageError:
                continue

    def section(self, recipe: CleanRecipe) -> LabelRules:
        """Draw what differs for a label: rules in place of others, more rules, and rules less."""
        names = [rule.key for rule in recipe.rules]
        off = tuple(name for name in names if self.rng.random() < 0.3)
        rules = tuple(
            replace(rule, name=self.one(names)) if names and self.rng.random() < 0.5 else rule
            for rule in self.rules()[:3]
        )
        return LabelRules(rules, off)

    def rules(self) -> tuple[Rule, ...]:
        return tuple(self.rule(place) for place in range(self.rng.integers(5)))

    def rule(self, place: int) -> Rule:
        where = self.one([None, None, *FLAGS])
        name = self.one([None, f"rule_{place}"])
        if self.rng.random() < 0.25:
            return Rule(self.one(FLAGS), None, None, None, name, where)
        measure, channel = self.one(MEASURES)
        by = self.one([None, None, None, *COLUMNS])
        return Rule(measure, channel, self.bound(), self.bound(), name, where, by)

    def bound(self) -> Bound | None:
        kind = self.one([None, *NUMBERS])
        return None if kind is None else Bound(**{kind: self.one(NUMBERS[kind])})

    def images(self) -> dict[str, dict[str, Any]]:
        """Draw the measures of each image's cells, of which there may be none."""
        sizes = {name: int(self.rng.integers(6)) for name in LABELS}
        return {
            name: {
                measure: self.rng.choice(values, n).tolist() for measure, values in VALUES.items()
            }
            for name, n in sizes.items()
            if n
        }

    def image(self, name: str, measures: Mapping[str, Any]) -> Measured:
        """Make an image, which may lack a channel."""
        image = measured(name, self.labels(*LABELS[name]), **measures)
        said = tuple((column, self.one(values)) for column, values in COLUMNS.items())
        image = replace(image, source=image.source._replace(columns=said))
        return (
            lacking(image, self.one(["red", "green", "blue"])) if self.rng.random() < 0.4 else image
        )

    def own_labels(self, cells: int) -> dict[int, tuple[int, ...]]:
        """Draw labels for some of an image's cells, mostly for none."""
        if self.rng.random() < 0.6:
            return {}
        choices = [(0,), (16,), (18,), (0, 16), ()]
        return {
            k + 1: self.labels(*self.one(choices)) for k in range(cells) if self.rng.random() < 0.5
        }

    def decisions(self, images: Mapping[str, Mapping[str, Any]]) -> Decisions:
        known = [
            (name, mask_id + 1) for name, of in images.items() for mask_id in range(len(of["area"]))
        ]
        chosen = [self.one(known) for _ in range(self.rng.integers(4)) if known]
        labels = [None, *self.labels(0, 16)]
        return {(*cell, self.one(labels)): bool(self.rng.integers(2)) for cell in chosen}

    def fill(self, store: Store) -> Decisions:
        """Put other images in place of what is there, some of them gone, with decisions about their cells."""
        images = self.images()
        decisions = self.decisions(images)
        with store.writing() as connection:
            for table in ("cell_override", "clean_set_cell", "clean_set", "image"):
                connection.execute(delete(Base.metadata.tables[table]))
        set_classes(store, self.classes)
        put(store, *(self.image(name, of) for name, of in images.items()))
        with store.writing() as connection:
            for name, of in images.items():
                write.label_cells(connection, name, self.own_labels(len(of["area"])), NOW)
            for name in images:
                write.move_images(connection, [name], "/data", self.one(SPLITS))
            write.mark_gone(connection, [name for name in images if self.rng.random() < 0.1], NOW)
            made = [
                overrides.Decision(*key, keep, None, None, None) for key, keep in decisions.items()
            ]
            overrides.write_overrides(connection, made, NOW)
        return decisions


def test_verdicts_are_what_the_readme_says(store: Store, trials: Trials, figure: Figure) -> None:
    n = trials(quick=10, full=25, soak=500)
    judged, reasons = 0, set[str | None]()
    for seed in range(_FIRST_SEED, _FIRST_SEED + n):
        draw = Draw(seed)
        decisions = draw.fill(store)
        recipe, split = draw.recipe(), draw.one([None, *SPLITS])
        stats = rows(store, "SELECT * FROM cell_stats")
        oracle = Oracle(recipe, stats, decisions, split, draw.classes.negative)
        expected = oracle.verdicts()
        if not expected:
            with pytest.raises(UsageError, match=r"no cell to judge|no split"):
                create_clean_set(store, "a", recipe, split=split)
            continue
        create_clean_set(store, "a", recipe, split=split)
        check_verdicts(store, expected)
        check_bounds(store, oracle, draw.classes)
        check_explanations(store, expected)
        judged += len(expected)
        reasons |= {verdict.reason for verdict in expected.values()}
    assert reasons >= {
        None,
        "override_keep",
        "no_channel",
        "no_background",
        "no_value",
        "dark",
        "below_lower",
        "kept_best",
    }
    figure(f"verdicts as docs/recipes.md says: {n} recipes, {judged:,} verdicts, none differs")


def check_verdicts(store: Store, expected: Mapping[Key, Verdict]) -> None:
    found = rows(
        store, "SELECT image_name, mask_id, label_id, clean, reason, live FROM clean_cell_live"
    )
    stored = {(r["image_name"], r["mask_id"], r["label_id"]): r for r in found}
    assert {key: Verdict(bool(r["clean"]), r["reason"]) for key, r in stored.items()} == expected
    # The view judges rule by rule, for all sets in one statement.
    assert {key: bool(r["live"]) for key, r in stored.items()} == {
        key: clean for key, (clean, _) in expected.items()
    }


def check_bounds(store: Store, oracle: Oracle, classes: Classes) -> None:
    """The bounds that are kept, and those of the view, are NumPy's to the last bit; a flag is a bound too."""
    expected: dict[int, list[Any]] = {}
    for label in classes.ids:
        for rule in oracle.rules(label):
            of_groups = {}
            for group in oracle.groups(rule):
                limits = oracle.limits(as_bounds(rule), label, group)
                if rule.measure == "touches_border":
                    limits = limits._replace(upper=0.0)
                of_groups[group] = tuple(map(exact, limits))
            expected.setdefault(label, []).append(of_groups)
    columns = "label_id, group_value, n, {0}.lower, {0}.upper, stand_in"
    kept = "SELECT position AS rule, k." + columns.format("k")
    kept += " FROM clean_set_threshold AS k JOIN clean_rule ON clean_rule.id = rule_id"
    now = f"SELECT rule, {columns.format('label_threshold')} FROM label_threshold"
    for sql in (kept, now):
        places: dict[int, dict[int, Any]] = {}
        for r in rows(store, sql):
            of_rule = places.setdefault(r["label_id"], {}).setdefault(r["rule"], {})
            bounds = (r["n"], exact(r["lower"]), exact(r["upper"]), r["stand_in"])
            of_rule[r["group_value"]] = bounds
        found = {label: [of[place] for place in sorted(of)] for label, of in places.items()}
        assert found == expected


def as_bounds(rule: Rule) -> Rule:
    """Write a rule on a missing nucleus as one on its area."""
    return (
        Rule("nucleus_area", None, Bound(value=1.0), None) if rule.measure == "no_nucleus" else rule
    )


def check_explanations(store: Store, expected: Mapping[Key, Verdict]) -> None:
    """The first check that is not passed gives the reason of the verdict."""
    cells_of: dict[tuple[str, int], list[int]] = {}
    for name, mask_id, label in expected:
        cells_of.setdefault((name, mask_id), []).append(label)
    for (name, mask_id), labels in list(cells_of.items())[::3]:
        told = {one.label_id: one for one in explain(store, f"{name}:{mask_id}")}
        assert sorted(told) == sorted(labels)
        for label, one in told.items():
            check_explanation(one, expected[name, mask_id, label])


def check_explanation(one: Explanation, verdict: Verdict) -> None:
    assert Verdict(one.clean, one.reason) == verdict
    failed = next((check for check in one.checks if check.passed is False), None)
    if verdict.reason is None:
        assert failed is None
    elif verdict.reason == "kept_best":
        assert failed is not None
    elif not verdict.reason.startswith("override_"):
        assert failed is not None
        assert verdict.reason in failed.reason.split(" / ")
    assert all(check.note for check in one.checks if check.passed is None)


@pytest.mark.parametrize("seed", range(60))
def test_a_recipe_reads_back_as_it_was_written(seed: int) -> None:
    recipe = Draw(seed).recipe()
    classes = OTHER_CLASSES if seed % 2 else DEFAULT_CLASSES
    read = parse_recipe(recipe_toml(recipe)).validated(classes=classes)
    assert replace(read, labels={}) == replace(recipe, labels={})
    assert {str(label): rules for label, rules in read.labels.items()} == {
        str(label): rules for label, rules in recipe.labels.items()
    }
