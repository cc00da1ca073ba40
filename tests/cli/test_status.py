from __future__ import annotations

from pathlib import Path

import pytest

from hpastore.kernels import definitions
from hpastore.kernels.definitions import VERSIONS
from tests.cli.conftest import Run
from tests.world import dataset, name_of

pytestmark = pytest.mark.has_schema


def test_a_store_without_failures_says_so(run: Run, tmp_path: Path) -> None:
    run("ingest", dataset(tmp_path / "data", 1), "--executor", "serial")
    none = run("failures")
    assert (none.code, none.out, none.err) == (0, "", "no image is rejected\n")
    assert run("--json", "failures").json == []


def test_failures_are_a_list_of_images_and_messages(run: Run, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 2)
    (root / "train" / f"{name_of(0)}_red.png").unlink()
    run("ingest", root, "--executor", "serial")
    assert run("failures").out.splitlines() == [
        f"{name_of(0)}: missing_file",
        f"  train/{name_of(0)}_red.png is missing; add it, or remove the image's row from the table",
    ]


def test_status_and_plan_name_the_measures_that_need_pixels(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path / "data", 2)
    run("ingest", root, "--executor", "serial")
    monkeypatch.setattr(definitions, "VERSIONS", {**VERSIONS, "entropy": 2, "brenner": 2})
    lines = [line.split() for line in run("status").out.splitlines()]
    assert ["stale", "2"] in lines
    assert ["unmeasured", "2", "(brenner)"] in lines
    found = run("--json", "status").json
    assert (found["unmeasured"], found["unmeasured_measures"]) == (2, ["brenner"])
    assert found["measurement_settings"]["measures"] == VERSIONS
    assert run("plan", root).out.count("lacks the current version of brenner") == 2
    warning = "2 images lack the current version of brenner; ingest their roots again"
    assert warning in run("remeasure").err
    assert ["stale", "0"] in [line.split() for line in run("status").out.splitlines()]
    hist = ("plot", "hist", "--out", "hist.png", "--channel", "green", "--measure", "brenner")
    assert "2 images have no brenner of version 2; ingest their roots again" in run(*hist).err


def test_status_shows_settings_and_roots(run: Run, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 2)
    run("ingest", root, "--executor", "serial", "--background-percentile", 0.75)
    lines = [line.split() for line in run("status").out.splitlines()]
    assert ["background", "percentile", "0.75"] in lines
    assert [str(root), "-", "2"] in lines
