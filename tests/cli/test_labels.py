"""Wherever a label is given, its name in any case means the same as its id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import hpastore
from hpastore.clean.recipe import parse_recipe, recipe_toml
from hpastore.store.engine import Store
from tests.cli.conftest import Run
from tests.world import dataset, name_of

pytestmark = pytest.mark.has_schema

NAMES = ["Cytosol", "cytosol", "CYTOSOL"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 5)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    hpastore.ingest(store, root, executor="serial")
    hpastore.create_clean_set(store, "mine")
    return store


@pytest.mark.parametrize("label", NAMES)
def test_commands_take_a_name(run: Run, root: Path, tmp_path: Path, label: str) -> None:
    assert run("ingest", root, "--executor", "serial").code == 0
    assert run("clean", "create", "mine").code == 0

    by_id = run("--json", "thresholds", "--label", 16).json
    assert [row["label"] for row in by_id] == ["Cytosol"]
    assert run("--json", "thresholds", "--label", label).json == by_id

    for form in ("coco", "mmdet", "csv"):
        suffix = {"mmdet": "pkl"}.get(form, form)
        by_ids = tmp_path / f"ids.{suffix}"
        by_names = tmp_path / f"names.{suffix}"
        assert run("export", form, by_ids, "--label", 7, "--label", 16).code == 0
        assert (
            run("export", form, by_names, "--label", "golgi apparatus", "--label", label).code == 0
        )
        assert by_names.read_bytes() == by_ids.read_bytes()

    cell = f"{name_of(1)}:1"
    assert run("clean", "override", cell, "--drop", "--label", label).code == 0
    assert [row["label_id"] for row in run("--json", "clean", "overrides").json] == [16]
    assert run("--json", "clean", "override", cell, "--undo", "--label", label).json == {
        "undone": 1
    }


@pytest.mark.parametrize("label", NAMES)
def test_figures_take_a_name(filled: Store, label: str) -> None:
    def texts(given: int | str) -> list[list[str]]:
        figures = (
            hpastore.plot_hist(filled, label=given),
            hpastore.plot_gallery(filled, label=given),
            hpastore.plot_overlay(filled, name_of(1), label=given),
            hpastore.plot_drift(filled, "mine", label=given),
        )
        return [[axes.get_title(loc="left") for axes in figure.axes] for figure in figures]

    by_id = texts(16)
    assert by_id[0][0].startswith("16 Cytosol")
    assert texts(label) == by_id


@pytest.mark.parametrize("label", NAMES)
def test_functions_take_a_name(filled: Store, tmp_path: Path, label: str) -> None:
    by_id = hpastore.thresholds(filled, label=16)
    assert len(by_id) == 1
    assert hpastore.thresholds(filled, label=label).equals(by_id)

    options = hpastore.ExportOptions(labels=(label,))
    by_name = hpastore.export_coco(filled, tmp_path / "a.json", options)
    hpastore.export_coco(filled, tmp_path / "b.json", replace(options, labels=(16,)))
    assert by_name.path.read_bytes() == (tmp_path / "b.json").read_bytes()

    cell = f"{name_of(1)}:1"
    assert hpastore.override_cells(filled, [hpastore.Override(cell, keep=False, label=label)]) == 1
    assert hpastore.list_overrides(filled)["label_id"].tolist() == [16]
    assert hpastore.undo_overrides(filled, [cell], label=label, every=False) == 1


def test_labels_of_an_export_are_no_single_text(filled: Store, tmp_path: Path) -> None:
    options = hpastore.ExportOptions(labels="16")  # type: ignore[arg-type]
    with pytest.raises(hpastore.UsageError, match=r"labels takes a tuple, such as \('16',\)"):
        hpastore.export_coco(filled, tmp_path / "a.json", options)


@pytest.mark.parametrize("label", [*NAMES, "16"])
def test_recipes_take_a_name_and_are_written_with_the_id(label: str) -> None:
    area = hpastore.Rule("area", lower=hpastore.Bound(value=9), upper=None)
    recipe = hpastore.CleanRecipe(labels={label: (area,)})
    assert (
        recipe.validated().labels == hpastore.CleanRecipe(labels={16: (area,)}).validated().labels
    )
    assert "[[label.16.rule]]" in recipe_toml(recipe.validated())
    text = f'[[label."{label}".rule]]\nmeasure = "area"\nlower = {{value = 9.0}}'
    assert parse_recipe(text).validated() == recipe.validated()


def test_a_label_that_is_given_twice_is_refused() -> None:
    recipe = hpastore.CleanRecipe(labels={"cytosol": (), 16: ()})
    with pytest.raises(
        hpastore.UsageError, match="label 16 has two sections, by its id and by its name"
    ):
        recipe.validated()
