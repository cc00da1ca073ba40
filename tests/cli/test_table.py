from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpastore.cli.table import print_table

WORDS = st.lists(
    st.sampled_from(["a", "faint_nucleus", "18", "Zellkern_ä", "細胞", "x" * 30]), max_size=8
)
VALUES = st.none() | st.integers(-999, 999) | st.floats(allow_nan=True) | st.builds(" ".join, WORDS)


def shown(columns: list[str], rows: list[list[Any]], width: int | None) -> list[str]:
    """What is printed: on a terminal of a width, or elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr(sys, "stdout", Terminal(printed, width is not None))
        patch.setenv("COLUMNS", str(width))
        print_table(columns, rows)
    return "".join(printed).splitlines()


class Terminal:
    def __init__(self, printed: list[str], terminal: bool) -> None:
        self.write, self.terminal = printed.append, terminal

    def isatty(self) -> bool:
        return self.terminal


def width_of(text: str) -> int:
    return len(text) + sum(c in "細胞" for c in text)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n), min_size=1)
    )
)
def test_a_table_fits_its_terminal_or_is_of_lines(rows: list[list[Any]]) -> None:
    columns = [f"column_{place}" for place in range(len(rows[0]))]
    wide = shown(columns, rows, None)
    assert len(wide) == 2 + len(rows)
    words = sorted(re.sub(r"[ _─-]", "", "".join(wide)))
    for width in (20, 40, 80, 200):
        lines = shown(columns, rows, width)
        if lines[0].startswith("── row 1"):
            assert len(lines) == len(rows) * (1 + len(columns))
            continue
        assert max(map(width_of, lines)) <= width
        assert sorted(re.sub(r"[ _─-]", "", "".join(lines))) == words
        if max(map(width_of, wide)) <= width:
            assert lines == wide


def test_text_is_folded_where_a_person_would() -> None:
    columns = ["cell", "n", "reasons"]
    rows: list[list[Any]] = [
        ["sample-0001:3", 12, "faint_nucleus 3, dark 2, overexposed 1"],
        ["sample-0001:10", None, ""],
    ]
    assert shown(columns, rows, 41) == [
        "cell             n  reasons",
        "──────────────  ──  ─────────────────────",
        "sample-0001:3   12  faint_nucleus 3, dark",
        "                    2, overexposed 1",
        "sample-0001:10   -",
    ]
    assert shown(columns, rows, 31) == [
        "cell             n  reasons",
        "──────────────  ──  ───────────",
        "sample-0001:3   12  faint_",
        "                    nucleus 3,",
        "                    dark 2,",
        "                    overexposed",
        "                    1",
        "sample-0001:10   -",
    ]
    assert shown(columns, rows[:1], 20) == [
        "── row 1 ──",
        "cell     sample-0001:3",
        "n        12",
        "reasons  faint_nucleus 3, dark 2, overexposed 1",
    ]


def test_a_table_without_rows_has_its_columns() -> None:
    assert shown(["image_name", "reason"], [], 10)[0] == "image_name  reason"
