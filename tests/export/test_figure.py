from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pytest

import hpastore
from hpastore.errors import ExportError, UsageError
from hpastore.store.engine import Store
from tests.world import is_a_file, measured, put

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytestmark = is_a_file


@pytest.fixture
def filled(store: Store) -> Store:
    put(store, measured("a", (0,), green_fraction=[0.1, 0.2, 0.3]))
    hpastore.create_clean_set(store, "mine")
    return store


@pytest.fixture
def figure(filled: Store) -> Figure:
    return hpastore.plot_hist(filled, label=0)


@pytest.mark.parametrize(
    ("suffix", "begins"),
    [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")],
)
def test_the_same_store_gives_the_same_bytes_whatever_the_users_settings(
    filled: Store, tmp_path: Path, suffix: str, begins: bytes
) -> None:
    first = hpastore.save_figure(
        hpastore.plot_hist(filled, label=0), tmp_path / f"a{suffix}"
    ).read_bytes()
    changed: Any = {
        "font.size": 20,
        "figure.dpi": 30,
        "savefig.dpi": 40,
        "svg.fonttype": "none",
        "axes.grid": True,
    }
    with mpl.rc_context(changed):
        figure = hpastore.plot_hist(filled, label=0)
        again = hpastore.save_figure(figure, tmp_path / f"b{suffix}").read_bytes()
    assert first.startswith(begins)
    assert first == again
    assert not any(word in first for word in (b"CreationDate", b"dc:date", b"tEXt"))


def test_a_file_is_replaced_by_force_only_and_whole_or_not_at_all(
    figure: Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "a.png"
    assert hpastore.save_figure(figure, out) == out
    before = out.read_bytes()
    with pytest.raises(
        ExportError, match=r"a\.png: exists; choose another name, or replace it with --force"
    ):
        hpastore.save_figure(figure, out)

    def half(path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(figure, "savefig", half)
        with pytest.raises(ExportError, match="no room left on the disk"):
            hpastore.save_figure(figure, out, force=True)
    assert [path.name for path in out.parent.iterdir()] == ["a.png"]
    assert out.read_bytes() == before
    hpastore.save_figure(figure, out, force=True)


def test_another_format_is_refused_with_those_there_are(figure: Figure, tmp_path: Path) -> None:
    for name in ("a.jpg", "a"):
        with pytest.raises(UsageError, match=r"a figure's name ends in \.png, \.svg, \.pdf"):
            hpastore.save_figure(figure, tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()
