"""A store has any classes: with gaps in their ids, large ids, and a negative one or none."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

import hpastore
from hpastore.classes import DEFAULT_CLASSES, MAX_LABEL_ID, Classes
from hpastore.errors import DamagedError, UsageError
from hpastore.schema.tables import CleanRule, CleanSetThreshold
from hpastore.store import migrate
from hpastore.store.classes import set_classes, store_classes
from hpastore.store.engine import Store, connect
from tests.world import dataset, name_of, scalar, write_table

IDS = (3, 7, 100, 2018, MAX_LABEL_ID)
"""Of the images of the sample, in the place of 0, 16, 4, 18 and 7 of the default classes."""

OTHERS = tuple(range(200, 223))

NAMES = {
    3: "Cell junctions",
    7: "Lipid droplets",
    100: "Rods & rings",
    2018: "Negative",
    MAX_LABEL_ID: "Vesicles, large",
    **{label: f"Place {label}" for label in OTHERS},
}

WITH_NEGATIVE = Classes(NAMES, negative=2018)
OTHER_NEGATIVE = Classes(NAMES, negative=7)
WITHOUT_NEGATIVE = Classes({**NAMES, 2018: "Nothing"})
KINDS = {"marked": WITH_NEGATIVE, "other": OTHER_NEGATIVE, "none": WITHOUT_NEGATIVE}

LABELS = ("3", "7", "3|7", "2018", str(MAX_LABEL_ID), "100|2147483647")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 12, labels=LABELS)


Fill = Callable[[Classes], Store]


def damage(store: Store, sql: str) -> None:
    """Change rows without the checks of the database."""
    with store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if store.is_sqlite:
            driver.execute("PRAGMA foreign_keys = OFF")  # within a transaction it has no effect
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        assert connection.exec_driver_sql(sql).rowcount > 0
        connection.commit()
        if store.is_sqlite:
            driver.execute("PRAGMA foreign_keys = ON")
        else:
            connection.exec_driver_sql("SET session_replication_role = origin")


@pytest.fixture
def fill(store: Store, root: Path) -> Fill:
    """Ingest images into the store after it got other classes."""

    def fill(classes: Classes) -> Store:
        set_classes(store, classes)
        summary = hpastore.ingest(store, root, executor="serial")
        assert (summary.new, summary.rejected) == (12, 0)
        return store

    return fill


@pytest.mark.parametrize("classes", KINDS.values(), ids=KINDS)
def test_a_store_keeps_the_classes_that_it_was_given(fill: Fill, classes: Classes) -> None:
    store = fill(classes)
    assert len(classes.ids) == 28
    assert store_classes(store) == classes
    assert hpastore.doctor(store, deep=True) == []


def test_a_new_store_has_the_default_classes(store: Store) -> None:
    assert store_classes(store) == DEFAULT_CLASSES


def test_only_a_store_without_images_takes_others(fill: Fill) -> None:
    store = fill(WITH_NEGATIVE)
    set_classes(store, WITH_NEGATIVE)
    for other in (DEFAULT_CLASSES, OTHER_NEGATIVE):
        with pytest.raises(
            UsageError, match=r"^the store has images, and other classes than those"
        ):
            set_classes(store, other)
    assert store_classes(store) == WITH_NEGATIVE


def test_open_store_gives_a_new_store_its_classes(empty_url: str) -> None:
    with hpastore.open_store(empty_url, create=True, classes=WITH_NEGATIVE) as store:
        assert store_classes(store) == WITH_NEGATIVE
    with hpastore.open_store(empty_url) as store:
        assert store_classes(store) == WITH_NEGATIVE
    with hpastore.open_store(empty_url, classes=OTHER_NEGATIVE) as store:
        assert store_classes(store) == OTHER_NEGATIVE


def test_the_tables_are_made_together_with_the_classes(empty_url: str) -> None:
    with connect(empty_url, create=True) as store:
        assert migrate.upgrade(store, classes=WITH_NEGATIVE)
        assert store_classes(store) == WITH_NEGATIVE
        assert not migrate.upgrade(store, classes=OTHER_NEGATIVE)
        assert store_classes(store) == WITH_NEGATIVE


def test_classes_that_are_not_allowed_make_no_store(empty_url: str) -> None:
    with pytest.raises(UsageError, match=r"use no '\|'"):
        hpastore.open_store(empty_url, create=True, classes=Classes({0: "a|b"}))
    with pytest.raises(hpastore.HpastoreError, match="holds no hpastore tables"):
        hpastore.open_store(empty_url)


def labels_of(path: Path) -> Mapping[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {f"{row['label_id']}": row["label"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    "classes",
    [
        pytest.param(classes, id=kind, marks=[pytest.mark.full] * (kind != "marked"))
        for kind, classes in KINDS.items()
    ],
)
def test_all_questions_are_answered_with_the_names_of_the_store(
    fill: Fill, classes: Classes, tmp_path: Path
) -> None:
    store = fill(classes)
    hpastore.create_clean_set(store, "plain", hpastore.load_recipe("notebook"))
    every = hpastore.CleanRecipe(
        (hpastore.Rule(lower=0.25, upper=0.75),),
        scope="all",
        labels={"lipid DROPLETS": (), MAX_LABEL_ID: (hpastore.Rule(lower=0.1, upper=0.9),)},
    )
    hpastore.create_clean_set(store, "every", every)
    hpastore.refresh_clean_set(store, "every")

    found = hpastore.thresholds(store)
    assert dict(zip(found["label_id"], found["label"], strict=True)) == {
        label: classes.names[label] for label in (3, 7, 2018, MAX_LABEL_ID)
    }
    assert list(hpastore.thresholds(store, label="vesicles, LARGE")["label_id"]) == [MAX_LABEL_ID]

    shown = hpastore.clean_set(store, "every")
    assert list(shown["label_id"]) == sorted(IDS)
    assert list(shown["label"]) == [classes.names[label] for label in sorted(IDS)]
    forced = hpastore.clean_set_limits(store, "plain")[1]
    assert {one.label for one in forced} <= set(classes.names.values())
    explained = hpastore.explain(store, f"{name_of(0)}:1")
    assert {(one.label_id, one.label) for one in explained} == {(3, "Cell junctions")}
    assert hpastore.clean_diff(store, "plain", "every")["label_id"].isin(IDS).all()
    assert not hpastore.drift(store, "every")[0].any

    for clean in (None, "plain", "every"):
        for layout in ("clean_cell", "clean_cell_live", "notebook"):
            path = tmp_path / f"{clean}-{layout}.csv"
            hpastore.export_csv(store, path, hpastore.ExportOptions(clean), layout=layout)
            if layout != "notebook":
                labels = labels_of(path)
                assert labels == {label: classes.names[int(label)] for label in labels}
    pictures = hpastore.export_images(store, tmp_path / "pictures", hpastore.ExportOptions("every"))
    assert pictures.images == 12
    assert hpastore.doctor(store, deep=True) == []


def test_rules_of_every_label_have_bounds_for_each_class(fill: Fill) -> None:
    store = fill(WITH_NEGATIVE)
    hpastore.create_clean_set(store, "plain")
    with store.reading() as connection:
        found = connection.execute(select(CleanSetThreshold.label_id)).scalars()
        assert sorted(found) == list(WITH_NEGATIVE.ids)


@pytest.mark.parametrize(("sections", "others"), [("change", set()), ("replace", {100})])
def test_rules_of_a_label_come_after_the_others_for_its_id_or_replace_them(
    fill: Fill, sections: Any, others: set[int]
) -> None:
    store = fill(WITH_NEGATIVE)
    rule = hpastore.Rule("area", lower=hpastore.Bound(value=1), upper=None)
    labels: Any = {"rods & rings": (rule,)}
    recipe = hpastore.CleanRecipe(labels=labels, label_sections=sections)
    hpastore.create_clean_set(store, "mine", recipe)
    with store.reading() as connection:
        found = connection.execute(select(CleanRule.measure, CleanRule.label_id)).all()
    assert {label for measure, label in found if measure == "area"} == {100}
    of_all = {label for measure, label in found if measure == "fraction"}
    assert of_all == ({*NAMES} - others if others else {None})


def test_the_recipe_hpa_turns_its_rules_round_for_the_class_negative(fill: Fill) -> None:
    store = fill(WITH_NEGATIVE)
    hpastore.create_clean_set(store, "hpa", hpastore.load_recipe("hpa"))
    with store.reading() as connection:
        found = connection.execute(select(CleanRule.reason, CleanRule.label_id)).all()
    assert {label for reason, label in found if reason == "expressing"} == {2018}
    assert {label for reason, label in found if reason == "overexposed"} == {*NAMES} - {2018}


def test_a_recipe_for_a_class_that_the_store_does_not_have_is_refused(fill: Fill) -> None:
    message = (
        "[label.Spindle] of the recipe: no label 'Spindle'; ids are 3, 7, 100, 200 to 222, 2018 "
        "and 2147483647; list all labels with: hpastore sql 'SELECT id, name FROM label', or rename or "
        "delete this section in a copy of the recipe"
    )
    store = fill(WITHOUT_NEGATIVE)
    section = hpastore.LabelRules(off=("fraction",))
    with pytest.raises(UsageError) as caught:
        hpastore.create_clean_set(store, "mine", hpastore.CleanRecipe(labels={"Spindle": section}))
    assert str(caught.value) == message
    optional = hpastore.CleanRecipe(labels={"Spindle": replace(section, optional=True)})
    assert hpastore.create_clean_set(store, "mine", optional).version == 1


def test_the_recipe_hpa_is_for_a_store_without_its_classes(fill: Fill) -> None:
    store = fill(WITHOUT_NEGATIVE)
    hpastore.create_clean_set(store, "hpa", hpastore.load_recipe("hpa"))
    with store.reading() as connection:
        found = connection.execute(select(CleanRule.reason, CleanRule.label_id)).all()
    assert {label for _, label in found} == {None}
    assert "expressing" not in {reason for reason, _ in found}


DARK = hpastore.CleanRecipe(
    (hpastore.Rule("area", lower=hpastore.Bound(value=1), upper=None),), 256
)
"""All cells are dark, except those of the negative class."""


@pytest.mark.parametrize(
    ("classes", "spared"), [(WITH_NEGATIVE, 2018), (OTHER_NEGATIVE, 7), (WITHOUT_NEGATIVE, None)]
)
def test_only_the_negative_class_may_be_dark(
    fill: Fill, classes: Classes, spared: int | None
) -> None:
    store = fill(classes)
    hpastore.create_clean_set(store, "dark", DARK)
    shown = hpastore.clean_set(store, "dark")
    clean = {label for label, n in zip(shown["label_id"], shown["clean"], strict=True) if n}
    assert clean == ({spared} if spared else set())
    for place, label in ((1, 7), (3, 2018)):
        (explained,) = hpastore.explain(store, f"{name_of(place)}:1")
        dark = explained.checks[0]
        note = f"cells of {classes.names[label]} may be dark" if label == spared else None
        assert (dark.reason, dark.note, explained.clean) == ("dark", note, label == spared)


def exported(store: Store, path: Path, export: Callable[..., Any], multilabel: str) -> Path:
    export(store, path, hpastore.ExportOptions(multilabel=multilabel))  # type: ignore[arg-type]  # one of its words
    return path


def test_coco_has_the_classes_with_their_ids_as_categories(fill: Fill, tmp_path: Path) -> None:
    path = exported(fill(WITH_NEGATIVE), tmp_path / "a.json", hpastore.export_coco, "expand")
    document = json.loads(path.read_text())
    assert {one["id"]: one["name"] for one in document["categories"]} == NAMES
    assert {one["category_id"] for one in document["annotations"]} == set(IDS)


def test_mmdetection_counts_the_classes_from_0(fill: Fill, tmp_path: Path) -> None:
    store = fill(WITH_NEGATIVE)
    ids = list(WITH_NEGATIVE.ids)
    path = exported(store, tmp_path / "a.pkl", hpastore.export_mmdet, "expand")
    records = {one["filename"]: one["ann"]["labels"] for one in pickle.loads(path.read_bytes())}
    assert {ids[i] for i in records[f"{name_of(4)}.png"]} == {MAX_LABEL_ID}
    assert {ids[i] for i in records[f"{name_of(5)}.png"]} == {100, MAX_LABEL_ID}

    path = exported(store, tmp_path / "b.pkl", hpastore.export_mmdet, "multihot")
    records = {one["filename"]: one["ann"]["labels"] for one in pickle.loads(path.read_bytes())}
    row = records[f"{name_of(5)}.png"][0]
    assert len(row) == 28
    assert [ids[i] for i in np.flatnonzero(row)] == [100, MAX_LABEL_ID]


def test_an_export_of_a_label_takes_its_name(fill: Fill, tmp_path: Path) -> None:
    store = fill(WITH_NEGATIVE)
    options = hpastore.ExportOptions(labels=("LIPID droplets",))
    hpastore.export_coco(store, tmp_path / "a.json", options)
    document = json.loads((tmp_path / "a.json").read_text())
    assert {one["category_id"] for one in document["annotations"]} == {7}
    with pytest.raises(UsageError, match="no label 'Cytosol'; ids are 3, 7, 100, 200 to 222, 2018"):
        hpastore.export_coco(
            store, tmp_path / "b.json", hpastore.ExportOptions(labels=("Cytosol",))
        )


def texts(figure: Any) -> str:
    axes = [axes.get_title(loc="left") for axes in figure.axes]
    notes = [note.get_text() for axes in figure.axes for note in axes.texts]
    return "\n".join([*axes, *notes, *(note.get_text() for note in figure.texts)])


def test_figures_name_the_classes_of_the_store(fill: Fill) -> None:
    store = fill(WITH_NEGATIVE)
    hpastore.create_clean_set(store, "mine")
    hist = texts(hpastore.plot_hist(store))
    assert "2018 Negative" in hist
    assert "24 labels without a cell not drawn" in hist
    assert "7 Lipid droplets" in texts(hpastore.plot_drift(store, "mine", label="lipid droplets"))
    assert "3 Cell junctions" in texts(hpastore.plot_overlay(store, name_of(0)))
    assert "2018 Negative" in texts(hpastore.plot_gallery(store, label="negative"))
    assert "7 Lipid droplets" in texts(hpastore.plot_gallery(store, n=40))


def test_ids_and_names_that_the_store_does_not_have_are_rejected(fill: Fill, root: Path) -> None:
    store = fill(WITH_NEGATIVE)
    write_table(root, {name_of(i): "0" if i == 2 else "3" for i in range(12)})
    hpastore.ingest(store, root, executor="serial")
    (row,) = hpastore.failures(store).to_dict("records")
    assert (row["image_name"], row["code"]) == (name_of(2), "label")
    assert row["message"].endswith(
        "the label '0' is not allowed; use 3, 7, 100, 200 to 222, 2018 and 2147483647, several "
        "joined by '|'"
    )
    with pytest.raises(UsageError, match="no label 18; ids are 3, 7, 100, 200 to 222, 2018 and 21"):
        hpastore.thresholds(store, label=18)


def test_decisions_are_about_the_classes_of_the_store(fill: Fill, tmp_path: Path) -> None:
    store = fill(WITH_NEGATIVE)
    table = tmp_path / "decided.csv"
    cell = f"{name_of(0)}:1"
    table.write_text(f"cell,keep,label_id\n{cell},drop,3.0\n{cell},keep,lipid droplets\n")
    decided = hpastore.read_overrides(table, classes=store_classes(store))
    assert hpastore.override_cells(store, decided) == 2
    assert list(hpastore.list_overrides(store)["label_id"]) == [3, 7]
    assert hpastore.undo_overrides(store, [cell], label="Lipid Droplets", every=False) == 1
    with pytest.raises(UsageError, match="no label 16; ids are 3"):
        hpastore.override_cells(store, [hpastore.Override(cell, True, 16)])


def test_a_plan_reads_the_table_with_the_classes_of_the_store(fill: Fill, root: Path) -> None:
    store = fill(WITH_NEGATIVE)
    assert not hpastore.plan(store, root).work
    assert not hpastore.plan(store, root, classes=WITH_NEGATIVE).work
    assert hpastore.plan(None, root, classes=WITH_NEGATIVE).work
    assert hpastore.plan(None, root).rejected
    with pytest.raises(UsageError, match=r"^the store has images, and other classes"):
        hpastore.plan(store, root, classes=DEFAULT_CLASSES)


def test_a_backup_and_a_dump_have_the_classes(fill: Fill, tmp_path: Path) -> None:
    store = fill(OTHER_NEGATIVE)
    path = hpastore.backup(store, tmp_path / "copy.db")
    with hpastore.open_store(path) as copy:
        assert store_classes(copy) == OTHER_NEGATIVE
        assert hpastore.doctor(copy, deep=True) == []
        dumped = list(hpastore.dump(copy))
    assert dumped == list(hpastore.dump(store))
    assert 'label\t7\t"Lipid droplets"\t1' in dumped


def test_a_row_of_a_label_that_the_store_does_not_have_is_damaged(
    fill: Fill,
) -> None:
    store = fill(WITH_NEGATIVE)
    damage(store, f"UPDATE image SET labels = '4' WHERE name = '{name_of(0)}'")
    with pytest.raises(DamagedError, match="its labels '4' are not all of the ids 3, 7, 100"):
        hpastore.explain(store, f"{name_of(0)}:1")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("UPDATE label SET name = '' WHERE id = 3", "class 3 has no name"),
        ("UPDATE label SET name = 'a|b' WHERE id = 3", "class 3 has the name 'a|b'"),
        ("UPDATE label SET name = 'NEGATIVE' WHERE id = 200", "classes 200 and 2018 have the same"),
        ("UPDATE label SET id = -1 WHERE id = 200", "invalid id -1 of a class"),
    ],
)
def test_the_doctor_finds_classes_that_no_store_can_have(
    fill: Fill, change: str, finding: str
) -> None:
    store = fill(WITH_NEGATIVE)
    with store.writing() as connection:
        connection.execute(text(change))
    (found,) = hpastore.doctor(store)
    assert found.where == "label"
    assert found.what.startswith(finding)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE label SET name = 'Lipid bodies' WHERE id = 7", "class 7"),
        ("UPDATE label SET negative = (1 = 0) WHERE id = 2018", "class 2018"),
    ],
)
def test_a_deep_look_finds_a_class_that_was_changed(fill: Fill, change: str, where: str) -> None:
    store = fill(WITH_NEGATIVE)
    damage(store, change)
    assert hpastore.doctor(store) == []
    (found,) = hpastore.doctor(store, deep=True)
    assert str(found) == (
        f"{where}: its stored values do not match its checksum (label); undo the change, or "
        "restore a backup"
    )


@pytest.mark.parametrize("classes", [None, WITH_NEGATIVE], ids=["default", "others"])
def test_the_classes_of_a_new_store_have_checksums(empty_url: str, classes: Classes | None) -> None:
    with hpastore.open_store(empty_url, create=True, classes=classes) as store:
        assert scalar(store, "SELECT count(*) FROM label WHERE checksum IS NULL") == 0
        assert hpastore.doctor(store, deep=True) == []


def test_the_doctor_finds_two_negative_classes(fill: Fill) -> None:
    store = fill(WITH_NEGATIVE)
    with store.writing() as connection:
        connection.execute(text("DROP INDEX uq_label_negative"))
        connection.execute(text("UPDATE label SET negative = (1 = 1) WHERE id = 3"))
    found = [finding.what for finding in hpastore.doctor(store) if finding.where == "label"]
    assert "classes 3, 2018 are marked as negative; one at most can be" in found


def test_the_doctor_finds_labels_that_are_no_class(fill: Fill) -> None:
    store = fill(WITH_NEGATIVE)
    damage(store, "DELETE FROM label WHERE id = 7")
    found = {finding.where: finding.what for finding in hpastore.doctor(store)}
    assert "to a row of label that does not exist" in found["image_label"]
