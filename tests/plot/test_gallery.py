from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import hpastore
from hpastore.errors import UsageError
from hpastore.plot.canvas import DROPPED, KEPT
from hpastore.render import channels as drawing
from hpastore.store import pixels, write
from hpastore.store.engine import Store
from hpastore.vocabulary import Which
from tests.conftest import DATABASES, MakeStore
from tests.export.test_images import forget_channels
from tests.plot.conftest import RECIPE, one_database
from tests.world import name_of, rows


def captions(figure: Any) -> list[list[str]]:
    """What stands under each tile, line by line."""
    return [
        [t.get_text() for t in axes.texts if t.get_text()[-3:] != " px"] for axes in figure.axes
    ]


def cells(figure: Any) -> list[str]:
    return [lines[0] for lines in captions(figure)]


@one_database
def test_a_cell_is_cut_from_its_file_as_it_is_and_outlined(filled: Store, root: Path) -> None:
    figure = hpastore.plot_gallery(filled, n=9)
    axes = figure.axes[cells(figure).index("image-00:3")]  # columns 6 to 9, rows 2 to 12
    side, (y, x) = 11 + 8, (2 - 4, 6 - 8)
    planes = [
        cv2.imread(str(root / "train" / f"image-00_{c}.png"), -1) for c in ("red", "green", "blue")
    ]
    picture = np.pad(
        np.dstack([plane for plane in planes if plane is not None]),
        ((8, 8), (8, 8), (0, 0)),
        constant_values=200,
    )
    expected = picture[8 + y : 8 + y + side, 8 + x : 8 + x + side]
    assert np.array_equal(np.asarray(axes.images[0].get_array()), expected)
    (outline,) = axes.collections
    extents = outline.get_paths()[0].get_extents()
    assert (extents.x0, extents.x1, extents.y0, extents.y1) == (6, 9, 2, 12)
    assert axes.texts[0].get_text() == f"{side} px"


def test_a_tile_says_name_label_verdict_and_value_and_its_frame_the_verdict(filled: Store) -> None:
    from matplotlib.colors import to_hex

    figure = hpastore.plot_gallery(filled, which="dropped-by", rule="below_lower", label=None)
    (row,) = rows(
        filled,
        "SELECT value, lower FROM clean_cell WHERE reason = 'below_lower' AND label_id = 0",
    )
    said = next(lines for lines in captions(figure) if "0 Nucleoplasm" in lines)
    assert said[1:] == [
        "0 Nucleoplasm",
        "dropped: below_lower",
        f"green fraction {row['value']:.3g} < {row['lower']:.3g}",
    ]
    assert {to_hex(axes.spines["top"].get_edgecolor()).upper() for axes in figure.axes} == {DROPPED}
    kept = hpastore.plot_gallery(filled, which="kept")
    assert {to_hex(axes.spines["top"].get_edgecolor()).upper() for axes in kept.axes} == {KEPT}
    assert {lines[2] for lines in captions(kept)} == {"kept"}


def test_a_dark_cell_is_shown_with_the_dark_limit_and_one_without_a_value_says_so(
    store: Store, root: Path
) -> None:
    hpastore.ingest(store, root, executor="serial")
    recipe = hpastore.CleanRecipe(RECIPE.rules, min_green=256)
    hpastore.create_clean_set(store, "dark", recipe)
    drawn = captions(hpastore.plot_gallery(store, which="dropped-by", rule="dark", label=7))
    levels = rows(
        store,
        "SELECT green_intensity_max AS level FROM cell_stats WHERE label_id = 7 ORDER BY mask_id",
    )
    assert [lines[-1] for lines in drawn] == [
        f"green intensity_max {row['level']} < 256" for row in levels
    ]
    below = captions(hpastore.plot_gallery(store, which="below", label=7))
    assert all(lines[-1].startswith("green fraction ") for lines in below)
    nuclei = hpastore.CleanRecipe((hpastore.Rule("intensity_nucleus", "green", 0.1, 0.9),))
    hpastore.create_clean_set(store, "nuclei", nuclei)
    lacking = captions(hpastore.plot_gallery(store, which="dropped-by", rule="no_value", label=7))
    assert {lines[-1] for lines in lacking} == {"green intensity_nucleus has no value"}


