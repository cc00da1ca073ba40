"""The commands that draw, from the user's chair."""

from __future__ import annotations

from pathlib import Path

import pytest

import hpastore
from hpastore.plot import canvas
from tests.cli.conftest import Run
from tests.world import dataset, is_a_file, name_of

pytestmark = pytest.mark.has_schema

pytestmark = is_a_file


@pytest.fixture
def root(tmp_path: Path, run: Run) -> Path:
    root = dataset(tmp_path / "data", 5)
    run("ingest", root, "--executor", "serial")
    run("clean", "create", "mine", "--lower", 0.25, "--upper", 0.75, "--min-green", 0)
    return root


def test_every_figure_is_drawn_and_its_file_named(run: Run, root: Path, tmp_path: Path) -> None:
    for command in (
        ("hist", "--label", 0),
        ("gallery",),
        ("overlay", name_of(0)),
        ("drift", "mine"),
        (
            "gallery",
            "--which",
            "dropped-by",
            "below_lower",
            "-n",
            2,
            "--channels",
            "green",
            "--gain",
            2,
        ),
    ):
        done = run("plot", *command, "--out", "figure.png", "--force")
        assert (done.code, done.out, done.err) == (0, "figure.png\n", "")
        assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert run("--json", "plot", "drift", "mine", "--out", "drift.svg").json == {
        "path": "drift.svg"
    }


def test_what_cannot_be_written_is_refused_before_anything_is_drawn(
    run: Run, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    monkeypatch.setattr(hpastore, "plot_hist", None)
    exists = run("plot", "hist", "--out", "a.png")
    assert (exists.code, exists.err) == (
        1,
        "hpastore: a.png: exists; choose another name, or replace it with --force\n",
    )
    other = run("plot", "hist", "--out", "a.gif")
    assert other.code == 2
    assert "no format '.gif'; a figure's name ends in .png, .svg, .pdf" in other.err
    assert run("plot", "hist").code == 2
    assert (tmp_path / "a.png").read_bytes() == b"mine"


def test_a_file_that_is_gone_is_a_warning_in_a_gallery_and_an_error_of_an_overlay(
    run: Run, root: Path
) -> None:
    path = root / "train" / f"{name_of(0)}_red.png"
    path.unlink()
    drawn = run("plot", "gallery", "--out", "a.png")
    assert drawn.code == 0
    missing = (
        f"{name_of(0)}: its file {path} is not where it was when it was ingested; "
        "if its folder has moved, run 'hpastore ingest NEW_PLACE'\n"
    )
    assert drawn.err == f"hpastore: warning: {missing}"
    failed = run("plot", "overlay", name_of(0), "--out", "b.png")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err == f"hpastore: {missing}"


def test_without_matplotlib_it_says_how_to_get_it(
    run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "find_spec", lambda name: None)
    done = run("plot", "hist", "--out", "a.png")
    assert (done.code, done.err) == (
        2,
        "hpastore: figures need Matplotlib; install it with: pip install 'hpastore[plot]'\n",
    )
