from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import hpastore
from hpastore.clean.bound import Bound
from hpastore.errors import NotFoundError, RejectedError, UsageError
from hpastore.plot.canvas import KEPT, line_styles
from hpastore.store.engine import Store
from hpastore.vocabulary import Scope
from tests.export.test_images import forget_channels
from tests.plot.conftest import RECIPE, one_database
from tests.world import name_of, rows, write_image, write_table


def drawn(axes: Any) -> dict[str, tuple[int, str]]:
    """Number and colour of the outlines by verdict."""
    from matplotlib.colors import to_hex

    return {
        lines.get_label(): (len(lines.get_paths()), to_hex(lines.get_edgecolor()[0]).upper())
        for lines in axes.collections
        if not lines.get_label().startswith("_")
    }


def test_cells_are_outlined_in_the_colours_of_their_verdicts_with_their_ids(filled: Store) -> None:
    figure = hpastore.plot_overlay(filled, name_of(0))
    (axes,) = figure.axes
    found = rows(
        filled,
        "SELECT coalesce(reason, 'kept') AS word FROM clean_cell WHERE image_name = 'image-00'",
    )
    words = [row["word"] for row in found]
    assert sorted(words) == ["above_upper", "below_lower", "kept"]
    ways = {"kept": (KEPT, "-"), **line_styles(["above_upper", "below_lower"])}
    assert drawn(axes) == {word: (1, ways[word][0]) for word in words}
    assert [text.get_text() for text in axes.texts] == ["1", "3", "5"]
    for k, text in enumerate(
        axes.texts
    ):  # the cells are bars of four columns, from the second row on
        x, y = text.get_position()
        assert 6 * k <= x <= 6 * k + 3
        assert 2 <= y <= 11 + k
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        *("kept (1)", "above_upper (1)", "below_lower (1)")
    ]
    assert axes.get_title("left") == "0 Nucleoplasm"
    assert figure.texts[0].get_text() == f"{name_of(0)}: 3 cells, verdicts of mine@1"


@one_database
def test_the_image_is_as_it_is_in_its_files_and_an_outline_lies_on_its_cell(
    filled: Store, root: Path
) -> None:
    (axes,) = hpastore.plot_overlay(filled, name_of(1), channels="yellow", gain=2).axes
    pixels = cv2.imread(str(root / "train" / f"{name_of(1)}_yellow.png"), -1)
    assert pixels is not None
    shown = np.minimum(pixels.astype(int) * 2, 255)
    assert np.array_equal(np.asarray(axes.images[0].get_array())[:, :, 1], shown)
    extents = axes.collections[0].get_paths()[0].get_extents()
    assert (extents.x0, extents.x1, extents.y0, extents.y1) == (0, 3, 2, 11)