def test_only_cells_of_a_split_are_shown(filled: Store, root: Path) -> None:
    with filled.writing() as connection:
        write.move_images(connection, [name_of(0)], str(root), "val")
        write.move_images(connection, [name_of(1)], str(root), "train")
    figure = hpastore.plot_gallery(filled, split="val")
    assert {cell.partition(":")[0] for cell in cells(figure)} == {name_of(0)}
    assert figure.texts[0].get_text().startswith("mine@1, all, split val: 3 of 3 cells")
    hpastore.create_clean_set(filled, "train", RECIPE, split="train")
    assert hpastore.plot_gallery(filled, split="val").texts[0].get_text().startswith("mine@1")
    with pytest.raises(UsageError, match=r"no split 'test' \(choose from train, val\)"):
        hpastore.plot_gallery(filled, split="test")


def test_every_way_to_choose_finds_what_sql_finds(filled: Store) -> None:
    ways: dict[Which, str] = {
        "all": "1 = 1",
        "kept": "clean",
        "dropped": "NOT clean",
        "below": "value < lower",
        "above": "value > upper",
    }
    for which, condition in ways.items():
        found = rows(filled, f"SELECT image_name, mask_id FROM clean_cell WHERE {condition}")
        expected = sorted(f"{row['image_name']}:{row['mask_id']}" for row in found)
        assert cells(hpastore.plot_gallery(filled, which=which)) == expected
    assert len(expected) == 3
    assert cells(hpastore.plot_gallery(filled, which="above", label=7)) == [
        name for name in expected if name.startswith(name_of(4))
    ]


def test_near_a_bound_are_the_nearest_of_both_sides_in_order(filled: Store) -> None:
    found = rows(
        filled,
        "SELECT image_name, mask_id, value - upper AS over FROM clean_cell ORDER BY value - upper",
    )
    names = [f"{row['image_name']}:{row['mask_id']}" for row in found]
    first = next(i for i, row in enumerate(found) if row["over"] > 0)
    assert (
        cells(hpastore.plot_gallery(filled, which="near-upper", n=4))
        == names[first - 2 : first + 2]
    )
    assert cells(hpastore.plot_gallery(filled, which="near-upper", n=8)) == names[first - 5 :]
    lower = hpastore.plot_gallery(filled, which="near-lower", label=0, n=2)
    assert ["<" in lines[-1] for lines in captions(lower)] == [True, False]


def test_a_cell_that_is_judged_twice_is_two_verdicts(filled: Store) -> None:
    hpastore.create_clean_set(filled, "all", hpastore.CleanRecipe(RECIPE.rules, 0, "all"))
    (row,) = rows(filled, "SELECT count(*) AS n FROM clean_cell WHERE clean_set = 'all'")
    title = hpastore.plot_gallery(filled, clean="all", n=2).texts[0].get_text()
    assert f"2 of {row['n']} verdicts" in title
    assert "verdicts" not in hpastore.plot_gallery(filled, clean="all", label=0).texts[0].get_text()


def test_a_seed_chooses_the_same_cells_and_another_others(filled: Store) -> None:
    first = cells(hpastore.plot_gallery(filled, n=4, seed=1))
    assert cells(hpastore.plot_gallery(filled, n=4, seed=1)) == first
    assert cells(hpastore.plot_gallery(filled, n=4, seed=2)) != first
    assert len(set(first)) == 4


def test_both_databases_give_the_same_picture(
    root: Path, tmp_path: Path, make_store: MakeStore
) -> None:
    pictures = []
    for kind in DATABASES:
        store = make_store(kind)
        hpastore.ingest(store, root, executor="serial")
        hpastore.create_clean_set(store, "mine", RECIPE)
        written = []
        for suffix, options in ((".png", {"n": 3}), (".svg", {"n": 2, "which": "near-lower"})):
            out = tmp_path / f"{kind}{suffix}"
            written.append(
                hpastore.save_figure(hpastore.plot_gallery(store, **options), out).read_bytes()
            )
        pictures.append(written)
    assert pictures[0] == pictures[1]


def test_without_a_clean_set_all_cells_are_there_with_the_labels_of_their_image(
    store: Store, root: Path
) -> None:
    hpastore.ingest(store, root, executor="serial")
    assert cells(hpastore.plot_gallery(store, label=16)) == [
        "image-01:1",
        "image-02:1",
        "image-02:3",
    ]
    assert ["labels 0|16" in lines for lines in captions(hpastore.plot_gallery(store))].count(
        True
    ) == 2
    with pytest.raises(UsageError, match="--which kept needs a clean set; make one with"):
        hpastore.plot_gallery(store, which="kept")


