"""Measures that users add, from their user's chair."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hpastore
from hpastore.errors import MeasureError
from hpastore.ingestion import remeasure as again
from hpastore.ingestion import run as ingestion
from tests.cli.conftest import Run
from tests.world import SHIFT, SPREAD, dataset, draw_mask, install, write_image

pytestmark = pytest.mark.has_schema

RECIPE = """
min_green = 0

[[rule]]
measure = "spread"
channel = "green"
lower = {percentile = 0.25}

[[rule]]
name = "shifted"
measure = "shift"
upper = {percentile = 0.75}
"""


@pytest.fixture
def root(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = dataset(tmp_path / "data", 8, labels=("0",))
    install(monkeypatch, SPREAD, SHIFT)
    assert run("ingest", root, "--executor", "serial").code == 0
    return root


def values(run: Run, measure: str, channel: str) -> dict[str, float]:
    query = (
        "SELECT image.name AS image, mask_id, value "
        "FROM cell_measure JOIN measure ON measure.id = measure_id "
        "JOIN cell ON cell.id = cell_id JOIN image ON image.id = image_id "
        f"WHERE value IS NOT NULL AND measure.name = '{measure}' AND channel = '{channel}'"
    )
    found = run("sql", query, "--format", "json").json
    return {f"{row['image']}:{row['mask_id']}": row["value"] for row in found}


@pytest.mark.usefixtures("root")
def test_thresholds_and_recipes_take_measures_of_users(run: Run, tmp_path: Path) -> None:
    spread, shift = values(run, "spread", "green"), values(run, "shift", "")
    for measure, of in (("spread", spread), ("shift", shift)):
        found = run(
            "--json", "thresholds", "--measure", measure, "--lower", 0.25, "--upper", 0.75
        ).json
        lower, upper = np.quantile(list(of.values()), [0.25, 0.75]).tolist()
        assert found == [
            {"label_id": 0, "label": "Nucleoplasm", "n": len(of), "lower": lower, "upper": upper}
        ]
    assert 5 < len(spread) < len(shift)
    (tmp_path / "own.toml").write_text(RECIPE)
    assert run("clean", "create", "own", "--recipe", "own.toml").code == 0
    query = "SELECT image_name, mask_id, reason FROM clean_cell"
    found = {
        f"{row['image_name']}:{row['mask_id']}": row["reason"]
        for row in run("sql", query, "--format", "json").json
    }
    lower = float(np.quantile(list(spread.values()), 0.25))
    upper = float(np.quantile(list(shift.values()), 0.75))
    expected = {
        cell: "no_value"
        if cell not in spread
        else "below_lower"
        if spread[cell] < lower
        else "shifted"
        if value > upper
        else None
        for cell, value in shift.items()
    }
    assert found == expected
    assert set(expected.values()) == {"no_value", "below_lower", "shifted", None}


def test_who_asks_a_store_that_is_half_measured_is_told(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path.cwd() / "own.toml").write_text(RECIPE)
    commands: list[tuple[object, ...]] = [
        ("thresholds", "--measure", "spread"),
        ("clean", "create", "own", "--recipe", "own.toml"),
        ("plot", "hist", "--measure", "spread", "--out", "hist.png"),
    ]
    for command in commands:
        assert "lack" not in run(*command).err
    install(monkeypatch)
    (root / "train.csv").write_text((root / "train.csv").read_text() + "more,0\n")
    write_image(root, "more", seed=9, mask=draw_mask(3))
    assert run("ingest", root, "--executor", "serial").code == 0
    for command in commands:
        done = run(*command, "--force") if "plot" in command else run(*command)
        assert done.code == 0
        assert (
            "warning: 1 image has no spread of version 1; run 'hpastore remeasure', or ingest"
            in done.err
        )
    assert "spread" not in run("thresholds").err
    monkeypatch.setattr(again, "_BATCH", 5)
    with hpastore.open_store(os.environ["HPASTORE_DB"]) as store:
        stops = iter([False, True])
        hpastore.remeasure(store, 0.5, stop=lambda: next(stops, True))
    for command in (("thresholds",), ("clean", "create", "nb")):
        assert "4 images were measured with another background percentile" in run(*command).err


def test_plan_says_which_images_lack_a_measure(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, replace(SPREAD, version=2), replace(SHIFT, name="other"))
    plan = run("plan", root)
    assert plan.code == 4
    assert "lacks a custom measure of pixels" in plan.out
    install(monkeypatch, replace(SPREAD, version=2))
    assert "other background percentile, or lacks a measure of histograms" in run("plan", root).out
    done = run("remeasure")
    assert (done.code, done.out.split()[-3:]) == (0, ["measure", "spread", "8"])
    assert run("plan", root).code == 0


def test_a_measure_that_fails_on_stored_images_ends_a_command_with_3(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, replace(SPREAD, version=2, of_histogram=lambda _: 1 / 0))
    for command in (("--json", "remeasure"), ("ingest", root, "--executor", "serial")):
        done = run(*command)
        assert done.code == 3
        assert (
            "ZeroDivisionError: division by zero; fix the measure, then run hpastore remeasure"
            in done.err
        )
    assert run("--json", "remeasure").json["failed"] == 8


@pytest.mark.usefixtures("root")
def test_measures_are_listed(run: Run) -> None:
    listed = run("--json", "measures").json
    assert listed[-1]["name"] == "spread"
    assert (listed[-1]["installed"], listed[-1]["images"]) == (True, 8)
    assert (listed[0]["name"], listed[0]["installed"]) == ("x", None)
    assert "Green above red" in run("measures").out


@pytest.mark.has_schema(False)
def test_a_package_that_cannot_be_loaded_leaves_no_store(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise MeasureError("mine = code:measure", "cannot be loaded")

    monkeypatch.setattr(ingestion, "load_measures", broken)
    path = tmp_path / "new.db"
    refused = run("ingest", dataset(tmp_path / "data", 1), db=str(path))
    assert (refused.code, path.exists()) == (1, False)
    assert "cannot be loaded" in refused.err


@pytest.mark.usefixtures("root")
def test_values_are_imported_and_exported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("cell,value\nimage-00:1,0.5\n")
    arguments = ("measures", "import", "scores.csv", "--name", "prob", "--version", 1)
    assert run(*arguments).out == "1 value imported\n"
    assert run("--json", *arguments).json == {"imported": 1}
    assert run("measures", "export", "prob", "out.csv").out == "1 value exported\n"
    assert (tmp_path / "out.csv").read_text() == "image,mask_id,value\nimage-00,1,0.5\n"
    listed = {row["name"]: row for row in run("--json", "measures").json}
    assert (listed["prob"]["kind"], listed["prob"]["images"]) == ("imported", 1)
    assert listed["prob"]["cells_lacking"] > 0
    for file in ("none.csv", "."):
        failed = run("measures", "import", file, "--name", "prob", "--version", 2)
        assert (failed.code, failed.err.count("\n")) == (1, 1)