def test_a_channel_that_an_image_lacks_is_black(
    filled: Store, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget_channels(filled, name_of(1), "green", "blue", "yellow")
    (axes,) = hpastore.plot_overlay(filled, name_of(1), channels="rgby").axes
    picture = np.asarray(axes.images[0].get_array())
    red = cv2.imread(str(root / "train" / f"{name_of(1)}_red.png"), -1)
    assert red is not None
    assert np.array_equal(picture[:, :, 0], red)
    assert not picture[:, :, 1:].any()
    (axes,) = hpastore.plot_overlay(filled, name_of(1), channels="yellow").axes
    assert not np.asarray(axes.images[0].get_array()).any()
    assert caplog.messages == [
        f"1 image lacks a channel, which is drawn black: {name_of(1)} ({missing})"
        for missing in ("green, blue, yellow", "yellow")
    ]


def test_each_label_that_an_image_was_judged_by_has_a_panel(filled: Store) -> None:
    (axes,) = hpastore.plot_overlay(filled, name_of(2)).axes
    assert drawn(axes) == {"not in the set": (2, "#FFFFFF")}
    assert axes.get_title("left") == "labels 0|16"
    any_size = hpastore.Rule("area", lower=Bound(value=1), upper=None)
    recipe = hpastore.CleanRecipe(
        RECIPE.rules, 0, "all", {16: (any_size,)}, label_sections="replace"
    )
    hpastore.create_clean_set(filled, "all", recipe)
    figure = hpastore.plot_overlay(filled, name_of(2))
    assert [axes.get_title("left") for axes in figure.axes] == ["0 Nucleoplasm", "16 Cytosol"]
    for axes, label in zip(figure.axes, (0, 16), strict=True):
        found = rows(
            filled,
            "SELECT coalesce(reason, 'kept') AS word, count(*) AS n FROM clean_cell WHERE clean_set = 'all' "
            "AND image_name = 'image-02' AND label_id = :label GROUP BY 1",
            label=label,
        )
        assert {word: n for word, (n, _) in drawn(axes).items()} == {
            row["word"]: row["n"] for row in found
        }
    assert drawn(figure.axes[0]) != drawn(figure.axes[1])
    assert len(hpastore.plot_overlay(filled, name_of(2), label=16).axes) == 1
    with pytest.raises(UsageError, match=r"image-02 has no label 3; its labels are 0\|16"):
        hpastore.plot_overlay(filled, name_of(2), label=3)


@one_database
def test_without_a_clean_set_cells_are_white(store: Store, root: Path) -> None:
    hpastore.ingest(store, root, executor="serial")
    figure = hpastore.plot_overlay(store, name_of(0))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["cells (3)"]
    assert figure.texts[0].get_text().endswith("no clean set")


@one_database
def test_a_cell_of_one_pixel_has_an_outline_around_it(store: Store, tmp_path: Path) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[5, 7] = 1
    root = tmp_path / "tiny"
    write_image(root, "a", seed=1, mask=mask)
    write_table(root, {"a": "0"})
    hpastore.ingest(store, root, executor="serial")
    (halo, line) = hpastore.plot_overlay(store, "a").axes[0].collections
    for lines in (halo, line):
        (path,) = lines.get_paths()
        extents = path.get_extents()
        assert (extents.x0, extents.x1, extents.y0, extents.y1) == (6.5, 7.5, 4.5, 5.5)


@one_database
def test_entries_of_a_legend_stay_within_their_panel(filled: Store) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rules = tuple(
        hpastore.Rule("area", lower=Bound(value=11 * (k + 1)), upper=None, name=f"{'w' * 60}_{k}")
        for k in range(5)
    )
    panels: dict[Scope, str] = {"single": name_of(0), "all": name_of(2)}
    for scope, image in panels.items():
        hpastore.create_clean_set(filled, "long", hpastore.CleanRecipe(rules, 0, scope))
        figure = hpastore.plot_overlay(filled, image)
        agg: Any = FigureCanvasAgg(figure)
        agg.draw()
        for axes in figure.axes:
            legend = axes.get_legend()
            assert legend is not None
            box, panel = legend.get_window_extent(), axes.get_window_extent()
            assert panel.x0 - 1 <= box.x0 <= box.x1 <= panel.x1 + 1


@one_database
def test_a_file_that_is_gone_or_changed_is_an_error(filled: Store, root: Path) -> None:
    path = root / "train" / f"{name_of(0)}_green.png"
    path.write_bytes((root / "train" / f"{name_of(1)}_green.png").read_bytes())
    with pytest.raises(
        RejectedError, match=r"_green\.png: has changed since it was ingested; run 'hpastore"
    ):
        hpastore.plot_overlay(filled, name_of(0))
    path.unlink()
    with pytest.raises(RejectedError, match=r"_green\.png is not where it was"):
        hpastore.plot_overlay(filled, name_of(0))
    hpastore.plot_overlay(filled, name_of(0), channels="rb")
    with pytest.raises(NotFoundError, match="no image nobody"):
        hpastore.plot_overlay(filled, "nobody")
