"""Errors as programs read them, and what --quiet leaves."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from hpastore import errors
from hpastore.cli import show
from hpastore.cli.app import main
from tests.cli.conftest import Run
from tests.world import dataset

pytestmark = pytest.mark.has_schema

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")

CASES = {
    "no root": (["plan", "nowhere"], 1, "input", "nowhere"),
    "no store": (["--db", "none.db", "status"], 1, "schema_missing", "none.db"),
    "no set": (["clean", "show", "none"], 1, "not_found", None),
    "sql": (["sql", "SELECT nothing"], 1, "query", None),
    "writing sql": (["sql", "DROP TABLE cell"], 1, "query", None),
    "wrong value": (["thresholds", "--lower", "98"], 2, "usage", None),
    "no such option": (["status", "--none"], 2, "usage", None),
    "no such command": (["stats"], 2, "usage", None),
    "no number": (["thresholds", "--lower", "x"], 2, "usage", None),
    "no argument": (["plan"], 2, "usage", None),
    "no text": (["sql", "SELECT '\udc80'"], 1, "query", None),
    "export": (["export", "coco", "folder"], 1, "export", "folder"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_error_is_one_document_and_the_same_line(run: Run, tmp_path: Path, case: str) -> None:
    arguments, code, category, path = CASES[case]
    (tmp_path / "folder").mkdir()
    plain = run(*arguments)
    for done in (run("--json", *arguments), run(*arguments, "--json")):
        assert (done.code, plain.code) == (code, code)
        assert done.json.keys() == {"error", "message", "path"}
        assert done.json["error"] == category
        shown = done.json["path"]
        assert (shown and Path(shown).name) == path
        assert done.json["message"]
        assert (done.err, plain.out) == (plain.err, "")
        if code == 1:
            assert done.err == f"hpastore: {done.json['message']}\n"


@pytest.mark.parametrize("group", ["clean", "export", "plot", "db"])
def test_a_group_without_a_command_is_a_document_and_no_help(run: Run, group: str) -> None:
    document = {"error": "usage", "message": "Missing command.", "path": None}
    assert run("--json", group).json == document
    assert "Usage" in run(group).out


def test_an_option_of_another_command_asks_for_no_document(run: Run) -> None:
    assert run("sql", "--", "--json").out == ""
    run("--json", "stats")
    assert run("stats").out == ""  # the next command of the same process


def test_an_unexpected_error_is_a_document_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(show, "open_store", fail)
    with pytest.raises(ZeroDivisionError):
        main(["--json", "status"])
    document = {"error": "internal", "message": "ZeroDivisionError: by zero", "path": None}
    assert json.loads(capsys.readouterr().out) == document


def test_every_category_has_a_line_in_the_page_of_commands() -> None:
    classes = [
        cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)
    ]
    never_raised = {errors.HpastoreError, errors.FileError}
    for cls in set(classes) - never_raised:
        assert issubclass(cls, errors.HpastoreError)
        assert f"| `{cls.category}` |" in PAGE, cls
    assert "| `internal` |" in PAGE


def test_quiet_says_errors_and_nothing_else(run: Run, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", 3)
    (data / "train" / "image-01_red.png").write_bytes(b"no PNG")
    (data / "hpa_cell_mask" / "stranger.npz").write_bytes(b"")
    for command in (
        ["ingest", data, "--executor", "serial"],
        ["plan", data],
        ["sql", "SELECT name FROM image", "--max-rows", 1],
        ["clean", "create", "mine"],
        ["clean", "override", "image-00:1", "--drop"],
        ["clean", "refresh", "mine"],
        ["remeasure", "--background-percentile", "0.5"],
        ["retry"],
        ["export", "coco", tmp_path / "a.json", "--clean", "mine"],
        ["export", "csv", tmp_path / "a.csv"],
        ["plot", "hist", "--out", tmp_path / "hist.png"],
        ["doctor"],
    ):
        done = run("--quiet", *command)
        assert done.err == "", command
    assert run("--quiet", "clean", "show", "none").err.startswith("hpastore: ")


def test_quiet_lets_no_library_warn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn() -> None:
        warnings.warn("odd", UserWarning, stacklevel=1)
        raise errors.NotFoundError("none here")

    monkeypatch.setattr(show, "open_store", warn)
    assert run("--quiet", "status").err == "hpastore: none here\n"
