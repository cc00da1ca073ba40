"""The README says what is true: its code runs, its tables are the program's, every command is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import typer

from hpastore.clean.diff import CAUSES
from hpastore.clean.recipe import parse_recipe
from hpastore.cli import app
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.clean_views import judge_all_sets
from hpastore.schema.views import LABEL_THRESHOLD, VIEWS
from hpastore.vocabulary import NOTE_CODES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, Any]]:
    """Every command by its full name."""
    group = typer.main.get_command(app.app)
    found: list[tuple[str, Any]] = []

    def walk(name: str, command: Any) -> None:
        inner = getattr(command, "commands", None)
        for key, value in (inner or {}).items():
            walk(f"{name} {key}", value)
        if inner is None:
            found.append((name, command))

    walk("hpastore", group)
    return found


def test_the_quick_start_runs_as_it_stands(tmp_path: Path) -> None:
    scripts = sysconfig.get_path("scripts")
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("HPASTORE_DB", None)
    shell = "\n".join(["set -eu", *blocks("bash")])
    assert "hpastore ingest data" in shell
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("hpastore.db", "mine.json", "mine.pkl", "pictures/manifest.json"):
        assert (tmp_path / name).is_file()
    (python,) = blocks("python")
    (tmp_path / "example.py").write_text(python)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "new=12" in done.stdout
    assert (tmp_path / "cells.json").is_file()


@pytest.mark.parametrize("measures", [SHAPE_MEASURES, CHANNEL_MEASURES], ids=["shape", "channel"])
def test_its_table_of_measures_is_the_programs(measures: Any) -> None:
    lines = ["| measure | unit | | source |", "|---|---|---|---|"]
    lines += [f"| `{m.name}` | {m.unit} | {m.sentence} | {m.source} |" for m in measures]
    assert "\n".join(lines) + "\n\n" in README


def test_every_command_has_a_line_in_it_and_help_with_an_example() -> None:
    named = commands()
    assert len(named) > 15
    for name, command in named:
        assert f"| `{name}" in README, name
        assert f"Example: {name}" in command.help, name
        for parameter in command.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), (name, parameter.name)


def test_every_view_and_reason_has_a_line_in_it() -> None:
    for view in VIEWS:
        assert f"| `{view.table.name}` |" in README
    judged = judge_all_sets(LABEL_THRESHOLD.table).compile(compile_kwargs={"literal_binds": True})
    reasons = set(re.findall(r"THEN '(\w+)'", str(judged)))
    assert {"no_background", "dark", "below_lower"} < reasons
    for reason in reasons:
        assert f"`{reason}`" in README


def test_every_note_has_a_line_in_it() -> None:
    for code, text in NOTE_CODES.items():
        assert f"| `{code}` | {text}" in README


def test_its_recipe_is_one_and_every_cause_has_a_line() -> None:
    (text,) = [block for block in blocks("toml") if "[[rule]]" in block]
    recipe = parse_recipe(text).validated()
    assert (len(recipe.rules), len(recipe.labels[18])) == (4, 1)
    for cause in CAUSES:
        assert f"`{cause}`" in README