@one_database
def test_a_file_that_is_gone_or_changed_is_said_on_the_tile_and_in_the_log(
    filled: Store, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "train" / f"{name_of(0)}_green.png").unlink()
    changed = root / "train" / f"{name_of(1)}_green.png"
    assert cv2.imwrite(str(changed), np.zeros((24, 32), np.uint8))
    with caplog.at_level(logging.WARNING):
        figure = hpastore.plot_gallery(filled, channels="green")
    tiles = {axes.texts[0].get_text(): len(axes.images) for axes in figure.axes}
    assert tiles["file is missing"] == tiles["file has changed"] == 0
    assert len(caplog.records) == 2
    assert f"{name_of(0)}_green.png is not where it was when it was ingested" in caplog.text
    assert f"{name_of(1)}_green.png: has changed since it was ingested" in caplog.text
    red = hpastore.plot_gallery(filled, channels="red")
    assert all(axes.images for axes in red.axes)


def test_a_channel_that_an_image_lacks_is_black(
    filled: Store, caplog: pytest.LogCaptureFixture
) -> None:
    whole = hpastore.plot_gallery(filled)
    forget_channels(filled, name_of(0), "red", "green")
    figure = hpastore.plot_gallery(filled)
    changed = {name for name in cells(figure) if name.startswith(name_of(0))}
    for axes, before in zip(figure.axes, whole.axes, strict=True):
        expected = np.array(before.images[0].get_array())
        if axes.texts[1].get_text() in changed:
            inside = (expected != 200).any(axis=2)  # of the image: what is beyond is grey
            expected[inside, :2] = 0
        assert np.array_equal(np.asarray(axes.images[0].get_array()), expected)
    assert caplog.messages == [
        f"1 image lacks a channel, which is drawn black: {name_of(0)} (red, green)"
    ]

    grey = hpastore.plot_gallery(filled, channels="green")
    for axes in grey.axes:
        tile = np.asarray(axes.images[0].get_array())
        black = not tile[(tile != 200).any(axis=2)].any()
        assert black == (axes.texts[1].get_text() in changed)


@one_database
def test_each_image_is_decoded_once_and_let_go(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def counted(files: Any) -> Any:
        seen.append(files[0].path.name.partition("_")[0])
        return read_pixels(files)

    read_pixels = pixels.read_pixels
    monkeypatch.setattr(pixels, "read_pixels", counted)
    hpastore.plot_gallery(filled)
    assert seen == [name_of(i) for i in (0, 1, 3, 4)]


@one_database
def test_where_no_cell_is_such_the_figure_says_so(filled: Store) -> None:
    figure = hpastore.plot_gallery(filled, which="dropped-by", rule="dark")
    assert figure.axes == []
    title, look, empty = (text.get_text() for text in figure.texts)
    assert title == "mine@1, dropped-by dark: 0 of 0 cells, seed 0"
    assert look.startswith("red, green, blue; levels 0..255 as stored, the same for all")
    assert empty == "no such cell"


@one_database
def test_what_makes_no_sense_is_refused(filled: Store) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"which": "best"}, r"invalid which 'best' \(choose from all, kept, dropped"),
        ({"which": "dropped-by"}, "dropped-by takes the name of a rule"),
        ({"rule": "dark"}, "dropped-by takes the name of a rule"),
        (
            {"which": "dropped-by", "rule": "size"},
            "mine@1 has no rule 'size'; its reasons are override_keep",
        ),
        ({"n": 0}, "1 to 400 cells, not 0"),
        ({"label": 19}, "no label 19"),
        ({"channels": "rgg"}, "no channels 'rgg'; use letters of rgby"),
        ({"gain": 0.0}, "gain takes a factor above 0"),
    ]
    for options, words in wrong:
        with pytest.raises(UsageError, match=words):
            hpastore.plot_gallery(filled, **options)


def test_channels_add_up_in_hpas_colours_and_stop_at_white() -> None:
    channels = {
        name: np.full((1, 1), level, np.uint8)
        for name, level in zip(("red", "green", "blue", "yellow"), (10, 20, 30, 100), strict=True)
    }
    drawn = {
        (text, gain): drawing.colour_picture(channels, drawing.parse_channels(text, gain), (1, 1))[
            0, 0
        ].tolist()
        for text, gain in (("rgb", 1), ("rgby", 1), ("rgby", 2.5), ("green", 2), ("gy", 1))
    }
    assert drawn == {
        ("rgb", 1): [10, 20, 30],
        ("rgby", 1): [110, 120, 30],
        ("rgby", 2.5): [255, 255, 75],
        ("green", 2): [40, 40, 40],
        ("gy", 1): [100, 120, 0],
    }
