"""What is printed holds no character that a terminal would obey, wherever it comes from."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from hpastore.cli import show

HOSTILE = "a\x1b]0;owned\x07\x9b2J\u202e\u2066\x7fb"
ESCAPED = r"a\x1b]0;owned\x07\x9b2J\u202e\u2066\x7fb"


@pytest.mark.parametrize("print_", [show.message, show.error, show.line])
def test_a_line_is_one_line_without_control_characters(
    print_: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(print_)
    print_(f"{HOSTILE}\nsecond")
    said = capsys.readouterr()
    assert said.out + said.err == f"{ESCAPED}\\nsecond\n"


def test_names_and_values_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    show.lines({HOSTILE: HOSTILE})
    assert capsys.readouterr().out == f"{ESCAPED}  {ESCAPED}\n"


def test_a_text_keeps_its_lines_and_what_toml_says(capsys: pytest.CaptureFixture[str]) -> None:
    show.text('a = "\x9b\u202e\U000e0001"\n\tb = 1\n')
    said = capsys.readouterr().out
    assert said == 'a = "\\u009B\\u202E\\U000E0001"\n\tb = 1\n'
    assert tomllib.loads(said) == {"a": "\x9b\u202e\U000e0001", "b": 1}


def test_nothing_else_in_the_commands_prints() -> None:
    folder = Path(show.__file__).parent
    found = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id == "print" and node.args:  # type: ignore[attr-defined]
                found.add(file.name)
    assert found == {"show.py", "table.py"}
