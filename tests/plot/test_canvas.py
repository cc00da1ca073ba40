from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

import hpastore
from hpastore.errors import UsageError
from hpastore.plot import canvas
from hpastore.store.engine import Store
from hpastore.vocabulary import REASONS
from tests.world import is_a_file


@is_a_file
def test_a_figure_without_matplotlib_says_how_to_get_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "find_spec", lambda name: None)
    for draw in (hpastore.plot_hist, hpastore.plot_gallery):
        with pytest.raises(UsageError, match=r"pip install 'hpastore\[plot\]'"):
            draw(store)


def test_drawing_leaves_no_backend_and_no_setting_behind(tmp_path: Path) -> None:
    script = """
import sys, hpastore
hpastore.plot_hist
assert "matplotlib" not in sys.modules
with hpastore.open_store("cells.db", create=True) as store:
    import matplotlib
    names = [name for name in matplotlib.rcParams if name != "backend"]  # asking for it chooses one
    before = [matplotlib.rcParams[name] for name in names]
    figure = hpastore.plot_gallery(store)
    hpastore.save_figure(figure, "empty.png")
assert [matplotlib.rcParams[name] for name in names] == before
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty.png").is_file()


def test_no_two_reasons_look_alike() -> None:
    reasons = [*REASONS, *(f"rule_{i}" for i in range(8))]
    ways = canvas.line_styles(reasons)
    assert len(set(ways.values())) == len(reasons)
    assert canvas.KEPT not in {colour for colour, _ in ways.values()}


@given(st.text("ab-", min_size=1, max_size=200), st.integers(5, 60))
def test_a_shortened_text_fits_and_keeps_both_ends(text: str, most: int) -> None:
    short = canvas.shortened(text, most)
    assert len(short) == min(len(text), most)
    assert (short == text) == (len(text) <= most)
    assert (short[0], short[-1]) == (text[0], text[-1])


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_values_that_differ_are_written_apart(value: float, other: float) -> None:
    if value == other:
        return
    shown = canvas.distinct_number_texts(value, other)
    assert shown[0] != shown[1]


def test_a_value_has_three_digits_or_all_before_its_point() -> None:
    shown = [
        canvas.number_text(value)
        for value in (0.012345, 1, 123.456, 12345.6, -1234567.8, 5.0177e40, None)
    ]
    assert shown == ["0.0123", "1", "123", "12346", "-1234568", "5.02e+40", "-"]


@pytest.mark.parametrize("text", ["dark", "W" * 63, "i" * 63, "overexposed_nucleus: " * 6])
def test_a_fitted_text_is_as_wide_as_it_may_be_and_no_wider(text: str) -> None:
    def width(text: str) -> float:
        figure = canvas.blank(20, 1)
        agg: Any = FigureCanvasAgg(figure)
        renderer = agg.get_renderer()
        drawn = figure.text(0, 0, text, fontsize=6, family="DejaVu Sans")
        return float(drawn.get_window_extent(renderer).width) / figure.dpi * 72

    cut = canvas.fitted(text, 100, 6)
    assert width(cut) <= 103
    assert cut == text or width(cut) > 85


def test_a_figure_shows_control_characters_as_escapes(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    hostile = "a\x1b[2J\u202eb\x9b"

    @canvas.drawing
    def draw() -> Figure:
        figure = canvas.blank(4, 2)
        figure.text(0, 0, f"{hostile}\nsecond line")
        axes = figure.add_axes((0.2, 0.2, 0.6, 0.6))
        axes.set_title(canvas.shortened(hostile, 40))
        axes.plot([0, 1], label=canvas.fitted(hostile, 400, 8))
        axes.legend()
        return figure

    written = hpastore.save_figure(draw(), tmp_path / "a.svg").read_text()
    assert written.replace("\n", "").isprintable()
    assert written.count("a\\x1b[2J\\u202eb\\x9b") == 3
    assert "second line" in written
