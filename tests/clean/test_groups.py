"""Rules by a column of the label table, and bounds of a cell's own image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import update

from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set, refresh_clean_set
from hpastore.clean.explain import explain
from hpastore.clean.limits import limits_text
from hpastore.clean.recipe import load_recipe
from hpastore.clean.rule_bounds import clean_set_bounds
from hpastore.clean.rules import CleanRecipe, LabelRules, Rule
from hpastore.errors import UsageError
from hpastore.export.csv import export_csv
from hpastore.export.sample import make_sample
from hpastore.export.selection import ExportOptions
from hpastore.ingestion.run import ingest
from hpastore.model import Measured
from hpastore.schema.tables import CleanRule
from hpastore.store.engine import Store
from hpastore.vocabulary import SmallLabels
from tests.world import measured, put, rows

BY_LINE = CleanRecipe(
    (Rule("area", None, Bound(median=0.5), None, name="small", by="line"),), min_green=0
)


def of_line(name: str, line: str, area: list[int]) -> Measured:
    image = measured(name, (0,), area=area)
    columns = (("line", line),)
    return replace(image, source=image.source._replace(columns=columns))


def reasons(store: Store) -> dict[str, str | None]:
    found = rows(
        store,
        "SELECT image_name, mask_id, reason FROM clean_cell WHERE clean_set_id = "
        "(SELECT max(id) FROM clean_set)",
    )
    return {f"{row['image_name']}:{row['mask_id']}": row["reason"] for row in found}


def test_each_group_has_bounds_of_its_own_and_images_without_a_value_are_one(
    store: Store, tmp_path: Path
) -> None:
    put(store, of_line("a", "big", [100, 100, 40]), of_line("b", "small", [10, 10, 4]))
    put(store, of_line("c", "", [1000, 400]))
    create_clean_set(store, "a", BY_LINE)
    dropped = [cell for cell, reason in reasons(store).items() if reason == "small"]
    assert sorted(dropped) == ["a:3", "b:3"]
    found = rows(store, "SELECT group_value, n, lower FROM label_threshold WHERE label_id = 0")
    assert {tuple(row.values()) for row in found} == {
        ("big", 3, 50.0),
        ("small", 3, 5.0),
        (None, 2, 350.0),
    }
    (one,) = explain(store, "b:3")
    assert (one.lower, one.checks[-1].note) == (5.0, "line small")
    assert (one.rank, one.n) == (1, 3)
    (other,) = explain(store, "c:2")
    assert (other.lower, other.checks[-1].note) == (350.0, "images without line")
    assert (other.rank, other.n) == (1, 2)
    ranks = rows(store, "SELECT image_name, mask_id, rank FROM clean_cell_live WHERE mask_id < 3")
    assert {(row["image_name"], row["mask_id"]): row["rank"] for row in ranks} == {
        ("a", 1): 2,
        ("a", 2): 2,
        ("b", 1): 2,
        ("b", 2): 2,
        ("c", 1): 2,
        ("c", 2): 1,
    }
    export_csv(store, tmp_path / "live.csv", ExportOptions(clean="a"), layout="clean_cell_live")
    live = pd.read_csv(tmp_path / "live.csv")
    assert live["rank"].tolist() == [2, 2, 1, 2, 2, 1, 2, 1]
    stored = rows(store, "SELECT lower FROM clean_cell WHERE image_name = 'b' AND mask_id = 3")
    assert stored == [{"lower": 5.0}]


def test_a_group_that_comes_later_gets_bounds_with_a_refresh_but_not_in_a_frozen_set(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, of_line("a", "big", [100, 100, 40]))
    create_clean_set(store, "open", BY_LINE)
    create_clean_set(store, "kept", BY_LINE, frozen=True)
    put(store, of_line("b", "small", [10, 10, 4]))
    live = rows(store, "SELECT lower FROM label_threshold WHERE group_value = 'small'")
    assert live == []
    refresh_clean_set(store, "open")
    assert reasons(store)["b:3"] == "small"
    assert "no bounds" not in caplog.text
    refresh_clean_set(store, "kept")
    assert reasons(store) == {
        **dict.fromkeys(("a:1", "a:2", "b:1", "b:2", "b:3")),
        "a:3": "small",
    }
    (told,) = (one for one in explain(store, "b:3") if one.clean_set == "kept" and one.version == 2)
    assert [(check.reason, check.passed, check.note) for check in told.checks][1:] == [
        ("small", None, "no bounds for line small")
    ]
    assert list(clean_set_bounds(store, "kept")["group_value"]) == ["big"]
    assert list(clean_set_bounds(store, "open")["dropped"]) == [1, 1]
    assert (
        "frozen clean set kept has no bounds for line small: its rules by line drop none of their cells"
        in caplog.messages
    )


def test_only_groups_that_have_cells_of_a_label_are_small(store: Store) -> None:
    put(store, of_line("a", "big", [100, 100, 40]))
    put(store, of_line("b", "small", [10]))
    made = create_clean_set(store, "a", replace(BY_LINE, min_cells=2))
    assert [(one.label_id, one.group, one.n) for one in made.idle] == [(0, "small", 1)]
    (line,) = limits_text(made.idle, made.forced, made.stand_ins)
    assert line.startswith("label 0 small (1 cell) has fewer than 2 cells (min_cells), so that ")


def test_a_column_of_too_many_values_makes_no_groups(store: Store) -> None:
    put(store, *(of_line(f"i{n}", f"v{n}", [1]) for n in range(401)))
    with pytest.raises(UsageError, match="column 'line' has 401 different values, which are too"):
        create_clean_set(store, "a", BY_LINE)


def test_a_rule_that_is_off_for_a_label_counts_once(store: Store) -> None:
    put(store, *(of_line(f"i{n}", f"v{n}", [1]) for n in range(60)))
    off = LabelRules(off=("small",))
    assert create_clean_set(store, "a", replace(BY_LINE, negative_class=off)).cells == 60


def test_a_frozen_set_of_an_older_program_keeps_its_bounds_whatever_their_positions(
    store: Store,
) -> None:
    put(store, measured("a", (0,), area=[5, 9, 30]), measured("b", (7,), area=[5, 9, 30]))
    small = Rule("area", None, Bound(median=0.9), None, name="small")
    large = Rule("area", None, None, Bound(median=2.0), name="large")
    recipe = CleanRecipe(
        (small,),
        min_green=0,
        labels={0: (small, large), 7: (large,)},
        label_sections="replace",
    )
    create_clean_set(store, "a", recipe, frozen=True)
    before = reasons(store)
    with store.writing() as connection:
        # Programs before numbered the rules of one label after those of another.
        connection.execute(update(CleanRule).values(position=100 - CleanRule.position))
    refresh_clean_set(store, "a")
    assert reasons(store) == before


def test_a_column_that_the_store_does_not_keep_is_refused(store: Store) -> None:
    put(store, of_line("a", "big", [100]))
    recipe = replace(BY_LINE, rules=(replace(BY_LINE.rules[0], by="lime"),))
    with pytest.raises(
        UsageError, match=r"no column 'lime' of the label table \(choose from line;"
    ):
        create_clean_set(store, "a", recipe)
    by_nothing = Rule("area", None, Bound(image_median=0.5), None, by="line")
    with pytest.raises(UsageError, match="remove by = 'line': no bound of the rule is"):
        create_clean_set(store, "a", CleanRecipe((by_nothing,)))


def test_a_cell_is_compared_with_all_cells_of_its_image_whatever_their_labels(store: Store) -> None:
    put(store, measured("a", (0,), area=[100, 100, 40]), measured("b", (0,), area=[30, 30, 10]))
    rule = Rule("area", None, Bound(image_median=0.5), Bound(value=99.0), name="size")
    create_clean_set(store, "a", CleanRecipe((rule,), min_green=0))
    dropped = {cell: reason for cell, reason in reasons(store).items() if reason}
    assert dropped == dict.fromkeys(("a:1", "a:2", "a:3", "b:3"), "size")
    columns = "SELECT lower, upper FROM clean_cell WHERE image_name = 'b' AND mask_id = 3"
    assert rows(store, columns) == [{"lower": 15.0, "upper": 99.0}]
    (one,) = explain(store, "b:3")
    assert one.checks[-1].note == "median of its image 30 (3 cells)"
    (row,) = clean_set_bounds(store, "a").to_dict("records")
    told = ("rule", "lower_from", "upper_from", "upper", "n", "dropped")
    assert [row[name] for name in told] == ["size", "0.5 x image median", "value", 99.0, 6, 4]


def test_hpa_judges_a_cell_alike_however_many_images_there_are(
    store: Store, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    make_sample(root, n=9, size=256)
    table = root / "train.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:4]))
    ingest(store, root, executor="serial")
    create_clean_set(store, "a", load_recipe("hpa"))
    few = reasons(store)
    table.write_text("".join(lines))
    ingest(store, root, executor="serial")
    create_clean_set(store, "a", load_recipe("hpa"))
    many = reasons(store)
    assert 0 < len(few) < len(many)
    assert few.items() <= many.items()


@pytest.mark.parametrize(
    ("stands", "dropped", "note"),
    [
        ("nothing", [], "3 cells, 4 needed"),
        ("image", ["b:3"], "the label has 3 cells; median of its image 30 (3 cells)"),
        ("all", ["b:1", "b:2", "b:3"], "the label has 3 cells; bounds of all labels"),
    ],
)
def test_what_stands_in_for_a_label_with_few_cells_is_said(
    store: Store, stands: SmallLabels, dropped: list[str], note: str
) -> None:
    put(store, measured("a", (0,), area=[100, 100, 100, 100]))
    put(store, measured("b", (7,), area=[30, 30, 10]))
    rule = Rule("area", None, Bound(median=0.5), None, name="small")
    recipe = CleanRecipe((rule,), min_green=0, min_cells=4, small_labels=stands)
    made = create_clean_set(store, "a", recipe)
    assert [cell for cell, reason in sorted(reasons(store).items()) if reason] == dropped
    assert [one.stand_in for one in made.stand_ins] == ([] if stands == "nothing" else [stands])
    assert [one.label_id for one in made.idle] == ([7] if stands == "nothing" else [])
    assert explain(store, "b:3")[0].checks[-1].note == note


def test_a_section_adds_replaces_and_switches_off_rules(store: Store) -> None:
    put(store, measured("a", (0,), n=2), measured("b", (18,), n=2))
    rules = tuple(
        Rule("area", None, Bound(value=float(n)), None, name=name)
        for n, name in enumerate(("one", "two", "three"))
    )
    section = LabelRules(
        (
            Rule("area", None, Bound(value=9.0), None, name="two"),
            Rule("area", None, Bound(value=8.0), None, name="four"),
        ),
        off=("one",),
    )
    create_clean_set(store, "a", CleanRecipe(rules, negative_class=section))
    found = clean_set_bounds(store, "a")
    by_label = {label: list(of["rule"]) for label, of in found.groupby("label_id")}
    assert by_label == {0: ["one", "two", "three"], 18: ["two", "three", "four"]}
    lower = {label: list(of["lower"]) for label, of in found.groupby("label_id")}
    assert lower == {0: [0.0, 1.0, 2.0], 18: [9.0, 2.0, 8.0]}
    with pytest.raises(UsageError, match="no rule 'five' to switch off of label 18"):
        create_clean_set(store, "a", CleanRecipe(rules, labels={18: LabelRules(off=("five",))}))
