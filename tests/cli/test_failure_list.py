from __future__ import annotations

import sys

import pytest

from hpastore.cli.failure_list import print_failures

PATH = "/data/train/5c27f04c-bb99-11e8-b2b9-ac1f6b6435d0_green.png"
FAILURES = [
    ("a", "missing_file", "a: train/a_red.png is missing; add it"),
    ("b", "not_png", f"{PATH}: is not a PNG, whatever its name says; save it as a grey PNG"),
]


def test_each_failure_has_its_message_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_failures(FAILURES)
    assert capsys.readouterr().out.splitlines() == [
        "a: missing_file",
        "  train/a_red.png is missing; add it",
        "b: not_png",
        f"  {PATH}: is not a PNG, whatever its name says; save it as a grey PNG",
    ]


def test_a_terminal_gets_lines_of_its_width_with_whole_paths(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_failures(FAILURES)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines[3:]) == FAILURES[1][2]


def test_a_path_stays_whole_in_a_terminal_that_is_narrower(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_failures(FAILURES)
    assert any(PATH in line for line in capsys.readouterr().out.splitlines())


def test_control_characters_of_a_message_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_failures([("a", "png", "\x1b[2J is cut")])
    assert capsys.readouterr().out == "a: png\n  \\x1b[2J is cut\n"
