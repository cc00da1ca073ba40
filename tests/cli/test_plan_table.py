from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpastore.cli.plan_table import show_plan
from hpastore.model import Change, Failure, FileStamp, Orphan, Plan, Source

NAME = "5c27f04c-bb99-11e8-b2b9-ac1f6b6435d0"
"""As long as the names of the Human Protein Atlas are."""

FILES = (FileStamp("red", f"train/{NAME}_red.png", 1, 1),)
PLAN = Plan(
    new=(Source("new", (0,), FILES),),
    changed=(
        Change(Source("one", (0,), FILES), ("green",)),
        Change(Source("two", (0,), FILES), ("red", "blue")),
        Change(Source("old", (0,), FILES), (), "lacks the current version of brenner"),
    ),
    unmeasured=(Source("lacking", (0,), FILES),),
    relabelled=(
        Source("other", (3, 5), FILES),
        Source("none", (), FILES),
        Source("kept", (3, 5), FILES, columns=(("plate", "P\x1b"), ("well", ""))),
        Source("lost", (), FILES, columns=(("plate", ""),)),
    ),
    unchanged=7,
    rejected=(
        Failure(NAME, f"train/{NAME}_red.png", "png", f"{NAME}: train/{NAME}_red.png: is cut"),
    ),
    gone=("orphan", "without-files"),
    pruned=("pruned",),
    stale=("stale",),
    returned=("back",),
    resplit=("split",),
    orphans=(Orphan("image_without_label", "orphan", 5),),
)


def test_each_image_is_a_row_with_what_is_done_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(PLAN)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "new new",
        "one changed green differs",
        "two changed red, blue differ",
        "old changed lacks the current version of brenner",
        "lacking unmeasured lacks a custom measure of pixels",
        "other relabelled labels 3|5 in the table",
        "none relabelled no labels any more",
        "kept relabelled labels 3|5, plate P\\x1b, no well",
        "lost relabelled no labels, no plate",
        f"{NAME} rejected png",
        "orphan gone no row in the table",
        "without-files gone no files",
        "pruned pruned gone, will be deleted",
        "stale stale other background percentile, or lacks a measure of histograms",
        "back returned was gone, is back unchanged",
        "split resplit gets another split",
        "orphan orphan an image without a row in the table (files: 5)",
        f"{NAME}: png",
        f"train/{NAME}_red.png: is cut",
        "changed 3",
        "unchanged 7",
    ):
        assert line in lines


def test_a_terminal_of_80_columns_holds_long_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_plan(PLAN)
    out = capsys.readouterr().out
    assert "── row" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_empty_plan_is_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(Plan(unchanged=2))
    assert capsys.readouterr().out.splitlines()[0].split() == ["new", "0"]


def test_a_plan_that_ingest_would_refuse_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(Plan(stopped=f"{Path('/data')} is empty"))
    assert capsys.readouterr().err == "ingest would refuse: /data is empty\n"
